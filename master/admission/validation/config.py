"""Rules of Secret and ConfigMap: keys that can be file names, 1 MiB in all, and immutable ones that stay."""

from __future__ import annotations

import json

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.walk import FieldRule, Findings, MessageRule
from podium.errors import Violation
from podium.v1.core_pb2 import ConfigMap, Secret

MAX_DATA_BYTES = 1024 * 1024

_REQUIRED_KEYS = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_BASIC_AUTH = "kubernetes.io/basic-auth"
_JSON_KEYS = (".dockerconfigjson", ".dockercfg")

# ---------------------------------------------------------------- Secret


def _secret(secret: Secret, path: str, findings: Findings) -> None:
    size = 0
    for key, value in secret.data.items():
        size += len(value)
        problem = names.data_key(key)
        if problem:
            findings.append(Violation(f"{path}.data", f'the key "{key}" {problem}'))
        if key in _JSON_KEYS and key in _REQUIRED_KEYS.get(secret.type, ()):
            _json_value(value, f"{path}.data[{key}]", findings)
    if size > MAX_DATA_BYTES:
        findings.append(Violation(f"{path}.data", f"must be at most {MAX_DATA_BYTES} bytes in all, not {size}"))
    for key in _REQUIRED_KEYS.get(secret.type, ()):
        if key not in secret.data:
            findings.append(Violation(f"{path}.data[{key}]", f"is required in a secret of type {secret.type}"))
    if secret.type == _BASIC_AUTH and not any(key in secret.data for key in ("username", "password")):
        findings.append(Violation(f"{path}.data", f"must have username or password in a secret of type {_BASIC_AUTH}"))


def _json_value(value: bytes, path: str, findings: Findings) -> None:
    try:
        readable = isinstance(json.loads(value), dict)
    except ValueError:
        readable = False
    if not readable:
        findings.append(Violation(path, "must be a JSON object"))


def update_secret(new: Secret, old: Secret, findings: Findings) -> None:
    """The type stays; an immutable secret does altogether."""
    if new.type != old.type:
        findings.append(Violation(".type", f'is immutable: must be "{old.type}"'))
    if not old.immutable:
        return
    if not new.immutable:
        findings.append(Violation(".immutable", "must not be unset"))
    if dict(new.data) != dict(old.data):
        findings.append(Violation(".data", "must not change: the secret is immutable"))


# ---------------------------------------------------------------- ConfigMap


def _config_map(obj: ConfigMap, path: str, findings: Findings) -> None:
    size = 0
    for field, values in (("data", obj.data), ("binaryData", obj.binary_data)):
        for key, value in values.items():
            size += len(value.encode() if isinstance(value, str) else value)
            if problem := names.data_key(key):
                findings.append(Violation(f"{path}.{field}", f'the key "{key}" {problem}'))
    for key in sorted(obj.data.keys() & obj.binary_data.keys()):
        findings.append(Violation(f"{path}.binaryData[{key}]", "must not be in data, too"))
    if size > MAX_DATA_BYTES:
        findings.append(Violation(f"{path}.data", f"must be at most {MAX_DATA_BYTES} bytes in all, not {size}"))


def update_config_map(new: ConfigMap, old: ConfigMap, findings: Findings) -> None:
    """An immutable one stays as it is."""
    if not old.immutable:
        return
    if not new.immutable:
        findings.append(Violation(".immutable", "must not be unset"))
    for field, current, before in (("data", new.data, old.data), ("binaryData", new.binary_data, old.binary_data)):
        if dict(current) != dict(before):
            findings.append(Violation(f".{field}", "must not change: the config map is immutable"))


MESSAGES: dict[type[Message], MessageRule] = {Secret: _secret, ConfigMap: _config_map}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {}
