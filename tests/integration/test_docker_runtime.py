"""What only a real engine can show: OCI errors, OOM kills, limits, terminals, archives, and the sandbox program."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import io
import tarfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from docker import APIClient

from nodelet.runtime.docker import DockerRuntime
from nodelet.runtime.docker.sandbox_image import image_name
from nodelet.runtime.docker.wire import Wire
from nodelet.runtime.protocol import (
    Allowance,
    ContainerRecord,
    ContainerSpec,
    ExecStream,
    PodIdentity,
    RuntimeDown,
    RuntimeFault,
    Sandbox,
    SandboxSpec,
    State,
)

pytestmark = pytest.mark.docker
IMAGE = "busybox:latest"
PATIENCE = 20.0


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    made = DockerRuntime(owner=f"test-{uuid.uuid4().hex[:8]}", messages=tmp_path / "termination")
    try:
        yield made
    finally:
        left = await made.listing()
        for container in left.containers:
            await made.remove_container(container.id)
        for sandbox in left.sandboxes:
            await made.remove_sandbox(sandbox.id)
        await made.close()


@pytest.fixture
def api() -> Iterator[APIClient]:
    """The engine itself, to look behind the runtime's back."""
    client = APIClient()
    yield client
    client.close()


@pytest.fixture
async def sandbox(runtime: DockerRuntime) -> Sandbox:
    pod = PodIdentity(namespace="default", name="web-1", uid=str(uuid.uuid4()))
    return await runtime.create_sandbox(
        SandboxSpec(
            pod=pod,
            attempt=0,
            hostname="web-1",
            dns_servers=("10.9.9.9",),
            dns_searches=("default.svc",),
            hosts=[("db", "10.1.1.1")],
        )
    )


def spec(sandbox: Sandbox, *command: str, **more: Any) -> ContainerSpec:
    return ContainerSpec(pod=sandbox.pod, name="app", attempt=0, image=IMAGE, config_hash="h", command=command, **more)


async def started(runtime: DockerRuntime, sandbox: Sandbox, *command: str, **more: Any) -> str:
    container = await runtime.create_container(spec(sandbox, *command, **more), sandbox)
    await runtime.start_container(container)
    return container


async def ended(runtime: DockerRuntime, container_id: str) -> ContainerRecord:
    async with asyncio.timeout(PATIENCE):
        events = runtime.events()
        while True:
            (record,) = (one for one in (await runtime.listing()).containers if one.id == container_id)
            if record.state is State.EXITED:
                return record
            await anext(events)


async def output(stream: ExecStream) -> tuple[bytes, bytes, int]:
    """Standard output, standard error, exit code."""
    taken = {1: b"", 2: b""}
    async with asyncio.timeout(PATIENCE):
        async for number, piece in stream.output():
            taken[number] += piece
        code = await stream.exit_code()
    await stream.close()
    return taken[1], taken[2], code


async def run(runtime: DockerRuntime, container: str, *command: str) -> tuple[bytes, bytes, int]:
    return await output(await runtime.exec(container, command))


async def everything(runtime: DockerRuntime, container: str, **options: Any) -> list[tuple[int, bytes]]:
    chosen: dict[str, Any] = {"follow": False, "tail": None, "since": None, "timestamps": False, **options}
    async with asyncio.timeout(PATIENCE):
        return [item async for item in runtime.logs(container, **chosen)]


# ---------------------------------------------------------------- the sandbox


