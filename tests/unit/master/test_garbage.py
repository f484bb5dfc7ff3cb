"""Whose owners are gone, and what that means."""

from __future__ import annotations

import pytest

from master.controllers.garbage import Collect, Disown, Fate, Keep, OwnerState, blocks, plan_dependent
from podium.objects.owners import owner_reference
from podium.v1.core_pb2 import Pod
from tests.support.workloads import pod, replica_set

LIVING, GONE, WAITING = OwnerState.LIVING, OwnerState.GONE, OwnerState.WAITING


def _owned(count: int, *, terminating: bool = False, finalizers: tuple[str, ...] = ()) -> Pod:
    made = pod("p", terminating=terminating)
    for number in range(count):
        reference = owner_reference(replica_set(f"rs-{number}"), controller=number == 0)
        reference.uid = f"u{number}"
        made.metadata.owner_references.append(reference)
    made.metadata.finalizers.extend(finalizers)
    return made


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], Keep()),
        ([LIVING], Keep()),
        ([GONE], Collect("Background")),
        ([GONE, GONE], Collect("Background")),
        ([WAITING], Collect("Background")),
        ([LIVING, GONE], Disown(["u1"])),
        ([GONE, WAITING, LIVING], Disown(["u0", "u1"])),
    ],
)
def test_an_object_goes_only_with_its_last_owner(states: list[OwnerState], expected: Fate) -> None:
    assert plan_dependent(_owned(len(states)), states, has_dependents=False) == expected


def test_what_has_dependents_of_its_own_goes_in_the_foreground_when_its_owner_waits() -> None:
    assert plan_dependent(_owned(1), [WAITING], has_dependents=True) == Collect("Foreground")
    assert plan_dependent(_owned(1), [GONE], has_dependents=True) == Collect("Background")


@pytest.mark.parametrize(("finalizer", "policy"), [("orphan", "Orphan"), ("foregroundDeletion", "Foreground")])
def test_a_policy_asked_for_before_is_kept(finalizer: str, policy: str) -> None:
    assert plan_dependent(_owned(1, finalizers=(finalizer,)), [GONE], has_dependents=False) == Collect(policy)


def test_what_is_going_already_is_left_to_go() -> None:
    assert plan_dependent(_owned(1, terminating=True), [GONE], has_dependents=False) == Keep()


def test_only_references_that_say_so_block_their_owner() -> None:
    made = _owned(2)
    assert blocks(made, "u0")
    assert not blocks(made, "u1")
    assert not blocks(made, "u9")
