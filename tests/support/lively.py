"""A hollow host whose containers answer: a shell that echoes, files that stay, and ports of this very process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nodelet.runtime.hollow import Behaviour, HollowRuntime, HollowSettings
from nodelet.runtime.protocol import Listing, RuntimeFault
from tests.support.echo_runtime import EchoProcess

EXIT = 3
"""With what every command in such a container ends."""

BEHAVIOURS = HollowSettings(
    behaviours={
        "crash:1": Behaviour(exits_after=0.05, exit_code=3, output=b"starting\nfatal: no database\n"),
        "missing:1": Behaviour(pull_error="manifest unknown"),
        "oom:1": Behaviour(exits_after=0.05, exit_code=137, oom_killed=True, output=b"eating\n"),
        "lines:1": Behaviour(
            output=b"".join(b"line %d\n" % number for number in range(1, 11)), cpu_cores=0.25, memory_bytes=32 << 20
        ),
        "stubborn:1": Behaviour(stop_takes=None),
    }
)
"""What hollow images do: end, be missing, eat, write."""


class Lively:
    """What the containers of one hollow host gained: their files by path, and the processes that were started."""

    def __init__(self, runtime: HollowRuntime) -> None:
        self.files: dict[str, bytes] = {}
        self.commands: list[Sequence[str]] = []
        self.processes: list[EchoProcess] = []
        self._listing = runtime.pod_listing
        replaced: Mapping[str, Any] = {
            "exec": self._exec,
            "attach": self._attach,
            "read_archive": self._read,
            "write_archive": self._write,
            "pod_listing": self._pod_listing,
        }
        for name, method in replaced.items():
            setattr(runtime, name, method)

    async def _exec(self, container_id: str, command: Sequence[str], **options: bool) -> EchoProcess:
        if command[0] == "missing":
            raise RuntimeFault("ExecFailed", 'exec: "missing": executable file not found in $PATH')
        self.commands.append(command)
        process = await self._attach(container_id, **options)
        if not options.get("stdin"):
            await process.write(f"ran {' '.join(command)}\n".encode())
            await process.close_stdin()
        return process

    async def _attach(self, container_id: str, **options: bool) -> EchoProcess:
        process = EchoProcess()
        self.processes.append(process)
        return process

    async def _read(self, container_id: str, path: str) -> AsyncIterator[bytes]:
        if path not in self.files:
            raise RuntimeFault("NotFound", f"no {path} in the container")
        yield self.files[path]

    async def _write(self, container_id: str, path: str, data: AsyncIterator[bytes]) -> None:
        self.files[path] = b"".join([piece async for piece in data])

    async def _pod_listing(self, uid: str) -> Listing:
        found = await self._listing(uid)
        return replace(found, sandboxes=[replace(s, netns_path=f"/proc/{os.getpid()}/ns/net") for s in found.sandboxes])
