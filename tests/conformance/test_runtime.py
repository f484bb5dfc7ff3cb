"""What every `Runtime` must do, asked of the hollow one and, with the marker `docker`, of a real engine."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from nodelet.runtime.docker import DockerRuntime
from nodelet.runtime.hollow import Behaviour, HollowRuntime, HollowSettings
from nodelet.runtime.protocol import (
    Archives,
    ContainerRecord,
    ContainerSpec,
    Exec,
    Images,
    Logs,
    PodIdentity,
    Runtime,
    RuntimeFault,
    Sandbox,
    SandboxSpec,
    State,
)

IMAGE = "busybox:latest"
PATIENCE = 20.0

_HOLLOW = HollowSettings(
    behaviours={"absent.invalid/none:1": Behaviour(pull_error="no such host")}, default=Behaviour(stop_takes=0)
)


@pytest.fixture(params=["hollow", pytest.param("docker", marks=pytest.mark.docker)])
async def runtime(request: pytest.FixtureRequest) -> AsyncIterator[DockerRuntime | HollowRuntime]:
    if request.param == "hollow":
        made: DockerRuntime | HollowRuntime = HollowRuntime(_HOLLOW)
    else:
        made = DockerRuntime(owner=f"test-{uuid.uuid4().hex[:8]}")
    try:
        yield made
    finally:
        left = await made.listing()
        for container in left.containers:
            await made.remove_container(container.id)
        for sandbox in left.sandboxes:
            await made.remove_sandbox(sandbox.id)
        await made.close()


def a_pod() -> PodIdentity:
    return PodIdentity(namespace="default", name="web-1", uid=str(uuid.uuid4()))


def a_container(pod: PodIdentity, *, attempt: int = 0, name: str = "app", command: str = "sleep 1000") -> ContainerSpec:
    return ContainerSpec(
        pod=pod,
        name=name,
        attempt=attempt,
        image=IMAGE,
        config_hash="h1",
        command=("sh", "-c", command),
        labels={"extra": "kept"},
    )


async def a_sandbox(runtime: Runtime, pod: PodIdentity) -> Sandbox:
    return await runtime.create_sandbox(SandboxSpec(pod=pod, attempt=0, hostname="web-1"))


async def a_running(runtime: Runtime, *, command: str = "sleep 1000") -> str:
    pod = a_pod()
    container = await runtime.create_container(a_container(pod, command=command), await a_sandbox(runtime, pod))
    await runtime.start_container(container)
    return container


async def the_container(runtime: Runtime, container_id: str) -> ContainerRecord:
    (found,) = [one for one in (await runtime.listing()).containers if one.id == container_id]
    return found


async def ended(runtime: Runtime, container_id: str) -> ContainerRecord:
    """Wait for a container's end, by events and not by time."""
    async with asyncio.timeout(PATIENCE):
        events = runtime.events()
        while (record := await the_container(runtime, container_id)).state is not State.EXITED:
            await anext(events)
    return record


def test_a_runtime_offers_every_part(runtime: DockerRuntime | HollowRuntime) -> None:
    for part in (Runtime, Images, Exec, Logs, Archives):
        assert isinstance(runtime, part)


async def test_a_pod_is_listed_from_sandbox_to_start(runtime: Runtime) -> None:
    pod = a_pod()
    sandbox = await a_sandbox(runtime, pod)
    assert sandbox.pod == pod
    assert sandbox.state is State.RUNNING
    assert sandbox.netns_path

    container = await runtime.create_container(a_container(pod), sandbox)
    created = await the_container(runtime, container)
    assert (created.state, created.started_at) == (State.CREATED, None)

    await runtime.start_container(container)
    listing = await runtime.pod_listing(pod.uid)
    assert [one.id for one in listing.sandboxes] == [sandbox.id]
    (record,) = listing.containers
    assert (record.id, record.pod, record.name, record.attempt) == (container, pod, "app", 0)
    assert (record.state, record.config_hash, record.labels["extra"]) == (State.RUNNING, "h1", "kept")
    assert record.started_at is not None
    assert record.started_at >= record.created_at
    assert record.image_id.startswith("sha256:")


async def test_each_step_may_be_repeated(runtime: Runtime) -> None:
    pod = a_pod()
    sandbox = await a_sandbox(runtime, pod)
    assert (await a_sandbox(runtime, pod)).id == sandbox.id
    spec = a_container(pod)
    container = await runtime.create_container(spec, sandbox)
    assert await runtime.create_container(spec, sandbox) == container
    await runtime.start_container(container)
    await runtime.start_container(container)
    for _ in range(2):
        await runtime.stop_container(container, 0)
        await runtime.signal_container(container, "SIGTERM")
    for _ in range(2):
        await runtime.remove_container(container)
        await runtime.remove_sandbox(sandbox.id)
    listing = await runtime.listing()
    assert (list(listing.sandboxes), list(listing.containers)) == ([], [])


