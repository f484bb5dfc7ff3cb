"""What a shell offers for a word that is not finished: kinds, and names of objects asked from the master."""

from __future__ import annotations

from typing import Any

import click

from podium.errors import PodiumError
from podium.objects.kinds import KINDS, Kind, lookup

_SECONDS = 2.0


def targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For `KIND NAME...` and `KIND/NAME...`."""
    words = ctx.params.get(param.name or "") or ()
    kind, slash, begun = incomplete.partition("/")
    if slash:
        return [f"{kind}/{name}" for name in _names(ctx, kind, begun)]
    if words and "/" not in words[0]:
        return _names(ctx, words[0], incomplete)
    return [k.plural for k in KINDS if k.plural.startswith(incomplete)]


def pods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For `POD | KIND/NAME`."""
    if "/" in incomplete:
        return targets(ctx, param, incomplete)
    return [*_names(ctx, "pods", incomplete), *(w for w in ("deploy/", "rs/", "svc/") if w.startswith(incomplete))]


def services(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For `svc/NAME`."""
    return targets(ctx, param, incomplete) if incomplete.startswith("svc/") else ["svc/"]


def nodes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For `NODE`."""
    return _names(ctx, "nodes", incomplete)


def _names(ctx: click.Context, kind: str, begun: str) -> list[str]:
    """Names that begin so. A shell that completes must not be told of errors."""
    try:
        return _ask(ctx, lookup(kind), begun)
    except (PodiumError, OSError):
        return []


def _ask(ctx: click.Context, kind: Kind, begun: str) -> list[str]:
    from pathlib import Path

    from podium.client import Client

    options = ctx.find_root().params
    path = options.get("config_path")
    with Client.from_config(
        Path(path) if path else None, context=options.get("context") or "", timeout=_SECONDS
    ) as client:
        found: list[Any] = list(client.list(kind.message, namespace=options.get("namespace")))
        return [o.metadata.name for o in found if o.metadata.name.startswith(begun)]
