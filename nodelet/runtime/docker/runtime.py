"""Pods' sandboxes and containers on a Docker Engine.

Starting is kept to the calls that Docker itself cannot do without: create and start, one of each, in one visit to the
thread pool. Creating is safe to repeat because names are deterministic: the engine refuses a second one, and the first
is returned. Everything known here is a cache of what labels and inspections say; a new process starts with nothing.

Listing asks for one list, then inspects what it has not seen in this state before. Containers of ours only ever go
created → running → exited (a restart is a new container), so what was read of one in its present state stays true.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from docker import APIClient

from nodelet.runtime.docker import events, oom, translate
from nodelet.runtime.docker.engine import DEFAULT_SOCKET, Conflict, Engine, NotFound
from nodelet.runtime.docker.images import DockerImages
from nodelet.runtime.docker.last_words import LastWords, with_message
from nodelet.runtime.docker.sandbox import create_once, ensure_sandbox_image, start_sandbox
from nodelet.runtime.docker.streams import DockerStreams
from nodelet.runtime.docker.wire import Wire
from nodelet.runtime.protocol import (
    CPU_PERIOD,
    Allowance,
    ContainerRecord,
    ContainerSpec,
    Listing,
    Mount,
    RuntimeEvent,
    RuntimeFault,
    RuntimeInfo,
    Sandbox,
    SandboxSpec,
    State,
)
from podium.aio.clock import Clock, SystemClock

CAP_SYS_RESOURCE = 24
KILLED = 137  # 128 + SIGKILL
STOP_MARGIN = 30.0
"""Seconds beyond the grace in which a killed container must have ended."""


class DockerRuntime(DockerImages, DockerStreams):
    """Implements Runtime, Images, Exec, Logs and Archives of `nodelet.runtime.protocol`.

    `owner` marks what is ours: two nodelets (or a nodelet and a test) on one engine never see each other's.
    `messages` is a directory of the host for what containers leave as they end; without one they leave nothing.
    """

    def __init__(
        self,
        *,
        socket_path: str = DEFAULT_SOCKET,
        owner: str = "podium",
        clock: Clock | None = None,
        threads: int | None = None,
        messages: Path | None = None,
    ) -> None:
        engine, wire, self._clock = Engine(socket_path, threads=threads), Wire(socket_path), clock or SystemClock()
        DockerImages.__init__(self, engine)
        DockerStreams.__init__(self, engine, wire, self._clock)
        self._owner = owner
        self._oom_floor = oom_floor()
        self._last_words = LastWords(messages) if messages is not None else None
        self._seen: dict[str, tuple[str, Sandbox | ContainerRecord]] = {}

    async def info(self) -> RuntimeInfo:
        answer = await self._engine.call("RuntimeInfo", lambda api: api.info())
        return RuntimeInfo(
            version=f"docker://{answer['ServerVersion']}",
            cgroup_version=int(answer.get("CgroupVersion", "1")),
            root_dir=str(answer["DockerRootDir"]),
        )

    # ------------------------------------------------------------ what there is

    async def listing(self) -> Listing:
        """All of ours. Raises: RuntimeDown; never a part of it."""
        return await self._list([f"{translate.OWNER}={self._owner}"], whole=True)

    async def pod_listing(self, uid: str) -> Listing:
        """All of one pod's. Raises: RuntimeDown."""
        return await self._list([f"{translate.OWNER}={self._owner}", f"{translate.POD_UID}={uid}"], whole=False)

    async def _list(self, labels: list[str], *, whole: bool) -> Listing:
        entries = await self._engine.call(
            "RuntimeList", lambda api: api.containers(all=True, filters={"label": labels})
        )
        if whole:
            there = {entry["Id"] for entry in entries}
            self._seen = {id_: seen for id_, seen in self._seen.items() if id_ in there}
            if self._last_words is not None:
                names = {name.lstrip("/") for entry in entries for name in entry["Names"]}
                await asyncio.to_thread(self._last_words.sweep, names, self._clock.now().timestamp())
        found = await asyncio.gather(*(self._record(entry["Id"], entry["State"]) for entry in entries))
        return Listing(
            sandboxes=[record for record in found if isinstance(record, Sandbox)],
            containers=[record for record in found if isinstance(record, ContainerRecord)],
        )

    async def _record(self, id_: str, status: str) -> Sandbox | ContainerRecord | None:
        seen = self._seen.get(id_)
        if seen is not None and seen[0] == status:
            return seen[1]
        try:
            inspect = await self._engine.call("RuntimeInspect", lambda api: api.inspect_container(id_))
        except NotFound:
            return None
        sandbox = translate.kind_of(inspect["Config"]["Labels"]) == "sandbox"
        record = translate.sandbox_of(inspect) if sandbox else await self._ended_well_told(inspect)
        if inspect["State"]["Status"] != "created":  # a failed start changes this state from within
            self._seen[id_] = (inspect["State"]["Status"], record)
        return record

    async def _ended_well_told(self, inspect: Mapping[str, Any]) -> ContainerRecord:
        """The container that an inspection describes, with why it ended and what it left."""
        record = await _with_cause(translate.container_of(inspect))
        if self._last_words is None or record.state is not State.EXITED:
            return record
        from_log = translate.MESSAGE_FROM_LOG in inspect["Config"]["Labels"]
        left = await asyncio.to_thread(self._last_words.of, inspect["Name"].lstrip("/"))
        return await with_message(record, left, self if from_log else None)

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """What happens from this call on, even when the first event is awaited later."""
        return self._forgetting(events.watch(self._wire, self._owner, self._clock.now().timestamp()))

    async def _forgetting(self, stream: AsyncIterator[RuntimeEvent]) -> AsyncIterator[RuntimeEvent]:
        # Docker says `die` some 100 ms before its lists say `exited`; an inspection made after the event is right.
        async for event in stream:
            if event.action != "start":
                self._seen.pop(event.container_id, None)
            yield event

    # ------------------------------------------------------------ sandboxes

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """See the protocol. Raises: RuntimeFault with reason CreatePodSandboxError."""

        def start(api: APIClient) -> Sandbox:
            return start_sandbox(api, spec, owner=self._owner, floor=self._oom_floor)

        try:
            sandbox = await self._engine.call("CreatePodSandboxError", start)
        except NotFound:
            # The image was never made here, or somebody cleaned it away.
            await self._engine.call("CreatePodSandboxError", ensure_sandbox_image)
            sandbox = await self._engine.call("CreatePodSandboxError", start)
        self._seen[sandbox.id] = ("running", sandbox)
        return sandbox

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.remove_container(sandbox_id)

    # ------------------------------------------------------------ containers

    async def create_container(self, spec: ContainerSpec, sandbox: Sandbox) -> str:
        """See the protocol. Raises: RuntimeFault with reason CreateContainerConfigError or CreateContainerError."""
        user = await self._user(spec)
        body = translate.container_body(spec, sandbox.id, owner=self._owner, user=user, oom_floor=self._oom_floor)
        name, words = translate.container_name(spec), self._last_words

        def create(api: APIClient) -> str:
            if words is not None and spec.message_path:
                source = str(words.prepare(name))
                body["HostConfig"]["Mounts"].append(translate.mount(Mount(source=source, target=spec.message_path)))
            return create_once(api, name, body, spec.pod.uid)

        try:
            return await self._engine.call("CreateContainerError", create)
        except OSError as error:
            raise RuntimeFault("CreateContainerError", f"no file for the termination message: {error}") from error

    async def _user(self, spec: ContainerSpec) -> str:
        image = await self.find_image(spec.image) if translate.needs_image_user(spec) else None
        try:
            return translate.run_as(spec, image.user if image else "")
        except ValueError as error:
            raise RuntimeFault("CreateContainerConfigError", str(error)) from error

    async def start_container(self, container_id: str) -> None:
        """See the protocol. Raises: RuntimeFault with reason RunContainerError and the OCI runtime's message."""
        await self._engine.call("RunContainerError", lambda api: api.start(container_id))

    async def resize_container(self, container_id: str, allowance: Allowance) -> None:
        """See the protocol. The kernel would kill, or refuse, a container left with less memory than it uses."""

        def resize(api: APIClient) -> None:
            has = translate.allowance_of(api.inspect_container(container_id)["HostConfig"])
            if translate.tightens(has, allowance):
                usage = translate.memory_in_use(api.stats(container_id, stream=False, one_shot=True)["memory_stats"])
                if usage >= allowance.memory_limit:
                    told = f"it uses {usage} bytes of memory, the new limit is {allowance.memory_limit}"
                    raise RuntimeFault("ResizeError", told)
            limit, reservation = allowance.memory_limit or None, allowance.memory_reservation or None
            api.update_container(
                container_id,
                cpu_shares=allowance.cpu_shares,
                cpu_period=CPU_PERIOD if allowance.cpu_quota else None,
                cpu_quota=allowance.cpu_quota or None,
                mem_limit=limit,
                memswap_limit=limit,
                mem_reservation=reservation,
            )

        with contextlib.suppress(NotFound):
            await self._engine.call("ResizeError", resize)
        self._seen.pop(container_id, None)

    async def signal_container(self, container_id: str, signal: str) -> None:
        def kill(api: APIClient) -> None:
            chosen = signal or api.inspect_container(container_id)["Config"].get("StopSignal") or "SIGTERM"
            api.kill(container_id, chosen)

        # Conflict: it does not run; NotFound: it is removed. Either way it has ended.
        with contextlib.suppress(Conflict, NotFound):
            await self._engine.call("KillContainerError", kill)

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        """See the protocol. Docker counts the grace in whole seconds; it is rounded up."""
        seconds = -int(-grace_seconds // 1)
        with contextlib.suppress(NotFound):
            response = await self._wire.request(
                "POST",
                f"/containers/{container_id}/stop",
                reason="KillContainerError",
                query={"t": str(seconds)},
                answer_timeout=seconds + STOP_MARGIN,
            )
            await response.close()

    async def remove_container(self, container_id: str) -> None:
        def remove(api: APIClient) -> None:
            api.remove_container(container_id, force=True, v=True)

        try:
            await self._engine.call("RemoveContainerError", remove)
        except NotFound:
            pass
        except Conflict as conflict:
            # Another removal of it is on its way; that one's outcome is as good as ours.
            if "already in progress" not in conflict.message:
                raise
        self._seen.pop(container_id, None)

    async def close(self) -> None:
        await self._engine.close()


async def _with_cause(record: ContainerRecord) -> ContainerRecord:
    """A container that was killed, as the kernel tells it where the engine does not know why."""
    if record.state is not State.EXITED or record.exit_code != KILLED or record.oom_killed:
        return record
    if oom.names_victim(await asyncio.to_thread(oom.kernel_log), record.id):
        return replace(record, oom_killed=True)
    return record


def oom_floor() -> int:
    """The lowest oom_score_adj that the engine may give: lowering it takes CAP_SYS_RESOURCE, which not every host has.

    Read from this process, which runs with the bounding set of its host, as dockerd does.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:") and int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1:
            return -1000
    return 0
