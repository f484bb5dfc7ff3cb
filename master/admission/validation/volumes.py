"""Rules of volumes, of their mounts into containers, and of variables that come from elsewhere."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.walk import FieldRule, Findings, MessageRule, between, by_syntax
from podium.errors import BadRequest, Violation
from podium.objects import quantity
from podium.objects.downward import FILE_FIELDS, RESOURCES, VARIABLE_FIELDS, subscript
from podium.objects.pod import all_containers
from podium.objects.schema import of_message
from podium.v1.core_pb2 import (
    ConfigMapEnvSource,
    ConfigMapKeySelector,
    ConfigMapProjection,
    ConfigMapVolumeSource,
    Container,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    EnvFromSource,
    EnvVar,
    HostPathVolumeSource,
    KeyToPath,
    PodSecurityContext,
    PodSpec,
    ProjectedVolumeSource,
    ResourceFieldSelector,
    SecretEnvSource,
    SecretKeySelector,
    SecretProjection,
    SecretVolumeSource,
    Volume,
    VolumeMount,
    VolumeProjection,
)

_SOURCES = tuple(name for field in of_message(Volume()).fields.values() if (name := field.name) != "name")


def pod_volumes(spec: PodSpec, path: str, findings: Findings) -> None:
    """Names once, and mounts of what there is."""
    known: set[str] = set()
    for index, volume in enumerate(spec.volumes):
        if volume.name in known:
            findings.append(Violation(f"{path}.volumes[{index}].name", f'must be once: "{volume.name}" is there twice'))
        known.add(volume.name)
    for field, containers in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for index, container in enumerate(containers):
            _mounts(container, known, f"{path}.{field}[{index}].volumeMounts", findings)
    _containers_shown(spec, path, findings)


def unknown_volume(name: str) -> str:
    """What is said of a mount whose volume is not in the pod; a claim template of a StatefulSet may bring it yet."""
    return f'must name a volume of the pod, not "{name}"'


def _mounts(container: Container, known: set[str], path: str, findings: Findings) -> None:
    taken: set[str] = set()
    for index, mount in enumerate(container.volume_mounts):
        if mount.name and mount.name not in known:
            hint = f"volumes of the pod: {', '.join(sorted(known))}" if known else "the pod has no volumes"
            findings.append(Violation(f"{path}[{index}].name", unknown_volume(mount.name), hint))
        target = posixpath.normpath(mount.mount_path)
        if target in taken:
            where = f"{path}[{index}].mountPath"
            findings.append(Violation(where, f'must be once in a container: "{mount.mount_path}" is there twice'))
        taken.add(target)


def _containers_shown(spec: PodSpec, path: str, findings: Findings) -> None:
    """Resources are shown of containers that there are."""
    known = {container.name for container in all_containers(spec)}
    for where, selector in _resource_fields(spec):
        if selector.container_name and selector.container_name not in known:
            problem = f'must name a container of the pod, not "{selector.container_name}"'
            findings.append(Violation(f"{path}.{where}.resourceFieldRef.containerName", problem))


def _resource_fields(spec: PodSpec) -> Iterator[tuple[str, ResourceFieldSelector]]:
    for field, containers in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for index, container in enumerate(containers):
            for number, variable in enumerate(container.env):
                if variable.value_from.HasField("resource_field_ref"):
                    where = f"{field}[{index}].env[{number}].valueFrom"
                    yield where, variable.value_from.resource_field_ref
    for index, volume in enumerate(spec.volumes):
        for number, item in enumerate(volume.downward_api.items):
            if item.HasField("resource_field_ref"):
                yield f"volumes[{index}].downwardAPI.items[{number}]", item.resource_field_ref
        for place, source in enumerate(volume.projected.sources):
            for number, item in enumerate(source.downward_api.items):
                if item.HasField("resource_field_ref"):
                    where = f"volumes[{index}].projected.sources[{place}].downwardAPI.items[{number}]"
                    yield where, item.resource_field_ref


def one_of(message: Message, what: str, path: str, findings: Findings, names_: Iterable[str] = ()) -> None:
    """Note it unless exactly one of a message's fields is set; `names_` are those that count, by default all."""
    fields = [f for f in of_message(message).fields.values() if not names_ or f.name in names_]
    given = {field.name for field, _ in message.ListFields()}
    present = [field.json for field in fields if field.name in given]
    if not present:
        findings.append(Violation(path, f"must have one {what}: {', '.join(field.json for field in fields)}"))
    for extra in present[1:]:
        findings.append(Violation(f"{path}.{extra}", f"must not be set beside {present[0]}: one {what} only"))


