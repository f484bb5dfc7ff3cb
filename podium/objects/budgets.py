"""Disruption budgets: how many pods must stay healthy, whether one may be evicted, which victims violate a budget.

A pod is healthy while it is Ready and its deletion was not asked for. What must stay (`desired`) follows from the
budget and, unless that is a plain `minAvailable`, from how many pods their owners want: a Deployment at 10 replicas has
10 expected pods also while one is missing.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from podium.objects.conditions import FALSE, TRUE, get_condition, set_condition
from podium.objects.meta import is_terminating
from podium.objects.owners import controller_of
from podium.objects.pod import DISRUPTION_TARGET, is_ready
from podium.objects.selectors import Selector, from_label_selector, nothing
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import IntOrString, OwnerReference
from podium.v1.policy_pb2 import PodDisruptionBudget, PodDisruptionBudgetStatus

ALWAYS_ALLOW = "AlwaysAllow"
EVICTED = "EvictionByEvictionAPI"
"""The condition of a pod that is being disrupted, and its reason when that is by the eviction sub-resource."""

ALLOWED = "DisruptionAllowed"
"""The budget's own condition."""

ScaleOf = Callable[[str, OwnerReference], int | None]
"""How many pods the controller of a pod wants (namespace, reference); None when it does not say."""


def selector_of(budget: PodDisruptionBudget) -> Selector:
    """The pods of a budget: of its namespace, by labels."""
    return from_label_selector(budget.spec.selector) if budget.spec.HasField("selector") else nothing()


def is_healthy(pod: Pod) -> bool:
    """Whether a pod counts as one that is there."""
    return not is_terminating(pod) and is_ready(pod)


# ---------------------------------------------------------------- status


def budget_status(
    budget: PodDisruptionBudget, pods: Sequence[Pod], scale_of: ScaleOf, now: datetime.datetime
) -> PodDisruptionBudgetStatus:
    """The status of a budget with these pods, which are all that it selects."""
    status = PodDisruptionBudgetStatus(observed_generation=budget.metadata.generation)
    status.conditions.extend(budget.status.conditions)
    expected, unknown = _expected(budget, pods, scale_of)
    healthy = sum(1 for pod in pods if is_healthy(pod))
    desired = desired_healthy(budget, expected)
    allowed = max(0, healthy - desired) if expected and not unknown else 0
    status.expected_pods, status.current_healthy = expected, healthy
    status.desired_healthy, status.disruptions_allowed = desired, allowed
    for pod in pods:
        if (since := _evicted_since(pod)) is not None:
            status.disrupted_pods[pod.metadata.name].CopyFrom(since)
    reason = "SyncFailed" if unknown else "SufficientPods" if allowed else "InsufficientPods"
    set_condition(
        status.conditions, ALLOWED, TRUE if allowed else FALSE, now=now, reason=reason, message=unknown,
        observed_generation=budget.metadata.generation,
    )  # fmt: skip
    return status


def desired_healthy(budget: PodDisruptionBudget, expected: int) -> int:
    """How many of the expected pods must be healthy."""
    spec = budget.spec
    if spec.HasField("max_unavailable"):
        return max(0, expected - _share(spec.max_unavailable, expected))
    return _share(spec.min_available, expected)


def _share(amount: IntOrString, whole: int) -> int:
    """So many, or so many percent, rounded up."""
    if amount.WhichOneof("value") == "str_value":
        return -(-whole * int(amount.str_value.removesuffix("%")) // 100)
    return amount.int_value


def _expected(budget: PodDisruptionBudget, pods: Sequence[Pod], scale_of: ScaleOf) -> tuple[int, str]:
    """How many pods there should be; and why that is not known, when it is not."""
    if budget.spec.min_available.WhichOneof("value") == "int_value":
        return len(pods), ""
    wanted: dict[str, int] = {}
    for pod in pods:
        owner = controller_of(pod)
        if owner is None or owner.uid in wanted:
            continue  # what nothing wants is not expected either
        scale = scale_of(pod.metadata.namespace, owner)
        if scale is None:
            return 0, f"how many pods {owner.kind} {owner.name} wants is not known: give minAvailable as a number"
        wanted[owner.uid] = scale
    return sum(wanted.values()), ""


def _evicted_since(pod: Pod) -> Timestamp | None:
    condition = get_condition(pod.status.conditions, DISRUPTION_TARGET)
    if condition is None or condition.reason != EVICTED or not is_terminating(pod):
        return None
    return condition.last_transition_time


# ---------------------------------------------------------------- evictions


@dataclass(frozen=True, slots=True)
class Blocked:
    """A budget that forbids an eviction for now. `pending`: the budget's status is not of its newest spec yet."""

    budget: PodDisruptionBudget
    healthy: int
    pending: bool = False

    def __str__(self) -> str:
        name = self.budget.metadata.name
        if self.pending:
            return f"the disruption budget {name} is new or has just been changed: its state is not known yet"
        needs = self.budget.status.desired_healthy
        return f"the disruption budget {name} needs {needs} healthy pods and has {self.healthy} currently"


class Healthy(NamedTuple):
    """How many pods of a budget are healthy, less those whose evictions are on their way; `left` if one more went."""

    now: int
    left: int


def blocked_by(
    pod: Pod, budgets: Iterable[PodDisruptionBudget], healthy_of: Callable[[PodDisruptionBudget], Healthy]
) -> Blocked | None:
    """The first budget of a pod that does not allow it to be evicted now.

    Args:
        pod: To be evicted.
        budgets: Of its namespace.
        healthy_of: How many pods of a budget are healthy, and would be without this pod.
    """
    for budget in budgets:
        selector = selector_of(budget)
        if not selector.matches(pod.metadata.labels):
            continue
        if budget.spec.unhealthy_pod_eviction_policy == ALWAYS_ALLOW and not is_ready(pod):
            continue
        if budget.status.observed_generation < budget.metadata.generation:
            return Blocked(budget, 0, pending=True)
        healthy = healthy_of(budget)
        if healthy.left < budget.status.desired_healthy or _unknown(budget):
            return Blocked(budget, healthy.now)
    return None


def _unknown(budget: PodDisruptionBudget) -> bool:
    condition = get_condition(budget.status.conditions, ALLOWED)
    return condition is not None and condition.reason == "SyncFailed"


def violating(victims: Iterable[Pod], budgets: Iterable[PodDisruptionBudget]) -> set[str]:
    """The uids of those victims that would overdraw a budget, if all of them went in this order."""
    left = [(budget, selector_of(budget), _Left(budget.status.disruptions_allowed)) for budget in budgets]
    found: set[str] = set()
    for pod in victims:
        if is_terminating(pod):
            continue
        for budget, selector, remaining in left:
            if budget.metadata.namespace == pod.metadata.namespace and selector.matches(pod.metadata.labels):
                remaining.count -= 1
                if remaining.count < 0:
                    found.add(pod.metadata.uid)
    return found


@dataclass(slots=True)
class _Left:
    count: int


def facts(blocked: Blocked, retry_after: int) -> Mapping[str, str]:
    """What a refusal tells a program."""
    metadata = blocked.budget.metadata
    return {
        "cause": "DisruptionBudget",
        "budget": f"{metadata.namespace}/{metadata.name}",
        "desiredHealthy": str(blocked.budget.status.desired_healthy),
        "currentHealthy": str(blocked.healthy),
        "retryAfterSeconds": str(retry_after),
    }
