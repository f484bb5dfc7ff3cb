"""A container runtime that does what a test says: containers live until told, and any call can be made to fail.

Unlike the hollow runtime it has no behaviours of its own and no time: a test ends containers, ignores signals, loses
sandboxes, and takes the runtime down, step by step.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Collection, Sequence

from nodelet.network.protocol import NetworkFault
from nodelet.runtime.protocol import (
    Allowance,
    ContainerRecord,
    ContainerSpec,
    ExecStream,
    ImageRecord,
    Listing,
    PodIdentity,
    PortMapping,
    RegistryAuth,
    RuntimeDown,
    RuntimeEvent,
    RuntimeFault,
    RuntimeInfo,
    Sandbox,
    SandboxSpec,
    State,
)
from podium.aio.clock import Clock

_LISTING_TIMES = 5
"""How much longer a listing takes than any other call: so it can be out of date when it answers."""


class ScriptedExec:
    """A command that printed something and exited, or hangs."""

    def __init__(self, code: int | None, text: str) -> None:
        self._code, self._text = code, text
        self.closed = False

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        yield 1, self._text.encode()
        if self._code is None:
            await asyncio.Event().wait()

    async def write(self, data: bytes) -> None:
        raise AssertionError("nobody writes to a probe")

    async def close_stdin(self) -> None: ...

    async def resize(self, width: int, height: int) -> None: ...

    async def exit_code(self) -> int:
        assert self._code is not None
        return self._code

    async def close(self) -> None:
        self.closed = True


class ScriptedRuntime:
    """Runtime, Images and Exec. `calls` is every call in order; `faults[method]` are raised first, one a call.

    What must never be asked of a runtime is noted in `violations`, for the test to look at.
    With `latency` (seconds of the clock) calls take effect half-way and answer at the end, so that they overlap.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ids = itertools.count(1)
        self._listeners: list[asyncio.Queue[RuntimeEvent | None]] = []
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, ContainerRecord] = {}
        self.images: dict[str, ImageRecord] = {"app:1": ImageRecord(id="sha256:app", names=["app:1"], size_bytes=1000)}
        self.pullable: set[str] = set()
        self.logins = ""
        self.calls: list[str] = []
        self.specs: list[ContainerSpec] = []
        self.faults: dict[str, list[RuntimeFault]] = {}
        self.ignores_signals = False
        self.down = False
        self.silent = False
        self.latency = 0.0
        self.violations: list[str] = []
        self.auths: Sequence[RegistryAuth] = ()
        self.exec_results: dict[str, tuple[int | None, str]] = {}

    def _call(self, method: str, *about: object) -> None:
        if self.down:
            raise RuntimeDown("scripted")
        self.calls.append(" ".join((method, *map(str, about))))
        if self.faults.get(method):
            raise self.faults[method].pop(0)

    async def _half(self, times: float = 1) -> None:
        if self.latency:
            await self._clock.sleep(self.latency / 2 * times)

    # ------------------------------------------------------------ the test's hand

    def named(self, name: str) -> ContainerRecord:
        """The newest container of this name."""
        return max((c for c in self.containers.values() if c.name == name), key=lambda c: c.attempt)

    def running(self) -> list[str]:
        """Names of running containers."""
        return sorted(c.name for c in self.containers.values() if c.state is State.RUNNING)

    def end(self, container_id: str, exit_code: int = 0, *, oom: bool = False) -> None:
        """A container ends by itself."""
        record = self.containers[container_id]
        self.containers[container_id] = dataclasses.replace(
            record, state=State.EXITED, exit_code=exit_code, oom_killed=oom, finished_at=self._clock.now()
        )
        self._say(record.pod.uid, container_id, "die")

    def vanish(self, container_id: str) -> None:
        """Somebody removed a container behind our back."""
        record = self.containers.pop(container_id)
        self._say(record.pod.uid, container_id, "destroy")

    def kill_sandbox(self) -> None:
        """Every sandbox is killed behind our back."""
        for id_, sandbox in self.sandboxes.items():
            self.sandboxes[id_] = dataclasses.replace(sandbox, state=State.EXITED, netns_path="")
            self._say(sandbox.pod.uid, id_, "die")

    def go_down(self) -> None:
        """The runtime stops answering; event streams end."""
        self.down = True
        for listener in self._listeners:
            listener.put_nowait(None)

    def _say(self, uid: str, id_: str, action: str) -> None:
        for listener in self._listeners if not self.silent else ():
            listener.put_nowait(RuntimeEvent(pod_uid=uid, container_id=id_, action=action))

    # ------------------------------------------------------------ Runtime

    async def info(self) -> RuntimeInfo:
        return RuntimeInfo(version="scripted://1", cgroup_version=1, root_dir="/")

    async def listing(self) -> Listing:
        self._call("listing")
        await self._half(_LISTING_TIMES)
        found = Listing(sandboxes=list(self.sandboxes.values()), containers=list(self.containers.values()))
        await self._half(_LISTING_TIMES)
        return found

    async def pod_listing(self, uid: str) -> Listing:
        self._call("pod_listing")
        await self._half(_LISTING_TIMES)
        found = Listing(
            sandboxes=[s for s in self.sandboxes.values() if s.pod.uid == uid],
            containers=[c for c in self.containers.values() if c.pod.uid == uid],
        )
        await self._half(_LISTING_TIMES)
        return found

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        queue: asyncio.Queue[RuntimeEvent | None] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.remove(queue)

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        self._call("create_sandbox", spec.attempt)
        number = next(self._ids)
        sandbox = Sandbox(
            id=f"sandbox{number}",
            pod=spec.pod,
            attempt=spec.attempt,
            state=State.RUNNING,
            created_at=self._clock.now(),
            netns_path=f"/proc/{number}/ns/net",
        )
        await self._half()
        self.sandboxes[sandbox.id] = sandbox
        await self._half()
        return sandbox

    async def remove_sandbox(self, sandbox_id: str) -> None:
        self._call("remove_sandbox", sandbox_id)
        await self._half()
        gone = self.sandboxes.pop(sandbox_id, None)
        if gone is not None:
            self._say(gone.pod.uid, sandbox_id, "destroy")
        await self._half()

    async def create_container(self, spec: ContainerSpec, sandbox: Sandbox) -> str:
        self._call("create_container", spec.name, spec.attempt)
        self.specs.append(spec)
        if sandbox.id not in self.sandboxes:
            self.violations.append(f"{spec.name} created in a sandbox that is gone")
        known = [
            c for c in self.containers.values() if (c.pod, c.name, c.attempt) == (spec.pod, spec.name, spec.attempt)
        ]
        if known:
            return known[0].id
        record = ContainerRecord(
            id=f"{spec.name}-{next(self._ids)}",
            pod=spec.pod,
            name=spec.name,
            attempt=spec.attempt,
            state=State.CREATED,
            image=spec.image,
            image_id=self.images[spec.image].id,
            config_hash=spec.config_hash,
            created_at=self._clock.now(),
            allowance=spec.allowance,
            labels=spec.labels,
        )
        await self._half()
        self.containers[record.id] = record
        self._say(spec.pod.uid, record.id, "create")
        await self._half()
        return record.id

    async def start_container(self, container_id: str) -> None:
        self._call("start_container", container_id)
        await self._half()
        record = self.containers[container_id]
        twins = [c for c in self.containers.values() if c.pod == record.pod and c.name == record.name]
        if any(c.state is State.RUNNING for c in twins):
            self.violations.append(f"{record.name} started while it ran")
        self.containers[container_id] = dataclasses.replace(record, state=State.RUNNING, started_at=self._clock.now())
        self._say(record.pod.uid, container_id, "start")
        await self._half()

    async def resize_container(self, container_id: str, allowance: Allowance) -> None:
        self._call("resize_container", container_id)
        await self._half()
        if (record := self.containers.get(container_id)) is not None and record.state is State.RUNNING:
            self.containers[container_id] = dataclasses.replace(record, allowance=allowance)
        await self._half()

    async def signal_container(self, container_id: str, signal: str) -> None:
        self._call("signal_container", container_id, signal or "SIGTERM")
        record = self.containers.get(container_id)
        if record is None or record.state is not State.RUNNING:
            return
        if signal == "SIGKILL":
            self.end(container_id, 137)
        elif not self.ignores_signals:
            self.end(container_id, 143)

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        raise AssertionError("the pod manager keeps time itself")

    async def remove_container(self, container_id: str) -> None:
        self._call("remove_container", container_id)
        await self._half()
        gone = self.containers.pop(container_id, None)
        if gone is not None:
            self._say(gone.pod.uid, container_id, "destroy")
        await self._half()

    async def close(self) -> None: ...

    # ------------------------------------------------------------ Images

    async def find_image(self, name: str) -> ImageRecord | None:
        self._call("find_image", name)
        return self.images.get(name)

    async def pull_image(self, name: str, auths: Sequence[RegistryAuth]) -> ImageRecord:
        self._call("pull_image", name)
        self.auths = auths
        if name not in self.pullable:
            raise RuntimeFault("ErrImagePull", f"manifest for {name} not found")
        self.images[name] = ImageRecord(id=f"sha256:{name}", names=[name], size_bytes=1000)
        return self.images[name]

    async def own_logins(self) -> str:
        return self.logins

    async def list_images(self) -> list[ImageRecord]:
        self._call("list_images")
        return list(self.images.values())

    async def remove_image(self, image_id: str) -> None:
        self._call("remove_image", image_id)
        if any(container.image_id == image_id for container in self.containers.values()):
            raise RuntimeFault("ImageInUse", f"{image_id} is used by a container")
        self.images = {name: image for name, image in self.images.items() if image.id != image_id}

    # ------------------------------------------------------------ Exec

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> ExecStream:
        self._call("exec", container_id, *command)
        return ScriptedExec(*self.exec_results.get(command[0], (0, "")))

    async def attach(self, container_id: str, *, stdin: bool) -> ExecStream:
        raise AssertionError("nobody attaches")


class ScriptedNetwork:
    """PodNetwork that hands out addresses."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.ports: dict[str, Sequence[PortMapping]] = {}
        self.faults: list[NetworkFault] = []
        self.retained: set[str] | None = None

    async def attach(self, sandbox: Sandbox, ports: Sequence[PortMapping]) -> str:
        if self.faults:
            raise self.faults.pop(0)
        self.ports[sandbox.pod.uid] = ports
        return self.addresses.setdefault(sandbox.pod.uid, f"10.0.0.{len(self.addresses) + 2}")

    async def detach(self, pod: PodIdentity) -> None:
        self.addresses.pop(pod.uid, None)

    async def retain(self, pods: Collection[str]) -> None:
        self.retained = set(pods)
