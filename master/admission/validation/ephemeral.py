"""Rules of ephemeral containers. They come through their sub-resource only, to pods that run."""

from __future__ import annotations

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.containers import FIELDS as OF_CONTAINERS
from master.admission.validation.walk import FieldRule, Findings, MessageRule, by_syntax
from podium.errors import Violation
from podium.v1.core_pb2 import Container, EphemeralContainer, PodSpec, PodTemplateSpec

_HINT = "add them to a running pod: podium debug POD, or sub-resource ephemeralcontainers"


def of_pod(spec: PodSpec, path: str, findings: Findings) -> None:
    """What ephemeral containers must be in their pod."""
    volumes = {volume.name for volume in spec.volumes}
    taken = {container.name for container in (*spec.init_containers, *spec.containers)}
    for index, container in enumerate(spec.ephemeral_containers):
        where = f"{path}.ephemeralContainers[{index}]"
        if container.name in taken:
            findings.append(Violation(f"{where}.name", f'must be once in a pod: "{container.name}" is there twice'))
        taken.add(container.name)
        _target(container, spec, where, findings)
        _mounts(container, volumes, where, findings)


def _target(container: EphemeralContainer, spec: PodSpec, path: str, findings: Findings) -> None:
    target, known = container.target_container_name, [c.name for c in (*spec.init_containers, *spec.containers)]
    if target and target not in known:
        hint = f"containers of the pod: {', '.join(known)}"
        problem = f'must name a container of the pod, not "{target}"'
        findings.append(Violation(f"{path}.targetContainerName", problem, hint))


def _mounts(container: EphemeralContainer, volumes: set[str], path: str, findings: Findings) -> None:
    for index, mount in enumerate(container.volume_mounts):
        where = f"{path}.volumeMounts[{index}]"
        if mount.name and mount.name not in volumes:
            findings.append(Violation(f"{where}.name", f'must name a volume of the pod, not "{mount.name}"'))
        if mount.sub_path or mount.sub_path_expr:
            findings.append(Violation(f"{where}.subPath", "must not be set in an ephemeral container"))


def new_pod(spec: PodSpec, path: str, findings: Findings) -> None:
    """A pod or template that is being made has none."""
    if spec.ephemeral_containers:
        findings.append(Violation(f"{path}.ephemeralContainers", "must not be set before the pod runs", _HINT))


def _template(template: PodTemplateSpec, path: str, findings: Findings) -> None:
    new_pod(template.spec, f"{path}.spec", findings)


MESSAGES: dict[type[Message], MessageRule] = {PodTemplateSpec: _template}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (EphemeralContainer, "name"): by_syntax(names.dns_label),
    (EphemeralContainer, "image"): OF_CONTAINERS[Container, "image"],
    (EphemeralContainer, "termination_message_path"): OF_CONTAINERS[Container, "termination_message_path"],
}
