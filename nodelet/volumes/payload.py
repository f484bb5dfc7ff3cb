"""Which files a volume of configuration holds: from the objects and the pod to names, bytes and modes. Pure.

Kubernetes' rules: without `items` every key is a file of its name; with them only those, where a missing key is an
error unless the source is optional. In a projected volume a later source wins over an earlier one at the same path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from nodelet.volumes.protocol import VolumeFault
from podium.objects.downward import container_named, file_field, resource_value
from podium.objects.references import Objects, Withheld, config_map_key, secret_key
from podium.v1.core_pb2 import ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume

DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file. Its content is never shown: it may be a secret."""

    data: bytes = field(repr=False)
    mode: int = DEFAULT_MODE


Payload = Mapping[str, File]
"""Files by their path relative to the volume."""


def holds_secrets(volume: Volume) -> bool:
    """Whether a volume must never be on a disk."""
    return volume.HasField("secret") or any(source.HasField("secret") for source in volume.projected.sources)


def is_payload(volume: Volume) -> bool:
    """Whether the volume is made of files that this module knows."""
    return any(volume.HasField(name) for name in ("config_map", "secret", "downward_api", "projected"))


def payload(pod: Pod, volume: Volume, objects: Objects, allocatable: Mapping[str, str]) -> Payload:
    """The files of a configMap, secret, downwardAPI or projected volume.

    Raises:
        VolumeFault: What is not optional is missing, or a Secret is withheld.
    """
    maker = _Maker(pod, objects, allocatable)
    if volume.HasField("config_map"):
        source = volume.config_map
        mode = source.default_mode if source.HasField("default_mode") else DEFAULT_MODE
        return dict(maker.config_map(source.name, source.items, mode, source.optional))
    if volume.HasField("secret"):
        secret = volume.secret
        mode = secret.default_mode if secret.HasField("default_mode") else DEFAULT_MODE
        return dict(maker.secret(secret.secret_name, secret.items, mode, secret.optional))
    if volume.HasField("downward_api"):
        files = volume.downward_api
        mode = files.default_mode if files.HasField("default_mode") else DEFAULT_MODE
        return dict(maker.downward(files.items, mode))
    return dict(_projected(volume, maker))


def _projected(volume: Volume, maker: _Maker) -> Iterator[tuple[str, File]]:
    whole = volume.projected
    mode = whole.default_mode if whole.HasField("default_mode") else DEFAULT_MODE
    for source in whole.sources:
        if source.HasField("config_map"):
            config = source.config_map
            yield from maker.config_map(config.name, config.items, mode, config.optional)
        elif source.HasField("secret"):
            yield from maker.secret(source.secret.name, source.secret.items, mode, source.secret.optional)
        else:
            yield from maker.downward(source.downward_api.items, mode)


class _Maker:
    """The files of one pod's volumes."""

    def __init__(self, pod: Pod, objects: Objects, allocatable: Mapping[str, str]) -> None:
        self._pod, self._objects, self._allocatable = pod, objects, allocatable

    def config_map(
        self, name: str, items: Iterable[KeyToPath], mode: int, optional: bool
    ) -> Iterator[tuple[str, File]]:
        found: ConfigMap | None = self._objects.get(config_map_key(self._pod.metadata.namespace, name))
        if found is None:
            return _missing(f'configmap "{name}" not found', optional)
        data = {key: text.encode() for key, text in found.data.items()} | dict(found.binary_data)
        return _files(data, items, mode, optional, "config")

    def secret(self, name: str, items: Iterable[KeyToPath], mode: int, optional: bool) -> Iterator[tuple[str, File]]:
        found: Secret | Withheld | None = self._objects.get(secret_key(self._pod.metadata.namespace, name))
        if isinstance(found, Withheld):
            raise VolumeFault(str(found))
        if found is None:
            return _missing(f'secret "{name}" not found', optional)
        return _files(dict(found.data), items, mode, optional, "secret")

    def downward(self, items: Iterable[DownwardAPIVolumeFile], mode: int) -> Iterator[tuple[str, File]]:
        for item in items:
            yield item.path, File(data=self._value(item).encode(), mode=item.mode if item.HasField("mode") else mode)

    def _value(self, item: DownwardAPIVolumeFile) -> str:
        if item.HasField("field_ref"):
            return file_field(self._pod, item.field_ref.field_path)
        selector = item.resource_field_ref
        container = container_named(self._pod, selector.container_name)
        if container is None:
            raise VolumeFault(f"the pod has no container {selector.container_name}")
        return resource_value(container, selector, self._allocatable)


def _files(
    data: Mapping[str, bytes], items: Iterable[KeyToPath], mode: int, optional: bool, word: str
) -> Iterator[tuple[str, File]]:
    chosen = list(items)
    if not chosen:
        yield from ((key, File(data=value, mode=mode)) for key, value in data.items())
    for item in chosen:
        if item.key in data:
            yield item.path, File(data=data[item.key], mode=item.mode if item.HasField("mode") else mode)
        elif not optional:
            raise VolumeFault(f"references non-existent {word} key: {item.key}")


def _missing(message: str, optional: bool) -> Iterator[tuple[str, File]]:
    if not optional:
        raise VolumeFault(message)
    return iter(())
