"""Rules of containers: image, ports, environment, resources, probes, hooks, security."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.walk import FieldRule, Findings, MessageRule, between, by_syntax
from podium.errors import BadRequest, Violation
from podium.objects import quantity
from podium.v1.core_pb2 import (
    Container,
    ContainerPort,
    EnvVar,
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    HTTPHeader,
    LifecycleHandler,
    Probe,
    ResourceRequirements,
    SeccompProfile,
    SecurityContext,
    SleepAction,
    TCPSocketAction,
)
from podium.v1.meta_pb2 import IntOrString

_OWN_RESOURCES = frozenset(("cpu", "memory", "ephemeral-storage"))
_MAX_UID = 2**31 - 1
_PROBE_HANDLERS = {"exec": "exec", "http_get": "httpGet", "tcp_socket": "tcpSocket", "grpc": "grpc"}
_HOOK_HANDLERS = {"exec": "exec", "http_get": "httpGet", "sleep": "sleep"}

# ---------------------------------------------------------------- container


def _container(container: Container, path: str, findings: Findings) -> None:
    if len(container.ports) > 1:
        duplicates((p.name for p in container.ports if p.name), f"{path}.ports", "name", findings)
    for name, json_name in (("liveness_probe", "livenessProbe"), ("startup_probe", "startupProbe")):
        if container.HasField(name) and getattr(container, name).success_threshold > 1:  # type: ignore[arg-type]
            findings.append(Violation(f"{path}.{json_name}.successThreshold", "must be 1"))
    if container.HasField("readiness_probe") and container.readiness_probe.HasField("termination_grace_period_seconds"):
        findings.append(
            Violation(f"{path}.readinessProbe.terminationGracePeriodSeconds", "must not be set: readiness never kills")
        )


def duplicates(values: Iterable[str], path: str, field: str, findings: Findings) -> None:
    """Note values that occur twice among a list's elements."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            findings.append(Violation(path, f'must have each {field} once: "{value}" is there twice'))
        seen.add(value)


def _image(image: str, path: str, findings: Findings) -> None:
    if image != image.strip():
        findings.append(Violation(path, "must not begin or end with white space"))


def _port(port: ContainerPort, path: str, findings: Findings) -> None:
    if port.container_port and (problem := names.port_number(port.container_port)):
        findings.append(Violation(f"{path}.containerPort", f"{problem}, not {port.container_port}"))
    if port.host_port and (problem := names.port_number(port.host_port)):
        findings.append(Violation(f"{path}.hostPort", f"{problem}, not {port.host_port}"))


# ---------------------------------------------------------------- resources


def _resources(resources: ResourceRequirements, path: str, findings: Findings) -> None:
    limits, requests = resources.limits, resources.requests
    _amounts(limits, f"{path}.limits", findings)
    own = {name: request for name, request in requests.items() if request != limits.get(name)}
    _amounts(own, f"{path}.requests", findings)
    for name, request in own.items():
        limit = limits.get(name)
        try:
            if limit is not None and quantity.parse(request) > quantity.parse(limit):
                findings.append(
                    Violation(f"{path}.requests[{name}]", f"must be at most the limit {limit}, not {request}")
                )
        except BadRequest:
            continue  # named above


def _amounts(entries: Mapping[str, str], path: str, findings: Findings) -> None:
    for name, text in entries.items():
        if name not in _OWN_RESOURCES:
            _extended_resource(name, text, path, findings)
        try:
            if quantity.parse(text) < 0:
                findings.append(Violation(f"{path}[{name}]", f"must be at least 0, not {text}"))
        except BadRequest as error:
            findings.append(Violation(f"{path}[{name}]", error.message))


def _extended_resource(name: str, text: str, path: str, findings: Findings) -> None:
    if "/" not in name or names.qualified_name(name):
        known = ", ".join(sorted(_OWN_RESOURCES))
        findings.append(Violation(f"{path}[{name}]", f"must be one of {known}, or an extended example.com/name"))
        return
    try:
        whole = quantity.parse(text).denominator == 1
    except BadRequest:
        return  # named by the caller
    if not whole:
        findings.append(Violation(f"{path}[{name}]", f"must be a whole number, not {text}"))


