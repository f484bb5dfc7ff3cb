"""What BlueGreen and Canary add to the story of a rollout: steps, weights, who serves, what is measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from podium.objects.canary_split import canary_split
from podium.objects.conditions import get_condition
from podium.objects.revisions import current_of, hash_of, is_held, with_hash
from podium.objects.steps import PAUSE, kind_of_step, metric_text, step_text
from podium.v1.apps_pb2 import AnalysisStatus, Deployment, ReplicaSet, RolloutAnalysis
from podium.v1.rollouts_service_pb2 import RolloutMetric, RolloutStatus, RolloutStep

_FINISHED, _RESTS = "NewReplicaSetAvailable", "RolloutPaused"


def has_state(deployment: Deployment) -> bool:
    """Whether its strategy has a state of its own, which says when it is complete."""
    return deployment.spec.strategy.type in ("BlueGreen", "Canary")


def waiting_for_strategy(deployment: Deployment) -> str:
    """What a rollout waits for, in a sentence; empty when it is complete."""
    told = get_condition(deployment.status.conditions, "Progressing")
    if told is not None and told.reason == _FINISHED:
        return ""
    if told is not None and told.reason == _RESTS:
        return told.message.partition(": ")[2]
    if deployment.spec.strategy.type == "BlueGreen":
        return _waiting_for_preview(deployment)
    state, steps = deployment.status.canary, deployment.spec.strategy.canary.steps
    if not state.canary_hash:
        return f"{deployment.status.available_replicas} of {deployment.spec.replicas} replicas are available"
    if state.current_step_index >= len(steps):
        return "all steps are done; the rest of the replicas moves"
    return f"step {state.current_step_index + 1} of {len(steps)}: {step_text(steps[state.current_step_index])}"


def _waiting_for_preview(deployment: Deployment) -> str:
    state = deployment.status.blue_green
    if not state.preview_hash:
        return f"{deployment.status.available_replicas} of {deployment.spec.replicas} replicas are available"
    if state.promoted:
        return f"revision {state.preview_revision} becomes active when all its replicas are available"
    return f"revision {state.preview_revision} grows beside revision {state.active_revision}"


def waits_for_a_person(deployment: Deployment) -> bool:
    """Whether only `podium rollout promote` goes on."""
    told = get_condition(deployment.status.conditions, "Progressing")
    if told is None or told.reason != _RESTS:
        return False
    strategy, state = deployment.spec.strategy, deployment.status.canary
    if strategy.type == "BlueGreen":
        judged = deployment.status.blue_green.analysis.phase != "Running"
        return judged and not strategy.blue_green.auto_promotion
    steps = strategy.canary.steps
    if state.current_step_index >= len(steps):
        return False
    step = steps[state.current_step_index]
    return kind_of_step(step) == PAUSE and not step.pause.duration


def add_strategy(status: RolloutStatus, deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> None:
    """Complete the status of a rollout in place."""
    current, strategy = current_of(deployment, replica_sets), deployment.spec.strategy
    if is_held(deployment, replica_sets):
        status.serving_revision = deployment.status.aborted.returned_to_revision
        return
    if not has_state(deployment):
        return
    status.available = current.status.available_replicas if current is not None else 0
    if strategy.type == "BlueGreen":
        state = deployment.status.blue_green
        status.serving_revision = state.active_revision
        kept = with_hash(state.previous_hash, replica_sets)
        status.old -= kept.status.replicas if kept is not None else 0
        status.metrics.extend(_metrics(strategy.blue_green.analysis, state.analysis))
        return
    status.serving_revision = deployment.status.canary.stable_revision
    if current is not None and deployment.status.canary.canary_hash == hash_of(current):
        _add_canary(status, deployment, current, replica_sets)


def _add_canary(
    status: RolloutStatus, deployment: Deployment, current: ReplicaSet, replica_sets: Sequence[ReplicaSet]
) -> None:
    canary, state = deployment.spec.strategy.canary, deployment.status.canary
    status.weight, status.actual_weight = state.weight, _led(deployment, current, replica_sets)
    for index, step in enumerate(canary.steps):
        status.steps.add(text=step_text(step), state=_state_of_step(index, state.current_step_index))
    if state.current_step_index < len(canary.steps):
        status.metrics.extend(_metrics(canary.steps[state.current_step_index].analysis, state.analysis))
    status.metrics.extend(_metrics(canary.analysis, state.background))


def _led(deployment: Deployment, current: ReplicaSet, replica_sets: Sequence[ReplicaSet]) -> int:
    """Percent of new connections that services lead to the new revision, by the pods that are ready."""
    new = current.status.ready_replicas
    others = sum(rs.status.ready_replicas for rs in replica_sets if rs is not current)
    split = canary_split(deployment)
    exactly = split.percent(new, others) if split is not None else None
    if exactly is not None:
        return exactly
    return round(100 * new / (new + others)) if new else 0


def _state_of_step(index: int, current: int) -> RolloutStep.State.ValueType:
    if index == current:
        return RolloutStep.CURRENT
    return RolloutStep.DONE if index < current else RolloutStep.TODO


def _metrics(spec: RolloutAnalysis, status: AnalysisStatus) -> Iterator[RolloutMetric]:
    for metric in spec.metrics:
        measured = next((m for m in status.metrics if m.name == metric.name), None)
        if measured is not None:
            yield RolloutMetric(name=metric.name, phase=measured.phase, message=metric_text(metric, measured))
