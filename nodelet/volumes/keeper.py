"""Volumes that Podium made on this host, between folders and master: made on first use, removed when condemned.

    a pod's first use ──► folder made ──► `made`  ─┐
    master: condemned ──► nobody here uses it ──► folder removed ──► `gone` ─┼─► reports, until the session takes them
                          it cannot be removed ──► `failure`, tried again ───┘

The handshake needs no memory: a folder that is gone already is reported gone again, however often the master asks, and
the master asks until it has taken the volume's finalizer away.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from nodelet.volumes.local import LocalFolders
from nodelet.volumes.protocol import VolumeFault
from podium.objects.storage import ClaimKey
from podium.telemetry.log import get_logger
from podium.v1.node_session_pb2 import VolumeReport, VolumeState
from podium.v1.storage_pb2 import PersistentVolume

log = get_logger(__name__)

RETRY_SECONDS = 5.0
"""How soon a folder that could not be removed, or is still in use, is looked at again."""


class VolumeReports:
    """States on their way up: the newest of each volume. `wake` is called when there is something to send."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._due: dict[str, VolumeState] = {}

    def put(self, state: VolumeState) -> None:
        """Something became of a volume. That its folder is there is not forgotten over what is in it."""
        before = self._due.get(state.name)
        state.made = state.made or (before is not None and before.made and not state.gone)
        self._due[state.name] = state
        self.wake()

    def take(self) -> VolumeReport | None:
        """What is to be sent, as one message; None when nothing is."""
        if not self._due:
            return None
        due, self._due = self._due, {}
        return VolumeReport(volumes=due.values())

    def put_back(self, report: VolumeReport) -> None:
        """A message could not be sent."""
        for state in report.volumes:
            self._due.setdefault(state.name, state)


class LocalKeeper:
    """Implements `nodelet.volumes.protocol.LocalVolumes`; see the module. To be made where the event loop runs."""

    def __init__(self, folder: Path, folders: LocalFolders) -> None:
        self.folder, self.reports = str(folder), VolumeReports()
        self._folders = folders
        self._loop = asyncio.get_running_loop()
        self._condemned: dict[str, PersistentVolume] = {}
        self._due = asyncio.Event()

    def made(self, volume: PersistentVolume) -> None:
        """A volume's folder is there. May be called from any thread."""
        state = VolumeState(name=volume.metadata.name, uid=volume.metadata.uid, made=True)
        self._loop.call_soon_threadsafe(self.reports.put, state)

    def condemn(self, volumes: Iterable[PersistentVolume]) -> None:
        """These are to be removed."""
        for volume in volumes:
            self._condemned[volume.metadata.name] = volume
        self._due.set()

    async def run(self, in_use: Callable[[ClaimKey], bool]) -> None:
        """Remove what is condemned, for ever. `in_use` tells whether a pod of this host has a claim."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS if self._condemned else None):
                    await self._due.wait()
            self._due.clear()
            for volume in list(self._condemned.values()):
                ref = volume.spec.claim_ref
                if not in_use(ClaimKey(ref.namespace, ref.name)):
                    await self._remove(volume)

    async def _remove(self, volume: PersistentVolume) -> None:
        name, uid, path = volume.metadata.name, volume.metadata.uid, volume.spec.local.path
        try:
            await asyncio.to_thread(self._folders.remove, volume)
        except (OSError, VolumeFault) as error:
            log.warning("could not remove a volume", volume=name, path=path, why=str(error))
            self.reports.put(VolumeState(name=name, uid=uid, failure=f"could not remove {path}: {error}"))
            return
        log.info("removed a volume", volume=name, path=path)
        self._condemned.pop(name, None)
        self.reports.put(VolumeState(name=name, uid=uid, gone=True))
