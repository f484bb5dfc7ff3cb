"""A runtime with one pod whose containers echo: what stream tests need, and nothing that starts or ends."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Sequence

from nodelet.runtime.protocol import (
    Allowance,
    ContainerRecord,
    ContainerSpec,
    Listing,
    PodIdentity,
    RuntimeEvent,
    RuntimeFault,
    RuntimeInfo,
    Sandbox,
    SandboxSpec,
    State,
)

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class EchoProcess:
    """Gives back its input; ends with code 3 when its input does."""

    def __init__(self) -> None:
        self.closed = False
        self.sizes: list[tuple[int, int]] = []
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        while (data := await self._input.get()) is not None:
            yield 1, data
        yield 2, b"bye"

    async def write(self, data: bytes) -> None:
        self._input.put_nowait(data)

    async def close_stdin(self) -> None:
        self._input.put_nowait(None)

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def exit_code(self) -> int:
        return 3

    async def close(self) -> None:
        self.closed = True


class EchoRuntime:
    """Implements Runtime, Exec, Logs and Archives for one pod with container `main`, in its second run."""

    def __init__(self, uid: str, *, netns_path: str = "") -> None:
        self.pod = PodIdentity(namespace="ns", name="a", uid=uid)
        self.netns_path = netns_path
        self.processes: list[EchoProcess] = []
        self.commands: list[Sequence[str]] = []
        self.more_logs = asyncio.Event()
        self.followers = 0
        self.archives: dict[str, bytes] = {}

    async def info(self) -> RuntimeInfo:
        return RuntimeInfo(version="echo://1", cgroup_version=2, root_dir="/")

    async def listing(self) -> Listing:
        return await self.pod_listing(self.pod.uid)

    async def pod_listing(self, uid: str) -> Listing:
        if uid != self.pod.uid:
            return Listing(sandboxes=(), containers=())
        sandbox = Sandbox(
            id="sandbox", pod=self.pod, attempt=0, state=State.RUNNING, created_at=NOW, netns_path=self.netns_path
        )
        return Listing(sandboxes=[sandbox], containers=[self._run(0, State.EXITED), self._run(1, State.RUNNING)])

    def _run(self, attempt: int, state: State) -> ContainerRecord:
        return ContainerRecord(
            id=f"main-{attempt}", pod=self.pod, name="main", attempt=attempt, state=state, image="i", image_id="i",
            config_hash="", created_at=NOW,
        )  # fmt: skip

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        await asyncio.Event().wait()
        yield RuntimeEvent(pod_uid="", container_id="", action="")

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        raise RuntimeFault("NotHere", "this runtime starts nothing")

    async def remove_sandbox(self, sandbox_id: str) -> None: ...
    async def create_container(self, spec: ContainerSpec, sandbox: Sandbox) -> str:
        raise RuntimeFault("NotHere", "this runtime starts nothing")

    async def start_container(self, container_id: str) -> None: ...
    async def resize_container(self, container_id: str, allowance: Allowance) -> None: ...
    async def signal_container(self, container_id: str, signal: str) -> None: ...
    async def stop_container(self, container_id: str, grace_seconds: float) -> None: ...
    async def remove_container(self, container_id: str) -> None: ...
    async def close(self) -> None: ...

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> EchoProcess:
        if command[0] == "missing":
            raise RuntimeFault("ExecFailed", 'exec: "missing": executable file not found in $PATH')
        self.commands.append(command)
        return await self.attach(container_id, stdin=stdin)

    async def attach(self, container_id: str, *, stdin: bool) -> EchoProcess:
        process = EchoProcess()
        self.processes.append(process)
        return process

    async def logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: datetime.datetime | None, timestamps: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        yield 1, f"{container_id} tail={tail}\n".encode()
        yield 2, b"to stderr\n"
        if follow:
            self.followers += 1
            try:
                await self.more_logs.wait()
                yield 1, b"more\n"
            finally:
                self.followers -= 1

    async def read_archive(self, container_id: str, path: str) -> AsyncIterator[bytes]:
        if path not in self.archives:
            raise RuntimeFault("NotFound", f"no {path} in the container")
        yield self.archives[path]

    async def write_archive(self, container_id: str, path: str, data: AsyncIterator[bytes]) -> None:
        self.archives[path] = b"".join([piece async for piece in data])
