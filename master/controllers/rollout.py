"""Surge arithmetic: from the sizes of a Deployment's ReplicaSets to their next sizes. Pure integers, no objects.

What a decision here never does, whatever state it is given:
  - bring the sum of sizes above `desired + surge` (it may be above already; then nothing grows);
  - take away what keeps `desired - unavailable` replicas available, as far as the observed numbers tell. An observed
    `available` beyond a set's size counts only up to the size, because the rest is about to go.

Old replicas that are not available go first: losing them costs nothing, and a rollout that repairs a broken one would
otherwise wait for ever on pods that will never be ready.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from podium.errors import BadRequest
from podium.v1.meta_pb2 import IntOrString

_TO_NOTHING: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a rollout may do: `desired` replicas, at most `surge` more, at most `unavailable` fewer available."""

    desired: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        """Replicas that may exist at once."""
        return self.desired + self.surge

    @property
    def least_available(self) -> int:
        """Replicas that must stay available."""
        return self.desired - self.unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One ReplicaSet: `wanted` is its spec, `available` what its status says.

    `planned_most` is `desired + surge` of when it was last sized (0: unknown), for scaling in proportion.
    """

    name: str
    wanted: int
    available: int = 0
    planned_most: int = 0

    @property
    def surely_available(self) -> int:
        """Available replicas that stay when the set has come to its size."""
        return min(self.available, self.wanted)


def resolve(max_surge: IntOrString, max_unavailable: IntOrString, desired: int) -> Limits:
    """Turn numbers and percentages into replicas: surge rounds up, unavailable down, and both are never zero.

    Raises:
        BadRequest: Neither a number nor a percentage.
    """
    surge = _scaled(max_surge, desired, round_up=True)
    unavailable = _scaled(max_unavailable, desired, round_up=False)
    if surge == 0 and unavailable == 0:
        # A rollout allowed to move in neither direction could never move: validation lets only percentages get here.
        unavailable = 1
    return Limits(desired=desired, surge=surge, unavailable=min(unavailable, desired))


def _scaled(value: IntOrString, total: int, *, round_up: bool) -> int:
    which = value.WhichOneof("value")
    if which == "int_value":
        return max(value.int_value, 0)
    text = value.str_value if which == "str_value" else "25%"
    if not text.endswith("%") or not text[:-1].isdigit():
        raise BadRequest(f'"{text}" must be a whole number or a percentage such as 25%')
    product = int(text[:-1]) * total
    return -(-product // 100) if round_up else product // 100


def grow_new(new: Size, old: Sequence[Size], limits: Limits) -> int:
    """The next size of the newest set in a rolling update."""
    if new.wanted >= limits.desired:
        return limits.desired
    room = limits.most - new.wanted - sum(s.wanted for s in old)
    return new.wanted + max(0, min(room, limits.desired - new.wanted))


def shrink_old(new: Size, old: Sequence[Size], limits: Limits) -> dict[str, int]:
    """The next sizes of those old sets (given oldest first) that shrink now, in a rolling update."""
    sizes = {s.name: s for s in old}
    # Assume every old replica to be available and every new one that is not to stay so: what may go then is safe.
    spare = sum(s.wanted for s in old) + new.surely_available - limits.least_available
    if spare <= 0:
        return {}
    sizes = _drop_unavailable(sizes, spare)
    available = new.surely_available + sum(s.surely_available for s in sizes.values())
    sizes = _drop(sizes, available - limits.least_available)
    return {s.name: sizes[s.name].wanted for s in old if sizes[s.name].wanted != s.wanted}


def toward(sets: Sequence[Size], goals: Mapping[str, int], limits: Limits) -> dict[str, int]:
    """The next sizes of those sets that change now, on their way to any sizes that are wanted of them.

    Args:
        sets: In the order in which they grow, and shrink.
        goals: By name; a set without one goes to 0.
        limits: What the way there may cost.
    """
    room = limits.most - sum(s.wanted for s in sets)
    growing = [s for s in sets if s.wanted <= goals.get(s.name, 0)]
    shrinking = {s.name: s for s in sets if s.wanted > goals.get(s.name, 0)}
    sizes: dict[str, int] = {}
    for size in growing:
        more = min(max(room, 0), goals.get(size.name, 0) - size.wanted)
        sizes[size.name], room = size.wanted + more, room - more
    staying = sum(s.surely_available for s in growing)
    # As in `shrink_old`: assume what shrinks to be available, and what grows and is not to stay so.
    spare = sum(s.wanted for s in shrinking.values()) + staying - limits.least_available
    if spare > 0:
        left = _drop_unavailable(shrinking, spare, goals)
        available = staying + sum(s.surely_available for s in left.values())
        left = _drop(left, available - limits.least_available, goals)
        sizes |= {name: size.wanted for name, size in left.items()}
    return {s.name: sizes[s.name] for s in sets if s.name in sizes and sizes[s.name] != s.wanted}


def _drop_unavailable(sizes: Mapping[str, Size], spare: int, goals: Mapping[str, int] = _TO_NOTHING) -> dict[str, Size]:
    left = dict(sizes)
    for name, size in sizes.items():
        gone = min(spare, size.wanted - size.surely_available, size.wanted - goals.get(name, 0))
        left[name] = replace(size, wanted=size.wanted - gone)
        spare -= gone
    return left


def _drop(sizes: Mapping[str, Size], spare: int, goals: Mapping[str, int] = _TO_NOTHING) -> dict[str, Size]:
    left = dict(sizes)
    for name, size in sizes.items():
        gone = min(max(spare, 0), size.wanted - goals.get(name, 0))
        left[name] = replace(size, wanted=size.wanted - gone)
        # What was unavailable of it went first, and cost nothing of what is spare.
        spare -= max(0, size.surely_available - left[name].wanted)
    return left


def proportional(sets: Sequence[Size], limits: Limits) -> dict[str, int]:
    """New sizes when `desired` changes in the middle of a rollout: the change is shared out by size.

    The largest sets take what rounding leaves over. The same shape of rollout goes on at the new scale.
    """
    total = sum(s.wanted for s in sets)
    goal = limits.most if limits.desired > 0 else 0
    change = goal - total
    ordered = sorted(sets, key=lambda s: (-s.wanted, s.name))
    sizes: dict[str, int] = {}
    done = 0
    for size in ordered:
        share = _share(size, limits, change, done)
        sizes[size.name] = size.wanted + share
        done += share
    for size in ordered:
        rest = max(change - done, -sizes[size.name])
        sizes[size.name] += rest
        done += rest
    return sizes


def _share(size: Size, limits: Limits, change: int, done: int) -> int:
    if size.wanted == 0 or change == done:
        return 0
    if limits.desired == 0:
        return -size.wanted
    before = size.planned_most or limits.most
    grown = (2 * size.wanted * limits.most + before) // (2 * before) - size.wanted
    left = change - done
    return min(grown, left) if change > 0 else max(grown, left)
