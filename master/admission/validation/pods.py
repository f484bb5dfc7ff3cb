"""Rules of Pods and pod specs: containers together, placement, priority, DNS; and what of a pod may change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from master.admission.defaults.pods import SYSTEM_PRIORITIES
from master.admission.validation import ephemeral, kernel, names, placement
from master.admission.validation.containers import duplicates
from master.admission.validation.meta import labels
from master.admission.validation.volumes import pod_volumes
from master.admission.validation.walk import FieldRule, Findings, MessageRule, between, by_syntax, each_by_syntax
from podium.codec.encode import encode
from podium.errors import BadRequest, Violation
from podium.objects import duration
from podium.objects.pod import all_containers, is_sidecar
from podium.v1.core_pb2 import (
    Container,
    CrashLoopBackOff,
    HostAlias,
    LocalObjectReference,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodDNSConfig,
    PodSecurityContext,
    PodSpec,
    Toleration,
)

_HIGHEST_USER_PRIORITY = 1_000_000_000
_MAX_NAMESERVERS, _MAX_SEARCHES = 3, 32
_MAX_UID = 2**31 - 1

# ---------------------------------------------------------------- the spec as a whole


def pod_spec(spec: PodSpec, path: str, findings: Findings) -> None:
    """What the parts of a pod must be together."""
    if len(spec.containers) + len(spec.init_containers) > 1:
        duplicates((c.name for c in all_containers(spec) if c.name), f"{path}.containers", "name", findings)
    for index, container in enumerate(spec.containers):
        _main_container(container, spec, f"{path}.containers[{index}]", findings)
    for index, container in enumerate(spec.init_containers):
        _init_container(container, spec, f"{path}.initContainers[{index}]", findings)
    pod_volumes(spec, path, findings)
    _host_ports(spec, path, findings)
    _priority(spec, path, findings)
    placement.gates(spec, path, findings)
    placement.spreads(spec, path, findings)
    ephemeral.of_pod(spec, path, findings)
    kernel.sysctls(spec, path, findings)
    if spec.dns_policy == "None" and not spec.dns_config.nameservers:
        findings.append(Violation(f"{path}.dnsConfig.nameservers", 'is required when dnsPolicy is "None"'))


def _main_container(container: Container, spec: PodSpec, path: str, findings: Findings) -> None:
    if container.restart_policy:
        findings.append(Violation(f"{path}.restartPolicy", "must only be set on init containers"))
    _restarts(container, spec, path, findings)
    if spec.host_network:
        _same_ports(container, path, findings)


def _restarts(container: Container, spec: PodSpec, path: str, findings: Findings) -> None:
    if spec.restart_policy != "Never":
        return
    for index, policy in enumerate(container.resize_policy):
        if policy.restart_policy == "RestartContainer":
            where = f"{path}.resizePolicy[{index}].restartPolicy"
            findings.append(Violation(where, 'must be "NotRequired" in a pod that never restarts'))


def _init_container(container: Container, spec: PodSpec, path: str, findings: Findings) -> None:
    if spec.host_network:
        _same_ports(container, path, findings)
    if is_sidecar(container):
        return
    for name, json_name in _FOR_LASTING_CONTAINERS:
        if container.HasField(name):
            hint = "restartPolicy: Always makes it a sidecar, which may have one"
            findings.append(Violation(f"{path}.{json_name}", "must not be set on an init container", hint))


_FOR_LASTING_CONTAINERS: tuple[tuple[Any, str], ...] = (
    ("lifecycle", "lifecycle"),
    ("liveness_probe", "livenessProbe"),
    ("readiness_probe", "readinessProbe"),
    ("startup_probe", "startupProbe"),
)


def _same_ports(container: Container, path: str, findings: Findings) -> None:
    for index, port in enumerate(container.ports):
        if port.host_port and port.host_port != port.container_port:
            findings.append(
                Violation(f"{path}.ports[{index}].hostPort", "must equal containerPort when hostNetwork is true")
            )


def _host_ports(spec: PodSpec, path: str, findings: Findings) -> None:
    taken: dict[tuple[str, str, int], str] = {}
    for index, container in enumerate(spec.containers):
        for number, port in enumerate(container.ports):
            if not port.host_port:
                continue
            where = f"{path}.containers[{index}].ports[{number}].hostPort"
            first = taken.setdefault((port.host_ip, port.protocol, port.host_port), where)
            if first != where:
                findings.append(
                    Violation(where, f"must be used once: {port.host_port} is taken by {first.lstrip('.')}")
                )


def _priority(spec: PodSpec, path: str, findings: Findings) -> None:
    name = spec.priority_class_name
    if not name:
        if spec.priority > _HIGHEST_USER_PRIORITY:
            findings.append(Violation(f"{path}.priority", f"must be at most {_HIGHEST_USER_PRIORITY} without a class"))
    elif problem := names.dns_subdomain(name):
        findings.append(Violation(f"{path}.priorityClassName", f'"{name}" {problem}'))
    elif name in SYSTEM_PRIORITIES and spec.HasField("priority") and spec.priority != SYSTEM_PRIORITIES[name]:
        findings.append(Violation(f"{path}.priority", f"must be {SYSTEM_PRIORITIES[name]}, as of class {name}"))


def _crash_loop(back_off: CrashLoopBackOff, path: str, findings: Findings) -> None:
    initial = _delay(back_off.initial_delay or "1s", f"{path}.initialDelay", findings)
    longest = _delay(back_off.max_delay or "300s", f"{path}.maxDelay", findings)
    if initial is not None and longest is not None and initial > longest:
        findings.append(Violation(f"{path}.initialDelay", "must be at most maxDelay"))


def _delay(text: str, path: str, findings: Findings) -> float | None:
    try:
        seconds = duration.seconds(text)
    except BadRequest as error:
        findings.append(Violation(path, error.message))
        return None
    if seconds <= 0:
        findings.append(Violation(path, f"must be greater than 0, not {text}"))
        return None
    return seconds


# ---------------------------------------------------------------- placement


def _toleration(toleration: Toleration, path: str, findings: Findings) -> None:
    if toleration.key and (problem := names.qualified_name(toleration.key)):
        findings.append(Violation(f"{path}.key", f'"{toleration.key}" {problem}'))
    if not toleration.key and toleration.operator != "Exists":
        findings.append(Violation(f"{path}.operator", 'must be "Exists" when key is empty'))
    if toleration.operator == "Exists" and toleration.value:
        findings.append(Violation(f"{path}.value", 'must be empty when operator is "Exists"'))
    elif problem := names.label_value(toleration.value):
        findings.append(Violation(f"{path}.value", f'"{toleration.value}" {problem}'))
    if toleration.HasField("toleration_seconds") and toleration.effect != "NoExecute":
        findings.append(Violation(f"{path}.effect", 'must be "NoExecute" when tolerationSeconds is set'))


def _required_terms(selector: NodeSelector, path: str, findings: Findings) -> None:
    if not selector.node_selector_terms:
        findings.append(Violation(f"{path}.nodeSelectorTerms", "is required"))


def _term(term: NodeSelectorTerm, path: str, findings: Findings) -> None:
    for index, requirement in enumerate(term.match_expressions):
        where = f"{path}.matchExpressions[{index}]"
        if problem := names.qualified_name(requirement.key) if requirement.key else "":
            findings.append(Violation(f"{where}.key", f'"{requirement.key}" {problem}'))
    for index, requirement in enumerate(term.match_fields):
        _field_requirement(requirement, f"{path}.matchFields[{index}]", findings)


def _field_requirement(requirement: NodeSelectorRequirement, path: str, findings: Findings) -> None:
    if requirement.key != "metadata.name":
        findings.append(Violation(f"{path}.key", f'must be "metadata.name", not "{requirement.key}"'))
    if requirement.operator not in ("In", "NotIn"):
        findings.append(Violation(f"{path}.operator", "must be one of In, NotIn for fields"))
    if len(requirement.values) != 1:
        findings.append(Violation(f"{path}.values", "must be exactly one for fields"))


def _node_requirement(requirement: NodeSelectorRequirement, path: str, findings: Findings) -> None:
    operator, values = requirement.operator, requirement.values
    where = f"{path}.values"
    if operator in ("In", "NotIn") and not values:
        findings.append(Violation(where, f"is required with the operator {operator}"))
    elif operator in ("Exists", "DoesNotExist") and values:
        findings.append(Violation(where, f"must be empty with the operator {operator}"))
    elif operator in ("Gt", "Lt") and (len(values) != 1 or not re.fullmatch(r"[+-]?\d+", values[0])):
        findings.append(Violation(where, f"must be exactly one integer with the operator {operator}"))


# ---------------------------------------------------------------- name resolution


def _dns_config(config: PodDNSConfig, path: str, findings: Findings) -> None:
    if len(config.nameservers) > _MAX_NAMESERVERS:
        findings.append(Violation(f"{path}.nameservers", f"must be at most {_MAX_NAMESERVERS}"))
    if len(config.searches) > _MAX_SEARCHES:
        findings.append(Violation(f"{path}.searches", f"must be at most {_MAX_SEARCHES}"))
    for index, option in enumerate(config.options):
        if not option.name:
            findings.append(Violation(f"{path}.options[{index}].name", "is required"))


def _host_alias(alias: HostAlias, path: str, findings: Findings) -> None:
    if not alias.hostnames:
        findings.append(Violation(f"{path}.hostnames", "is required", "an alias without names is a line without use"))


def _pull_secret(reference: LocalObjectReference, path: str, findings: Findings) -> None:
    if not reference.name:
        findings.append(Violation(f"{path}.name", "is required"))


# ---------------------------------------------------------------- updates

_CHANGEABLE = (
    "only the images of containers can change, tolerations be added, scheduling gates be removed, the node selection "
    "of a gated pod be narrowed, and activeDeadlineSeconds be set or lowered; delete the pod and create it anew"
)


_THROUGH = {
    "ephemeralContainers": "they are added through sub-resource ephemeralcontainers, or by podium debug",
    "containers": f"cpu and memory of containers change through sub-resource resize; otherwise {_CHANGEABLE}",
}
"""What changes another way, by field of the spec."""


def create(new: Pod, findings: Findings) -> None:
    """What a pod can't have yet."""
    ephemeral.new_pod(new.spec, ".spec", findings)


