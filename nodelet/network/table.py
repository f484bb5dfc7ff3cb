"""The node's nftables table as data: who says what in it, and the commands that lead from one state to the next. Pure.

Everything that changes while the node runs is an element of a map or set, or a small chain, and belongs to an *owner*:
a pod, a service, a namespace. An owner says all it has to say as one `Part`; a new part replaces the old one. What must
be told to the kernel is the difference of the parts that changed, so an update costs what changed and not what there
is: ten thousand services weigh nothing when one of them moves.

Sets, chains and members may be wanted by several owners (the chain that balances over three endpoints is the same for
every service that has three); they exist as long as somebody wants them. A map's key has one owner: who comes second
has to wait until the first lets it go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, NamedTuple

TABLE = "ip podium"

Entry = tuple[str, str]
"""A map's name and a key of it."""
Member = tuple[str, str]
"""A set's name and an element of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one owner says.

    Attributes:
        entries: Values by map and key.
        members: Elements of sets.
        chains: Rules by name of chain. Equal names mean equal rules.
        sets: Declarations by name of set (`type ipv4_addr`). Equal names mean equal declarations.
    """

    entries: Mapping[Entry, str] = field(default_factory=dict)
    members: Collection[Member] = frozenset()
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)


NOTHING = Part()


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Commands for one transaction, and what holds once they are carried out."""

    commands: tuple[str, ...]
    parts: Mapping[str, Part]
    wanted: tuple[Mapping[Any, int], ...]
    """By how many owners more, or fewer, each member, each chain and each set is wanted."""


class Table:
    """All parts, and what of them the kernel has been told."""

    def __init__(self) -> None:
        self._parts: dict[str, Part] = {}
        self._forget_told()

    def _forget_told(self) -> None:
        self._told: dict[str, Part] = {}
        self._changed = set(self._parts)
        self._holders: dict[Entry, str] = {}
        self._members: Counter[Any] = Counter()
        self._chains: Counter[Any] = Counter()
        self._sets: Counter[Any] = Counter()

    # ------------------------------------------------------------ what should hold

    def say(self, owner: str, part: Part) -> None:
        """Replace what an owner says; `NOTHING` ends it."""
        if self._parts.get(owner, NOTHING) == part:
            return
        if part == NOTHING:
            del self._parts[owner]
        else:
            self._parts[owner] = part
        self._changed.add(owner)

    def said(self, owner: str) -> Part:
        """What an owner says."""
        return self._parts.get(owner, NOTHING)

    def owners(self, prefix: str) -> list[str]:
        """Owners whose names begin with this."""
        return [owner for owner in self._parts if owner.startswith(prefix)]

    # ------------------------------------------------------------ what the kernel must be told

    @property
    def changed(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._changed)

    def anew(self) -> None:
        """The kernel's table is empty: everything has to be told."""
        self._forget_told()

    def update(self) -> Update:
        """What is to be told now."""
        parts = self._without_conflicts()
        pairs = self._pairs(parts)
        wanted = tuple(_delta(pairs, of) for of in (_members, _chains, _sets))
        members, chains, sets = (_moved(*each) for each in zip(self._counters(), wanted, strict=True))
        gone = {key for old, new in pairs for key, value in old.entries.items() if new.entries.get(key) != value}
        come = {key: value for old, new in pairs for key, value in new.entries.items() if old.entries.get(key) != value}
        declared = {name: text for _, new in pairs for name, text in new.sets.items()}
        rules = {name: lines for _, new in pairs for name, lines in new.chains.items()}
        commands = (
            *(f"add set {TABLE} {name} {{ {declared[name]}; }}" for name in sets.come),
            *(f"add chain {TABLE} {name}" for name in chains.come),
            *(f"add rule {TABLE} {name} {line}" for name in chains.come for line in rules[name]),
            *_elements("delete", gone),
            *_elements("delete", members.gone),
            *_elements("add", ((name, f"{key} : {value}") for (name, key), value in come.items())),
            *_elements("add", members.come),
            *(f"flush chain {TABLE} {name}" for name in chains.gone),
            *(f"delete chain {TABLE} {name}" for name in chains.gone),
            *(f"delete set {TABLE} {name}" for name in sets.gone),
        )
        return Update(commands=commands, parts=parts, wanted=wanted)

    def settled(self, update: Update) -> None:
        """The update, which is the latest, was carried out."""
        for counter, wanted in zip(self._counters(), update.wanted, strict=True):
            for key, by in wanted.items():
                counter[key] += by
                if not counter[key]:
                    del counter[key]
        for owner, part in update.parts.items():
            for key in self._told.get(owner, NOTHING).entries:
                self._holders.pop(key, None)
            self._told[owner] = part
            if part == NOTHING:
                del self._told[owner]
            if self.said(owner) == part:
                self._changed.discard(owner)
        for owner, part in update.parts.items():
            self._holders.update(dict.fromkeys(part.entries, owner))

    def _without_conflicts(self) -> dict[str, Part]:
        """What changed owners say, less the keys that others hold; they try again with the next update."""
        parts: dict[str, Part] = {}
        taken: set[Entry] = set()
        for owner in sorted(self._changed):
            part = self.said(owner)
            free = {k: v for k, v in part.entries.items() if k not in taken and self._is_free(k, owner)}
            taken.update(free)
            parts[owner] = part if len(free) == len(part.entries) else replace(part, entries=free)
        return parts

    def _is_free(self, key: Entry, owner: str) -> bool:
        holder = self._holders.get(key, owner)
        return holder == owner or (holder in self._changed and key not in self.said(holder).entries)

    def _pairs(self, parts: Mapping[str, Part]) -> list[_Pair]:
        return [(self._told.get(owner, NOTHING), part) for owner, part in parts.items()]

    def _counters(self) -> tuple[Counter[Any], ...]:
        return self._members, self._chains, self._sets


_Pair = tuple[Part, Part]
_members, _chains, _sets = attrgetter("members"), attrgetter("chains"), attrgetter("sets")


class _Moved(NamedTuple):
    gone: list[Any]
    come: list[Any]


def _delta(pairs: Iterable[_Pair], select: Callable[[Part], Iterable[Any]]) -> dict[Any, int]:
    delta: dict[Any, int] = {}
    for old, new in pairs:
        for key in select(new):
            delta[key] = delta.get(key, 0) + 1
        for key in select(old):
            delta[key] = delta.get(key, 0) - 1
    return delta


def _moved(counter: Mapping[Any, int], wanted: Mapping[Any, int]) -> _Moved:
    """What nobody wants any more, and what somebody wants for the first time, in order."""
    moved = _Moved([], [])
    for key in sorted(wanted):
        before = counter.get(key, 0)
        after = before + wanted[key]
        if before and not after:
            moved.gone.append(key)
        elif after and not before:
            moved.come.append(key)
    return moved


def _elements(verb: str, elements: Iterable[tuple[str, str]]) -> Iterator[str]:
    grouped: dict[str, list[str]] = {}
    for name, element in sorted(elements):
        grouped.setdefault(name, []).append(element)
    return (f"{verb} element {TABLE} {name} {{ {', '.join(found)} }}" for name, found in grouped.items())
