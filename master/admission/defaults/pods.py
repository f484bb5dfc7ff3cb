"""Defaults of Pods and pod templates.

`pod_spec` is for both. `pod` adds what only a pod that will run has: requests taken from limits, priority,
tolerations of a node that fails, phase and quality of service.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from master.admission.defaults.quantities import canonicalize
from master.admission.defaults.volumes import environment, volumes
from podium.errors import BadRequest
from podium.objects.pod import all_containers, qos_class
from podium.v1.core_pb2 import Container, HTTPGetAction, LifecycleHandler, Pod, PodSpec, Probe, Toleration

SYSTEM_PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
"""The built-in priority classes."""

FAILURE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""Taints of a failed node, which every pod tolerates for a moment."""

_FAILURE_TOLERATION_SECONDS = 1
_GRACE_SECONDS = 30
_LONGEST_REMEMBERED = 16 * 1024
_PROBE = {"timeout_seconds": 1, "period_seconds": 10, "success_threshold": 1, "failure_threshold": 3}


def pod(obj: Pod) -> None:
    """Defaults of a pod. Pods come in many equal copies, so what a spec becomes is remembered by its bytes."""
    spec = obj.spec
    given = spec.SerializeToString()
    become = _defaulted(given) if len(given) <= _LONGEST_REMEMBERED else _default_spec(given)
    if become.spec != given:
        spec.ParseFromString(become.spec)
    if not obj.status.phase:
        obj.status.phase = "Pending"
        obj.status.qos_class = become.qos_class


class _Defaulted(NamedTuple):
    spec: bytes
    qos_class: str


def _default_spec(given: bytes) -> _Defaulted:
    spec = PodSpec.FromString(given)
    pod_spec(spec)
    for container in all_containers(spec):
        _requests(container)
    _priority(spec)
    _tolerations(spec)
    qos = ""
    with suppress(BadRequest):  # a quantity that is none is named by validation
        qos = qos_class(spec)
    return _Defaulted(spec.SerializeToString(), qos)


_defaulted = lru_cache(maxsize=1024)(_default_spec)


def pod_spec(spec: PodSpec) -> None:
    """Defaults of a pod's or a template's spec."""
    if not spec.restart_policy:
        spec.restart_policy = "Always"
    if not spec.dns_policy:
        spec.dns_policy = "ClusterFirst"
    if not spec.HasField("termination_grace_period_seconds"):
        spec.termination_grace_period_seconds = _GRACE_SECONDS
    if spec.volumes:
        volumes(spec)
    for container in spec.init_containers:
        _container(container, spec.host_network)
    for container in spec.containers:
        _container(container, spec.host_network)
    for ephemeral in spec.ephemeral_containers:
        environment(ephemeral)
        ephemeral.image_pull_policy = ephemeral.image_pull_policy or pull_policy(ephemeral.image)


def _container(container: Container, host_network: bool) -> None:
    if container.env:
        environment(container)
    if not container.image_pull_policy:
        container.image_pull_policy = pull_policy(container.image)
    for port in container.ports:
        if not port.protocol:
            port.protocol = "TCP"
        if host_network and not port.host_port:
            port.host_port = port.container_port
    for probe in ("liveness_probe", "readiness_probe", "startup_probe"):
        if container.HasField(probe):
            _probe(getattr(container, probe))
    if container.HasField("lifecycle"):
        _handler(container.lifecycle.post_start)
        _handler(container.lifecycle.pre_stop)
    if container.HasField("resources"):
        canonicalize(container.resources.limits)
        canonicalize(container.resources.requests)


def pull_policy(image: str) -> str:
    """`Always` for an image whose tag is `latest` or absent, else `IfNotPresent`."""
    if "@" in image:
        return "IfNotPresent"
    _, _, tag = image.rpartition("/")[2].partition(":")
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _probe(probe: Probe) -> None:
    for name, default in _PROBE.items():
        if not getattr(probe, name):
            setattr(probe, name, default)
    if probe.HasField("http_get"):
        _http_get(probe.http_get)


def _handler(handler: LifecycleHandler) -> None:
    if handler.HasField("http_get"):
        _http_get(handler.http_get)


def _http_get(action: HTTPGetAction) -> None:
    if not action.path:
        action.path = "/"
    if not action.scheme:
        action.scheme = "HTTP"


def _requests(container: Container) -> None:
    if not container.HasField("resources"):
        return
    requests = container.resources.requests
    for name, limit in container.resources.limits.items():
        if name not in requests:
            requests[name] = limit


def _priority(spec: PodSpec) -> None:
    if not spec.HasField("priority"):
        spec.priority = SYSTEM_PRIORITIES.get(spec.priority_class_name, 0)
    if not spec.preemption_policy:
        spec.preemption_policy = "PreemptLowerPriority"


def _tolerations(spec: PodSpec) -> None:
    for taint in FAILURE_TAINTS:
        if not any(_tolerates_failure(t, taint) for t in spec.tolerations):
            spec.tolerations.add(
                key=taint, operator="Exists", effect="NoExecute", toleration_seconds=_FAILURE_TOLERATION_SECONDS
            )


def _tolerates_failure(toleration: Toleration, taint: str) -> bool:
    return toleration.key in (taint, "") and toleration.effect in ("NoExecute", "")