async def test_a_new_attempt_is_a_new_container(runtime: Runtime) -> None:
    pod = a_pod()
    sandbox = await a_sandbox(runtime, pod)
    first = await runtime.create_container(a_container(pod, attempt=0), sandbox)
    second = await runtime.create_container(a_container(pod, attempt=1), sandbox)
    assert first != second
    assert {one.attempt for one in (await runtime.pod_listing(pod.uid)).containers} == {0, 1}


async def test_another_pods_things_are_not_in_a_pods_listing(runtime: Runtime) -> None:
    one, other = a_pod(), a_pod()
    await a_sandbox(runtime, one)
    await a_sandbox(runtime, other)
    assert [sandbox.pod for sandbox in (await runtime.pod_listing(one.uid)).sandboxes] == [one]
    assert len((await runtime.listing()).sandboxes) == 2


async def test_a_stopped_container_keeps_its_record(runtime: Runtime) -> None:
    container = await a_running(runtime, command="trap 'exit 143' TERM; while :; do sleep 0.05; done")
    await runtime.stop_container(container, 10)
    record = await the_container(runtime, container)
    assert (record.state, record.exit_code) == (State.EXITED, 143)
    assert record.finished_at is not None


async def test_a_killed_container_has_ended_with_137(runtime: Runtime) -> None:
    container = await a_running(runtime)
    await runtime.signal_container(container, "SIGKILL")
    assert (await ended(runtime, container)).exit_code == 137


async def test_events_name_the_pod_of_what_happened_since_they_were_asked_for(runtime: Runtime) -> None:
    pod = a_pod()
    sandbox = await a_sandbox(runtime, pod)
    events = runtime.events()
    container = await runtime.create_container(a_container(pod), sandbox)
    await runtime.start_container(container)
    await runtime.signal_container(container, "SIGKILL")
    seen = set()
    async with asyncio.timeout(PATIENCE):
        async for event in events:
            if event.container_id == container:
                assert event.pod_uid == pod.uid
                seen.add(event.action)
            if "die" in seen:
                break
    assert {"start", "die"} <= seen


async def test_an_image_that_is_not_here_is_none(runtime: Images) -> None:
    assert await runtime.find_image("absent.invalid/none:1") is None
    image = await runtime.find_image(IMAGE)
    assert image is not None
    assert image.size_bytes > 0
    assert image.id in {one.id for one in await runtime.list_images()}


async def test_a_pull_that_fails_says_why(runtime: Images) -> None:
    with pytest.raises(RuntimeFault) as caught:
        await runtime.pull_image("absent.invalid/none:1", [])
    assert caught.value.reason == "ErrImagePull"
    assert "no such host" in caught.value.message or "dial" in caught.value.message


async def test_root_is_refused_to_a_container_that_must_not_run_as_root(runtime: Runtime) -> None:
    pod = a_pod()
    sandbox = await a_sandbox(runtime, pod)
    spec = ContainerSpec(pod=pod, name="app", attempt=0, image=IMAGE, config_hash="h", run_as_non_root=True)
    with pytest.raises(RuntimeFault) as caught:
        await runtime.create_container(spec, sandbox)
    assert caught.value.reason == "CreateContainerConfigError"


async def test_exec_answers_and_ends_with_a_code(runtime: DockerRuntime | HollowRuntime) -> None:
    container = await a_running(runtime)
    stream = await runtime.exec(container, ["echo", "hello"])
    output = b"".join([piece async for _, piece in stream.output()])
    assert b"hello" in output
    assert await stream.exit_code() == 0
    await stream.close()


async def test_exec_needs_a_running_container(runtime: DockerRuntime | HollowRuntime) -> None:
    container = await a_running(runtime)
    await runtime.stop_container(container, 0)
    with pytest.raises(RuntimeFault) as caught:
        await runtime.exec(container, ["true"])
    assert caught.value.reason == "ExecError"


async def test_logs_are_bytes_of_named_streams(runtime: DockerRuntime | HollowRuntime) -> None:
    container = await a_running(runtime, command="echo a; echo hollow container; exec sleep 1000")
    async with asyncio.timeout(PATIENCE):
        async for stream, piece in runtime.logs(container, follow=True, tail=None, since=None, timestamps=False):
            assert stream == 1
            if b"hollow container" in piece:
                break


async def test_following_logs_ends_with_the_container(runtime: DockerRuntime | HollowRuntime) -> None:
    container = await a_running(runtime)

    async def follow() -> list[tuple[int, bytes]]:
        stream = runtime.logs(container, follow=True, tail=None, since=None, timestamps=True)
        return [item async for item in stream]

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(follow())
        await runtime.stop_container(container, 0)
