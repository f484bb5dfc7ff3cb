"""Rules of volumes and of their mounts into containers."""

from __future__ import annotations

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.walk import FieldRule, Findings, MessageRule, by_syntax
from podium.errors import Violation
from podium.objects.schema import of_message
from podium.v1.core_pb2 import Container, PodSpec, Volume, VolumeMount

_SOURCES = tuple(field for field in of_message(Volume()).fields.values() if field.name != "name")


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


def _mounts(container: Container, known: set[str], path: str, findings: Findings) -> None:
    taken: set[str] = set()
    for index, mount in enumerate(container.volume_mounts):
        if mount.name and mount.name not in known:
            hint = f"volumes of the pod: {', '.join(sorted(known))}" if known else "the pod has no volumes"
            findings.append(
                Violation(f"{path}[{index}].name", f'must name a volume of the pod, not "{mount.name}"', hint)
            )
        if mount.mount_path in taken:
            where = f"{path}[{index}].mountPath"
            findings.append(Violation(where, f'must be once in a container: "{mount.mount_path}" is there twice'))
        taken.add(mount.mount_path)


def _volume(volume: Volume, path: str, findings: Findings) -> None:
    given = {field.name for field, _ in volume.ListFields()}
    present = [field.json for field in _SOURCES if field.name in given]
    if not present:
        findings.append(Violation(path, f"must have one source: {', '.join(field.json for field in _SOURCES)}"))
    for extra in present[1:]:
        findings.append(Violation(f"{path}.{extra}", f"must not be set beside {present[0]}: a volume has one source"))


def _mount_path(text: str, path: str, findings: Findings) -> None:
    if not text.startswith("/"):
        findings.append(Violation(path, f'must be an absolute path, not "{text}"'))
    elif text.strip("/") == "":
        findings.append(Violation(path, "must not be the root of the container"))
    if ":" in text or "\0" in text:
        findings.append(Violation(path, "must not contain ':'"))
    if ".." in text.split("/"):
        findings.append(Violation(path, 'must not contain ".."'))


MESSAGES: dict[type[Message], MessageRule] = {Volume: _volume}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (Volume, "name"): by_syntax(names.dns_label),
    (VolumeMount, "mount_path"): _mount_path,
}
