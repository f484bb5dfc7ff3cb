"""Registry credentials from Secrets of type `kubernetes.io/dockerconfigjson`, matched to an image's registry. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Sequence

from nodelet.runtime.protocol import RegistryAuth
from podium.objects.references import Objects, Withheld, secret_key
from podium.v1.core_pb2 import Pod, Secret

_KEY = ".dockerconfigjson"
DOCKER_HUB = "docker.io"
_HUB_NAMES = frozenset(("docker.io", "index.docker.io", "registry-1.docker.io"))


def registry_of(image: str) -> str:
    """The registry's host of an image name; `docker.io` when the name has none."""
    first, slash, _ = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return _normal(first) if is_host else DOCKER_HUB


def pull_secrets(pod: Pod, objects: Objects) -> list[Secret]:
    """The pod's imagePullSecrets that are here, in their order."""
    return [secret for secret in _named(pod, objects) if isinstance(secret, Secret)]


def withheld_secrets(pod: Pod, objects: Objects) -> list[Withheld]:
    """The pod's imagePullSecrets that are there, but not known to this node now."""
    return [secret for secret in _named(pod, objects) if isinstance(secret, Withheld)]


def _named(pod: Pod, objects: Objects) -> Iterable[Secret | Withheld]:
    keys = (secret_key(pod.metadata.namespace, reference.name) for reference in pod.spec.image_pull_secrets)
    return (objects[key] for key in keys if key in objects)


def auths_for(image: str, secrets: Iterable[Secret]) -> tuple[RegistryAuth, ...]:
    """Every credential in the secrets for this image's registry; a secret that can't be read gives none."""
    registry = registry_of(image)
    return tuple(
        auth for secret in secrets for server, auth in _auths(secret.data.get(_KEY, b"")) if _normal(server) == registry
    )


def fingerprint(auths: Sequence[RegistryAuth]) -> str:
    """Identity of a set of credentials: another one means that a failed pull is worth trying at once."""
    parts = "\0".join(f"{auth.server}\0{auth.username}\0{auth.password}" for auth in auths)
    return hashlib.blake2b(parts.encode(), digest_size=8).hexdigest()


def _auths(raw: bytes) -> Iterable[tuple[str, RegistryAuth]]:
    try:
        entries = json.loads(raw or b"{}").get("auths", {}).items()
    except (ValueError, AttributeError):
        return
    for server, entry in entries:
        username, password = _login(entry)
        if username:
            yield server, RegistryAuth(server=server, username=username, password=password)


def _login(entry: object) -> tuple[str, str]:
    if not isinstance(entry, dict):
        return "", ""
    if entry.get("username"):
        return str(entry["username"]), str(entry.get("password", ""))
    try:
        username, _, password = base64.b64decode(str(entry.get("auth", ""))).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return username, password


def _normal(server: str) -> str:
    host = server.partition("://")[2] or server
    host = host.partition("/")[0].lower()
    return DOCKER_HUB if host in _HUB_NAMES else host