async def test_the_sandbox_ends_at_once_when_asked(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    async with asyncio.timeout(5):  # Docker itself would kill it after 30
        await runtime.stop_container(sandbox.id, 30)
    (left,) = (await runtime.listing()).sandboxes
    assert (left.state, left.netns_path) == (State.EXITED, "")


async def test_the_sandbox_is_made_again_when_its_image_was_cleaned_away(runtime: DockerRuntime) -> None:
    pod = PodIdentity(namespace="default", name="web-1", uid=str(uuid.uuid4()))
    await runtime.remove_sandbox((await runtime.create_sandbox(SandboxSpec(pod=pod, attempt=0, hostname="w"))).id)
    image = await runtime.find_image(image_name())
    assert image is not None
    with suppress(RuntimeFault):  # another run on this engine may use it
        await runtime.remove_image(image.id)
    assert (await runtime.create_sandbox(SandboxSpec(pod=pod, attempt=1, hostname="w"))).state is State.RUNNING


async def test_containers_share_the_sandboxes_name_files_and_loopback(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sleep", "1000")
    out, _, _ = await run(runtime, container, "sh", "-c", "hostname; cat /etc/resolv.conf /etc/hosts; ip -o link")
    text = out.decode()
    assert text.startswith("web-1\n")
    assert "nameserver 10.9.9.9" in text
    assert "search default.svc" in text
    assert "10.1.1.1\tdb" in text
    assert "lo:" in text
    assert "eth0" not in text
    assert Path(sandbox.netns_path).exists()


@pytest.mark.parametrize(
    ("searches", "options", "expected"),
    [
        ((), (), {"nameserver 10.9.9.9", "options ndots:1"}),
        (("corp",), ("ndots:2", "rotate"), {"nameserver 10.9.9.9", "search corp", "options ndots:2 rotate"}),
    ],
)
async def test_a_sandbox_with_resolvers_of_its_own_has_these_settings_and_no_others(
    runtime: DockerRuntime, searches: tuple[str, ...], options: tuple[str, ...], expected: set[str]
) -> None:
    pod = PodIdentity(namespace="default", name="names", uid=str(uuid.uuid4()))
    sandbox = await runtime.create_sandbox(
        SandboxSpec(
            pod=pod, attempt=0, hostname="names", dns_servers=["10.9.9.9"], dns_searches=searches, dns_options=options
        )
    )
    container = await started(runtime, sandbox, "sleep", "1000")
    out, _, _ = await run(runtime, container, "grep", "-v", "^#", "/etc/resolv.conf")
    assert set(filter(None, out.decode().splitlines())) == expected


# ---------------------------------------------------------------- starting, and how it fails


async def test_a_command_that_does_not_exist_is_a_named_error_and_an_ended_container(
    runtime: DockerRuntime, sandbox: Sandbox
) -> None:
    container = await runtime.create_container(spec(sandbox, "/no/such/thing"), sandbox)
    with pytest.raises(RuntimeFault) as caught:
        await runtime.start_container(container)
    assert caught.value.reason == "RunContainerError"
    assert "no such file or directory" in caught.value.message
    (record,) = (await runtime.pod_listing(sandbox.pod.uid)).containers
    assert (record.state, record.exit_code) == (State.EXITED, 127)
    assert "no such file or directory" in record.error


async def test_an_image_that_is_missing_at_creation_is_a_named_error(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    absent = ContainerSpec(pod=sandbox.pod, name="a", attempt=0, image="absent.invalid/x:1", config_hash="h")
    with pytest.raises(RuntimeFault) as caught:
        await runtime.create_container(absent, sandbox)
    assert caught.value.reason == "CreateContainerError"
    assert "No such image" in caught.value.message


async def test_limits_users_and_capabilities_hold_inside(
    runtime: DockerRuntime, sandbox: Sandbox, api: APIClient
) -> None:
    container = await started(
        runtime,
        sandbox,
        "sleep",
        "1000",
        cpu_limit=0.5,
        memory_limit=32 << 20,
        memory_request=16 << 20,
        run_as_user=1234,
        run_as_group=5678,
        supplemental_groups=(4321,),
        capabilities_drop=("ALL",),
        read_only_root=True,
        no_new_privileges=True,
        env={"GREETING": "hello=there"},
        working_dir="/tmp",
        oom_score_adj=500,
    )
    command = "id; pwd; echo $GREETING; cat /proc/self/status /proc/self/oom_score_adj; touch /x"
    out, err, code = await run(runtime, container, "sh", "-c", command)
    text = out.decode()
    assert "uid=1234 gid=5678 groups=4321" in text.replace(",5678", "").replace("5678,", "")
    assert "\n/tmp\nhello=there\n" in text
    assert "CapEff:\t0000000000000000" in text
    assert "NoNewPrivs:\t1" in text
    assert text.endswith("\n500\n")
    assert b"Read-only file system" in err
    assert code == 1
    state = api.inspect_container(container)["HostConfig"]
    assert (state["CpuQuota"], state["Memory"], state["MemorySwap"]) == (50_000, 32 << 20, 32 << 20)


async def test_a_container_killed_for_memory_says_so(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", memory_limit=8 << 20)
    record = await ended(runtime, container)
    assert (record.oom_killed, record.exit_code) == (True, 137)


async def test_a_container_killed_behind_our_back_is_seen_and_remembered(
    runtime: DockerRuntime, sandbox: Sandbox, api: APIClient
) -> None:
    container = await started(runtime, sandbox, "sleep", "1000")
    api.kill(container, "SIGKILL")
    first = await ended(runtime, container)
    assert first.exit_code == 137
    assert await ended(runtime, container) == first


async def test_a_new_process_finds_everything_by_labels(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    await started(runtime, sandbox, "sleep", "1000")
    successor = DockerRuntime(owner=runtime._owner)
    try:
        assert await successor.listing() == await runtime.listing()
    finally:
        await successor.close()


# ---------------------------------------------------------------- exec, attach


async def test_exec_keeps_streams_apart_and_takes_input(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sleep", "1000")
    stream = await runtime.exec(container, ["sh", "-c", "wc -c; echo oops >&2; exit 3"], stdin=True)
    for _ in range(40):
        await stream.write(b"x" * 50_000)
    await stream.close_stdin()
    assert await output(stream) == (b"2000000\n", b"oops\n", 3)


async def test_exec_of_a_large_output_is_complete(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sleep", "1000")
    out, _, code = await run(runtime, container, "head", "-c", "5000000", "/dev/zero")
    assert (len(out), code) == (5_000_000, 0)


async def test_exec_of_a_missing_command_ends_with_126_or_127(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sleep", "1000")
    out, err, code = await run(runtime, container, "/no/such/thing")
    assert code in (126, 127)
    assert b"no such file" in out + err


async def test_a_terminal_can_be_resized(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sleep", "1000")
    stream = await runtime.exec(container, ["sh", "-c", "read go; stty size"], stdin=True, tty=True)
    await stream.resize(132, 43)
    await stream.write(b"go\n")
    out, _, code = await output(stream)
    assert b"43 132" in out
    assert code == 0


async def test_an_exec_that_is_abandoned_is_killed(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sleep", "1000")
    stream = await runtime.exec(container, ["sh", "-c", "echo here; exec sleep 12345"])
    await anext(stream.output())
    await stream.close()
    async with asyncio.timeout(10):
        while b"12345" in (await run(runtime, container, "ps"))[0]:
            continue


async def test_attach_talks_to_the_containers_own_process(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sh", "-c", "read line; echo got $line", stdin=True)
    stream = await runtime.attach(container, stdin=True)
    await stream.write(b"hello\n")
    assert await output(stream) == (b"got hello\n", b"", 0)


async def test_attach_to_a_container_with_a_terminal_is_raw_and_can_be_resized(
    runtime: DockerRuntime, sandbox: Sandbox
) -> None:
    ask = "read line; echo got $line >&2; stty size"
    container = await started(runtime, sandbox, "sh", "-c", ask, stdin=True, tty=True)
    stream = await runtime.attach(container, stdin=True)
    await stream.resize(132, 43)
    await stream.write(b"hello\n")
    out, err, code = await output(stream)
    assert out == b"hello\r\ngot hello\r\n43 132\r\n"  # its terminal's echo first
    assert (err, code) == (b"", 0)
    logged = b"".join([piece for _, piece in await everything(runtime, container)])
    assert logged == out


async def test_resizing_where_there_is_no_terminal_changes_nothing(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sh", "-c", "read line; echo oops >&2; exit 4", stdin=True)
    stream = await runtime.attach(container, stdin=True)
    await stream.resize(132, 43)
    await stream.write(b"hello\n")
    assert await output(stream) == (b"", b"oops\n", 4)


# ---------------------------------------------------------------- logs


async def test_logs_tail_since_and_timestamps(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sh", "-c", "for i in 1 2 3; do echo $i; done; echo e >&2")
    await ended(runtime, container)
    assert sorted(await everything(runtime, container)) == [(1, b"1\n"), (1, b"2\n"), (1, b"3\n"), (2, b"e\n")]
    assert len(await everything(runtime, container, tail=1)) == 1
    assert len(await everything(runtime, container, tail=0)) == 0
    lines = [line for _, line in await everything(runtime, container, timestamps=True)]
    assert all(line[:4].isdigit() and line[10:11] == b"T" for line in lines)
    # The engine stamps a line when it reads it, which may be after the container's end.
    newest = max(datetime.datetime.fromisoformat(line[:26].decode() + "+00:00") for line in lines)
    assert await everything(runtime, container, since=newest + datetime.timedelta(milliseconds=1)) == []


async def test_following_gets_lines_as_they_come_and_ends(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sh", "-c", "echo 1; read go; echo 2", stdin=True)
    lines = runtime.logs(container, follow=True, tail=None, since=None, timestamps=False)
    async with asyncio.timeout(PATIENCE):
        assert await anext(lines) == (1, b"1\n")
        stream = await runtime.attach(container, stdin=True)
        await stream.write(b"go\n")
        assert [line async for line in lines] == [(1, b"2\n")]
    await stream.close()


async def test_following_goes_on_where_the_engine_begins_another_file(
    runtime: DockerRuntime, sandbox: Sandbox, api: APIClient
) -> None:
    count = 3000  # of 4 KB each: 12 MB, of which a file holds 10
    write = f"x=$(head -c 4090 /dev/zero | tr '\\0' x); i=0; while [ $i -lt {count} ]; do echo $i $x; i=$((i+1)); done"
    wait = "until [ -e /tmp/go ]; do sleep 0.1; done"
    container = await started(runtime, sandbox, "sh", "-c", f"echo ready; {wait}; {write}; echo end")
    lines = runtime.logs(container, follow=True, tail=None, since=None, timestamps=False)
    async with asyncio.timeout(3 * PATIENCE):
        assert await anext(lines) == (1, b"ready\n")
        await run(runtime, container, "touch", "/tmp/go")
        told = [line.split()[0] async for _, line in lines]
    # The engine tells lines at the seam once more; it may not leave one out.
    assert list(dict.fromkeys(told)) == [*(str(number).encode() for number in range(count)), b"end"]
    assert Path(api.inspect_container(container)["LogPath"] + ".1").exists(), "one file would be no rotation"


# ---------------------------------------------------------------- archives


async def test_a_tar_written_is_read_back(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sleep", "1000")
    content = bytes(range(256)) * 4000
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("data.bin")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))

    async def pieces() -> AsyncIterator[bytes]:
        data = packed.getvalue()
        for start in range(0, len(data), 10_000):
            yield data[start : start + 10_000]

    await runtime.write_archive(container, "/tmp", pieces())
    back = b"".join([piece async for piece in runtime.read_archive(container, "/tmp/data.bin")])
    with tarfile.open(fileobj=io.BytesIO(back)) as archive:
        member = archive.extractfile("data.bin")
        assert member is not None
        assert member.read() == content


async def test_a_path_that_does_not_exist_is_a_named_error(runtime: DockerRuntime, sandbox: Sandbox) -> None:
    container = await started(runtime, sandbox, "sleep", "1000")
    with pytest.raises(RuntimeFault) as caught:
        await anext(runtime.read_archive(container, "/no/such"))
    assert caught.value.reason == "ArchiveError"
    assert "/no/such" in caught.value.message


# ---------------------------------------------------------------- no engine


async def test_no_engine_is_runtime_down_in_every_way(tmp_path: Path) -> None:
    runtime = DockerRuntime(socket_path=str(tmp_path / "none.sock"))
    with pytest.raises(RuntimeDown):
        await runtime.listing()
    with pytest.raises(RuntimeDown):
        await anext(runtime.events())
    with pytest.raises(RuntimeDown):
        await runtime.stop_container("x", 1)
    await runtime.close()


async def test_an_engine_that_breaks_off_is_runtime_down(tmp_path: Path) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf")
        await writer.drain()
        writer.close()

    path = str(tmp_path / "rude.sock")
    async with await asyncio.start_unix_server(rude, path):
        response = await Wire(path).request("GET", "/x", reason="R")
        with pytest.raises(RuntimeDown):
            await response.text()
        await response.close()


# ---------------------------------------------------------------- smaller fields of pods


async def test_aliases_kernel_parameters_shared_processes_and_seccomp(runtime: DockerRuntime) -> None:
    pod = PodIdentity(namespace="default", name="web-1", uid=str(uuid.uuid4()))
    sandbox = await runtime.create_sandbox(
        SandboxSpec(
            pod=pod, attempt=0, hostname="web-1.apps.default.svc.cluster.local",
            hosts=[("db", "10.1.1.1"), ("db", "10.1.1.2")],
            sysctls={"net.ipv4.ip_unprivileged_port_start": "0", "kernel.shm_rmid_forced": "1"},
        )
    )  # fmt: skip
    first = await started(runtime, sandbox, "sleep", "1234", share_processes=True, seccomp="unconfined")
    looked = (
        "hostname; grep db /etc/hosts; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; grep Seccomp: /proc/1/status"
    )
    out, _, code = await run(runtime, first, "sh", "-c", f"{looked}; grep Seccomp: /proc/self/status; ps")
    said = out.decode()
    assert code == 0
    assert said.splitlines()[0] == "web-1.apps.default.svc.cluster.local"
    assert "10.1.1.1\tdb" in said
    assert "10.1.1.2\tdb" in said
    assert "Seccomp:\t0" in said  # of the process in the container
    assert "Seccomp:\t2" in said  # of process 1, which is the sandbox
    assert "/pause" in said
    assert "\n0\n" in said


@pytest.mark.parametrize(
    ("command", "from_log", "message"),
    [
        ("echo -n bye > /dev/termination-log; exit 3", False, "bye"),
        ("echo from the log; exit 3", True, "from the log\n"),
        ("echo from the log; exit 3", False, ""),
        ("echo from the log", True, ""),
    ],
)
async def test_what_a_container_leaves_is_its_message(
    runtime: DockerRuntime, sandbox: Sandbox, command: str, from_log: bool, message: str
) -> None:
    container = await started(
        runtime, sandbox, "sh", "-c", command,
        message_path="/dev/termination-log", message_from_log=from_log, run_as_user=1000, read_only_root=True,
    )  # fmt: skip
    assert (await ended(runtime, container)).message == message


async def test_resources_change_under_a_running_container(
    runtime: DockerRuntime, sandbox: Sandbox, api: APIClient
) -> None:
    share = {"cpu_limit": 0.5, "memory_request": 32 << 20, "memory_limit": 96 << 20}
    container = await started(runtime, sandbox, "sleep", "1000", **share)
    wanted = Allowance.of(cpu_request=0.25, cpu_limit=1, memory_request=48 << 20, memory_limit=128 << 20)
    await runtime.resize_container(container, wanted)
    (record,) = (await runtime.listing()).containers
    assert (record.allowance, record.state) == (wanted, State.RUNNING)
    smaller = dataclasses.replace(wanted, memory_limit=64 << 20)
    await runtime.resize_container(container, smaller)
    assert api.inspect_container(container)["HostConfig"]["Memory"] == 64 << 20
    (record,) = (await runtime.listing()).containers
    assert (record.allowance, record.state) == (smaller, State.RUNNING)
