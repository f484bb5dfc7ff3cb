"""A Job's two policies: what a pod's failure means (KEP-3329), and when enough has succeeded (KEP-3998). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from podium.objects.indexes import IndexSet
from podium.v1.batch_pb2 import (
    JobSpec,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern,
    SuccessPolicyRule,
)
from podium.v1.core_pb2 import ContainerStatus, Pod


class Action(Enum):
    """What follows of a pod's failure."""

    COUNT = "Count"
    IGNORE = "Ignore"
    FAIL_INDEX = "FailIndex"
    FAIL_JOB = "FailJob"


class Judgement(NamedTuple):
    """`because` is why a Job fails, for people; empty unless it does."""

    action: Action
    because: str = ""


def judge_failure(spec: JobSpec, pod: Pod) -> Judgement:
    """The first rule that matches a failed pod decides; with none it counts."""
    for number, rule in enumerate(spec.pod_failure_policy.rules):
        found = ""
        if rule.HasField("on_exit_codes"):
            found = _failed_container(rule.on_exit_codes, pod)
        else:
            found = _condition(rule.on_pod_conditions, pod)
        if found:
            action = Action(rule.action)
            because = f"{found} matching {rule.action} rule at index {number}" if action is Action.FAIL_JOB else ""
            return Judgement(action, because)
    return Judgement(Action.COUNT)


def _failed_container(wanted: PodFailurePolicyOnExitCodesRequirement, pod: Pod) -> str:
    statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    for status in statuses:
        if wanted.container_name in ("", status.name) and _exit_matches(wanted, status):
            where, code = f"{pod.metadata.namespace}/{pod.metadata.name}", status.state.terminated.exit_code
            return f"Container {status.name} for pod {where} failed with exit code {code}"
    return ""


def _exit_matches(wanted: PodFailurePolicyOnExitCodesRequirement, status: ContainerStatus) -> bool:
    if not status.state.HasField("terminated") or status.state.terminated.exit_code == 0:
        return False
    return (status.state.terminated.exit_code in wanted.values) == (wanted.operator == "In")


def _condition(wanted: Iterable[PodFailurePolicyOnPodConditionsPattern], pod: Pod) -> str:
    for pattern in wanted:
        status = pattern.status or "True"
        if any(c.type == pattern.type and c.status == status for c in pod.status.conditions):
            return f"Pod {pod.metadata.namespace}/{pod.metadata.name} has condition {pattern.type}"
    return ""


def met_rule(spec: JobSpec, completed: IndexSet) -> int | None:
    """The number of the first success rule that holds, if one does."""
    for number, rule in enumerate(spec.success_policy.rules):
        if _is_met(rule, completed):
            return number
    return None


def _is_met(rule: SuccessPolicyRule, completed: IndexSet) -> bool:
    if not rule.succeeded_indexes:
        return len(completed) >= rule.succeeded_count
    wanted = IndexSet.parse(rule.succeeded_indexes)
    hits = sum(index in completed for index in wanted)
    return hits >= (rule.succeeded_count if rule.HasField("succeeded_count") else len(wanted))
