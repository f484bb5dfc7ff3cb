"""A write, decided but not yet made; and what every such decision shares."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from master.access.addresses import ServiceAddresses
from master.access.holds import Hold
from master.access.merging import Merge
from master.access.protocol import Principal
from master.access.surroundings import Policies
from master.admission import check_size
from master.cache.cache import WatchCache
from master.cache.item import Item
from master.store.protocol import ABSENT, Op, Put, Remove, Revision
from podium.objects.kinds import Key

# Kinds that are written all the time and may be lost in a crash: never worth an fsync of their own.
RELAXED_KINDS = frozenset({"Event", "Lease"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a decision is made from. `stamp` is `now` as it is written."""

    by: Principal
    now: datetime.datetime
    stamp: Timestamp
    cache: WatchCache
    policies: Policies
    addresses: ServiceAddresses


class Planned(NamedTuple):
    """What to commit, and the object that comes of it. No `op`: nothing changes, or nothing is to be written.

    `evicts`: it takes a healthy pod that disruption budgets may count. `hold` is what the write takes of quotas or
    budgets, once it is on its way.
    """

    message: Any
    op: Op | None = None
    evicts: bool = False
    hold: Hold | None = None

    @property
    def durable(self) -> bool:
        """Whether the write has to be on disk before it is acknowledged."""
        return self.op is None or self.op.key.kind not in RELAXED_KINDS

    @property
    def unwritten(self) -> Any:
        """The object as it would be, at the revision that it is at now."""
        if self.op is not None and self.op.expect:
            self.message.metadata.resource_version = str(self.op.expect)
        return self.message


Plan = Callable[[], Planned]
"""Decides a write anew from what is in the cache. Raises PodiumError to refuse it."""


class Attempt(NamedTuple):
    """A write to be made: its plan is made, committed if the object is still as it was, and otherwise made again.

    `key` is empty of name when the name is yet to be generated. `merge`: a part of the plan that may be much work.
    """

    key: Key
    plan: Plan
    dry_run: bool = False
    merge: Merge | None = None


def put(key: Key, message: Any, current: Item | None) -> Planned:
    """Write `message`, which has no resourceVersion, over `current`; nothing when that is what is stored.

    Raises:
        Invalid: It is too large to be stored.
    """
    value = message.SerializeToString(deterministic=True)
    check_size(message, value)
    if current is not None and value == current.value:
        return Planned(current.message)
    return Planned(message, Put(key, value, ABSENT if current is None else Revision(current.revision)))


def remove(key: Key, message: Any, current: Item) -> Planned:
    """Remove the object, whose last state is `message`, which has no resourceVersion."""
    value = message.SerializeToString(deterministic=True)
    return Planned(message, Remove(key, Revision(current.revision), value))


def copy_of(item: Item) -> Any:
    """An object to change: its message copied, without resourceVersion."""
    message = item.message
    copied = type(message)()
    copied.CopyFrom(message)
    copied.metadata.resource_version = ""
    return copied
