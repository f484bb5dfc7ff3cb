"""ConfigMaps and Secrets; and what pods make of them: volumes, mounts, variables."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from podium.cli.describe.page import Page, header
from podium.v1.core_pb2 import ConfigMap, Container, DownwardAPIVolumeFile, EnvVar, PodSpec, Secret, Volume, VolumeMount


def secret(page: Page, obj: Secret, now: datetime.datetime) -> None:
    """A Secret: which keys, never what they hold."""
    header(page, obj)
    page.field("Type", obj.type)
    page.field("Immutable", obj.immutable or "")
    with page.section("Data"):
        for key, value in sorted(obj.data.items()):
            page.field(key, f"{len(value)} bytes")


def config_map(page: Page, obj: ConfigMap, now: datetime.datetime) -> None:
    """A ConfigMap, its texts in full."""
    header(page, obj)
    page.field("Immutable", obj.immutable or "")
    with page.section("Data"):
        for key, text in sorted(obj.data.items()):
            page.field(key, text.rstrip("\n") or '""')
    if obj.binary_data:
        with page.section("Binary Data"):
            for key, value in sorted(obj.binary_data.items()):
                page.field(key, f"{len(value)} bytes")


# ---------------------------------------------------------------- in a pod


def volumes(page: Page, spec: PodSpec) -> None:
    """Where each volume of a pod comes from."""
    if spec.volumes:
        with page.section("Volumes"):
            for found in spec.volumes:
                page.field(found.name, source(found))


def source(volume: Volume) -> str:
    """A volume's source in a few words."""
    name = next((field.name for field, _ in volume.ListFields() if field.name != "name"), "")
    tell = _SOURCES.get(name)
    return tell(volume) if tell is not None else name


def _empty_dir(volume: Volume) -> str:
    limit = f", at most {volume.empty_dir.size_limit}" if volume.empty_dir.size_limit else ""
    return f"EmptyDir {'in memory' if volume.empty_dir.medium else 'on disk'}{limit}"


def _projected(volume: Volume) -> str:
    return "Projected\n" + "\n".join(f"  {line}" for line in _projections(volume))


def _projections(volume: Volume) -> Iterator[str]:
    for part in volume.projected.sources:
        if part.HasField("config_map"):
            yield _named("ConfigMap", part.config_map.name, part.config_map)
        elif part.HasField("secret"):
            yield _named("Secret", part.secret.name, part.secret)
        else:
            yield _downward(part.downward_api.items)


def _named(kind: str, name: str, found: Any) -> str:
    items = ", ".join(f"{item.key} as {item.path}" for item in found.items)
    words = [f"{kind} {name}", f"({items})" if items else "", "optional" if found.optional else ""]
    return " ".join(word for word in words if word)


def _downward(items: Iterable[DownwardAPIVolumeFile]) -> str:
    return f"DownwardAPI ({', '.join(f'{_what(item)} as {item.path}' for item in items)})"


def _what(found: Any) -> str:
    if found.HasField("field_ref"):
        return str(found.field_ref.field_path)
    return str(found.resource_field_ref.resource)


_SOURCES: dict[str, Callable[[Volume], str]] = {
    "empty_dir": _empty_dir,
    "host_path": lambda v: f"HostPath {v.host_path.path}{f' ({v.host_path.type})' if v.host_path.type else ''}",
    "config_map": lambda v: _named("ConfigMap", v.config_map.name, v.config_map),
    "secret": lambda v: _named("Secret", v.secret.secret_name, v.secret),
    "downward_api": lambda v: _downward(v.downward_api.items),
    "projected": _projected,
    "nfs": lambda v: f"NFS {v.nfs.server}:{v.nfs.path}{' (read-only)' if v.nfs.read_only else ''}",
    "persistent_volume_claim": lambda v: (
        f"Claim {v.persistent_volume_claim.claim_name}{' (read-only)' if v.persistent_volume_claim.read_only else ''}"
    ),
}


def mounts(container: Container) -> str:
    """A container's mounts, a line each."""
    return "\n".join(_mount(mount) for mount in container.volume_mounts)


def _mount(mount: VolumeMount) -> str:
    part = mount.sub_path or mount.sub_path_expr
    return f"{mount.mount_path} from {mount.name}{f'/{part}' if part else ''}{' (ro)' if mount.read_only else ''}"


def environment(container: Container) -> str:
    """A container's variables, a line each; what comes from elsewhere is named, not shown."""
    return "\n".join((*_whole(container), *(f"{v.name}={_value(v)}" for v in container.env)))


def _whole(container: Container) -> Iterator[str]:
    for found in container.env_from:
        prefix = f" with prefix {found.prefix}" if found.prefix else ""
        kind, ref = (
            ("ConfigMap", found.config_map_ref) if found.HasField("config_map_ref") else ("Secret", found.secret_ref)
        )
        yield f"all of {kind} {ref.name}{prefix}{' (optional)' if ref.optional else ''}"


def _value(variable: EnvVar) -> str:
    if not variable.HasField("value_from"):
        return variable.value
    given = variable.value_from
    if given.HasField("config_map_key_ref"):
        return _key("ConfigMap", given.config_map_key_ref)
    if given.HasField("secret_key_ref"):
        return _key("Secret", given.secret_key_ref)
    return f"<{_what(given)}>"


def _key(kind: str, ref: Any) -> str:
    return f"<key {ref.key} of {kind} {ref.name}{', optional' if ref.optional else ''}>"
