"""What the pod workers ask of the node's volumes, and what a source of volumes is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nodelet.runtime.protocol import DriverVolume, Mount, PodIdentity
from podium.objects.references import Objects
from podium.objects.storage import ClaimKey
from podium.v1.core_pb2 import Container, Pod, Volume
from podium.v1.node_session_pb2 import VolumeReport, VolumeState
from podium.v1.storage_pb2 import PersistentVolume


class VolumeFault(Exception):
    """A volume could not be set up or taken down; the message says why, and names the volume."""


def failure(volume: Volume, why: str) -> str:
    """What is said of a volume that could not be set up."""
    return f'MountVolume.SetUp failed for volume "{volume.name}": {why}'


class PodVolumes(Protocol):
    """The volumes of this node's pods. They survive the nodelet's restart: setting up finds what is there."""

    def holds(self, uid: str) -> bool:
        """Whether anything of a pod's volumes is on this host."""
        ...

    async def set_up(self, pod: Pod, objects: Objects) -> None:
        """Have every volume of the pod here, holding what it should now. Safe to repeat, also while containers run.

        Raises: VolumeFault.
        """
        ...

    async def mounts(self, pod: Pod, container: Container) -> tuple[Mount, ...]:
        """What to mount into a container; the pod's volumes have been set up by this process.

        Raises: VolumeFault.
        """
        ...

    async def tear_down(self, pod: PodIdentity) -> None:
        """Remove what ends with the pod, let go of the rest. No container of it runs. Safe to repeat.

        Raises: VolumeFault.
        """
        ...

    async def retain(self, pods: Collection[str]) -> None:
        """Tear down for all pods whose uid is not in `pods` (after a restart).

        Raises: VolumeFault.
        """
        ...


class Reports(Protocol):
    """What became of volumes, on its way up. `wake` is called when there is something to send."""

    wake: Callable[[], None]

    def put(self, state: VolumeState) -> None:
        """Something became of a volume."""
        ...

    def take(self) -> VolumeReport | None:
        """What is to be sent, as one message; None when nothing is."""
        ...

    def put_back(self, report: VolumeReport) -> None:
        """A message could not be sent."""
        ...


class LocalVolumes(Protocol):
    """The volumes that Podium made on this host for claims."""

    @property
    def folder(self) -> str:
        """Where they are, unless their class names another place."""
        ...

    @property
    def reports(self) -> Reports: ...

    def condemn(self, volumes: Iterable[PersistentVolume]) -> None:
        """The master wants these removed. Returns at once; safe to repeat."""
        ...

    async def run(self, in_use: Callable[[ClaimKey], bool]) -> None:
        """Do so, for ever. `in_use` tells whether a pod of this host has a claim."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One volume to be set up.

    Attributes:
        pod: Whose it is.
        volume: Its name and source.
        objects: What the pod uses of other objects, as far as they exist.
        place: The volume's own path on this host, which ends with the pod: a source may make a folder there, or mount
            something on it. What is mounted there is unmounted, never deleted.
        fs_group: The group that volumes of the pod belong to, if it asks for one.
    """

    pod: Pod
    volume: Volume
    objects: Objects = field(repr=False)
    place: Path

    @property
    def fs_group(self) -> int | None:
        context = self.pod.spec.security_context
        return context.fs_group if context.HasField("fs_group") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A volume that can be mounted, and whether containers may never write to it.

    Attributes:
        path: The file or folder, when it is on the host.
        driver: What mounts it, when it is not.
        read_only: Whatever the container's own mount says.
    """

    path: Path | None = None
    driver: DriverVolume | None = None
    read_only: bool = False


class Source(Protocol):
    """A kind of volume. One module each; see `nodelet.volumes.sources` for the table of them."""

    def set_up(self, request: Request) -> Prepared:
        """Have the volume here. Blocks: runs in a thread. Safe to repeat, also while containers use it.

        Nothing takes a volume down but what is common to all: unmounting and removing its place.

        Raises: VolumeFault, OSError.
        """
        ...
