"""The downward API: fields of a pod that its containers may ask for, as variables or as files. Pure.

What each place may ask for is Kubernetes' (`fieldRef`, `resourceFieldRef`): a file can't have the pod's addresses,
which are only known when it runs; a variable can't have a whole map. A missing limit is what the node can give at most.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from podium.objects import quantity
from podium.objects.pod import CPU, EPHEMERAL_STORAGE, MEMORY, all_containers
from podium.v1.core_pb2 import Container, Pod, ResourceFieldSelector

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")
RESOURCES = tuple(f"{list_}.{name}" for list_ in ("limits", "requests") for name in (CPU, MEMORY, EPHEMERAL_STORAGE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """What a pod can't say of itself: where it runs. `allocatable` are quantities by resource."""

    node_ip: str = ""
    pod_ip: str = ""
    allocatable: Mapping[str, str] = field(default_factory=dict)


_OF_BOTH: dict[str, Callable[[Pod], str]] = {
    "metadata.name": lambda pod: pod.metadata.name,
    "metadata.namespace": lambda pod: pod.metadata.namespace,
    "metadata.uid": lambda pod: pod.metadata.uid,
}
_OF_FILES: dict[str, Callable[[Pod], str]] = {
    "metadata.labels": lambda pod: lines(pod.metadata.labels),
    "metadata.annotations": lambda pod: lines(pod.metadata.annotations),
}
_OF_VARIABLES: dict[str, Callable[[Pod, Whereabouts], str]] = {
    "spec.nodeName": lambda pod, _: pod.spec.node_name,
    "status.hostIP": lambda _, around: around.node_ip,
    "status.hostIPs": lambda _, around: around.node_ip,
    "status.podIP": lambda _, around: around.pod_ip,
    "status.podIPs": lambda _, around: around.pod_ip,
}

FILE_FIELDS = (*_OF_BOTH, *_OF_FILES)
VARIABLE_FIELDS = (*_OF_BOTH, *_OF_VARIABLES)
"""Besides `metadata.labels['KEY']` and `metadata.annotations['KEY']`, which both have."""


def subscript(path: str) -> str | None:
    """The key in `metadata.labels['KEY']` or `metadata.annotations['KEY']`; None for any other path."""
    match = _SUBSCRIPT.fullmatch(path)
    return match.group(2) if match else None


def file_field(pod: Pod, path: str) -> str:
    """The value of a field as a file's content; empty for a label or annotation that the pod has not."""
    if path in _OF_FILES:
        return _OF_FILES[path](pod)
    return _common(pod, path)


def variable_field(pod: Pod, path: str, around: Whereabouts) -> str:
    """The value of a field as a variable's."""
    if path in _OF_VARIABLES:
        return _OF_VARIABLES[path](pod, around)
    return _common(pod, path)


def _common(pod: Pod, path: str) -> str:
    if path in _OF_BOTH:
        return _OF_BOTH[path](pod)
    match = _SUBSCRIPT.fullmatch(path)
    if match is None:
        return ""
    entries = pod.metadata.labels if match.group(1) == "labels" else pod.metadata.annotations
    return entries.get(match.group(2), "")


def lines(entries: Mapping[str, str]) -> str:
    """A map as Kubernetes writes it into a file: `KEY="VALUE"` a line, sorted, quoted as Go does."""
    return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(entries.items()))


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
            "\v": "\\v"}  # fmt: skip


def _quoted(text: str) -> str:
    return f'"{"".join(_ESCAPES.get(c) or _printable(c) for c in text)}"'


def _printable(char: str) -> str:
    number = ord(char)
    if char.isprintable():
        return char
    return f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


# ---------------------------------------------------------------- resources


def container_named(pod: Pod, name: str) -> Container | None:
    """A container of the pod, init containers included."""
    return next((container for container in all_containers(pod.spec) if container.name == name), None)


def resource_value(container: Container, selector: ResourceFieldSelector, allocatable: Mapping[str, str]) -> str:
    """A container's request or limit in units of the divisor, rounded up."""
    of, _, name = selector.resource.partition(".")
    limit = container.resources.limits.get(name) or allocatable.get(name, "0")
    text = limit if of == "limits" else container.resources.requests.get(name, "0")
    divisor = quantity.parse(selector.divisor or "1") or quantity.parse("1")
    return str(-(-quantity.parse(text) // divisor))
