"""Which objects a command line means: `pods`, `pod web-1 web-2`, `deploy/web`, `node,pods`, `all`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podium.errors import BadRequest
from podium.objects.kinds import Kind, lookup

ALL = (
    "pods",
    "replicationcontrollers",
    "replicasets",
    "deployments",
    "statefulsets",
    "daemonsets",
    "horizontalpodautoscalers",
)


@dataclass(frozen=True, slots=True)
class Target:
    """A kind, and the names wanted of it; no names means all."""

    kind: Kind
    names: tuple[str, ...] = ()


def parse_targets(words: Sequence[str]) -> list[Target]:
    """Read the TYPE and NAME words of a command.

    Raises:
        BadRequest: An unknown kind, or forms mixed.
    """
    if not words:
        raise BadRequest("say what: a kind (`podium get pods`), or KIND/NAME (`podium get deploy/web`)")
    if any("/" in word for word in words):
        return [_pair(word) for word in words]
    kinds = [lookup(k) for part in words[0].split(",") for k in (ALL if part == "all" else (part,))]
    if len(kinds) > 1 and len(words) > 1:
        raise BadRequest("names can follow one kind only; write KIND/NAME for several")
    return [Target(kind, tuple(words[1:])) for kind in kinds]


def _pair(word: str) -> Target:
    kind, slash, name = word.partition("/")
    if not slash or not name:
        raise BadRequest(f'"{word}" is not KIND/NAME')
    return Target(lookup(kind), (name,))
