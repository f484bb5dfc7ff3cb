"""A real HAProxy on this machine, run by the program that the proxies' pods run, and servers behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from pathlib import Path

from master.controllers.ingress.certificates import Certificate
from master.controllers.ingress.haproxy import Ports, render
from master.controllers.ingress.plan import Around, plan_proxy
from podium.v1.ingress_pb2 import Ingress, IngressServiceBackend
from podium.v1.networking_pb2 import Service

HAS_HAPROXY = shutil.which("haproxy") is not None


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens at."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in made:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in made]


class Servers:
    """One listener for all services: each has an address of its own, 127.x.y.z, and answers with its name."""

    def __init__(self) -> None:
        self.port = 0
        self.elsewhere = {"silent": 1}
        """Ports of services that others answer, or nobody does."""
        self._names: dict[str, str] = {}
        self._numbers = count(1)

    def service(self, namespace: str, name: str) -> Service | None:
        """The service of this name, made when it is first asked for; none of the name `nobody`."""
        if name == "nobody":
            return None
        made = Service()
        made.metadata.namespace, made.metadata.name = namespace, name
        made.spec.type = "ClusterIP"
        known = {v: k for k, v in self._names.items()}
        if name not in known:
            number = next(self._numbers)
            known[name] = f"127.9.{number // 250}.{number % 250 + 1}"
            self._names[known[name]] = name
        made.spec.cluster_ip = known[name]
        made.spec.ports.add(port=self.elsewhere.get(name, self.port), name="http")
        return made

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection: who answers, what was asked, the headers."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            name = self._names[writer.get_extra_info("sockname")[0]]
            if name == "slow":
                await reader.read()  # until the other side has had enough
            elif headers.get("upgrade") == "echo":
                writer.write(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
                writer.write(await reader.readexactly(5))
            else:
                body = json.dumps({"name": name, "path": head[0].split()[1], "headers": headers}).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
                )
            await writer.drain()
        writer.close()


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        ports: Where it listens.
        folder: What it has mounted.
        servers: What is behind it.
        process: The program's.
    """

    ports: Ports
    folder: Path
    servers: Servers
    process: asyncio.subprocess.Process
    version: int = 0

    def mount(self, content: Mapping[str, bytes]) -> None:
        """Swap what is mounted, as a node does."""
        self.version += 1
        folder, link = self.folder / f"..v-{self.version}", self.folder / "..data.new"
        folder.mkdir()
        for name, data in content.items():
            (folder / name).write_bytes(data)
        link.symlink_to(folder.name)
        link.rename(self.folder / "..data")

    def serve(self, made: Sequence[Ingress], certificates: Mapping[str, Certificate] | None = None) -> None:
        """Mount what these Ingresses come to."""
        known = certificates or {}
        for ingress in made:
            for backend in _backends(ingress):
                backend.port.number, backend.port.name = 0, "http"
        around = Around(
            service=self.servers.service, slices=lambda *_: (),
            certificate=lambda _, name: known.get(name, "is not there"),
        )  # fmt: skip
        self.mount(render(plan_proxy(made, around), self.ports))

    async def get(self, host: str, path: str, *more: str, port: int = 0) -> tuple[int, bytes]:
        """Status and body of one request, on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.ports.http)
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *more, "", ""]
        writer.write("\r\n".join(lines).encode())
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    async def answers(self, host: str, path: str, name: str) -> bool:
        """Whether a request is led to the service of this name."""
        with contextlib.suppress(ConnectionError):
            status, body = await self.get(host, path)
            return status == 200 and json.loads(body)["name"] == name
        return False


def _backends(ingress: Ingress) -> Iterator[IngressServiceBackend]:
    for rule in ingress.spec.rules:
        yield from (path.backend.service for path in rule.http.paths)
    if ingress.spec.HasField("default_backend"):
        yield ingress.spec.default_backend.service


@contextlib.asynccontextmanager
async def running_proxy(folder: Path) -> AsyncIterator[Proxy]:
    """A proxy that has nothing mounted yet. What it says goes to `folder/log`."""
    mounted, work = folder / "mounted", folder / "work"
    mounted.mkdir()
    work.mkdir()
    servers = Servers()
    listener = await asyncio.start_server(servers.answer, "0.0.0.0", 0)
    servers.port = listener.sockets[0].getsockname()[1]
    program = str(files("podium.cli.ingress_proxy") / "run.sh")
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "sh", program, env={"CONFIG": str(mounted), "WORK": str(work), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield Proxy(Ports(*free_ports(3)), mounted, servers, process)
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), 20)
            listener.close()
            await listener.wait_closed()


async def eventually(condition: Callable[[], Awaitable[bool]], *, seconds: float = 20, what: str = "") -> None:
    """Wait until a condition is true.

    Raises:
        AssertionError: Not within `seconds`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await condition():
        assert loop.time() < deadline, what or f"not within {seconds:g} s"
        await asyncio.sleep(0.02)


async def until_ready(proxy: Proxy) -> None:
    """Wait until it serves."""

    async def healthy() -> bool:
        with contextlib.suppress(OSError):
            return (await proxy.get("x", "/healthz", port=proxy.ports.status))[0] == 200
        return False

    await eventually(healthy, what="a proxy that serves")