def _volume(volume: Volume, path: str, findings: Findings) -> None:
    one_of(volume, "source", path, findings, _SOURCES)


def _mount_path(text: str, path: str, findings: Findings) -> None:
    if not text.startswith("/"):
        findings.append(Violation(path, f'must be an absolute path, not "{text}"'))
    elif text.strip("/") == "":
        findings.append(Violation(path, "must not be the root of the container"))
    if ":" in text or "\0" in text:
        findings.append(Violation(path, "must not contain ':'"))
    if ".." in text.split("/"):
        findings.append(Violation(path, 'must not contain ".."'))


def _mount(mount: VolumeMount, path: str, findings: Findings) -> None:
    if mount.sub_path and mount.sub_path_expr:
        findings.append(Violation(f"{path}.subPathExpr", "must not be set beside subPath"))


def _local_path(text: str, path: str, findings: Findings) -> None:
    """A path inside something else."""
    if text.startswith("/"):
        findings.append(Violation(path, f'must be a relative path, not "{text}"'))
    if ".." in text.split("/"):
        findings.append(Violation(path, 'must not contain ".."'))
    if "\0" in text:
        findings.append(Violation(path, "must not contain the character NUL"))


def _host_path(text: str, path: str, findings: Findings) -> None:
    if not text.startswith("/"):
        findings.append(Violation(path, f'must be an absolute path, not "{text}"'))
    if ".." in text.split("/"):
        findings.append(Violation(path, 'must not contain ".."'))


def _file_path(text: str, path: str, findings: Findings) -> None:
    """The path of a file in a volume that is written by the nodelet, which keeps names of its own there."""
    _local_path(text, path, findings)
    if text.startswith("..") and ".." not in text.split("/"):
        findings.append(Violation(path, 'must not start with ".."'))


def _size_limit(text: str, path: str, findings: Findings) -> None:
    try:
        if quantity.parse(text) < 0:
            findings.append(Violation(path, f"must be at least 0, not {text}"))
    except BadRequest as error:
        findings.append(Violation(path, error.message))


def _projection(projection: VolumeProjection, path: str, findings: Findings) -> None:
    one_of(projection, "source", path, findings)


def _projected(projected: ProjectedVolumeSource, path: str, findings: Findings) -> None:
    """No file twice, as far as names are known beforehand."""
    taken: set[str] = set()
    for number, source in enumerate(projected.sources):
        for field, paths in (
            ("configMap", [item.path for item in source.config_map.items]),
            ("secret", [item.path for item in source.secret.items]),
            ("downwardAPI", [item.path for item in source.downward_api.items]),
        ):
            for index, name in enumerate(paths):
                if name in taken:
                    where = f"{path}.sources[{number}].{field}.items[{index}].path"
                    findings.append(Violation(where, f'must be once in a volume: "{name}" is there twice'))
                taken.add(name)


def _downward_file(item: DownwardAPIVolumeFile, path: str, findings: Findings) -> None:
    one_of(item, "source", path, findings, ("field_ref", "resource_field_ref"))
    if item.HasField("field_ref"):
        _known_field(item.field_ref.field_path, FILE_FIELDS, f"{path}.fieldRef.fieldPath", findings)
    if item.HasField("resource_field_ref") and not item.resource_field_ref.container_name:
        findings.append(Violation(f"{path}.resourceFieldRef.containerName", "is required in a volume"))


