"""What deleting does, by state: at once, with grace, or held."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from master.access.addresses import ServiceAddresses
from master.access.delete import grace_seconds, plan_delete
from master.access.planned import Planned, Situation
from master.access.protocol import component
from master.access.surroundings import Policies
from master.cache.cache import WatchCache
from master.cache.item import Item
from master.store.memory import MemoryStore
from master.store.protocol import Put, Remove
from podium.objects.kinds import key_of
from podium.objects.meta import timestamp
from podium.v1.core_pb2 import Namespace, Pod
from podium.v1.meta_pb2 import DeleteOptions

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def pod(node: str = "n1", phase: str = "Running", grace: int | None = None, finalizers: tuple[str, ...] = ()) -> Pod:
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.generation = "a", "d", 1
    made.metadata.finalizers.extend(finalizers)
    made.spec.node_name, made.status.phase = node, phase
    if grace is not None:
        made.spec.termination_grace_period_seconds = grace
    return made


def deleted(obj: Any, options: DeleteOptions | None = None, after: float = 0) -> Planned:
    now = NOW + datetime.timedelta(seconds=after)
    cache = WatchCache(MemoryStore())
    situation = Situation(
        by=component("test"), now=now, stamp=timestamp(now), cache=cache, policies=Policies(cache),
        addresses=ServiceAddresses(),
    )  # fmt: skip
    item = Item(key_of(obj), obj.SerializeToString(deterministic=True), 5)
    return plan_delete(item, options or DeleteOptions(), situation)


@pytest.mark.parametrize(
    ("obj", "asked", "expected"),
    [
        (pod(), None, 30),
        (pod(grace=7), None, 7),
        (pod(grace=7), 3, 3),
        (pod(grace=7), 0, 0),
        (pod(grace=7), -1, 1),
        (pod(node="", grace=7), 9, 0),
        (pod(phase="Succeeded"), 9, 0),
        (pod(phase="Failed"), None, 0),
        (Namespace(), 9, 0),
    ],
)
def test_grace(obj: Any, asked: int | None, expected: int) -> None:
    assert grace_seconds(obj, DeleteOptions(grace_period_seconds=asked)) == expected


def test_nothing_to_wait_for() -> None:
    for planned in (deleted(pod(node="")), deleted(pod(), DeleteOptions(grace_period_seconds=0))):
        assert isinstance(planned.op, Remove)
        assert planned.op.expect == 5


def test_grace_marks_the_moment_of_the_end() -> None:
    planned = deleted(pod(grace=7))
    assert isinstance(planned.op, Put)
    metadata = planned.message.metadata
    assert metadata.deletion_timestamp.seconds == int(NOW.timestamp()) + 7
    assert (metadata.deletion_grace_period_seconds, metadata.generation) == (7, 2)


def test_a_second_delete_only_shortens() -> None:
    dying = deleted(pod(grace=30)).message
    assert deleted(dying, DeleteOptions(grace_period_seconds=60), after=5).op is None
    sooner = deleted(dying, DeleteOptions(grace_period_seconds=10), after=5).message.metadata
    assert sooner.deletion_timestamp.seconds == int(NOW.timestamp()) + 10, "counted from the first delete"
    assert sooner.generation == 2
    late = deleted(dying, DeleteOptions(grace_period_seconds=10), after=20).message.metadata
    assert late.deletion_timestamp.seconds == int(NOW.timestamp()) + 20, "but never in the past"
    assert isinstance(deleted(dying, DeleteOptions(grace_period_seconds=0), after=5).op, Remove)


def test_finalizers_hold_even_without_grace() -> None:
    held = deleted(pod(finalizers=("x/y",)), DeleteOptions(grace_period_seconds=0))
    assert isinstance(held.op, Put)
    assert held.message.metadata.deletion_grace_period_seconds == 0
    assert deleted(held.message).op is None, "deleting again changes nothing"


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        ("", ("foregroundDeletion",), ["foregroundDeletion"]),
        ("Foreground", (), ["foregroundDeletion"]),
        ("Foreground", ("orphan", "x/y"), ["x/y", "foregroundDeletion"]),
        ("Orphan", ("foregroundDeletion",), ["orphan"]),
        ("Background", ("orphan", "foregroundDeletion", "x/y"), ["x/y"]),
    ],
)
def test_propagation(policy: str, before: tuple[str, ...], after: list[str]) -> None:
    planned = deleted(pod(finalizers=before), DeleteOptions(propagation_policy=policy))
    assert list(planned.message.metadata.finalizers) == after
