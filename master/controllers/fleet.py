"""Which nodes have fallen silent, and which of those may be given up. Pure.

    heard ───── lease ────► lapsed ──► waits its turn ──► given up: unreachable, pods replaced
                               │             │
                               └─────────────┴── with most others, or all ──► held: nothing is evicted

One silent node is a broken node. Many that fall silent *together* are a broken network, or a master that was away:
replacing their pods would start everything twice. So a lapsed node is held when more than half of those that were
alive, and more than two, fell silent within `together` of each other, or when nobody is left at all. Nodes that are
half a lease late already count as silent here, or the first of a partition would be given up before the last lapses.

Nodes that fall silent one after the other may be the same partition, seen slowly. So only a few are given up within
`window`; the others wait, first silent first given up, and when those that wait are most of what is left, all are held.

A hold outlasts its reason by `settle`: nodes that come back do so over some seconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """When a node is given up.

    Attributes:
        lease: Seconds of silence after which a node has lapsed.
        patience: Further seconds for nodes that were never heard since this master started.
        hold_share: Share of the nodes that, falling silent together, are held.
        hold_more_than: Number of nodes that may always be given up together.
        together: Seconds within which silence counts as common.
        window: Seconds within which only some nodes are given up.
        most_in_window: Number of nodes that may be given up within that time, however few there are,
        share_in_window: and share of the nodes, when that is more.
        settle: Seconds for which a hold outlasts its reason.
        not_ready_grace: Seconds for which a node that itself says it is not ready keeps its pods.
    """

    lease: float = 4.0
    patience: float = 10.0
    hold_share: float = 0.5
    hold_more_than: int = 2
    together: float = 10.0
    window: float = 10.0
    most_in_window: int = 5
    share_in_window: float = 0.01
    settle: float = 10.0
    not_ready_grace: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """An assessment of all nodes.

    Attributes:
        lapsed: Nodes that are silent for longer than the lease.
        waiting: Of those, the ones that are not given up, or not yet.
        held: Of those, the ones that must not be.
        hold_until: For each held node, the moment (monotonic) until which it stays held.
        spent: Moments (monotonic) at which nodes were given up within the last window, the first first.
        recheck: Seconds until this may change by itself; None when there are no nodes.
    """

    lapsed: frozenset[str]
    waiting: frozenset[str]
    held: frozenset[str]
    hold_until: Mapping[str, float]
    spent: Sequence[float]
    recheck: float | None


def is_silent(last_heard: float, now: float, settings: FleetSettings) -> bool:
    """Whether a node that was last heard then has lapsed by now."""
    return now - last_heard >= settings.lease


_NONE: frozenset[str] = frozenset()
NOBODY = Fleet(lapsed=_NONE, waiting=_NONE, held=_NONE, hold_until={}, spent=(), recheck=None)


def assess(
    heard: Mapping[str, float | None],
    *,
    started: float,
    now: float,
    before: Fleet = NOBODY,
    settings: FleetSettings,
) -> Fleet:
    """Assess the nodes; all times are monotonic seconds.

    Args:
        heard: When each node was last heard; None: never since `started`.
        started: When this master began to listen.
        now: The present.
        before: The assessment before this one, which holds may carry on from.
        settings: When a node is given up.
    """
    last = {name: started + settings.patience if at is None else at for name, at in heard.items()}
    lapsed = {name for name, at in last.items() if is_silent(at, now, settings)}
    hold_until = {n: t for n, t in before.hold_until.items() if n in lapsed and t > now}
    given_up = (before.lapsed - before.waiting) & lapsed
    if lapsed:
        together = _silent_together(last, lapsed, now, settings)
        together += _backlog(before, lapsed - given_up, len(last) - len(given_up), settings)
        hold_until |= dict.fromkeys(together, now + settings.settle)
    queue = sorted(lapsed - given_up - hold_until.keys(), key=lambda name: (last[name], name))
    spent = [at for at in before.spent if at > now - settings.window]
    turn = queue[: max(0, _most_in_window(len(last), settings) - len(spent))]
    return Fleet(
        lapsed=frozenset(lapsed),
        waiting=frozenset(lapsed - (given_up - hold_until.keys()) - set(turn)),
        held=frozenset(hold_until),
        hold_until=hold_until,
        spent=(*spent, *(now for _ in turn)),
        recheck=_recheck(last, lapsed, hold_until, now, settings),
    )


def _silent_together(last: Mapping[str, float], lapsed: set[str], now: float, settings: FleetSettings) -> list[str]:
    moments = sorted(last.values())
    suspects = bisect_right(moments, now - settings.lease / 2)
    held = []
    for name in lapsed:
        first = bisect_left(moments, last[name] - settings.together)
        peers = min(bisect_right(moments, last[name] + settings.together), suspects) - first
        alive_before = len(moments) - first
        most = peers > settings.hold_more_than and peers > settings.hold_share * alive_before
        if most or peers == alive_before:
            held.append(name)
    return held


def _backlog(before: Fleet, not_given_up: set[str], alive_before: int, settings: FleetSettings) -> Iterable[str]:
    """The nodes that wait, when they are most of those not given up; a queue is one only from its second look."""
    queued = not before.waiting.isdisjoint(not_given_up)
    most = len(not_given_up) > max(settings.hold_more_than, settings.hold_share * alive_before)
    return not_given_up if queued and most else ()


def _most_in_window(nodes: int, settings: FleetSettings) -> int:
    return max(settings.most_in_window, int(settings.share_in_window * nodes))


def _recheck(
    last: Mapping[str, float],
    lapsed: set[str],
    hold_until: Mapping[str, float],
    now: float,
    settings: FleetSettings,
) -> float | None:
    lapses = (at + settings.lease - now for name, at in last.items() if name not in lapsed)
    releases = (until - now for until in hold_until.values())
    # Silent nodes may be heard again without a new session, which nobody would tell.
    returns = (settings.lease / 2,) if lapsed else ()
    soonest = min((*lapses, *releases, *returns), default=None)
    return max(soonest, 0.05) if soonest is not None else None
