"""A host's volumes in a temporary folder."""

from __future__ import annotations

from pathlib import Path

from nodelet.volumes.claim import ClaimSource
from nodelet.volumes.local import LocalFolders
from nodelet.volumes.mounts import Mounter
from nodelet.volumes.sources import all_sources
from nodelet.volumes.volumes import HostVolumes
from tests.support.plain_mounts import PlainMounts


def host_volumes(root: Path, mounter: Mounter | None = None) -> HostVolumes:
    """Every source; mounts are only noted unless a mounter is given. Claims are told to nobody."""
    chosen = mounter or PlainMounts()
    claims = ClaimSource(LocalFolders(chosen), lambda volume: None)
    return HostVolumes(root, sources=all_sources(chosen, {}, claims), mounter=chosen)
