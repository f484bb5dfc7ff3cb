"""How a node's reports change objects: its own Node, its pods' statuses; and its slice of the pod range."""

from __future__ import annotations

import datetime

import pytest

from master.dispatcher import registration, statuses
from master.dispatcher.pacing import Pacer
from master.dispatcher.ranges import PodRanges
from podium.errors import Unavailable
from podium.v1.core_pb2 import Node, Pod, PodStatus, Taint
from podium.v1.node_session_pb2 import Hello
from tests.support.nodes import ready_status

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(minutes=1)


def hello() -> Hello:
    return Hello(
        status=ready_status(), labels={"disk": "ssd"}, taints=[Taint(key="k", effect="NoExecute")], machine_id="m1"
    )


def test_a_new_node_has_its_labels_taints_range_and_status() -> None:
    node = registration.new_node("n1", hello(), "10.64.3.0/24", NOW)
    assert node.metadata.labels == {
        "disk": "ssd",
        "kubernetes.io/hostname": "n1",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    assert node.spec.pod_cidr == node.spec.pod_cidrs[0] == "10.64.3.0/24"
    assert node.spec.taints[0].time_added.seconds == int(NOW.timestamp())
    assert node.status.node_info.machine_id == "m1"


def test_wishes_for_labels_count_only_once() -> None:
    node = registration.new_node("n1", hello(), "", NOW)
    del node.metadata.labels["disk"]
    del node.spec.taints[:]
    node.metadata.labels["kubernetes.io/hostname"] = "wrong"
    registration.refresh(node, hello(), "")
    assert "disk" not in node.metadata.labels
    assert not node.spec.taints
    assert node.metadata.labels["kubernetes.io/hostname"] == "n1"


def test_the_same_report_later_changes_nothing() -> None:
    node = registration.new_node("n1", hello(), "", NOW)
    before = Node()
    before.CopyFrom(node)
    registration.merge_status(node, ready_status(), LATER)
    assert node == before


def test_a_transition_time_moves_with_its_status() -> None:
    node = registration.new_node("n1", hello(), "", NOW)
    node.status.conditions.add(type="NetworkUnavailable", status="False")
    status = ready_status()
    status.conditions[0].status = "False"
    registration.merge_status(node, status, LATER)
    ready = next(c for c in node.status.conditions if c.type == "Ready")
    assert ready.last_transition_time.seconds == int(LATER.timestamp())
    assert any(c.type == "NetworkUnavailable" for c in node.status.conditions), "of another owner: stays"


# ---------------------------------------------------------------- pods


def pod(phase: str) -> Pod:
    made = Pod()
    made.metadata.name, made.metadata.uid, made.spec.node_name = "a", "u1", "n1"
    made.status.phase = phase
    made.status.conditions.add(type="PodScheduled", status="True")
    made.status.conditions.add(type="DisruptionTarget", status="True")
    made.status.qos_class = "Burstable"
    return made


def test_what_others_say_of_a_pod_stays() -> None:
    made = pod("Pending")
    made.status.conditions.add(type="Ready", status="False")
    report = PodStatus(phase="Running")
    report.conditions.add(type="Ready", status="True")
    report.conditions.add(type="PodScheduled", status="False")
    statuses.merge(made, report)
    assert {c.type: c.status for c in made.status.conditions} == {
        "PodScheduled": "True",
        "DisruptionTarget": "True",
        "Ready": "True",
    }
    assert (made.status.phase, made.status.qos_class) == ("Running", "Burstable")


def test_a_node_says_of_a_pod_that_it_ends_itself_that_the_pod_is_not_to_blame() -> None:
    made, report = Pod(), PodStatus(phase="Failed")
    report.conditions.add(type="DisruptionTarget", status="True", reason="TerminationByKubelet")
    statuses.merge(made, report)
    assert [c.reason for c in made.status.conditions] == ["TerminationByKubelet"]


def test_a_pod_that_is_over_cannot_come_back() -> None:
    with pytest.raises(statuses.Refused, match="over already"):
        statuses.merge(pod("Failed"), PodStatus(phase="Running"))


@pytest.mark.parametrize(("node", "uid"), [("n2", "u1"), ("n1", "u2")])
def test_only_the_pods_node_speaks_of_it(node: str, uid: str) -> None:
    with pytest.raises(statuses.Refused):
        statuses.check_owner(pod("Running"), node=node, uid=uid)
    statuses.check_owner(pod("Running"), node="n1", uid="u1")


# ---------------------------------------------------------------- ranges, pacing


def test_every_node_has_a_slice_of_its_own_and_keeps_it() -> None:
    ranges = PodRanges("10.0.0.0/22")
    slices = [ranges.assign(f"n{i}") for i in range(4)]
    assert len(set(slices)) == 4
    assert ranges.assign("n2") == slices[2]
    with pytest.raises(Unavailable, match="no free"):
        ranges.assign("n4")
    ranges.release("n1")
    assert ranges.assign("n4") == slices[1]


def test_a_host_keeps_the_slice_that_it_uses_already() -> None:
    ranges = PodRanges("10.0.0.0/16")
    assert ranges.assign("n1", "10.0.7.0/24") == "10.0.7.0/24"
    assert ranges.assign("n2", "10.0.7.0/24") != "10.0.7.0/24"
    assert ranges.assign("n3", "192.168.0.0/24").startswith("10.0.")
    assert ranges.assign("n4", "10.0.9.128/25") != "10.0.9.128/25"


def test_slices_of_stored_nodes_are_not_given_away() -> None:
    ranges = PodRanges("10.0.0.0/16")
    ranges.note("old", "10.0.0.0/24")
    assert ranges.assign("new") == "10.0.1.0/24"
    assert ranges.assign("old") == "10.0.0.0/24"


def test_a_slice_larger_than_the_range_is_refused() -> None:
    with pytest.raises(ValueError, match="larger"):
        PodRanges("10.0.0.0/25", node_prefix=24)


def test_the_first_change_is_told_at_once_and_a_flood_in_groups() -> None:
    pacer = Pacer(delay=0.05, limit=100)
    assert pacer.wait(1.0, 1) == 0
    pacer.flushed(1.0)
    assert pacer.wait(1.01, 1) == pytest.approx(0.04)
    assert pacer.wait(1.01, 100) == 0
    assert pacer.wait(2.0, 1) == 0
