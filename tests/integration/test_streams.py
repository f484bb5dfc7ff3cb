"""Streams into pods, over real gRPC: caller → master → nodelet → runtime and back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from nodelet.session.dial import GrpcDialer
from nodelet.session.streams import Streams
from podium.aio.clock import SystemClock
from podium.aio.tasks import TaskScope
from podium.v1.core_pb2 import Container, Pod
from podium.v1.pods_service_pb2 import (
    AttachRequest,
    CopyRequest,
    ExecRequest,
    LogsRequest,
    PodKey,
    PortForwardRequest,
    StreamFrame,
    TerminalSize,
)
from podium.v1.pods_service_pb2_grpc import PodsStub
from tests.support.echo_runtime import EchoRuntime
from tests.support.nodes import RecordingNode
from tests.support.small_master import SmallMaster, small_master
from tests.support.waiting import until

KEY = PodKey(namespace="ns", name="a")
CLOSE = StreamFrame(close=True)


@dataclass
class World:
    """A master, a node with one running pod, and an administrator's stub."""

    master: SmallMaster
    runtime: EchoRuntime
    node: RecordingNode[GrpcDialer]
    stub: Any


def running_pod(*containers: str) -> Pod:
    pod = Pod()
    pod.metadata.namespace, pod.metadata.name = "ns", "a"
    pod.spec.node_name = "n1"
    pod.spec.containers.extend(Container(name=c, image="i") for c in containers)
    pod.status.phase, pod.status.pod_ip = "Running", "10.64.0.5"
    for name in containers:
        pod.status.container_statuses.add(name=name).state.running.SetInParent()
    return pod


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with small_master(tmp_path / "master") as master, TaskScope(on_error=lambda *_: None) as scope:
        pod = master.access.put(running_pod("main"))
        runtime = EchoRuntime(pod.metadata.uid, netns_path=f"/proc/{os.getpid()}/ns/net")
        dialer = GrpcDialer(await master.join("n1"), [master.endpoint])
        node = RecordingNode(dialer, SystemClock())
        streams = Streams(runtime=runtime, dial=dialer.stream, scope=scope)
        node.open = streams.open  # type: ignore[method-assign]
        _ = scope.start(node.session.run(), name="session")
        await until(lambda: node.names() == {"a"})
        async with master.channel("admin", "system:masters") as channel:
            yield World(master, runtime, node, PodsStub(channel))
        await dialer.close()


async def frames(call: Any) -> list[StreamFrame]:
    return [frame async for frame in call]


async def converse(call: Any, *sent: StreamFrame) -> list[StreamFrame]:
    async def send() -> AsyncIterator[StreamFrame]:
        for frame in sent:
            yield frame

    return await frames(call(send(), timeout=20))


async def refusal(call: Any, code: grpc.StatusCode) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await frames(call)
    assert caught.value.code() is code
    return caught.value.details() or ""


def exec_frame(*command: str, container: str = "", tty: bool = False) -> StreamFrame:
    key = PodKey(namespace="ns", name="a", container=container)
    size = TerminalSize(width=80, height=24) if tty else None
    return StreamFrame(exec=ExecRequest(pod=key, command=command, stdin=True, tty=tty, size=size))


# ---------------------------------------------------------------- logs


async def test_logs(world: World) -> None:
    out, err, end = await frames(world.stub.Logs(LogsRequest(pod=KEY, tail_lines=5)))
    assert out.data == b"main-1 tail=5\n"
    assert err.stderr == b"to stderr\n"
    assert end.close


async def test_logs_of_the_previous_run_and_limited(world: World) -> None:
    only, _ = await frames(world.stub.Logs(LogsRequest(pod=KEY, previous=True, limit_bytes=6)))
    assert only.data == b"main-0"


async def test_following_ends_when_the_caller_leaves(world: World) -> None:
    call = world.stub.Logs(LogsRequest(pod=KEY, follow=True))
    await call.read()
    await until(lambda: world.runtime.followers == 1)
    call.cancel()
    await until(lambda: world.runtime.followers == 0)


# ---------------------------------------------------------------- exec, attach


async def test_exec_echoes_and_ends_with_its_code(world: World) -> None:
    got = await converse(world.stub.Exec, exec_frame("cat", "-"), StreamFrame(data=b"hello"), CLOSE)
    assert [f.WhichOneof("frame") for f in got] == ["data", "stderr", "exit"]
    assert got[0].data == b"hello"
    assert got[-1].exit.code == 3
    assert world.runtime.commands == [["cat", "-"]]
    await until(lambda: world.runtime.processes[0].closed)


async def test_the_callers_end_of_stream_is_the_end_of_stdin(world: World) -> None:
    got = await converse(world.stub.Exec, exec_frame("cat"), StreamFrame(data=b"x"))
    assert got[-1].exit.code == 3


async def test_a_terminal_has_a_size_and_can_be_resized(world: World) -> None:
    resize = StreamFrame(resize=TerminalSize(width=100, height=30))
    await converse(world.stub.Exec, exec_frame("sh", tty=True), resize, CLOSE)
    assert world.runtime.processes[0].sizes == [(80, 24), (100, 30)]


async def test_a_command_that_does_not_exist_says_so(world: World) -> None:
    got = await converse(world.stub.Exec, exec_frame("missing"))
    assert "executable file not found" in got[-1].error.message


async def test_the_process_is_left_when_the_caller_leaves(world: World) -> None:
    call = world.stub.Exec()
    await call.write(exec_frame("cat"))
    await call.write(StreamFrame(data=b"x"))
    await call.read()
    call.cancel()
    await until(lambda: world.runtime.processes[0].closed)


