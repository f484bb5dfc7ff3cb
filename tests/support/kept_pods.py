"""A PodManager on a scripted runtime under a virtual clock, with recorders at its ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from nodelet.pods.images import Disk
from nodelet.pods.manager import PodManager, PodSettings
from nodelet.pods.spec import NodeFacts
from podium.objects.kinds import Key
from podium.objects.meta import is_terminating
from podium.v1.core_pb2 import Container, ContainerStatus, Pod, PodStatus
from tests.support.clock import VirtualClock, settle
from tests.support.scripted_runtime import ScriptedNetwork, ScriptedRuntime
from tests.support.scripted_volumes import ScriptedVolumes

NODE = NodeFacts(name="n1", ip="192.0.2.1", memory=8 << 30)


def container(name: str = "app", **fields: object) -> Container:
    """A container of an image that is here."""
    made = Container(name=name, image="app:1", image_pull_policy="IfNotPresent")
    made.MergeFrom(Container(**fields))  # type: ignore[arg-type]
    return made


def sidecar(name: str, **fields: object) -> Container:
    """An init container that restarts always."""
    return container(name, restart_policy="Always", **fields)


def make_pod(*main: Container, init: tuple[Container, ...] = (), policy: str = "Always", grace: int = 30,
             uid: str = "u1") -> Pod:  # fmt: skip
    """A pod bound to this node."""
    pod = Pod()
    pod.metadata.namespace, pod.metadata.name, pod.metadata.uid, pod.metadata.generation = "ns", f"p-{uid}", uid, 1
    pod.spec.containers.extend(main or (container(),))
    pod.spec.init_containers.extend(init)
    pod.spec.restart_policy, pod.spec.node_name = policy, "n1"
    pod.spec.termination_grace_period_seconds = grace
    return pod


class Node:
    """The manager, what it stands on, and what it said."""

    def __init__(
        self, clock: VirtualClock | None = None, runtime: ScriptedRuntime | None = None,
        disk: Callable[[], Awaitable[Disk]] | None = None,
    ) -> None:  # fmt: skip
        self.clock = clock or VirtualClock()
        self.runtime = runtime or ScriptedRuntime(self.clock)
        self.network = ScriptedNetwork()
        self.statuses: dict[str, PodStatus] = {}
        self.history: list[PodStatus] = []
        self.gone: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.volumes = ScriptedVolumes()
        self.objects: dict[Key, Any] = {}
        self.disk = disk
        self.led: set[str] = set()
        """Uids of pods that services lead to."""
        self.manager = self.make_manager()

    def make_manager(self) -> PodManager:
        """A nodelet that has just started."""
        return PodManager(
            runtime=self.runtime, images=self.runtime, network=self.network, volumes=self.volumes,
            statuses=self, events=self, clock=self.clock, node=NODE, settings=PodSettings(), disk=self.disk,
        )  # fmt: skip

    def report(self, pod: Pod, status: PodStatus, *, gone: bool) -> None:
        self.statuses[pod.metadata.uid] = status
        self.history.append(status)
        if gone:
            self.gone.append(pod.metadata.uid)

    def event(self, pod: Pod, type: str, reason: str, message: str) -> None:
        self.events.append((reason, message))

    def start(self, body: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Something that goes on beside the test."""
        return asyncio.get_running_loop().create_task(body)

    async def assign(self, *pods: Pod, wait: float = 0.3) -> None:
        """Give the desired set and let things happen for a moment. As a master does, say of pods that end and are not
        `led` that no service leads to them."""
        self.manager.assign({pod.metadata.uid: pod for pod in pods}, self.objects)
        ending = {pod.metadata.uid for pod in pods if is_terminating(pod)}
        self.manager.drained(dict.fromkeys(ending - self.led, False))
        await self.clock.advance(wait)

    def status(self, uid: str = "u1") -> PodStatus:
        return self.statuses[uid]

    def of(self, name: str, uid: str = "u1") -> ContainerStatus:
        """The last status of a container."""
        status = self.statuses[uid]
        return next(s for s in (*status.init_container_statuses, *status.container_statuses) if s.name == name)


@asynccontextmanager
async def kept(node: Node | None = None) -> AsyncIterator[Node]:
    """A running manager."""
    made = node or Node()
    task = asyncio.get_running_loop().create_task(made.manager.run())
    await settle()
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        assert made.runtime.violations == []


def deleted(pod: Pod, grace: int | None = None) -> Pod:
    """The same pod with its deletion asked for."""
    copy = Pod()
    copy.CopyFrom(pod)
    copy.metadata.deletion_timestamp.seconds = 1
    copy.metadata.deletion_grace_period_seconds = pod.spec.termination_grace_period_seconds if grace is None else grace
    return copy
