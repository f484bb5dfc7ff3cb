"""How full the folders of claims are: measured from time to time, told to the master, and to pods whose volume is full.

A folder on a node has no limit of its own: `capacity` is what its claim may count on, and whoever writes more takes it
from its neighbours. So both are looked at: what is in the folder, and what the file system below it has left. Walking a
folder costs time, so it is done in a thread, ends after `MOST_FILES`, and takes a fiftieth of the time at most: what
takes long is measured less often.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nodelet.pods.protocol import EventSink
from nodelet.volumes.protocol import Reports
from podium.aio.clock import Clock
from podium.objects import quantity, storage
from podium.v1.core_pb2 import Pod
from podium.v1.node_session_pb2 import VolumeState
from podium.v1.storage_pb2 import PersistentVolume

PERIOD_SECONDS = 60.0
MOST_FILES = 200_000
REST = 50.0
"""How many times as long as it took to measure it a folder is left alone."""
FULL_SHARE = 0.01
"""Of a file system; what is left below this is nothing."""
_BLOCK = 512

Bound = Callable[[], Iterable[tuple[Pod, PersistentVolume]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Bytes: in the folder, left on its file system, and of the whole file system."""

    used: int
    free: int
    total: int


def read(path: str) -> Reading | None:
    """Measure a folder. Blocks. None when it cannot be read."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return None
    return Reading(used=_below(path), free=disk.f_bavail * disk.f_frsize, total=disk.f_blocks * disk.f_frsize)


def _below(path: str) -> int:
    used, left = 0, MOST_FILES
    for parent, _, names in os.walk(path):
        for name in names[:left]:
            try:
                used += os.lstat(os.path.join(parent, name)).st_blocks * _BLOCK
            except OSError:
                continue  # removed while we walked
        left -= len(names)
        if left <= 0:
            break
    return used


def complaint(volume: PersistentVolume, reading: Reading) -> str:
    """What is wrong with a volume; empty when it has room."""
    where = f"PersistentVolume {volume.metadata.name} ({storage.where(volume)})"
    capacity = storage.capacity(volume)
    if reading.free < reading.total * FULL_SHARE:
        left = quantity.from_bytes(reading.free)
        return f"{where} is full: its file system has {left} left"
    if reading.used > capacity:
        return f"{where} holds {quantity.from_bytes(reading.used)}, more than its capacity of {_size(volume)}"
    return ""


def _size(volume: PersistentVolume) -> str:
    return volume.spec.capacity[storage.STORAGE]


class VolumeGauge:
    """See the module."""

    def __init__(self, *, bound: Bound, reports: Reports, events: EventSink, clock: Clock) -> None:
        self._bound, self._reports, self._events, self._clock = bound, reports, events, clock
        self._rests_until: dict[str, float] = {}

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            await self._clock.sleep(PERIOD_SECONDS)
            await self.measure()

    async def measure(self) -> None:
        """Measure every folder that a pod uses, and that does not rest, once."""
        volumes = {volume.metadata.name: volume for _, volume in self._bound() if volume.spec.HasField("local")}
        self._rests_until = {name: until for name, until in self._rests_until.items() if name in volumes}
        for name, volume in volumes.items():
            began = self._clock.monotonic()
            if began < self._rests_until.get(name, began):
                continue
            reading = await asyncio.to_thread(read, volume.spec.local.path)
            now = self._clock.monotonic()
            self._rests_until[name] = now + (now - began) * REST
            if reading is None:
                continue
            self._reports.put(
                VolumeState(name=name, uid=volume.metadata.uid, used_bytes=reading.used, free_bytes=reading.free)
            )
            message = complaint(volume, reading)
            for pod in {p.metadata.uid: p for p, v in self._bound() if message and v.metadata.name == name}.values():
                self._events.event(pod, "Warning", "VolumeFull", message)