def update(new: Pod, old: Pod, findings: Findings) -> None:
    """A pod's spec is fixed, but for what `_CHANGEABLE` lists."""
    if new.spec == old.spec:
        return
    allowed = PodSpec()
    allowed.CopyFrom(new.spec)
    for current, before in zip(all_containers(allowed), all_containers(old.spec), strict=False):
        current.image = before.image
    if _only_added(allowed, old.spec):
        del allowed.tolerations[:]
        allowed.tolerations.extend(old.spec.tolerations)
    placement.settle(allowed, old.spec)
    if _brought_forward(allowed, old.spec):
        allowed.ClearField("active_deadline_seconds")
        if old.spec.HasField("active_deadline_seconds"):
            allowed.active_deadline_seconds = old.spec.active_deadline_seconds
    for name in _differences(allowed, old.spec):
        hint = _THROUGH.get(name, _CHANGEABLE)
        findings.append(Violation(f".spec.{name}", "is immutable", hint))


def _only_added(new: PodSpec, old: PodSpec) -> bool:
    return all(toleration in new.tolerations for toleration in old.tolerations)


def _brought_forward(new: PodSpec, old: PodSpec) -> bool:
    if not old.HasField("active_deadline_seconds"):
        return True
    return new.HasField("active_deadline_seconds") and new.active_deadline_seconds <= old.active_deadline_seconds


