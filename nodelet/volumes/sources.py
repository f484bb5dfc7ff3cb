"""The table of volume sources: by the name of the field of `Volume` that asks for it."""

from __future__ import annotations

from collections.abc import Mapping

from nodelet.volumes.claim import ClaimSource
from nodelet.volumes.empty_dir import EmptyDir
from nodelet.volumes.files import Files
from nodelet.volumes.host_path import HostPath
from nodelet.volumes.mounts import Mounter
from nodelet.volumes.nfs import NfsSource
from nodelet.volumes.protocol import Source
from podium.v1.core_pb2 import Volume


def all_sources(mounter: Mounter, allocatable: Mapping[str, str], claims: ClaimSource) -> Mapping[str, Source]:
    """Every source."""
    files = Files(mounter, allocatable)
    return {
        "empty_dir": EmptyDir(mounter),
        "host_path": HostPath(),
        "config_map": files,
        "secret": files,
        "downward_api": files,
        "projected": files,
        "persistent_volume_claim": claims,
        "nfs": NfsSource(),
    }


def source_name(volume: Volume) -> str:
    """The field that says where a volume comes from; a volume has exactly one."""
    return next((field.name for field, _ in volume.ListFields() if field.name != "name"), "")
