"""Events: aggregated, bounded, rate-limited, and never in the way."""

from __future__ import annotations

from master.access.events import BURST, MOST_PENDING, Recorder
from master.controllers.event_ttl import plan_expiry
from podium.errors import Unavailable
from podium.objects.kinds import key_of
from podium.objects.meta import timestamp
from podium.v1.core_pb2 import Event
from tests.support.access import FakeAccess
from tests.support.clock import VirtualClock
from tests.support.workloads import at, node, pod


def _recorder(access: FakeAccess, clock: VirtualClock) -> Recorder:
    return Recorder(writer=access, clock=clock, component="test")


async def test_an_event_tells_what_happened_to_what_and_when() -> None:
    access, clock = FakeAccess(), VirtualClock()
    recorder, about = _recorder(access, clock), pod("p")
    recorder.warning(about, "Unhealthy", "probe failed")
    await recorder.flush()
    (event,) = access.list(Event)
    assert (event.type, event.reason, event.message, event.count) == ("Warning", "Unhealthy", "probe failed", 1)
    assert (event.involved_object.kind, event.involved_object.uid) == ("Pod", about.metadata.uid)
    assert event.source.component == event.reporting_component == "test"
    assert event.metadata.namespace == "default"
    assert event.metadata.name.startswith("p.")


async def test_the_same_again_counts_up_pending_or_written() -> None:
    access, clock = FakeAccess(), VirtualClock()
    recorder, about = _recorder(access, clock), pod("p")
    recorder.normal(about, "Pulled", "image")
    recorder.normal(about, "Pulled", "image")
    await recorder.flush()
    await clock.advance(60)
    recorder.normal(about, "Pulled", "image")
    await recorder.flush()
    (event,) = access.list(Event)
    assert event.count == 3
    assert event.last_timestamp.seconds - event.first_timestamp.seconds == 60


async def test_after_the_window_or_its_expiry_another_event_begins() -> None:
    access, clock = FakeAccess(), VirtualClock()
    recorder, about = _recorder(access, clock), pod("p")
    recorder.normal(about, "Pulled", "image")
    await recorder.flush()
    access.remove(key_of(access.list(Event)[0]))
    recorder.normal(about, "Pulled", "image")
    await recorder.flush()
    await recorder.flush()
    assert len(access.list(Event)) == 1
    await clock.advance(601)
    recorder.normal(about, "Pulled", "image")
    await recorder.flush()
    assert len(access.list(Event)) == 2


async def test_one_noisy_object_is_limited_and_another_is_not() -> None:
    access, clock = FakeAccess(), VirtualClock()
    recorder, noisy = _recorder(access, clock), pod("noisy")
    for number in range(BURST * 3):
        recorder.warning(noisy, "Failed", f"attempt {number}")
    recorder.normal(pod("quiet"), "Started", "container")
    await recorder.flush()
    assert len(access.list(Event)) == BURST + 1


async def test_what_waits_is_bounded() -> None:
    access = FakeAccess()
    recorder = _recorder(access, VirtualClock())
    for number in range(MOST_PENDING + 500):
        recorder.normal(pod(f"p{number}"), "Started", "container")
    for _ in range(100):
        await recorder.flush()
    assert len(access.list(Event)) == MOST_PENDING


async def test_a_refusal_fails_nobody() -> None:
    access = FakeAccess()
    access.broken = Unavailable("not now")
    recorder = _recorder(access, VirtualClock())
    recorder.normal(node("n1"), "Ready", "again")
    await recorder.flush()
    assert not access.list(Event)


def _event(name: str, first: float, last: float | None) -> Event:
    made = Event(first_timestamp=timestamp(at(first)))
    made.metadata.name = name
    made.metadata.creation_timestamp.CopyFrom(timestamp(at(0)))
    if last is not None:
        made.last_timestamp.CopyFrom(timestamp(at(last)))
    return made


def test_events_expire_by_when_they_were_last_added_to() -> None:
    events = [_event("old", 0, 0), _event("unrepeated", 0, None), _event("repeated", 0, 3000)]
    assert [k.name for k in plan_expiry(events, 3600, at(3600))] == ["old", "unrepeated"]


def test_an_event_from_a_clock_ahead_does_not_stop_expiry() -> None:
    events = [_event("ahead", 9000, 9999), _event("old", 0, 0)]
    assert [k.name for k in plan_expiry(events, 3600, at(3600))] == ["ahead", "old"]


def test_beyond_the_bound_the_events_that_were_longest_unchanged_go() -> None:
    events = iter([_event(name, 0, 0) for name in "abcdef"])
    assert [k.name for k in plan_expiry(events, 3600, at(1), surplus=2)] == ["a", "b"]
    assert next(events).metadata.name == "d", "no more are read than needed"
