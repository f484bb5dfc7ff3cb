"""What `podium explain pod` is told: scores by plugin, of bound pods too, and who goes to make room."""

from __future__ import annotations

import pytest

from master.scheduler.engine import Engine
from master.scheduler.inquiry import explain_pod
from master.scheduler.ledger import PodKey
from master.scheduler.plugins import default_profile
from podium.v1.cluster_service_pb2 import NodeVerdict
from podium.v1.core_pb2 import Pod
from tests.support.scheduling import bound, engine, node, pod, see, state, turns

_MIB = 1024 * 1024


def by_plugin(verdict: NodeVerdict) -> dict[str, float]:
    return {score.plugin: score.score for score in verdict.scores}


def verdicts(made: Engine, asked: Pod) -> dict[str, NodeVerdict]:
    return {verdict.node: verdict for verdict in explain_pod(made, asked, nodes=True).nodes}


def drawn(name: str = "p", *, on: str = "") -> Pod:
    """A pod that likes disk=ssd, is spread over zones where that can be, and has an image."""
    made = pod(name, cpu="1", on=on, app="web")
    term = made.spec.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.add(weight=10)
    term.preference.match_expressions.add(key="disk", operator="In", values=["ssd"])
    even = made.spec.topology_spread_constraints.add(max_skew=1, topology_key="zone")
    even.when_unsatisfiable = "ScheduleAnyway"
    even.label_selector.match_labels["app"] = "web"
    return made


def nodes_for_it() -> Engine:
    return engine(
        node("n1", labels={"disk": "ssd", "zone": "a"}, images={"busybox": 900 * _MIB}),
        node("n2", labels={"disk": "hdd", "zone": "b"}),
        node("n3", cpu="500m", labels={"zone": "b"}),
        pod("there", app="web", on="n1"),
    )


def test_the_score_of_each_plugin_is_told_and_makes_the_whole() -> None:
    found = verdicts(nodes_for_it(), drawn())
    first, second = by_plugin(found["n1"]), by_plugin(found["n2"])
    assert (first["NodeAffinity"], second["NodeAffinity"]) == (100.0, 0.0)
    assert first["ImageLocality"] > second["ImageLocality"] == 0.0
    assert first["PodTopologyPreference"] < second["PodTopologyPreference"]
    assert "NodeResourcesFit" in first
    for name in ("n1", "n2"):
        weights = sum(score.weight for score in found[name].scores)
        mean = sum(score.weight * score.score for score in found[name].scores) / weights
        assert found[name].score == pytest.approx(mean, abs=0.2)


def test_a_node_that_does_not_take_the_pod_has_reasons_and_no_scores() -> None:
    refused = verdicts(nodes_for_it(), drawn())["n3"]
    assert not refused.fits
    assert list(refused.reasons) == ["Insufficient cpu"]
    assert (refused.score, len(refused.scores)) == (0.0, 0)


def test_of_a_bound_pod_scores_are_as_if_it_had_to_be_placed_now() -> None:
    made, waiting = nodes_for_it(), drawn()
    before = {name: by_plugin(verdict) for name, verdict in verdicts(made, waiting).items()}
    placed = drawn(on="n1")
    see(made, placed)
    untouched = state(made.cluster)
    answer = explain_pod(made, placed, nodes=True)
    assert (answer.state, answer.node_name, answer.total_nodes) == ("Bound", "n1", 3)
    assert answer.message == "Bound to node n1. What nodes say is as if it had to be placed now."
    assert {verdict.node: by_plugin(verdict) for verdict in answer.nodes} == before
    assert state(made.cluster) == untouched, "asking changes nothing"
    assert explain_pod(made, placed, nodes=False).message == "Bound to node n1."
    assert not explain_pod(made, placed, nodes=False).nodes


def test_a_bound_pod_that_fills_its_node_would_fit_there() -> None:
    full = pod("full", cpu="4", on="n1")
    verdict = verdicts(engine(node("n1"), full), full)["n1"]
    assert verdict.fits


def test_a_bound_pod_of_a_node_that_is_not_known_is_told_what_others_say() -> None:
    lost = pod("lost", cpu="1", on="gone")
    assert set(verdicts(engine(node("n1"), lost), lost)) == {"n1"}


# ---------------------------------------------------------------- preemption


def _preempting(*protected: str) -> tuple[Engine, Pod]:
    made = Engine(default_profile(), lambda entries: {e.uid for e in entries if e.key.name in protected})
    high = pod("high", cpu="4", priority=10)
    see(made, node("n1"), pod("a", cpu="2", on="n1", priority=1), pod("b", cpu="2", on="n1", priority=2), high)
    assert not bound(turns(made))
    return made, high


def test_the_victims_are_named_and_which_overdraw_a_budget() -> None:
    made, high = _preempting("b")
    answer = explain_pod(made, high, nodes=False)
    assert (answer.state, answer.node_name) == ("Preempting", "n1")
    assert [(v.namespace, v.name, v.priority, v.overdraws_budget, v.gone) for v in answer.victims] == [
        ("default", "b", 2, True, False),
        ("default", "a", 1, False, False),
    ]
    assert answer.preemption == (
        "These pods of lower priority are leaving node n1 to make room: "
        "default/b (priority 2, overdraws a disruption budget), default/a (priority 1)."
    )


def test_victims_that_have_left_are_told_as_gone_and_none_are_when_it_is_bound() -> None:
    made, high = _preempting()
    made.pod_gone(PodKey("default", "a"), "uid-a")
    assert not bound(turns(made))
    assert {v.name: v.gone for v in explain_pod(made, high, nodes=False).victims} == {"a": True, "b": False}
    made.pod_gone(PodKey("default", "b"), "uid-b")
    assert bound(turns(made)) == {"high": "n1"}
    high.spec.node_name = "n1"
    see(made, high)
    assert not explain_pod(made, high, nodes=False).victims
    assert not made._room_made


def test_after_a_restart_the_victims_are_those_that_are_leaving() -> None:
    leaving, high = pod("low", cpu="4", on="n1"), pod("high", cpu="4", priority=10)
    leaving.metadata.deletion_timestamp.seconds = 1
    high.status.nominated_node_name = "n1"
    made = engine(node("n1"), leaving, pod("stays", on="n1", priority=20), high)
    turns(made)
    answer = explain_pod(made, high, nodes=False)
    assert [v.name for v in answer.victims] == ["low"]
    assert answer.preemption.endswith("to make room: default/low (priority 0).")
