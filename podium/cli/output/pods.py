"""The one word that tells how a pod is, as kubectl prints it: `Running`, `CrashLoopBackOff`, `Init:0/1`."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from podium.cli.output.age import duration


def phase_word(pod: Any) -> str:
    """The STATUS column of a pod."""
    word = pod.status.reason or _gated(pod) or pod.status.phase or "Pending"
    word = _init_word(pod) or _container_word(pod.status.container_statuses, word)
    if pod.metadata.HasField("deletion_timestamp"):
        return "Terminating"
    return word


def _gated(pod: Any) -> str:
    scheduled = next((c for c in pod.status.conditions if c.type == "PodScheduled"), None)
    return "SchedulingGated" if scheduled is not None and scheduled.reason == "SchedulingGated" else ""


def _init_word(pod: Any) -> str:
    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    total = len(pod.spec.init_containers)
    for index, status in enumerate(pod.status.init_container_statuses):
        state = status.state
        if status.name in sidecars and status.started:
            continue
        if state.HasField("terminated"):
            if state.terminated.exit_code == 0:
                continue
            return f"Init:{state.terminated.reason or f'ExitCode:{state.terminated.exit_code}'}"
        if state.HasField("waiting") and state.waiting.reason not in ("", "PodInitializing", "ContainerCreating"):
            return f"Init:{state.waiting.reason}"
        return f"Init:{index}/{total}" if pod.spec.node_name and pod.status.phase == "Pending" else ""
    return ""


def _container_word(statuses: Sequence[Any], word: str) -> str:
    running = False
    for status in reversed(statuses):
        state = status.state
        if state.HasField("waiting") and state.waiting.reason:
            word = state.waiting.reason
        elif state.HasField("terminated"):
            ended = state.terminated
            word = ended.reason or (f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exit_code}")
        elif state.HasField("running") and status.ready:
            running = True
    return "Running" if running and word == "Completed" else word


def restarts(pod: Any, now: datetime.datetime) -> str:
    """How often containers were restarted, and how long ago the last time."""
    statuses = [*pod.status.container_statuses, *pod.status.init_container_statuses]
    total = sum(s.restart_count for s in statuses)
    last = max((s.last_state.terminated.finished_at.seconds for s in statuses), default=0)
    return f"{total} ({duration(now.timestamp() - last)} ago)" if total and last else str(total)
