"""Rules of podium.dev: hosts that are told apart, bounds in order, and a capacity to decide by."""

from __future__ import annotations

import re

from google.protobuf.message import Message

from master.admission.validation import meta, names
from master.admission.validation.amounts import positive
from master.admission.validation.core import distinct_taints
from master.admission.validation.walk import FieldRule, Findings, MessageRule, between, by_syntax
from podium.errors import Violation
from podium.v1.nodepool_pb2 import (
    NodePoolHost,
    NodePoolHostStatus,
    NodePoolPower,
    NodePoolScaleDown,
    NodePoolSpec,
    SecretReference,
)

_RESOURCES = ("cpu", "memory", "pods")
_PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]*[$]?")
_ADDRESS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]+")
_MOST_SECONDS = 7 * 86400


def _spec(spec: NodePoolSpec, path: str, findings: Findings) -> None:
    if spec.HasField("max") and spec.max < spec.min:
        findings.append(Violation(f"{path}.max", f"must be at least min, {spec.min}, not {spec.max}"))
    if spec.min > len(spec.hosts) > 0:
        findings.append(
            Violation(f"{path}.min", f"must be at most the number of hosts, {len(spec.hosts)}, not {spec.min}")
        )
    _told_apart(spec, path, findings)
    for index, host in enumerate(spec.hosts):
        if missing := [name for name in _RESOURCES if name not in (host.capacity or spec.capacity)]:
            where = f"{path}.hosts[{index}].capacity" if host.capacity else f"{path}.capacity"
            findings.append(
                Violation(where, f"must say {', '.join(missing)}", "what a host offers to pods is planned with")
            )
            break
    distinct_taints(spec.taints, path, findings)


def _told_apart(spec: NodePoolSpec, path: str, findings: Findings) -> None:
    """One host twice would be set up twice at once."""
    seen_names: set[str] = set()
    seen: dict[tuple[str, int], str] = {}
    for index, host in enumerate(spec.hosts):
        where = f"{path}.hosts[{index}]"
        if host.name in seen_names:
            findings.append(Violation(f"{where}.name", f'must be once: "{host.name}"'))
        seen_names.add(host.name)
        other = seen.setdefault((host.address.lower(), host.port), host.name)
        if other != host.name:
            findings.append(Violation(f"{where}.address", f'must not be that of host "{other}": {host.address}'))


def _matches(form: re.Pattern[str], problem: str) -> FieldRule:
    return by_syntax(lambda text: "" if form.fullmatch(text) else problem)


_hook = _matches(_PROGRAM, "must be the name of a file in the masters' folder of hooks (setting nodepool_hooks)")

MESSAGES: dict[type[Message], MessageRule] = {NodePoolSpec: _spec}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (NodePoolSpec, "labels"): meta.labels,
    (NodePoolSpec, "min"): between(0),
    (NodePoolSpec, "max"): between(0),
    (NodePoolSpec, "capacity"): positive,
    (NodePoolSpec, "provision_timeout_seconds"): between(1, _MOST_SECONDS),
    (NodePoolHost, "name"): by_syntax(names.dns_subdomain),
    (NodePoolHost, "address"): _matches(_ADDRESS, "must be an address or a host's name"),
    (NodePoolHost, "port"): by_syntax(names.port_number),
    (NodePoolHost, "user"): _matches(_USER, "must be the name of a user"),
    (NodePoolHost, "labels"): meta.labels,
    (NodePoolHost, "capacity"): positive,
    (NodePoolScaleDown, "idle_seconds"): between(0, _MOST_SECONDS),
    (NodePoolScaleDown, "utilization_percent"): between(0, 100),
    (NodePoolPower, "start"): _hook,
    (NodePoolPower, "stop"): _hook,
    (SecretReference, "name"): by_syntax(names.dns_subdomain),
    (SecretReference, "namespace"): by_syntax(names.dns_label),
    (NodePoolHostStatus, "failures"): between(0),
    (NodePoolHostStatus, "allocatable"): positive,
}