async def test_attach(world: World) -> None:
    got = await converse(
        world.stub.Attach, StreamFrame(attach=AttachRequest(pod=KEY, stdin=True)), StreamFrame(data=b"hi"), CLOSE
    )
    assert got[0].data == b"hi"
    assert world.runtime.processes[0].sizes == []


async def test_a_callers_terminal_has_its_size_from_the_start(world: World) -> None:
    size, resized = TerminalSize(width=80, height=24), TerminalSize(width=100, height=30)
    first = StreamFrame(attach=AttachRequest(pod=KEY, stdin=True, size=size))
    await converse(world.stub.Attach, first, StreamFrame(resize=resized), CLOSE)
    assert world.runtime.processes[0].sizes == [(80, 24), (100, 30)]


async def test_much_data_passes_with_little_memory(world: World) -> None:
    piece, count = bytes(60_000), 200
    sent: Sequence[StreamFrame] = [StreamFrame(data=piece)] * count
    got = await converse(world.stub.Exec, exec_frame("cat"), *sent, CLOSE)
    assert sum(len(f.data) for f in got) == len(piece) * count


# ---------------------------------------------------------------- copy, port-forward


async def test_copy_up_and_down(world: World) -> None:
    up = StreamFrame(copy=CopyRequest(pod=KEY, path="/tmp/x", upload=True))
    done = await converse(world.stub.Copy, up, StreamFrame(data=b"tar"), StreamFrame(data=b"ball"), CLOSE)
    assert done[-1].exit.code == 0
    down = StreamFrame(copy=CopyRequest(pod=KEY, path="/tmp/x"))
    got = await converse(world.stub.Copy, down)
    assert got[0].data == b"tarball"
    missing = await converse(world.stub.Copy, StreamFrame(copy=CopyRequest(pod=KEY, path="/none")))
    assert "no /none" in missing[-1].error.message


async def test_port_forward(world: World) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"<" + await reader.read() + b">")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    first = StreamFrame(port_forward=PortForwardRequest(pod=KEY, port=port))
    got = await converse(world.stub.PortForward, first, StreamFrame(data=b"ping"), CLOSE)
    assert b"".join(f.data for f in got) == b"<ping>"
    server.close()
    got = await converse(world.stub.PortForward, first)
    assert "can't connect to port" in got[-1].error.message


# ---------------------------------------------------------------- what is refused


async def test_a_pod_or_container_that_is_not_there(world: World) -> None:
    missing = LogsRequest(pod=PodKey(namespace="ns", name="none"))
    assert "not found" in await refusal(world.stub.Logs(missing), grpc.StatusCode.NOT_FOUND)
    wrong = LogsRequest(pod=PodKey(namespace="ns", name="a", container="x"))
    assert "choose one of: main" in await refusal(world.stub.Logs(wrong), grpc.StatusCode.NOT_FOUND)


async def test_an_ambiguous_container_is_named(world: World) -> None:
    pod = world.master.access.put(running_pod("main", "side"))
    details = await refusal(world.stub.Logs(LogsRequest(pod=KEY)), grpc.StatusCode.INVALID_ARGUMENT)
    assert "choose one of: main, side" in details
    pod.metadata.annotations["kubectl.kubernetes.io/default-container"] = "main"
    world.master.access.put(pod)
    assert await frames(world.stub.Logs(LogsRequest(pod=KEY)))


async def test_a_pod_without_a_node_or_that_is_not_running(world: World) -> None:
    pod = running_pod("main")
    pod.status.container_statuses[0].state.waiting.reason = "ImagePullBackOff"
    pod.status.container_statuses[0].state.ClearField("running")
    world.master.access.put(pod)
    with pytest.raises(grpc.aio.AioRpcError, match="ImagePullBackOff"):
        await converse(world.stub.Exec, exec_frame("sh"))
    pod.spec.node_name = ""
    world.master.access.put(pod)
    assert "explain" in await refusal(world.stub.Logs(LogsRequest(pod=KEY)), grpc.StatusCode.ABORTED)


async def test_a_node_that_is_away(world: World) -> None:
    pod = running_pod("main")
    pod.spec.node_name = "n2"
    world.master.access.put(pod)
    assert "n2 is not connected" in await refusal(world.stub.Logs(LogsRequest(pod=KEY)), grpc.StatusCode.UNAVAILABLE)


async def test_a_node_that_does_not_answer(world: World) -> None:
    world.node.open = lambda request: None  # type: ignore[method-assign]
    world.master.dispatcher.streams._open_seconds = 0.2
    details = await refusal(world.stub.Logs(LogsRequest(pod=KEY)), grpc.StatusCode.UNAVAILABLE)
    assert "did not open the stream" in details


async def test_a_node_that_goes_away_ends_its_streams(world: World) -> None:
    call = world.stub.Logs(LogsRequest(pod=KEY, follow=True))
    await call.read()
    await call.read()
    await world.node.dialer.close()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_who_may_only_look_cannot_reach_in(world: World) -> None:
    async with world.master.channel("jane", "podium:viewers") as channel:
        stub: Any = PodsStub(channel)
        assert await frames(stub.Logs(LogsRequest(pod=KEY)))
        with pytest.raises(grpc.aio.AioRpcError, match="cannot create Pod/exec"):
            await converse(stub.Exec, exec_frame("sh"))


async def test_a_stream_nobody_asked_for_is_refused(world: World) -> None:
    link = await world.node.dialer.stream("made-up")
    with pytest.raises(Exception, match="NOT_FOUND"):
        await link.receive()
