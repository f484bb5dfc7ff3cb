"""The Linux host of a node: what it has, how it stands, and what it and its pods use.

Everything measured comes from one sample, taken in one visit to a thread and shared by who asks at about one time:
the session (usage), the evictor (shortages, and use by pod), node status and `/metrics`. The runtime is asked only for
its version and its images, with a limit on the wait, and a runtime that doesn't answer is a fact to report, not a
failure: nothing here raises once the host is open. A sample that can't be taken leaves the last one in force.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from nodelet.metrics.machine import Filesystem
from nodelet.metrics.reader import HostReader
from nodelet.metrics.state_disk import StateDisk
from nodelet.metrics.status import About, RuntimeState, node_status, signals
from nodelet.metrics.usage import Sample, Target, remember, report
from nodelet.pods.evict import PodUse, Pressures, Resource, Signal, shortages
from nodelet.pods.images import Disk
from nodelet.pods.manager import PodManager
from nodelet.runtime.protocol import ImageRecord, RuntimeFault, RuntimeInfo, State
from podium.aio.clock import Clock
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import NodeStatus
from podium.v1.node_session_pb2 import UsageReport

log = get_logger(__name__)

FRESH_SECONDS = 0.5
RUNTIME_SECONDS = 5.0
IMAGES_SECONDS = 30.0
_NETNS_PARTS = 4  # "", "proc", PID, "ns/net"


class HostRuntime(Protocol):
    """What is asked of the runtime about the host."""

    async def info(self) -> RuntimeInfo: ...
    async def list_images(self) -> list[ImageRecord]: ...


class PodSource(Protocol):
    """The pods whose containers are measured."""

    def targets(self) -> list[Target]:
        """Every running container."""
        ...

    def phases(self) -> Mapping[str, int]:
        """How many pods are in each phase."""
        ...


class ManagedPods:
    """The PodSource of a pod manager: what it remembers of the runtime, which costs no question to it."""

    def __init__(self, manager: PodManager) -> None:
        self._manager = manager

    def targets(self) -> list[Target]:
        """Every running container in a sandbox that runs."""
        found = []
        for worker in self._manager.workers():
            running = [sandbox for sandbox in worker.memory.sandboxes if sandbox.state is State.RUNNING]
            pid = pid_of(running[0].netns_path) if running else ""
            if pid:
                found += [
                    Target(pod=record.pod, name=record.name, id=record.id, sandbox_id=running[0].id, sandbox_pid=pid)
                    for record in worker.memory.records()
                    if record.state is State.RUNNING
                ]
        return found

    def phases(self) -> Mapping[str, int]:
        """By the status that was last reported."""
        return Counter(worker.status.phase or "Pending" for worker in self._manager.workers())


def pid_of(netns_path: str) -> str:
    """The process of `/proc/PID/ns/net`; empty when it is no such path."""
    parts = netns_path.split("/", _NETNS_PARTS - 1)
    return parts[2] if len(parts) == _NETNS_PARTS and parts[1] == "proc" and parts[2].isdigit() else ""


class LinuxHost:
    """Implements `nodelet.node.Host`, and the figures that `nodelet.pods.evict.Evictor` asks for. See the module."""

    def __init__(
        self, *, about: About, reader: HostReader, runtime: HostRuntime, clock: Clock, state: StateDisk | None = None
    ) -> None:
        """Use `open`; this is for tests."""
        self._state_disk = state
        self._about, self.reader, self._runtime, self._clock = about, reader, runtime, clock
        self._pods: PodSource | None = None
        self._turn = asyncio.Lock()
        self._sample: Sample | None = None
        self._reported: Sample | None = None
        self._history: tuple[Sample, ...] = ()
        self._pressures = Pressures()
        self._state = RuntimeState()
        self._images_due = clock.monotonic()
        self.conditions: frozenset[str] = frozenset()
        """Pressures that are up now."""

    @classmethod
    async def open(
        cls, *, about: About, disk: Path, runtime: HostRuntime, clock: Clock, state: StateDisk | None = None
    ) -> LinuxHost:
        """Look at the machine. `disk` is the engine's folder (`RuntimeInfo.root_dir`), `state` the nodelet's own.

        Raises:
            OSError: /proc can't be read.
        """
        reader = await asyncio.to_thread(lambda: HostReader(disk=disk))
        return cls(about=about, reader=reader, runtime=runtime, clock=clock, state=state)

    def follow(self, pods: PodSource) -> None:
        """Measure these pods, too, from now on."""
        self._pods = pods

    @property
    def boot_id(self) -> str:
        """Changes whenever this host starts anew."""
        return self.reader.machine.boot_id

    @property
    def newest(self) -> Sample | None:
        """The last sample; for `/metrics`, from any thread."""
        return self._sample

    # ------------------------------------------------------------ what the node reports

    async def status(self) -> NodeStatus:
        """Capacity, addresses, conditions, images."""
        await self._look_at_runtime()
        _ = await self.signals()
        disk = self._sample.disk if self._sample is not None else await self._filesystem()
        lost = await self._state_disk.fault() if self._state_disk is not None else ""
        return node_status(self._about, self.reader.machine, disk, self.conditions, self._state, lost)

    async def usage(self) -> UsageReport | None:
        """What is used now; None while there is nothing new, or no rate to tell."""
        newest = await self.sample()
        if newest is None or newest is self._reported:
            return None
        self._reported = newest
        return report(self._history, node=self._about.name, now=self._clock.now())

    async def disk(self) -> Disk:
        """Where images are kept."""
        found = await self._filesystem()
        return Disk(total=found.total, used=found.total - found.available) if found.total else Disk(total=1, used=0)

    # ------------------------------------------------------------ what eviction asks

    async def signals(self) -> Mapping[Resource, Signal]:
        """What is left of memory, disk, inodes and process ids; moves the node's conditions."""
        sample = await self.sample()
        if sample is None:
            return {}
        found = signals(self.reader.machine, sample)
        short = shortages(found, self._about.thresholds)
        self.conditions = self._pressures.update(short, self._clock.monotonic())
        return found

    async def uses(self) -> Mapping[str, PodUse]:
        """What each pod takes, by uid. Disk is looked at only while that is short."""
        sample = await self.sample()
        if sample is None:
            return {}
        targets = [container.target for container in sample.containers.values()]
        disk: Mapping[str, int] = {}
        if Resource.DISK.condition in self.conditions:
            disk = await asyncio.to_thread(self.reader.disk_use, targets)
        return uses_by_pod(sample, disk)

    # ------------------------------------------------------------ measuring

    async def sample(self) -> Sample | None:
        """A sample at most `FRESH_SECONDS` old; None when there has never been one."""
        async with self._turn:
            now = self._clock.monotonic()
            if self._sample is not None and now - self._sample.at < FRESH_SECONDS:
                return self._sample
            targets = self._pods.targets() if self._pods is not None else []
            phases = self._pods.phases() if self._pods is not None else {}
            try:
                self._sample = await asyncio.to_thread(self.reader.read, now, targets, phases)
                self._history = remember(self._history, self._sample)
            except (OSError, KeyError, ValueError) as error:
                log.warning("could not measure this host", why=repr(error))
            return self._sample

    async def _filesystem(self) -> Filesystem:
        return await asyncio.to_thread(self.reader.filesystem)

    async def _look_at_runtime(self) -> None:
        state = self._state
        version, images, down = state.version, state.images, ""
        try:
            async with asyncio.timeout(RUNTIME_SECONDS):
                version = (await self._runtime.info()).version
                if self._clock.monotonic() >= self._images_due:
                    images = await self._runtime.list_images()
                    self._images_due = self._clock.monotonic() + IMAGES_SECONDS
        except RuntimeFault as fault:
            down = fault.message
        except TimeoutError:
            down = f"no answer in {RUNTIME_SECONDS:g} s"
        self._state = RuntimeState(version=version, images=images, down=down)


def uses_by_pod(sample: Sample, disk: Mapping[str, int]) -> dict[str, PodUse]:
    """Containers' figures summed up by pod uid; `disk` is by container id."""
    uses: dict[str, PodUse] = {}
    for id_, container in sample.containers.items():
        uid, reading = container.target.pod.uid, container.reading
        so_far = uses.get(uid, PodUse())
        uses[uid] = PodUse(
            memory=so_far.memory + reading.memory,
            disk=so_far.disk + disk.get(id_, 0),
            pids=so_far.pids + reading.pids,
        )
    return uses
