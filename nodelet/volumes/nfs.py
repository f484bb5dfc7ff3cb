"""nfs: what an NFS server exports, mounted by the engine's own `local` volume driver when a container starts.

The engine mounts for each container that uses the volume, and unmounts and forgets it with the container: it has no
name that could stay behind. What the engine says when it cannot mount is the container's error.
"""

from __future__ import annotations

from collections.abc import Sequence

from nodelet.runtime.protocol import DriverVolume
from nodelet.volumes.protocol import Prepared, Request


class NfsSource:
    """Implements `Source`."""

    def set_up(self, request: Request) -> Prepared:
        """What mounts it."""
        nfs = request.volume.nfs
        driver = nfs_volume(nfs.server, nfs.path, (), read_only=nfs.read_only)
        return Prepared(driver=driver, read_only=nfs.read_only)


def nfs_volume(server: str, path: str, options: Sequence[str], *, read_only: bool) -> DriverVolume:
    """The engine's volume for an export. `options` are mount(8)'s, one each, e.g. `nfsvers=4.1`."""
    mount = [f"addr={server}", *options, *(["ro"] if read_only and "ro" not in options else [])]
    return DriverVolume(driver="local", options={"type": "nfs", "o": ",".join(mount), "device": f":{path}"})
