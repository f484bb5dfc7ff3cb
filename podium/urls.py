"""The base address of an HTTP API, as a setting holds it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where an API is. Made by `parse_base`."""

    url: str
    host: str
    port: int
    path: str
    tls: bool

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_base(url: str) -> Base:
    """`http(s)://host[:port][/path]`.

    Raises:
        ValueError: It is not of that form; the message says what is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url!r} must be http://HOST[:PORT][/PATH] or https://…")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"{parts.scheme}://{parts.hostname}: user, password, query and fragment cannot be in it")
    return Base(
        url=url.rstrip("/"),
        host=parts.hostname,
        port=parts.port or _PORTS[parts.scheme],
        path=parts.path.rstrip("/"),
        tls=parts.scheme == "https",
    )
