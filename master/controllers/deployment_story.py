"""What happened to a rollout between two statuses of its Deployment, as events tell it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from podium.objects.conditions import get_condition
from podium.objects.steps import step_text
from podium.v1.apps_pb2 import Deployment, DeploymentStatus

Told = tuple[str, str, str]

NORMAL, WARNING = "Normal", "Warning"


def story(before: Deployment, status: DeploymentStatus) -> list[Told]:
    """Events as (type, reason, message), in the order in which they happened.

    Args:
        before: The Deployment with the status that it had.
        status: The one that it has now.
    """
    return [*_blue_green(before, status), *_canary(before, status), *_failure(before, status)]


def _blue_green(before: Deployment, status: DeploymentStatus) -> Iterator[Told]:
    old, new = before.status.blue_green, status.blue_green
    if new.preview_hash and new.HasField("preview_available_time") and not old.HasField("preview_available_time"):
        yield NORMAL, "PreviewAvailable", f"Revision {new.preview_revision} is wholly available beside the active one"
    if old.active_hash and new.active_hash != old.active_hash:
        yield (
            NORMAL,
            "Promoted",
            f"Revision {new.active_revision} is active; revision {old.active_revision} served before",
        )
    if old.previous_hash and not new.previous_hash and new.active_hash == old.active_hash:
        yield NORMAL, "PreviousReleased", f"Revision {old.previous_revision} is no longer kept for an instant return"


def _canary(before: Deployment, status: DeploymentStatus) -> Iterator[Told]:
    old, new = before.status.canary, status.canary
    steps = before.spec.strategy.canary.steps
    began = bool(new.canary_hash) and new.canary_hash != old.canary_hash
    if new.canary_hash and (began or new.current_step_index != old.current_step_index):
        index = new.current_step_index
        what = (
            f"Step {index + 1} of {len(steps)}: {step_text(steps[index])}" if index < len(steps) else "All steps done"
        )
        yield NORMAL, "CanaryStep", f"{what} (revision {new.canary_revision})"
    if old.stable_hash and new.stable_hash != old.stable_hash:
        yield NORMAL, "Promoted", f"Revision {new.stable_revision} is the stable one"


def _failure(before: Deployment, status: DeploymentStatus) -> Iterator[Told]:
    old = get_condition(before.status.conditions, "Progressing")
    new = get_condition(status.conditions, "Progressing")
    failed = new is not None and new.reason in ("AnalysisFailed", "ProgressDeadlineExceeded")
    if new is not None and failed and (old is None or old.reason != new.reason):
        yield WARNING, new.reason, new.message
    if status.HasField("aborted") and not before.status.HasField("aborted"):
        aborted = status.aborted
        problems = f" ({'; '.join(aborted.problems)})" if aborted.problems else ""
        yield (
            WARNING,
            "RolledBack",
            f"Revision {aborted.revision} is held back: {aborted.message}{problems}; "
            f"revision {aborted.returned_to_revision} runs again",
        )
