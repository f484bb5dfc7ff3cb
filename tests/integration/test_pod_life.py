"""The pod manager on real runtimes: many pods on the hollow one, and, with the marker `docker`, real containers.

On Docker the pods that are probed over the network use the host's, so that these tests need no pod network.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nodelet.pods.manager import PodManager, PodSettings
from nodelet.pods.spec import NodeFacts
from nodelet.runtime.docker import DockerRuntime
from nodelet.runtime.hollow import HollowRuntime
from nodelet.runtime.protocol import ContainerRecord, ExecStream, State
from nodelet.volumes.hollow import HollowVolumes
from podium.aio.clock import SystemClock
from podium.v1.core_pb2 import (
    Container,
    ContainerStatus,
    ExecAction,
    HTTPGetAction,
    Lifecycle,
    LifecycleHandler,
    Pod,
    PodStatus,
    Probe,
)
from podium.v1.meta_pb2 import IntOrString
from tests.support.kept_pods import deleted, make_pod
from tests.support.scripted_runtime import ScriptedNetwork
from tests.support.waiting import until

IMAGE = "busybox:latest"
PATIENCE = 30.0


class Kept:
    """A running manager with real time, and what it said."""

    def __init__(self, runtime: DockerRuntime | HollowRuntime, profiles: Path | None = None) -> None:
        self.runtime, self.network = runtime, ScriptedNetwork()
        self.node = NodeFacts(name="n1", ip="127.0.0.1", seccomp=profiles)
        self.statuses: dict[str, PodStatus] = {}
        self.gone: set[str] = set()
        self.events: list[tuple[str, str]] = []
        self.manager: PodManager
        self.pods: dict[str, Pod] = {}

    def report(self, pod: Pod, status: PodStatus, *, gone: bool) -> None:
        self.statuses[pod.metadata.uid] = status
        if gone:
            self.gone.add(pod.metadata.uid)

    def event(self, pod: Pod, type: str, reason: str, message: str) -> None:
        self.events.append((reason, message))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """One life of a nodelet."""
        self.manager = PodManager(
            runtime=self.runtime, images=self.runtime, network=self.network, volumes=HollowVolumes(),
            statuses=self, events=self, clock=SystemClock(),
            node=self.node, settings=PodSettings(relist_seconds=2),
        )  # fmt: skip
        self.manager.assign(self.pods, {})
        task = asyncio.get_running_loop().create_task(self.manager.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def assign(self, *pods: Pod) -> None:
        self.pods |= {pod.metadata.uid: pod for pod in pods}
        self.manager.assign(self.pods, {})

    def phase(self, pod: Pod) -> str:
        return self.statuses.get(pod.metadata.uid, PodStatus()).phase

    def of(self, pod: Pod, name: str = "app") -> ContainerStatus:
        status = self.statuses.get(pod.metadata.uid, PodStatus())
        every = (*status.init_container_statuses, *status.container_statuses)
        return next((s for s in every if s.name == name), ContainerStatus())

    async def see(self, condition: Callable[[], object]) -> None:
        await until(lambda: bool(condition()), seconds=PATIENCE, what=f"{self.statuses}\n{self.events[-10:]}")

    async def delete(self, pod: Pod, grace: int | None = None) -> None:
        self.assign(deleted(pod, grace))
        await self.see(lambda: pod.metadata.uid in self.gone)

    async def records(self, pod: Pod) -> list[ContainerRecord]:
        return list((await self.runtime.pod_listing(pod.metadata.uid)).containers)


def sh(script: str, name: str = "app", **fields: object) -> Container:
    made = Container(name=name, image=IMAGE, image_pull_policy="IfNotPresent", command=["sh", "-c", script])
    made.MergeFrom(Container(**fields))  # type: ignore[arg-type]
    return made


def a_pod(*main: Container, policy: str = "Always", grace: int = 2, init: tuple[Container, ...] = ()) -> Pod:
    return make_pod(*main, policy=policy, grace=grace, init=init, uid=str(uuid.uuid4()))


def exec_action(script: str) -> ExecAction:
    return ExecAction(command=["sh", "-c", script])


FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


# ---------------------------------------------------------------- hollow


async def test_many_hollow_pods_start_are_adopted_and_go() -> None:
    kept = Kept(HollowRuntime())
    pods = [a_pod(sh(FOREVER)) for _ in range(300)]
    async with kept.running():
        kept.assign(*pods)
        await kept.see(lambda: all(kept.phase(pod) == "Running" for pod in pods))
    started = {c.id: c.started_at for c in (await kept.runtime.listing()).containers}
    kept.pods = {uid: _with_status(pod, kept.statuses[uid]) for uid, pod in kept.pods.items()}
    async with kept.running():
        await kept.see(lambda: len(kept.manager.pod_uids()) == 300)
        for pod in pods:
            kept.assign(deleted(pod)) if pod is not pods[0] else None
        await kept.see(lambda: len(kept.gone) == 299)
    (left,) = (await kept.runtime.listing()).containers
    assert (left.pod.uid, left.started_at) == (pods[0].metadata.uid, started[left.id])


def _with_status(pod: Pod, status: PodStatus) -> Pod:
    return Pod(metadata=pod.metadata, spec=pod.spec, status=status)


# ---------------------------------------------------------------- docker


@pytest.fixture
async def engine() -> AsyncIterator[DockerRuntime]:
    runtime = DockerRuntime(owner=f"test-{uuid.uuid4().hex[:8]}")
    try:
        yield runtime
    finally:
        left = await runtime.listing()
        for container in left.containers:
            await runtime.remove_container(container.id)
        for sandbox in left.sandboxes:
            await runtime.remove_sandbox(sandbox.id)
        await runtime.close()


@pytest.fixture
async def kept(engine: DockerRuntime, tmp_path: Path) -> AsyncIterator[Kept]:
    made = Kept(engine, profiles=tmp_path / "seccomp")
    async with made.running():
        yield made


@pytest.mark.docker
async def test_docker_a_simple_pod_runs_and_goes_without_a_trace(kept: Kept) -> None:
    pod = a_pod(sh(FOREVER))
    kept.assign(pod)
    await kept.see(lambda: kept.phase(pod) == "Running")
    assert kept.of(pod).ready
    await kept.delete(pod)
    assert kept.of(pod).state.terminated.exit_code == 0
    listing = await kept.runtime.pod_listing(pod.metadata.uid)
    assert (list(listing.containers), list(listing.sandboxes)) == ([], [])


@pytest.mark.docker
async def test_docker_a_pod_that_ignores_sigterm_dies_after_its_grace(kept: Kept) -> None:
    pod = a_pod(sh("trap '' TERM; while :; do sleep 0.1; done"), grace=1)
    kept.assign(pod)
    await kept.see(lambda: kept.phase(pod) == "Running")
    await kept.delete(pod)
    ended = kept.of(pod).state.terminated
    assert (ended.exit_code, ended.signal) == (137, 9)


@pytest.mark.docker
async def test_docker_a_crash_loop_counts_backs_off_and_keeps_the_last_end(kept: Kept) -> None:
    pod = a_pod(sh("exit 3"))
    kept.assign(pod)
    await kept.see(lambda: kept.of(pod).restart_count == 2)
    await kept.see(lambda: kept.of(pod).state.waiting.reason == "CrashLoopBackOff")
    assert kept.of(pod).last_state.terminated.exit_code == 3
    assert len(await kept.records(pod)) == 2
    await kept.delete(pod)


@pytest.mark.docker
async def test_docker_a_command_that_does_not_exist_is_told(kept: Kept) -> None:
    pod = a_pod(Container(name="app", image=IMAGE, image_pull_policy="IfNotPresent", command=["/no/such"]))
    kept.assign(pod)
    await kept.see(lambda: kept.of(pod).last_state.terminated.reason == "StartError")
    assert "/no/such" in kept.of(pod).last_state.terminated.message
    await kept.delete(pod)


@pytest.mark.docker
async def test_docker_an_image_that_does_not_exist_is_told(kept: Kept) -> None:
    pod = a_pod(sh("true", image="absent.invalid/none:1"))
    kept.assign(pod)
    await kept.see(lambda: kept.of(pod).state.waiting.reason in ("ErrImagePull", "ImagePullBackOff"))
    assert "absent.invalid" in kept.of(pod).state.waiting.message
    await kept.delete(pod)


@pytest.mark.docker
async def test_docker_init_then_sidecar_then_main_then_success(kept: Kept) -> None:
    log = sh(FOREVER, "log", restart_policy="Always")
    pod = a_pod(sh("sleep 0.3; exit 0"), init=(sh("true", "init"), log), policy="Never")
    kept.assign(pod)
    await kept.see(lambda: kept.phase(pod) == "Succeeded")
    by_name = {record.name: record for record in await kept.records(pod)}
    first, then, last = by_name["init"], by_name["log"], by_name["app"]
    assert _moment(first.finished_at) <= _moment(then.started_at) <= _moment(last.started_at)
    assert _moment(last.finished_at) <= _moment(then.finished_at)
    await kept.see(lambda: pod.metadata.uid not in kept.network.addresses)
    assert not (await kept.runtime.pod_listing(pod.metadata.uid)).sandboxes
    await kept.delete(pod)


def _moment(moment: datetime.datetime | None) -> datetime.datetime:
    assert moment is not None
    return moment


@pytest.mark.docker
async def test_docker_probes_by_exec_and_http(kept: Kept) -> None:
    port = _free_port()
    web = sh(
        f"mkdir -p /www && echo ok > /www/index.html && httpd -f -p {port} -h /www & {FOREVER}",
        startup_probe=Probe(exec=exec_action("test -e /www/index.html"), period_seconds=1),
        readiness_probe=Probe(http_get=HTTPGetAction(port=IntOrString(int_value=port)), period_seconds=1),
        liveness_probe=Probe(exec=exec_action("! test -e /sick"), period_seconds=1, failure_threshold=1),
    )
    pod = a_pod(web)
    pod.spec.host_network = True
    kept.assign(pod)
    await kept.see(lambda: kept.of(pod).ready)
    process = await kept.runtime.exec(kept.manager.container("ns", pod.metadata.name).id, ["rm", "/www/index.html"])
    assert await _finished(process) == 0
    await kept.see(lambda: not kept.of(pod).ready)
    assert any("statuscode: 404" in message for _, message in kept.events)
    process = await kept.runtime.exec(kept.manager.container("ns", pod.metadata.name).id, ["touch", "/sick"])
    assert await _finished(process) == 0
    await kept.see(lambda: kept.of(pod).restart_count == 1 and kept.of(pod).ready)
    await kept.delete(pod)


async def _finished(process: ExecStream) -> int:
    async for _ in process.output():
        pass
    code = await process.exit_code()
    await process.close()
    return code


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.docker
async def test_docker_a_probe_that_hangs_is_cut_off_and_counts(kept: Kept) -> None:
    probe = Probe(exec=exec_action("sleep 1000"), period_seconds=1, timeout_seconds=1, failure_threshold=1)
    pod = a_pod(sh(FOREVER, liveness_probe=probe))
    kept.assign(pod)
    await kept.see(lambda: kept.of(pod).restart_count == 1)
    assert any("timed out after 1s" in message for _, message in kept.events)
    await kept.delete(pod)


@pytest.mark.docker
async def test_docker_hooks(kept: Kept) -> None:
    hooks = Lifecycle(
        post_start=LifecycleHandler(exec=exec_action("touch /started")),
        pre_stop=LifecycleHandler(exec=exec_action("touch /stopping; sleep 0.2")),
    )
    script = "trap 'test -e /started && test -e /stopping && exit 42; exit 1' TERM; while :; do sleep 0.1; done"
    pod = a_pod(sh(script, lifecycle=hooks), grace=5)
    kept.assign(pod)
    await kept.see(lambda: kept.of(pod).ready)
    await kept.delete(pod)
    assert kept.of(pod).state.terminated.exit_code == 42


@pytest.mark.docker
async def test_docker_a_container_killed_or_removed_behind_our_back_is_restarted(kept: Kept) -> None:
    pod = a_pod(sh(FOREVER))
    kept.assign(pod)
    await kept.see(lambda: kept.phase(pod) == "Running")
    await kept.runtime.signal_container(kept.manager.container("ns", pod.metadata.name).id, "SIGKILL")
    await kept.see(lambda: kept.of(pod).restart_count == 1 and kept.of(pod).ready)
    await kept.runtime.remove_container(kept.manager.container("ns", pod.metadata.name).id)
    await kept.see(lambda: kept.of(pod).restart_count == 2 and kept.of(pod).ready)
    await kept.delete(pod)


@pytest.mark.docker
async def test_docker_a_sandbox_killed_behind_our_back_is_made_anew(kept: Kept) -> None:
    pod = a_pod(sh(FOREVER))
    kept.assign(pod)
    await kept.see(lambda: kept.phase(pod) == "Running")
    (sandbox,) = (await kept.runtime.pod_listing(pod.metadata.uid)).sandboxes
    await kept.runtime.remove_sandbox(sandbox.id)
    await kept.see(lambda: kept.of(pod).restart_count == 1 and kept.of(pod).ready)
    (sandbox,) = (await kept.runtime.pod_listing(pod.metadata.uid)).sandboxes
    assert (sandbox.attempt, sandbox.state) == (1, State.RUNNING)
    await kept.delete(pod)


@pytest.mark.docker
async def test_docker_a_new_nodelet_adopts_without_a_restart(engine: DockerRuntime) -> None:
    pod, orphan = a_pod(sh(FOREVER)), a_pod(sh(FOREVER))
    first, second = Kept(engine), Kept(engine)
    async with first.running():
        first.assign(pod, orphan)
        await first.see(lambda: first.phase(pod) == first.phase(orphan) == "Running")
    (before,) = await first.records(pod)
    second.pods = {pod.metadata.uid: _with_status(pod, first.statuses[pod.metadata.uid])}
    async with second.running():
        await second.see(lambda: orphan.metadata.uid in second.gone and second.phase(pod) == "Running")
        (after,) = await second.records(pod)
        assert (after.id, after.started_at) == (before.id, before.started_at)
        assert second.of(pod).restart_count == 0
        await second.delete(pod)


# ---------------------------------------------------------------- profiles of system calls

NO_NEW_FOLDERS = """{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]
}"""


@pytest.mark.docker
async def test_docker_a_profile_of_the_node_confines_a_container_that_waits_until_it_is_there(
    kept: Kept, tmp_path: Path
) -> None:
    pod = a_pod(sh("touch /file || exit 1; mkdir /made && exit 2; exit 3"), policy="Never")
    pod.spec.security_context.seccomp_profile.type = "Localhost"
    pod.spec.security_context.seccomp_profile.localhost_profile = "profiles/no-folders.json"
    kept.assign(pod)
    await kept.see(lambda: kept.of(pod).state.waiting.reason == "CreateContainerConfigError")
    file = tmp_path / "seccomp/profiles/no-folders.json"
    missing = f'cannot load seccomp profile "{file}": No such file or directory'
    assert kept.of(pod).state.waiting.message == missing
    assert ("Failed", f"Error: {missing}") in kept.events
    file.parent.mkdir(parents=True)
    file.write_text(NO_NEW_FOLDERS)
    await kept.see(lambda: kept.phase(pod) == "Failed")
    assert kept.of(pod).state.terminated.exit_code == 3, "a file can be made, a folder cannot"
