"""The client library: `AsyncClient` and `Client`, the same verbs awaited or not.

Each loads when it is first named, so that a program pays for the one that it uses.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podium.client._async.client import AsyncClient
    from podium.client._sync.client import Client
    from podium.client.config import Config, Context
    from podium.client.types import ExecResult, Watched

__all__ = ["AsyncClient", "Client", "Config", "Context", "ExecResult", "Watched"]

_HOMES = {
    "AsyncClient": "_async.client",
    "Client": "_sync.client",
    "Config": "config",
    "Context": "config",
    "ExecResult": "types",
    "Watched": "types",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
