"""Defaults of volumes and of references to the pod's own fields."""

from __future__ import annotations

from podium.v1.core_pb2 import Container, DownwardAPIVolumeFile, EphemeralContainer, PodSpec, Volume

_FILE_MODE = 0o644
_API_VERSION = "v1"
_WITH_MODE = ("config_map", "secret", "downward_api", "projected")


def volumes(spec: PodSpec) -> None:
    """The mode of files."""
    for volume in spec.volumes:
        for name in _WITH_MODE:
            if volume.HasField(name) and not getattr(volume, name).HasField("default_mode"):  # type: ignore[arg-type]
                getattr(volume, name).default_mode = _FILE_MODE
        for item in _downward(volume):
            if item.HasField("field_ref") and not item.field_ref.api_version:
                item.field_ref.api_version = _API_VERSION


def _downward(volume: Volume) -> list[DownwardAPIVolumeFile]:
    if volume.HasField("downward_api"):
        return list(volume.downward_api.items)
    return [item for source in volume.projected.sources for item in source.downward_api.items]


def environment(container: Container | EphemeralContainer) -> None:
    """The version of the fields that variables refer to."""
    for variable in container.env:
        if variable.value_from.HasField("field_ref") and not variable.value_from.field_ref.api_version:
            variable.value_from.field_ref.api_version = _API_VERSION