# ---------------------------------------------------------------- probes and hooks


def _one_handler(message: Message, handlers: Mapping[str, str], path: str, findings: Findings) -> None:
    present = [json_name for name, json_name in handlers.items() if message.HasField(name)]
    if not present:
        findings.append(Violation(path, f"must have one of {', '.join(handlers.values())}"))
    for extra in present[1:]:
        findings.append(Violation(f"{path}.{extra}", f"must not be set beside {present[0]}: one handler only"))


def _probe(probe: Probe, path: str, findings: Findings) -> None:
    _one_handler(probe, _PROBE_HANDLERS, path, findings)


def _hook(handler: LifecycleHandler, path: str, findings: Findings) -> None:
    _one_handler(handler, _HOOK_HANDLERS, path, findings)


def _command(action: ExecAction, path: str, findings: Findings) -> None:
    if not action.command:
        findings.append(Violation(f"{path}.command", "is required"))


def _port_reference(port: IntOrString, path: str, findings: Findings) -> None:
    if port.WhichOneof("value") == "str_value":
        problem, shown = names.port_name(port.str_value), f'"{port.str_value}"'
    else:
        problem, shown = names.port_number(port.int_value), str(port.int_value)
    if problem:
        findings.append(Violation(path, f"{shown} {problem}"))


# ---------------------------------------------------------------- security


def _security(context: SecurityContext, path: str, findings: Findings) -> None:
    if not context.HasField("allow_privilege_escalation") or context.allow_privilege_escalation:
        return
    where = f"{path}.allowPrivilegeEscalation"
    if context.privileged:
        findings.append(Violation(where, "must not be false when privileged is true"))
    if any(capability in ("SYS_ADMIN", "CAP_SYS_ADMIN") for capability in context.capabilities.add):
        findings.append(Violation(where, "must not be false when capability SYS_ADMIN is added"))


def _seccomp(profile: SeccompProfile, path: str, findings: Findings) -> None:
    where, file = f"{path}.localhostProfile", profile.localhost_profile
    if profile.type in ("RuntimeDefault", "Unconfined"):
        if file:
            findings.append(Violation(where, f'must be left out when type is "{profile.type}"'))
    elif profile.type == "Localhost" and not file:
        findings.append(Violation(where, 'is required when type is "Localhost"', "a file of the node's own profiles"))
    elif file.startswith("/") or ".." in file.split("/") or "\0" in file:
        said = f'must be a path below the node\'s folder of profiles, not "{file}"'
        findings.append(Violation(where, said, 'neither absolute nor with ".."'))


MESSAGES: dict[type[Message], MessageRule] = {
    Container: _container,
    ContainerPort: _port,
    Probe: _probe,
    LifecycleHandler: _hook,
    ExecAction: _command,
    SecurityContext: _security,
    SeccompProfile: _seccomp,
}


def _absolute(path_in_container: str, path: str, findings: Findings) -> None:
    if not path_in_container.startswith("/") or path_in_container == "/":
        findings.append(Violation(path, f'must be the absolute path of a file, not "{path_in_container}"'))


FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (Container, "name"): by_syntax(names.dns_label),
    (Container, "image"): _image,
    (Container, "resources"): _resources,
    (Container, "termination_message_path"): _absolute,
    (ContainerPort, "name"): by_syntax(names.port_name),
    (ContainerPort, "host_ip"): by_syntax(names.ip_address),
    (EnvVar, "name"): by_syntax(names.environment_name),
    (Probe, "initial_delay_seconds"): between(0),
    (Probe, "timeout_seconds"): between(1),
    (Probe, "period_seconds"): between(1),
    (Probe, "success_threshold"): between(1),
    (Probe, "failure_threshold"): between(1),
    (Probe, "termination_grace_period_seconds"): between(1),
    (HTTPGetAction, "port"): _port_reference,
    (HTTPHeader, "name"): by_syntax(names.header_name),
    (TCPSocketAction, "port"): _port_reference,
    (GRPCAction, "port"): between(1, 65535),
    (SleepAction, "seconds"): between(1),
    (SecurityContext, "run_as_user"): between(0, _MAX_UID),
    (SecurityContext, "run_as_group"): between(0, _MAX_UID),
}