def _differences(new: PodSpec, old: PodSpec) -> Iterator[str]:
    if new == old:
        return
    left, right = encode(new), encode(old)
    yield from sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))


MESSAGES: dict[type[Message], MessageRule] = {
    PodSpec: pod_spec,
    Toleration: _toleration,
    NodeSelector: _required_terms,
    NodeSelectorTerm: _term,
    NodeSelectorRequirement: _node_requirement,
    PodDNSConfig: _dns_config,
    HostAlias: _host_alias,
    LocalObjectReference: _pull_secret,
    CrashLoopBackOff: _crash_loop,
}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (PodSpec, "node_selector"): labels,
    (PodSpec, "node_name"): by_syntax(names.dns_subdomain),
    (PodSpec, "hostname"): by_syntax(names.dns_label),
    (PodSpec, "subdomain"): by_syntax(names.dns_label),
    (PodSpec, "termination_grace_period_seconds"): between(0),
    (PodSpec, "active_deadline_seconds"): between(1, 2**31 - 1),
    (HostAlias, "ip"): by_syntax(names.ip_address),
    (HostAlias, "hostnames"): each_by_syntax(names.dns_subdomain),
    (PodDNSConfig, "nameservers"): each_by_syntax(names.ip_address),
    (PodSecurityContext, "run_as_user"): between(0, _MAX_UID),
    (PodSecurityContext, "run_as_group"): between(0, _MAX_UID),
}
