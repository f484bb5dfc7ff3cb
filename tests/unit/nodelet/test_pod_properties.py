"""What holds of every pod whatever happens to it: random lives on a scripted runtime, in virtual time.

The scripted runtime notes it when two containers of one name run at once, or one is created in a sandbox that is gone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from nodelet.pods.blueprint import blueprint
from nodelet.pods.plan import plan
from nodelet.runtime.protocol import RuntimeFault, State
from nodelet.volumes.protocol import VolumeFault
from podium.v1.core_pb2 import ConfigMapVolumeSource, Pod, Volume
from tests.support.configuration import by_key, config_map
from tests.support.kept_pods import Node, container, deleted, make_pod, sidecar

Policy = Literal["Always", "OnFailure", "Never"]
STEPS = st.sampled_from(
    (
        "crash", "finish", "oom", "vanish", "lose sandbox", "change image", "wait", "wait long", "restart nodelet",
        "runtime away and back", "events lost", "events heard", "ignore signals", "fail create", "fail start",
        "fail sandbox", "evict", "fail volumes", "change config",
    )
)  # fmt: skip
SHAPES = st.sampled_from(("plain", "two", "init", "sidecar", "volumes", "all"))
POLICIES = st.sampled_from(("Always", "OnFailure", "Never"))
LATENCIES = st.sampled_from((0.0, 0.2, 0.7))


def shaped(shape: str, policy: Policy) -> Pod:
    init = {"init": (container("init"),), "sidecar": (sidecar("log"),)}
    both = (container("init"), sidecar("log"), container("init2"))
    main = (container("app"), container("b")) if shape in ("two", "all") else (container("app"),)
    pod = make_pod(*main, init=both if shape == "all" else init.get(shape, ()), policy=policy)
    if shape in ("volumes", "all"):
        pod.spec.volumes.append(Volume(name="config", config_map=ConfigMapVolumeSource(name="c")))
    return pod


@dataclass
class Life:
    """A pod, what befalls it, and what is checked after each blow."""

    node: Node
    pod: Pod
    version: int = 1
    restarts: dict[str, int] = field(default_factory=dict)
    over: str = ""

    async def befall(self, step: str) -> None:
        runtime = self.node.runtime
        running = sorted((c for c in runtime.containers.values() if c.state is State.RUNNING), key=lambda c: c.id)
        match step:
            case "crash" | "finish" | "oom" if running:
                runtime.end(running[0].id, {"crash": 1, "finish": 0, "oom": 137}[step], oom=step == "oom")
            case "vanish" if running:
                runtime.vanish(running[-1].id)
            case "lose sandbox":
                runtime.kill_sandbox()
            case "change image":
                await self.change_image()
            case "wait" | "wait long":
                await self.node.clock.advance(1 if step == "wait" else 700)
            case "restart nodelet":
                await self.restart_nodelet()
            case "runtime away and back":
                runtime.go_down()
                await self.node.clock.advance(3)
                runtime.down = False
                await self.node.clock.advance(10)
            case "events lost" | "events heard":
                runtime.silent = step == "events lost"
            case "ignore signals":
                runtime.ignores_signals = not runtime.ignores_signals
            case "fail create" | "fail start" | "fail sandbox":
                method = {"create": "create_container", "start": "start_container", "sandbox": "create_sandbox"}
                runtime.faults.setdefault(method[step.split()[1]], []).append(RuntimeFault("Scripted", "no"))
            case "fail volumes":
                self.node.volumes.faults.append(VolumeFault("scripted"))
            case "change config":
                self.version += 1
                self.node.objects.update(by_key(config_map("c", {"version": str(self.version)})))
                await self.node.assign(self.pod)
            case "evict":
                for worker in self.node.manager.workers():
                    worker.fail("Evicted", "scripted", 2)
        await self.node.clock.advance(0.5)
        self.check()

    async def change_image(self) -> None:
        self.version += 1
        image = f"app:{self.version}"
        self.node.runtime.pullable.add(image)
        changed = Pod()
        changed.CopyFrom(self.pod)
        changed.spec.containers[0].image = image
        self.pod = changed
        await self.node.assign(changed)

    async def restart_nodelet(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        last = self.node.statuses.get("u1")
        if last is not None:
            self.pod = Pod(metadata=self.pod.metadata, spec=self.pod.spec, status=last)
        self.node.manager = self.node.make_manager()
        self.start()
        await self.node.assign(self.pod)

    def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.node.manager.run())

    def check(self) -> None:
        assert self.node.runtime.violations == []
        status = self.node.statuses.get("u1")
        if status is None:
            return
        for of in (*status.init_container_statuses, *status.container_statuses):
            assert of.restart_count >= self.restarts.get(of.name, 0), f"restarts of {of.name} went back"
            self.restarts[of.name] = of.restart_count
            assert not (of.ready and of.state.HasField("waiting"))
        assert not self.over or status.phase == self.over, f"left {self.over} for {status.phase}"
        self.over = status.phase if status.phase in ("Succeeded", "Failed") else ""

    async def settle(self) -> None:
        """Wait long enough for every back-off; then the pod must rest: its plan has nothing more to do."""
        self.node.runtime.silent = False
        self.node.runtime.faults.clear()
        await self.node.clock.advance(1000)
        self.check()
        for worker in self.node.manager.workers():
            seen = worker.memory.observed(())
            assert plan(blueprint(worker.pod), seen, self.node.clock.monotonic()).actions == ()


@settings(max_examples=120, deadline=None)
@given(shape=SHAPES, policy=POLICIES, latency=LATENCIES, steps=st.lists(STEPS, max_size=8))
def test_every_life_comes_to_rest_and_every_deletion_to_its_end(
    shape: str, policy: Policy, latency: float, steps: list[str]
) -> None:
    async def live() -> None:
        node = Node()
        node.runtime.latency = latency
        life = Life(node, shaped(shape, policy))
        life.start()
        try:
            await node.assign(life.pod)
            for step in steps:
                await life.befall(step)
            await life.settle()
            node.runtime.ignores_signals = True
            await node.assign(deleted(life.pod))
            await node.clock.advance(120)
            assert node.gone[-1:] == ["u1"]
            assert (node.runtime.containers, node.runtime.sandboxes, node.network.addresses) == ({}, {}, {})
            assert node.volumes.held == set()
        finally:
            life.task.cancel()
            await asyncio.wait([life.task])

    asyncio.run(live())


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, latency=LATENCIES, steps=st.lists(STEPS.filter(lambda s: s != "evict"), max_size=8))
def test_a_pod_that_always_restarts_runs_again_whatever_befell_it(shape: str, latency: float, steps: list[str]) -> None:
    async def live() -> None:
        node = Node()
        node.runtime.latency = latency
        life = Life(node, shaped(shape, "Always"))
        life.start()
        try:
            await node.assign(life.pod)
            for step in steps:
                await life.befall(step)
            await life.settle()
            for _ in range(2 * len(life.pod.spec.init_containers)):
                for record in [c for c in node.runtime.containers.values() if c.state is State.RUNNING]:
                    if record.name.startswith("init"):
                        node.runtime.end(record.id)
                await node.clock.advance(5)
            assert node.status().phase == "Running"
            assert {c.name for c in life.pod.spec.containers} <= set(node.runtime.running())
            if life.pod.spec.volumes:
                assert node.volumes.objects == node.objects
        finally:
            life.task.cancel()
            await asyncio.wait([life.task])

    asyncio.run(live())
