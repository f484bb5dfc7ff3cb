"""What keeps pods from being ready, as far as their status tells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from podium.objects.conditions import FALSE, get_condition
from podium.objects.meta import is_terminating
from podium.objects.pod import FAILED, READY, SCHEDULED, is_active, is_ready
from podium.v1.core_pb2 import ContainerStatus, Event, Pod
from podium.v1.rollouts_service_pb2 import PodProblem

MOST_TOLD = 3

# A container that waits for one of these is on its way.
_PATIENT = frozenset({"", "ContainerCreating", "PodInitializing"})


def told_problems(pods: Iterable[Pod]) -> list[str]:
    """The first problems of pods that are not ready, a line each."""
    unready = (pod for pod in pods if not is_ready(pod) and not is_terminating(pod))
    problems = [problem for pod in unready for problem in pod_problems(pod, impatient=True)]
    return [_line(problem) for problem in problems[:MOST_TOLD]]


def _line(problem: PodProblem) -> str:
    where = f"{problem.pod}{'/' + problem.container if problem.container else ''}"
    code = f", exit code {problem.exit_code}" if problem.HasField("exit_code") else ""
    again = f", {problem.restart_count} restarts" if problem.restart_count else ""
    return f"{where}: {problem.reason}{code}{again}"


def pod_problems(pod: Pod, unhealthy: Event | None = None, *, impatient: bool = False) -> list[PodProblem]:
    """What keeps a pod from being ready, as far as its status tells.

    Args:
        pod: The pod.
        unhealthy: Its newest event about a failed probe.
        impatient: Also name containers that merely have not become ready yet.
    """
    scheduled = get_condition(pod.status.conditions, SCHEDULED)
    if scheduled is not None and scheduled.status == FALSE:
        return [_problem(pod, "", scheduled.reason or "Unschedulable", scheduled.message)]
    if pod.status.phase == FAILED and pod.status.reason:
        return [_problem(pod, "", pod.status.reason, pod.status.message)]
    statuses = [*pod.status.init_container_statuses, *pod.status.container_statuses]
    found = [problem for status in statuses if (problem := _container_problem(pod, status)) is not None]
    return found or list(_not_ready(pod, unhealthy, impatient))


def _container_problem(pod: Pod, status: ContainerStatus) -> PodProblem | None:
    state, last = status.state, status.last_state
    if state.HasField("terminated"):
        ended = state.terminated
        if ended.exit_code == 0 and not ended.signal:
            return None
        problem = _problem(pod, status.name, ended.reason or "Error", ended.message)
        problem.exit_code = ended.exit_code
    elif state.HasField("waiting") and state.waiting.reason not in _PATIENT:
        waiting = state.waiting
        ended = last.terminated
        out_of_memory = last.HasField("terminated") and ended.reason == "OOMKilled"
        reason = "OOMKilled" if out_of_memory else waiting.reason
        message = "; ".join(filter(None, (ended.message, waiting.message)))
        problem = _problem(pod, status.name, reason, message)
        if last.HasField("terminated"):
            problem.exit_code = ended.exit_code
    else:
        return None
    problem.restart_count = status.restart_count
    return problem


def _not_ready(pod: Pod, unhealthy: Event | None, impatient: bool) -> Iterator[PodProblem]:
    unready = [s for s in pod.status.container_statuses if s.state.HasField("running") and not s.ready]
    if unhealthy is not None:
        name = unready[0].name if len(unready) == 1 else ""
        yield _problem(pod, name, "Unhealthy", unhealthy.message, sum(s.restart_count for s in unready))
    elif impatient and unready:
        for status in unready:
            yield _problem(pod, status.name, "Unhealthy", "runs, and has not become ready", status.restart_count)
    elif impatient and is_active(pod):
        ready = get_condition(pod.status.conditions, READY)
        why = ready.message if ready is not None and ready.message else f"is {pod.status.phase or 'Pending'}"
        yield _problem(pod, "", "NotReady", why)


def _problem(pod: Pod, container: str, reason: str, message: str, restarts: int = 0) -> PodProblem:
    return PodProblem(
        pod=pod.metadata.name,
        container=container,
        reason=reason,
        message=message,
        restart_count=restarts,
        node=pod.spec.node_name,
    )
