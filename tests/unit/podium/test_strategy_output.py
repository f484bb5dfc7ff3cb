"""How a strategy's state is shown: in a table, described, and followed."""

from __future__ import annotations

import pytest

from podium.cli.describe.page import Page
from podium.cli.describe.strategies import strategy
from podium.cli.output.rollout import lines
from podium.cli.output.strategies import strategy_word
from podium.objects.kinds import kind_of
from podium.v1.apps_pb2 import Deployment
from podium.v1.rollouts_service_pb2 import RolloutStatus, RolloutStep
from tests.support.workloads import T0, deployment


def _canary() -> Deployment:
    made = deployment()
    made.spec.strategy.Clear()
    made.spec.strategy.type = "Canary"
    made.spec.strategy.rollback.on_failure = "Automatic"
    canary = made.spec.strategy.canary
    canary.max_surge.str_value = "25%"
    canary.steps.add(set_weight=20)
    canary.steps.add().pause.duration = "30s"
    canary.steps.add().pause.SetInParent()
    canary.analysis.metrics.add(name="errors", success_condition="< 0.1")
    state = made.status.canary
    state.stable_hash, state.stable_revision, state.canary_hash, state.canary_revision = "aa", 1, "bb", 2
    state.current_step_index, state.weight = 1, 20
    return made


def _blue_green(*, preview: int = 0) -> Deployment:
    made = deployment()
    made.spec.strategy.type = "BlueGreen"
    made.status.blue_green.active_revision = 2
    if preview:
        made.status.blue_green.preview_hash, made.status.blue_green.preview_revision = "cc", preview
    return made


def _aborted() -> Deployment:
    made = _canary()
    made.status.aborted.hash, made.status.aborted.revision = "bb", 2
    made.status.aborted.reason, made.status.aborted.message = "AnalysisFailed", "errors: 0.2 is not good"
    made.status.aborted.problems.append("web-1/main: CrashLoopBackOff")
    return made


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (deployment(), "RollingUpdate"),
        (_blue_green(), "BlueGreen:2"),
        (_blue_green(preview=3), "BlueGreen:2<-3"),
        (_canary(), "Canary:20%"),
        (_aborted(), "Canary:rolled-back"),
    ],
)
def test_a_word_for_the_table(made: Deployment, word: str) -> None:
    assert strategy_word(made, T0) == word


def test_a_canary_described() -> None:
    page = Page()
    strategy(page, _aborted())
    text = str(page)
    assert [line.split() for line in text.splitlines() if "pause" in line] == [["▶", "pause", "30s"], ["·", "pause"]]
    assert "RollbackOnFailure: Automatic" in text
    assert "errors: wanted: < 0.1" in text
    assert "AnalysisFailed: errors: 0.2 is not good" in text
    assert "web-1/main: CrashLoopBackOff" in text


def test_a_canary_followed() -> None:
    status = RolloutStatus(
        phase=RolloutStatus.PROGRESSING, message="pause 30s at step 2 of 2", desired=5, updated=1, available=1
    )
    status.weight, status.actual_weight = 20, 25
    status.steps.add(text="weight 20%", state=RolloutStep.DONE)
    status.steps.add(text="pause 30s", state=RolloutStep.CURRENT)
    status.metrics.add(name="errors", phase="Running", message="0.02 (wanted: < 0.1), 3 passed")
    first, *rest = lines(kind_of(Deployment), "web", status)
    assert "1/5  weight 20% (is 25%)  pause 30s at step 2 of 2" in first
    assert rest == ["    ✓ weight 20%", "    ▶ pause 30s", "    … errors: 0.02 (wanted: < 0.1), 3 passed"]
