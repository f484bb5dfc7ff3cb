"""The client's configuration file: contexts, each a cluster's addresses, certificates and a default namespace.

    currentContext: default
    contexts:
      default:
        endpoints: [master:7443]
        ca: PEM
        certificate: PEM
        key: PEM
        namespace: default

Found at `$PODIUM_CONFIG`, else `~/.podium/config`. Written with mode 0600, atomically: it holds a private key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from podium.errors import BadRequest, NotFound
from podium.tls import TlsFiles, format_endpoint, parse_endpoint

ENVIRONMENT = "PODIUM_CONFIG"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One way to reach one cluster.

    Attributes:
        endpoints: `host:port` of every master; tried in turn.
        ca: PEM of the cluster's CA certificates.
        certificate: PEM of the client's certificate.
        key: PEM of its private key.
        namespace: Used where none is given.
    """

    endpoints: tuple[str, ...]
    ca: str
    certificate: str = ""
    key: str = field(default="", repr=False)
    namespace: str = "default"

    @property
    def tls(self) -> TlsFiles:
        """The certificates as gRPC takes them."""
        return TlsFiles(ca=self.ca.encode(), certificate=self.certificate.encode(), key=self.key.encode())

    def to_dict(self) -> dict[str, Any]:
        """The form in which the file holds it."""
        return {
            "endpoints": list(self.endpoints),
            "ca": self.ca,
            "certificate": self.certificate,
            "key": self.key,
            "namespace": self.namespace,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole configuration file."""

    current: str = ""
    contexts: Mapping[str, Context] = field(default_factory=dict)

    def context(self, name: str = "") -> Context:
        """The named context, or the current one.

        Raises:
            NotFound: There is no such context.
        """
        wanted = name or self.current
        found = self.contexts.get(wanted)
        if found is None:
            known = ", ".join(sorted(self.contexts)) or "none"
            raise NotFound(f'no context "{wanted}" in the configuration (there is: {known})')
        return found

    def with_context(self, name: str, context: Context, *, current: bool = False) -> Config:
        """A copy that also holds (or replaces) a context."""
        chosen = name if current or not self.current else self.current
        return replace(self, contexts={**self.contexts, name: context}, current=chosen)


def default_path() -> Path:
    """Where the configuration is: `$PODIUM_CONFIG`, else `~/.podium/config`."""
    return Path(os.environ.get(ENVIRONMENT) or Path.home() / ".podium" / "config")


def load(path: Path | None = None) -> Config:
    """Read a configuration file.

    Raises:
        NotFound: There is no such file; says how to get one.
        BadRequest: It is not a configuration; names what is wrong.
    """
    file = path or default_path()
    try:
        text = file.read_text()
    except FileNotFoundError:
        raise NotFound(
            f"no client configuration at {file}; copy admin.yaml from the master's data directory there, "
            f"or name it in ${ENVIRONMENT}"
        ) from None
    except PermissionError:
        raise BadRequest(f"{file} cannot be read by this user") from None
    return parse(text, str(file))


def parse(text: str, name: str = "configuration") -> Config:
    """Parse the text of a configuration file; `name` is how errors call it.

    Raises:
        BadRequest: It is not a configuration; names what is wrong.
    """
    try:
        data = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, in C where there is one
    except yaml.YAMLError as error:
        raise BadRequest(f"{name}: not YAML: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("contexts"), dict):
        raise BadRequest(f"{name}: expected a mapping with `contexts`")
    contexts = {str(key): _context(value, f"{name}: contexts.{key}") for key, value in data["contexts"].items()}
    return Config(current=str(data.get("currentContext", "")), contexts=contexts)


def _context(value: object, where: str) -> Context:
    if not isinstance(value, dict):
        raise BadRequest(f"{where}: expected a mapping")
    endpoints = value.get("endpoints")
    if not isinstance(endpoints, list) or not endpoints:
        raise BadRequest(f"{where}.endpoints: expected a list of HOST:PORT")
    texts = {}
    for key in ("ca", "certificate", "key", "namespace"):
        text = value.get(key, "")
        if not isinstance(text, str):
            raise BadRequest(f"{where}.{key}: expected a string")
        texts[key] = text
    try:
        addresses = tuple(format_endpoint(*parse_endpoint(str(e))) for e in endpoints)
    except ValueError as error:
        raise BadRequest(f"{where}.endpoints: {error}") from None
    return Context(
        endpoints=addresses,
        ca=texts["ca"],
        certificate=texts["certificate"],
        key=texts["key"],
        namespace=texts["namespace"] or "default",
    )


def dump(config: Config) -> str:
    """The text of a configuration file."""
    data = {
        "currentContext": config.current,
        "contexts": {name: context.to_dict() for name, context in config.contexts.items()},
    }
    return str(yaml.dump(data, Dumper=_DUMPER, sort_keys=False, default_flow_style=False))
