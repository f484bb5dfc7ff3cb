"""A runtime that runs nothing: pods as entries in dictionaries, behaviour as data.

The real nodelet on this runtime is what tests and scale benchmarks use, a thousand nodes in one process, so a pod
costs two small records here and, while it idles, not a single timer or task. It passes the same conformance suite
as Docker. Exec, logs and attach answer, and say that they are hollow.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nodelet.runtime.protocol import (
    Allowance,
    ContainerRecord,
    ContainerSpec,
    ExecStream,
    ImageRecord,
    Listing,
    PodIdentity,
    RegistryAuth,
    RuntimeDown,
    RuntimeEvent,
    RuntimeFault,
    RuntimeInfo,
    Sandbox,
    SandboxSpec,
    State,
)
from podium.aio.clock import Clock, SystemClock

EVENT_BACKLOG = 10_000
"""Events that a watcher may leave unread before it is told to list again."""
KILLED, TERMINATED = 137, 143


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How containers of one image act.

    Times are seconds. `exits_after` None: runs until stopped. `stop_takes` None: ignores its stop signal.
    """

    pull_takes: float = 0
    pull_error: str = ""
    size_bytes: int = 10_000_000
    user: str = ""
    start_takes: float = 0
    start_error: str = ""
    exits_after: float | None = None
    exit_code: int = 0
    oom_killed: bool = False
    message: str = ""
    stop_takes: float | None = 0
    stop_code: int = TERMINATED
    output: bytes = b"hollow container: nothing runs here\n"
    cpu_cores: float = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HollowSettings:
    """A hollow host: what each image does, what others do, which images are there already (None: every one)."""

    behaviours: Mapping[str, Behaviour] = field(default_factory=dict)
    default: Behaviour = Behaviour()
    images: Sequence[str] | None = None

    def of(self, image: str) -> Behaviour:
        return self.behaviours.get(image, self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a running container claims to use."""

    cpu_cores: float = 0
    memory_bytes: int = 0


class HollowRuntime:
    """Implements Runtime, Images, Exec, Logs and Archives of `nodelet.runtime.protocol`, in memory."""

    def __init__(self, settings: HollowSettings | None = None, *, clock: Clock | None = None, name: str = "") -> None:
        self.settings, self._clock = settings or HollowSettings(), clock or SystemClock()
        self._prefix, self._serial = f"hollow-{name}-" if name else "hollow-", itertools.count(1)
        self._sandboxes: dict[str, Sandbox] = {}
        self._containers: dict[str, ContainerRecord] = {}
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._watchers: set[asyncio.Queue[RuntimeEvent | None]] = set()
        self._images: dict[str, ImageRecord] = {}
        self._down = False
        self.load: Callable[[ContainerRecord], Load] = self._load_of_image
        """What each running container uses now; may be set, to play a load that moves."""
        for image in self.settings.images or ():
            self._store_image(image)

    # ------------------------------------------------------------ for tests: faults from outside

    def set_down(self, down: bool) -> None:
        """While down, every call raises RuntimeDown and event streams end, as when dockerd is stopped."""
        self._down = down
        if down:
            for queue in self._watchers:
                queue.put_nowait(None)

    def crash(self, container_id: str, exit_code: int = KILLED, *, oom_killed: bool = False) -> None:
        """End a container behind the nodelet's back."""
        self._end(container_id, exit_code, oom_killed=oom_killed)

    def loads(self) -> list[tuple[ContainerRecord, Load]]:
        """Every running container with what it uses."""
        running = (record for record in self._containers.values() if record.state is State.RUNNING)
        return [(record, self.load(record)) for record in running]

    def _load_of_image(self, record: ContainerRecord) -> Load:
        behaviour = self.settings.of(record.image)
        return Load(cpu_cores=behaviour.cpu_cores, memory_bytes=behaviour.memory_bytes)

    def _check(self) -> None:
        if self._down:
            raise RuntimeDown("the hollow runtime is down")

    # ------------------------------------------------------------ Runtime

    async def info(self) -> RuntimeInfo:
        self._check()
        return RuntimeInfo(version="hollow://1", cgroup_version=2, root_dir="/")

    async def listing(self) -> Listing:
        self._check()
        return Listing(sandboxes=list(self._sandboxes.values()), containers=list(self._containers.values()))

    async def pod_listing(self, uid: str) -> Listing:
        self._check()
        return Listing(
            sandboxes=[one for one in self._sandboxes.values() if one.pod.uid == uid],
            containers=[one for one in self._containers.values() if one.pod.uid == uid],
        )

    def events(self) -> AsyncIterator[RuntimeEvent]:
        self._check()
        queue: asyncio.Queue[RuntimeEvent | None] = asyncio.Queue()
        self._watchers.add(queue)
        return self._watch(queue)

    async def _watch(self, queue: asyncio.Queue[RuntimeEvent | None]) -> AsyncIterator[RuntimeEvent]:
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._watchers.discard(queue)
        raise RuntimeDown("the hollow runtime ended its event stream")

    def _tell(self, pod: PodIdentity, id_: str, action: str) -> None:
        for queue in self._watchers:
            if queue.qsize() < EVENT_BACKLOG:
                queue.put_nowait(RuntimeEvent(pod_uid=pod.uid, container_id=id_, action=action))
            elif queue.qsize() == EVENT_BACKLOG:
                queue.put_nowait(None)

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        self._check()
        for there in self._sandboxes.values():
            if there.pod.uid == spec.pod.uid and there.attempt == spec.attempt:
                return there
        id_ = self._new_id()
        sandbox = Sandbox(
            id=id_,
            pod=spec.pod,
            attempt=spec.attempt,
            state=State.RUNNING,
            created_at=self._clock.now(),
            netns_path=f"/hollow/{id_}/net",
            labels=dict(spec.labels),
        )
        self._sandboxes[id_] = sandbox
        self._tell(spec.pod, id_, "start")
        return sandbox

    async def remove_sandbox(self, sandbox_id: str) -> None:
        self._check()
        if (sandbox := self._sandboxes.pop(sandbox_id, None)) is not None:
            self._tell(sandbox.pod, sandbox_id, "destroy")

    async def create_container(self, spec: ContainerSpec, sandbox: Sandbox) -> str:
        self._check()
        if sandbox.id not in self._sandboxes:
            raise RuntimeFault("CreateContainerError", f"No such container: {sandbox.id}")
        image = await self.find_image(spec.image)
        if image is None:
            raise RuntimeFault("CreateContainerError", f"No such image: {spec.image}")
        for there in self._containers.values():
            if (there.pod.uid, there.name, there.attempt) == (spec.pod.uid, spec.name, spec.attempt):
                return there.id
        if spec.run_as_non_root and (spec.run_as_user == 0 or (spec.run_as_user is None and not image.user)):
            raise RuntimeFault("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")
        record = ContainerRecord(
            id=self._new_id(),
            pod=spec.pod,
            name=spec.name,
            attempt=spec.attempt,
            state=State.CREATED,
            image=spec.image,
            image_id=image.id,
            config_hash=spec.config_hash,
            created_at=self._clock.now(),
            allowance=spec.allowance,
            labels=dict(spec.labels),
        )
        self._containers[record.id] = record
        return record.id

    async def start_container(self, container_id: str) -> None:
        behaviour = self.settings.of(self._container(container_id, "RunContainerError").image)
        if behaviour.start_takes > 0:
            await self._clock.sleep(behaviour.start_takes)
        record = self._container(container_id, "RunContainerError")
        if record.state is not State.CREATED:
            return
        if behaviour.start_error:
            self._end(container_id, 128, error=behaviour.start_error)
            raise RuntimeFault("RunContainerError", behaviour.start_error)
        self._put(dataclasses.replace(record, state=State.RUNNING, started_at=self._clock.now()), "start")
        if behaviour.exits_after is not None:
            after, code, oom = behaviour.exits_after, behaviour.exit_code, behaviour.oom_killed
            self._later(container_id, after, code, oom_killed=oom)

    async def resize_container(self, container_id: str, allowance: Allowance) -> None:
        self._check()
        record = self._containers.get(container_id)
        if record is None or record.state is not State.RUNNING:
            return
        used = self.load(record).memory_bytes
        if allowance.memory_limit and used >= allowance.memory_limit:
            raise RuntimeFault("ResizeError", f"it uses {used} bytes of memory, more than {allowance.memory_limit}")
        self._containers[container_id] = dataclasses.replace(record, allowance=allowance)

    async def signal_container(self, container_id: str, signal: str) -> None:
        self._check()
        record = self._containers.get(container_id)
        if record is None or record.state is not State.RUNNING:
            return
        behaviour = self.settings.of(record.image)
        if signal in ("SIGKILL", "KILL", "9"):
            self._end(container_id, KILLED)
        elif behaviour.stop_takes is not None:
            self._later(container_id, behaviour.stop_takes, behaviour.stop_code)

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        await self.signal_container(container_id, "")
        record = self._containers.get(container_id)
        if record is None or record.state is not State.RUNNING:
            return
        ended = self._ended.setdefault(container_id, asyncio.Event())
        timer = asyncio.get_running_loop().create_task(self._clock.sleep(grace_seconds))
        waiter = asyncio.get_running_loop().create_task(ended.wait())
        try:
            await asyncio.wait((timer, waiter), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            waiter.cancel()
        self._end(container_id, KILLED)

    async def remove_container(self, container_id: str) -> None:
        self._check()
        if container_id in self._containers:
            self._end(container_id, KILLED)
            self._tell(self._containers.pop(container_id).pod, container_id, "destroy")

    async def close(self) -> None:
        for timer in list(self._timers.values()):
            timer.cancel()
        self._timers.clear()

    def _new_id(self) -> str:
        return f"{self._prefix}{next(self._serial)}"

    def _container(self, container_id: str, reason: str) -> ContainerRecord:
        self._check()
        if container_id not in self._containers:
            raise RuntimeFault(reason, f"No such container: {container_id}")
        return self._containers[container_id]

    def _put(self, record: ContainerRecord, action: str) -> None:
        self._containers[record.id] = record
        self._tell(record.pod, record.id, action)

    def _later(self, container_id: str, seconds: float, code: int, *, oom_killed: bool = False) -> None:
        if seconds <= 0:
            self._end(container_id, code, oom_killed=oom_killed)
            return

        async def end() -> None:
            await self._clock.sleep(seconds)
            self._end(container_id, code, oom_killed=oom_killed)

        if (earlier := self._timers.pop(container_id, None)) is not None:
            earlier.cancel()
        self._timers[container_id] = asyncio.get_running_loop().create_task(end(), name=f"end {container_id}")

    def _end(self, container_id: str, code: int, *, oom_killed: bool = False, error: str = "") -> None:
        timer = self._timers.pop(container_id, None)
        if timer is not None and timer is not asyncio.current_task():
            timer.cancel()
        record = self._containers.get(container_id)
        if record is None or record.state is State.EXITED or (record.state is State.CREATED and not error):
            return
        ended = dataclasses.replace(
            record,
            state=State.EXITED,
            finished_at=self._clock.now(),
            exit_code=code,
            oom_killed=oom_killed,
            error=error,
            message=self.settings.of(record.image).message,
        )
        self._put(ended, "die")
        if (waited := self._ended.pop(container_id, None)) is not None:
            waited.set()

    # ------------------------------------------------------------ Images

    async def find_image(self, name: str) -> ImageRecord | None:
        self._check()
        if self.settings.images is None and name not in self._images and not self.settings.of(name).pull_error:
            self._store_image(name)
        return self._images.get(name)

    async def pull_image(self, name: str, auths: Sequence[RegistryAuth]) -> ImageRecord:
        self._check()
        behaviour = self.settings.of(name)
        await self._clock.sleep(behaviour.pull_takes)
        self._check()
        if behaviour.pull_error:
            raise RuntimeFault("ErrImagePull", behaviour.pull_error)
        return self._store_image(name)

    async def own_logins(self) -> str:
        return ""

    async def list_images(self) -> list[ImageRecord]:
        self._check()
        return list(self._images.values())

    async def remove_image(self, image_id: str) -> None:
        self._check()
        self._images = {name: image for name, image in self._images.items() if image.id != image_id}

    def _store_image(self, name: str) -> ImageRecord:
        behaviour = self.settings.of(name)
        image = ImageRecord(
            id=f"sha256:hollow-{name}", names=(name,), size_bytes=behaviour.size_bytes, user=behaviour.user
        )
        return self._images.setdefault(name, image)

    # ------------------------------------------------------------ Exec, Logs, Archives

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> ExecStream:
        self._running(container_id, "ExecError")
        return HollowStream([(1, f"hollow container: would run {' '.join(command)}\n".encode())])

    async def attach(self, container_id: str, *, stdin: bool) -> ExecStream:
        record = self._running(container_id, "AttachError")
        return HollowStream([(1, self.settings.of(record.image).output)])

    def _running(self, container_id: str, reason: str) -> ContainerRecord:
        record = self._container(container_id, reason)
        if record.state is not State.RUNNING:
            raise RuntimeFault(reason, f"container {container_id} is not running")
        return record

    async def logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: datetime.datetime | None, timestamps: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        record = self._container(container_id, "LogsError")
        if record.started_at is not None and (since is None or record.started_at >= since):
            lines = self.settings.of(record.image).output.splitlines(keepends=True)
            stamp = f"{record.started_at:%Y-%m-%dT%H:%M:%S.%fZ} ".encode() if timestamps else b""
            for line in lines if tail is None else lines[max(len(lines) - tail, 0) :]:
                yield 1, stamp + line
        if follow and self._container(container_id, "LogsError").state is State.RUNNING:
            await self._ended.setdefault(container_id, asyncio.Event()).wait()

    def read_archive(self, container_id: str, path: str) -> AsyncIterator[bytes]:
        self._container(container_id, "ArchiveError")
        raise RuntimeFault("ArchiveError", f"a hollow container has no files, so no {path}")

    async def write_archive(self, container_id: str, path: str, data: AsyncIterator[bytes]) -> None:
        self._container(container_id, "ArchiveError")
        raise RuntimeFault("ArchiveError", f"a hollow container has no files, so no {path}")


class HollowStream:
    """Implements `ExecStream`: says its piece and ends with 0."""

    def __init__(self, pieces: Iterable[tuple[int, bytes]]) -> None:
        self._pieces = tuple(pieces)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        for piece in self._pieces:
            yield piece

    async def write(self, data: bytes) -> None:
        """What is written goes nowhere."""

    async def close_stdin(self) -> None:
        """Nobody reads it."""

    async def resize(self, width: int, height: int) -> None:
        """There is no terminal."""

    async def exit_code(self) -> int:
        return 0

    async def close(self) -> None:
        """Nothing is held."""
