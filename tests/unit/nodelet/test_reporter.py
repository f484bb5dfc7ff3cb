"""Statuses and events on their way up: coalesced, kept until durable, repeated when the master has it wrong."""

from __future__ import annotations

from nodelet.session.desired import Desired
from nodelet.session.events import MAX_PENDING, EventBuffer
from nodelet.session.reporter import Reporter
from podium.v1.core_pb2 import Pod, PodStatus, Secret
from podium.v1.node_session_pb2 import Assignments, PodStatusBatch
from tests.support.clock import VirtualClock


def pod(uid: str, phase: str = "") -> Pod:
    made = Pod()
    made.metadata.namespace, made.metadata.name, made.metadata.uid = "ns", f"pod-{uid}", uid
    made.status.phase = phase
    return made


def phases(batch: PodStatusBatch | None) -> list[str]:
    return [u.status.phase for u in batch.updates] if batch is not None else []


def test_only_the_newest_status_is_sent() -> None:
    reporter = Reporter()
    reporter.report(pod("a"), PodStatus(phase="Pending"), gone=False)
    reporter.report(pod("a"), PodStatus(phase="Running"), gone=False)
    assert phases(reporter.take()) == ["Running"]
    assert reporter.take() is None


def test_what_was_not_acknowledged_is_sent_in_the_next_session() -> None:
    reporter = Reporter()
    reporter.report(pod("a"), PodStatus(phase="Running"), gone=False)
    reporter.report(pod("b"), PodStatus(phase="Failed"), gone=False)
    reporter.take()
    reporter.acked(["a"])
    reporter.rewind()
    assert phases(reporter.take()) == ["Failed"]


def test_an_acknowledgement_does_not_cover_what_came_after_it_was_sent() -> None:
    reporter = Reporter()
    reporter.report(pod("a"), PodStatus(phase="Pending"), gone=False)
    reporter.take()
    reporter.report(pod("a"), PodStatus(phase="Running"), gone=False)
    reporter.acked(["a"])
    assert phases(reporter.take()) == ["Running"]


def test_a_durable_status_is_not_sent_twice() -> None:
    reporter = Reporter()
    reporter.report(pod("a"), PodStatus(phase="Running"), gone=False)
    reporter.take()
    reporter.acked(["a"])
    reporter.report(pod("a"), PodStatus(phase="Running"), gone=False)
    assert reporter.take() is None


def test_a_status_that_the_master_has_wrong_is_repeated() -> None:
    reporter = Reporter()
    reporter.report(pod("a"), PodStatus(phase="Running"), gone=False)
    reporter.take()
    reporter.acked(["a"])
    reporter.reconcile({"a": pod("a", "Running")})
    assert reporter.take() is None
    reporter.reconcile({"a": pod("a", "Unknown")})
    assert phases(reporter.take()) == ["Running"]


def test_a_resize_that_is_over_is_told_again_while_the_master_thinks_it_waits() -> None:
    reporter, stored = Reporter(), pod("a", "Running")
    reporter.report(pod("a"), PodStatus(phase="Running"), gone=False)
    reporter.take()
    reporter.acked(["a"])
    stored.status.conditions.add(type="PodScheduled", status="True")
    reporter.reconcile({"a": stored})
    assert reporter.take() is None
    stored.status.conditions.add(type="PodResizePending", status="True", reason="Deferred")
    reporter.reconcile({"a": stored})
    assert phases(reporter.take()) == ["Running"]


def test_gone_is_repeated_when_deletion_is_asked_for_afterwards() -> None:
    reporter = Reporter()
    reporter.report(pod("a"), PodStatus(phase="Failed"), gone=True)
    reporter.take()
    reporter.acked(["a"])
    deleted = pod("a", "Failed")
    reporter.reconcile({"a": deleted})
    assert reporter.take() is None
    deleted.metadata.deletion_timestamp.seconds = 1
    reporter.reconcile({"a": deleted})
    batch = reporter.take()
    assert batch is not None
    assert batch.updates[0].gone


def test_a_pod_that_the_master_does_not_know_is_forgotten_once_told() -> None:
    reporter = Reporter()
    reporter.report(pod("a"), PodStatus(phase="Failed"), gone=True)
    reporter.reconcile({})
    assert phases(reporter.take()) == ["Failed"]
    reporter.acked(["a"])
    reporter.reconcile({})
    reporter.rewind()
    assert reporter.take() is None


def test_a_restart_begins_with_the_newest_statuses() -> None:
    reporter = Reporter()
    reporter.report(pod("a"), PodStatus(phase="Succeeded"), gone=False)
    kept = reporter.overlay(Assignments(pods=[pod("a", "Running"), pod("b", "Pending")]))
    assert [p.status.phase for p in kept.pods] == ["Succeeded", "Pending"]


# ---------------------------------------------------------------- events


def test_repeated_events_become_one_that_counts() -> None:
    woken: list[int] = []
    buffer = EventBuffer(node="n1", clock=VirtualClock())
    buffer.wake = lambda: woken.append(1)
    for _ in range(3):
        buffer.event(pod("a"), "Warning", "BackOff", "crashed")
    batch = buffer.take()
    assert batch is not None
    (event,) = batch.events
    assert (event.count, event.reason, event.involved_object.name, event.source.host) == (3, "BackOff", "pod-a", "n1")
    assert len(woken) == 3
    buffer.event(pod("a"), "Warning", "BackOff", "crashed")
    again = buffer.take()
    assert again is not None
    assert (again.events[0].metadata.name, again.events[0].count) == (event.metadata.name, 4)


def test_a_storm_of_events_is_cut() -> None:
    buffer = EventBuffer(node="n1", clock=VirtualClock())
    for number in range(MAX_PENDING + 50):
        buffer.event(pod("a"), "Normal", "Noise", f"number {number}")
    assert len(buffer) == MAX_PENDING


def test_events_that_could_not_be_sent_are_sent_later() -> None:
    buffer = EventBuffer(node="n1", clock=VirtualClock())
    buffer.event(pod("a"), "Normal", "Started", "main")
    batch = buffer.take()
    assert batch is not None
    buffer.put_back(batch)
    assert buffer.take() == batch


# ---------------------------------------------------------------- the desired set


def test_a_gap_is_noticed_and_changes_nothing() -> None:
    desired = Desired()
    secret = Secret()
    secret.metadata.namespace, secret.metadata.name = "ns", "s"
    assert desired.apply(Assignments(snapshot=True, results_in=5, pods=[pod("a")], secrets=[secret]))
    assert not desired.apply(Assignments(applies_to=6, results_in=7, removed_pods=["a"]))
    assert set(desired.pods) == {"a"}
    assert desired.apply(Assignments(applies_to=5, results_in=6, removed_pods=["a"], removed_secrets=["ns/s"]))
    assert not desired.pods
    assert not desired.objects


def test_what_is_kept_is_what_is_desired() -> None:
    desired = Desired()
    desired.apply(Assignments(snapshot=True, results_in=5, pods=[pod("a")]))
    again = Desired()
    assert again.apply(desired.snapshot())
    assert again.pods == desired.pods
