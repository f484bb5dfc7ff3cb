"""Disruption budgets: what must stay healthy, which evictions are allowed, which victims violate a budget."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.admission import apply_defaults, validate
from podium.objects.budgets import (
    ALLOWED,
    EVICTED,
    Healthy,
    blocked_by,
    budget_status,
    desired_healthy,
    is_healthy,
    selector_of,
    violating,
)
from podium.objects.conditions import get_condition, set_condition
from podium.objects.pod import DISRUPTION_TARGET
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import OwnerReference
from podium.v1.policy_pb2 import PodDisruptionBudget, PodDisruptionBudgetStatus
from tests.support.policies import bounded_pod, budget

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def pod(name: str, *, ready: bool = True, going: bool = False, owner: str = "rs", **labels: str) -> Pod:
    made: Pod = bounded_pod(name)
    made.metadata.uid = f"uid-{name}"
    made.metadata.labels.update(labels or {"app": "web"})
    made.status.phase = "Running"
    set_condition(made.status.conditions, "Ready", "True" if ready else "False", now=NOW)
    if going:
        made.metadata.deletion_timestamp.seconds = 1
    if owner:
        made.metadata.owner_references.add(kind="ReplicaSet", name=owner, uid=f"uid-{owner}", controller=True)
    return made


def scale(wanted: int | None) -> Any:
    def of(namespace: str, owner: OwnerReference) -> int | None:
        return wanted

    return of


def status(made: PodDisruptionBudget, pods: list[Pod], wanted: int | None = None) -> PodDisruptionBudgetStatus:
    return budget_status(made, pods, scale(wanted), NOW)


@pytest.mark.parametrize(
    ("spec", "expected", "desired"),
    [
        ({"minAvailable": 2}, 5, 2),
        ({"minAvailable": "50%"}, 5, 3),
        ({"minAvailable": "0%"}, 5, 0),
        ({"maxUnavailable": 1}, 5, 4),
        ({"maxUnavailable": "30%"}, 5, 3),
        ({"maxUnavailable": "100%"}, 5, 0),
        ({"maxUnavailable": 9}, 5, 0),
        ({"maxUnavailable": 0}, 5, 5),
    ],
)
def test_what_must_stay(spec: dict[str, Any], expected: int, desired: int) -> None:
    assert desired_healthy(budget(**spec), expected) == desired


def test_a_status_counts_what_is_ready_and_stays() -> None:
    pods = [pod("a"), pod("b"), pod("c", ready=False), pod("d", going=True)]
    found = status(budget(minAvailable=1), pods)
    assert (found.expected_pods, found.current_healthy, found.desired_healthy, found.disruptions_allowed) == (
        4,
        2,
        1,
        1,
    )
    condition = get_condition(found.conditions, ALLOWED)
    assert condition is not None
    assert (condition.status, condition.reason) == ("True", "SufficientPods")


def test_shares_are_of_what_the_owners_want_together() -> None:
    found = status(budget(maxUnavailable="25%"), [pod("a"), pod("b"), pod("c", owner="other"), pod("d", owner="")], 4)
    assert (found.expected_pods, found.desired_healthy, found.disruptions_allowed) == (8, 6, 0)


def test_nothing_may_go_while_it_is_not_known_how_many_are_wanted() -> None:
    found = status(budget(maxUnavailable=1), [pod("a"), pod("b")], None)
    condition = get_condition(found.conditions, ALLOWED)
    assert condition is not None
    assert (found.disruptions_allowed, condition.reason) == (0, "SyncFailed")
    assert "ReplicaSet rs" in condition.message


def test_who_was_evicted_is_told_until_it_is_gone() -> None:
    evicted, deleted = pod("a", going=True), pod("b", going=True)
    set_condition(evicted.status.conditions, DISRUPTION_TARGET, "True", now=NOW, reason=EVICTED)
    found = status(budget(minAvailable=1), [evicted, deleted, pod("c")])
    assert list(found.disrupted_pods) == ["a"]
    assert found.disrupted_pods["a"].seconds == int(NOW.timestamp())


# ---------------------------------------------------------------- evictions


def observed(pods: list[Pod], wanted: int | None = None, **spec: Any) -> PodDisruptionBudget:
    made: PodDisruptionBudget = budget(**spec)
    made.status.CopyFrom(status(made, pods, wanted))
    return made


def allowed(which: Pod, pods: list[Pod], *budgets: PodDisruptionBudget, going: frozenset[str] = frozenset()) -> str:
    def healthy_of(made: PodDisruptionBudget) -> Healthy:
        selector = selector_of(made)
        found = [
            p for p in pods if selector.matches(p.metadata.labels) and is_healthy(p) and p.metadata.name not in going
        ]
        return Healthy(len(found), sum(p.metadata.uid != which.metadata.uid for p in found))

    blocked = blocked_by(which, budgets, healthy_of)
    return "" if blocked is None else str(blocked)


def test_an_eviction_is_allowed_while_enough_others_stay() -> None:
    pods = [pod("a"), pod("b"), pod("c")]
    made = observed(pods, minAvailable=2)
    assert not allowed(pods[0], pods, made)
    assert "budget needs 2 healthy pods and has 2 currently" in allowed(pods[0], pods, made, going=frozenset("b"))
    assert not allowed(pods[0], pods, made, going=frozenset("a")), "its own eviction is no other's"
    assert not allowed(pod("x", app="db"), pods, made), "another application's"


def test_every_budget_of_a_pod_must_allow_it() -> None:
    pods = [pod("a"), pod("b")]
    wide, narrow = observed(pods, minAvailable=1), observed(pods, name="narrow", minAvailable=2)
    assert "budget narrow needs 2" in allowed(pods[0], pods, wide, narrow)


def test_a_pod_that_is_not_ready_goes_when_enough_others_are_or_always() -> None:
    sick = pod("a", ready=False)
    pods = [sick, pod("b")]
    assert not allowed(sick, pods, observed(pods, minAvailable=1))
    assert allowed(sick, pods, observed(pods, minAvailable=2))
    always = observed(pods, minAvailable=2, unhealthyPodEvictionPolicy="AlwaysAllow")
    assert not allowed(sick, pods, always)
    assert allowed(pods[1], pods, always)


def test_a_budget_that_is_not_understood_yet_blocks() -> None:
    pods = [pod("a"), pod("b")]
    made = observed(pods, minAvailable=0)
    made.metadata.generation = 2
    assert "is new or has just been changed" in allowed(pods[0], pods, made)
    assert allowed(pods[0], pods, observed(pods, None, maxUnavailable=1)), "how many are wanted is not known"


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8),
    st.integers(0, 8),
    st.permutations(range(8)),
)
def test_evicting_whatever_is_allowed_never_leaves_fewer_than_must_stay(
    states: list[tuple[bool, bool]], least: int, order: list[int]
) -> None:
    pods = [pod(f"p{n}", ready=ready) for n, (ready, _) in enumerate(states)]
    made = observed(pods, minAvailable=least)
    healthy = sum(ready for ready, _ in states)
    going: set[str] = set()
    for n in (n for n in order if n < len(pods)):
        on_its_way = states[n][1]
        if not allowed(pods[n], pods, made, going=frozenset(going)):
            going.add(pods[n].metadata.name)
            if on_its_way:
                continue
            pods[n].metadata.deletion_timestamp.seconds = 1
    gone = sum(states[n][0] for n in range(len(pods)) if f"p{n}" in going)
    assert healthy - gone >= min(least, healthy)
    assert gone == max(0, healthy - least) or healthy < least


# ---------------------------------------------------------------- preemption


def test_victims_violate_a_budget_once_it_is_used_up() -> None:
    pods = [pod("a"), pod("b"), pod("c"), pod("x", app="db"), pod("d", going=True)]
    made = observed(pods[:3], minAvailable=2)
    assert violating(pods, [made]) == {"uid-b", "uid-c"}
    assert violating(pods, []) == set()
    elsewhere = observed(pods[:3], minAvailable=3)
    elsewhere.metadata.namespace = "other"
    assert violating(pods, [elsewhere]) == set()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({}, "spec", "must have minAvailable or maxUnavailable"),
        ({"minAvailable": 1, "maxUnavailable": 1}, "spec.maxUnavailable", "must not be set beside minAvailable"),
        ({"minAvailable": -1}, "spec.minAvailable", "must be at least 0"),
        ({"minAvailable": "half"}, "spec.minAvailable", "or a percentage such as 25%"),
        ({"maxUnavailable": "101%"}, "spec.maxUnavailable", "must be at most 100%"),
        ({"minAvailable": 1, "unhealthyPodEvictionPolicy": "Never"}, "spec.unhealthyPodEvictionPolicy", "must be one of"),
        ({"minAvailable": 1, "selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
         "spec.selector.matchExpressions[0].values", "is required"),
    ],
)  # fmt: skip
def test_budgets_that_are_refused(spec: dict[str, Any], field: str, words: str) -> None:
    made = budget(**{"minAvailable": 1} | spec if "selector" in spec else spec)
    apply_defaults(made)
    assert words in {violation.field: violation.description for violation in validate(made)}[field]