# ---------------------------------------------------------------- environment


def _env_var(variable: EnvVar, path: str, findings: Findings) -> None:
    if not variable.HasField("value_from"):
        return
    if variable.value:
        findings.append(Violation(f"{path}.valueFrom", "must not be set beside value"))
    one_of(variable.value_from, "source", f"{path}.valueFrom", findings)
    if variable.value_from.HasField("field_ref"):
        where = f"{path}.valueFrom.fieldRef.fieldPath"
        _known_field(variable.value_from.field_ref.field_path, VARIABLE_FIELDS, where, findings)


def _env_from(source: EnvFromSource, path: str, findings: Findings) -> None:
    one_of(source, "source", path, findings, ("config_map_ref", "secret_ref"))


def _known_field(text: str, known: Iterable[str], path: str, findings: Findings) -> None:
    if not text or text in known:
        return
    key = subscript(text)
    if key is None:
        others = "metadata.labels['KEY'], metadata.annotations['KEY']"
        findings.append(Violation(path, f'must be one of {", ".join(known)}, {others}; not "{text}"'))
    elif problem := names.qualified_name(key):
        findings.append(Violation(path, f'the key "{key}" {problem}'))


def _resource_field(selector: ResourceFieldSelector, path: str, findings: Findings) -> None:
    if selector.resource and selector.resource not in RESOURCES:
        findings.append(
            Violation(f"{path}.resource", f'must be one of {", ".join(RESOURCES)}; not "{selector.resource}"')
        )
    if selector.divisor:
        _size_limit(selector.divisor, f"{path}.divisor", findings)


MESSAGES: dict[type[Message], MessageRule] = {
    Volume: _volume,
    VolumeMount: _mount,
    VolumeProjection: _projection,
    ProjectedVolumeSource: _projected,
    DownwardAPIVolumeFile: _downward_file,
    EnvVar: _env_var,
    EnvFromSource: _env_from,
    ResourceFieldSelector: _resource_field,
}

_mode = between(0, 0o777)

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (Volume, "name"): by_syntax(names.dns_label),
    (VolumeMount, "mount_path"): _mount_path,
    (VolumeMount, "sub_path"): _local_path,
    (VolumeMount, "sub_path_expr"): _local_path,
    (EmptyDirVolumeSource, "size_limit"): _size_limit,
    (HostPathVolumeSource, "path"): _host_path,
    (ConfigMapVolumeSource, "name"): by_syntax(names.dns_subdomain),
    (ConfigMapVolumeSource, "default_mode"): _mode,
    (SecretVolumeSource, "secret_name"): by_syntax(names.dns_subdomain),
    (SecretVolumeSource, "default_mode"): _mode,
    (DownwardAPIVolumeSource, "default_mode"): _mode,
    (ProjectedVolumeSource, "default_mode"): _mode,
    (ConfigMapProjection, "name"): by_syntax(names.dns_subdomain),
    (SecretProjection, "name"): by_syntax(names.dns_subdomain),
    (KeyToPath, "key"): by_syntax(names.data_key),
    (KeyToPath, "path"): _file_path,
    (KeyToPath, "mode"): _mode,
    (DownwardAPIVolumeFile, "path"): _file_path,
    (DownwardAPIVolumeFile, "mode"): _mode,
    (EnvFromSource, "prefix"): by_syntax(names.environment_name),
    (ConfigMapKeySelector, "name"): by_syntax(names.dns_subdomain),
    (ConfigMapKeySelector, "key"): by_syntax(names.data_key),
    (SecretKeySelector, "name"): by_syntax(names.dns_subdomain),
    (SecretKeySelector, "key"): by_syntax(names.data_key),
    (ConfigMapEnvSource, "name"): by_syntax(names.dns_subdomain),
    (SecretEnvSource, "name"): by_syntax(names.dns_subdomain),
    (PodSecurityContext, "fs_group"): between(0, 2**31 - 1),
}
