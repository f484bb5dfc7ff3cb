"""Rules of Ingress and IngressClass."""

from __future__ import annotations

import re
from collections.abc import Callable

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.walk import FieldRule, Findings, MessageRule, between, by_syntax, each_by_syntax
from podium.errors import BadRequest, Violation
from podium.objects import duration
from podium.objects.ingress import (
    BACKEND_PROTOCOL,
    CLASS_ANNOTATION,
    H2C,
    HTTP1,
    REQUEST_TIMEOUT,
    REWRITE_PREFIX,
    SSL_REDIRECT,
)
from podium.v1.ingress_pb2 import (
    HTTPIngressPath,
    Ingress,
    IngressClass,
    IngressClassSpec,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    IngressTLS,
    ServiceBackendPort,
)

_NEVER_IN_A_PATH = ("//", "/./", "/../", "%2f", "%2F")
_NEVER_AT_ITS_END = ("/..", "/.")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._~-]*")
_AS_SENT = re.compile(r"[!-~]*")
LONGEST_TIMEOUT = 24 * 3600


def host(text: str) -> str:
    """A DNS name, or `*.` and one."""
    wildcard = text.startswith("*.")
    problem = names.dns_subdomain(text[2:] if wildcard else text)
    if problem:
        return f"{problem}; a wildcard is *. before that" if "*" in text else problem
    return "" if wildcard or names.ip_address(text) else "must be a DNS name, not an address"


def _ingress(obj: Ingress, path: str, findings: Findings) -> None:
    said = obj.metadata.annotations.get(CLASS_ANNOTATION)
    if said is not None and obj.spec.ingress_class_name not in ("", said):
        where = f"{path}.metadata.annotations[{CLASS_ANNOTATION}]"
        findings.append(Violation(where, f'must be "{obj.spec.ingress_class_name}", as ingressClassName is'))
    for name, check in _ANNOTATIONS.items():
        value = obj.metadata.annotations.get(name)
        if value is not None and (problem := check(value)):
            findings.append(Violation(f"{path}.metadata.annotations[{name}]", f'"{value}" {problem}'))


def _truth(text: str) -> str:
    return "" if text in ("true", "false") else 'must be "true" or "false"'


def _timeout(text: str) -> str:
    try:
        fits = 0.001 <= duration.seconds(text) <= LONGEST_TIMEOUT
    except BadRequest:
        fits = False
    return "" if fits else "must be a time between 1ms and 24h, such as 30s"


def _protocol(text: str) -> str:
    return "" if text in (HTTP1, H2C) else f"must be one of {HTTP1}, {H2C}"


def _plain_path(text: str) -> str:
    return (
        "" if _PLAIN_PATH.fullmatch(text) else 'must begin with "/" and have only letters, digits and / . _ ~ - in it'
    )


_ANNOTATIONS: dict[str, Callable[[str], str]] = {
    SSL_REDIRECT: _truth,
    REQUEST_TIMEOUT: _timeout,
    BACKEND_PROTOCOL: _protocol,
    REWRITE_PREFIX: _plain_path,
}


def _spec(spec: IngressSpec, path: str, findings: Findings) -> None:
    if not spec.rules and not spec.HasField("default_backend"):
        findings.append(Violation(f"{path}.rules", "is required", "or give a defaultBackend"))


def _rule(rule: IngressRule, path: str, findings: Findings) -> None:
    if rule.host and (problem := host(rule.host)):
        findings.append(Violation(f"{path}.host", f'"{rule.host}" {problem}'))


def _path(obj: HTTPIngressPath, path: str, findings: Findings) -> None:
    where, text = f"{path}.path", obj.path
    strict = obj.path_type in ("Exact", "Prefix")
    if (strict or text) and not text.startswith("/"):
        findings.append(Violation(where, f'must begin with "/", not be "{text}"'))
        return
    if _AS_SENT.fullmatch(text) is None or "?" in text or "#" in text:
        what = "must be a path as it is sent: printable ASCII without spaces, and without a query"
        findings.append(Violation(where, f'"{text}" {what}', "write other characters as %XX"))
    if not strict:
        return
    for part in _NEVER_IN_A_PATH:
        if part in text:
            findings.append(Violation(where, f'must not contain "{part}"'))
    for end in _NEVER_AT_ITS_END:
        if text.endswith(end):
            findings.append(Violation(where, f'must not end with "{end}"'))


def _service(backend: IngressServiceBackend, path: str, findings: Findings) -> None:
    port = backend.port
    if bool(port.name) == bool(port.number):
        what = "must have either name or number" + (", not both" if port.name else "")
        findings.append(Violation(f"{path}.port", what))


def _controller(text: str) -> str:
    domain, slash, name = text.partition("/")
    return (
        "" if slash and name and not names.dns_subdomain(domain) else "must be a domain and a path, as in example.com/x"
    )


MESSAGES: dict[type[Message], MessageRule] = {
    Ingress: _ingress,
    IngressSpec: _spec,
    IngressRule: _rule,
    HTTPIngressPath: _path,
    IngressServiceBackend: _service,
}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (IngressSpec, "ingress_class_name"): by_syntax(names.dns_subdomain),
    (IngressServiceBackend, "name"): by_syntax(names.dns_label),
    (ServiceBackendPort, "name"): by_syntax(names.port_name),
    (ServiceBackendPort, "number"): between(1, 65535),
    (IngressTLS, "hosts"): each_by_syntax(host),
    (IngressTLS, "secret_name"): by_syntax(names.dns_subdomain),
    (IngressClassSpec, "controller"): by_syntax(_controller),
}


def update_class(new: IngressClass, old: IngressClass, findings: Findings) -> None:
    """Who serves a class stays."""
    if new.spec.controller != old.spec.controller:
        what = f'is immutable: must be "{old.spec.controller}"'
        findings.append(Violation(".spec.controller", what, "create another class"))
