"""The lease, what is kept of it, and whom a fence stops when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.controllers.fleet import FleetSettings, assess
from nodelet.session.fence import Fence, FenceTools
from nodelet.session.kept_lease import KeptLease, from_data, to_data
from nodelet.session.lease import Lease, Terms
from nodelet.session.peers import answer
from podium.objects.fencing import FencingTimes, fell_silent_together, is_exclusive
from podium.objects.owners import owner_reference
from podium.v1.core_pb2 import Pod
from podium.v1.node_session_pb2 import Peers, Welcome
from tests.support.clock import VirtualClock
from tests.support.workloads import pod, replica_set, stateful_set

TERMS = Terms(silence=6, evidence=2, grace=10)
WELCOME = Welcome(lease_milliseconds=4000, fence_milliseconds=6000, fence_grace_milliseconds=10000)


def _stateful() -> Pod:
    made = pod("db-0")
    made.metadata.owner_references.append(owner_reference(stateful_set()))
    made.spec.termination_grace_period_seconds = 30
    return made


class _Running:
    """Records what a fence does to a pod."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.stopped: list[float] = []

    def fail(self, reason: str, message: str, grace: float) -> None:
        self.stopped.append(grace)


# ---------------------------------------------------------------- the lease


def test_a_lease_counts_from_when_the_acknowledged_beat_was_sent() -> None:
    assert Lease().until is None
    lease = Lease()
    lease.begin(100.0, TERMS)
    assert lease.until == 106
    lease.sent(1, 101.0)
    lease.sent(2, 102.0)
    lease.sent(3, 103.0)
    lease.acknowledged(2)
    assert (lease.until, lease.silent_for(110)) == (108, 8)
    lease.acknowledged(1)
    assert lease.until == 108


def test_a_new_session_forgets_the_beats_of_the_last() -> None:
    lease = Lease()
    lease.begin(100.0, TERMS)
    lease.sent(1, 101.0)
    lease.begin(50.0, TERMS)
    lease.acknowledged(1)
    assert lease.until == 106, "a hello that was sent earlier takes nothing back"


def test_a_master_that_grants_no_terms_fences_nothing() -> None:
    lease = Lease()
    lease.begin(100.0, None)
    assert lease.until is None


def test_a_lease_is_kept_whole() -> None:
    kept = KeptLease(
        until=7.5, kill_at=8.5, boot="b", acknowledged_at=1.5, terms=TERMS, peers=Peers(addresses=["a:1"], nodes=3)
    )
    assert from_data(to_data(kept)) == kept
    assert from_data(None) is None
    assert from_data({"until": "soon"}) is None


# ---------------------------------------------------------------- who must not run twice


def test_who_must_not_run_twice() -> None:
    replicated, claiming, reading = pod(owner=replica_set()), pod(), pod()
    claiming.spec.volumes.add(name="v").persistent_volume_claim.claim_name = "c"
    reading.spec.volumes.add(name="v").persistent_volume_claim.claim_name = "c"
    reading.spec.volumes[0].persistent_volume_claim.read_only = True
    assert [is_exclusive(p) for p in (_stateful(), claiming, replicated, reading, pod())] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("peers", "nodes", "excused"),
    [
        ([], 1, True),
        ([None], 2, False),
        ([9.0], 2, True),
        ([9.0, None], 3, False),
        ([9.0, 1.0], 3, False),
        ([9.0, 11.0], 3, True),
        ([9.0, 15.0], 3, False),
        ([9.0, 30.0], 3, False),
        ([9.0, 9.0, None, None], 5, True),
        ([9.0, 9.0], 6, False),
        ([10.0] * 40 + [None] * 9, 1000, True),
        ([10.0] * 30 + [None] * 19, 1000, False),
    ],
)
def test_most_must_have_fallen_silent_together(peers: list[float | None], nodes: int, excused: bool) -> None:
    assert fell_silent_together(10.0, peers, nodes=nodes, times=FencingTimes(4)) is excused


def test_a_peer_that_hears_the_master_excuses_nobody() -> None:
    """Healthy nodes are some seconds from their last acknowledgement, and a node asks some seconds after its own."""
    assert not fell_silent_together(4.5, [2.0, 2.4], nodes=3, times=FencingTimes(4))
    assert fell_silent_together(4.5, [3.1, 6.0], nodes=3, times=FencingTimes(4))


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 2), st.booleans()), min_size=1, max_size=12))
def test_what_excuses_for_long_is_what_a_master_holds(nodes: list[tuple[float, float, bool]]) -> None:
    """Nodes: since the last acknowledgement, by how much the master heard them later, and whether they answer."""
    (mine, _, _), *others = nodes
    answers = [silence if reached else None for silence, _, reached in others]
    times = FencingTimes(4)
    if mine < times.lease + 2 + times.together + 0.1:
        return  # see the module: so early the master may still hear them again
    if fell_silent_together(mine, answers, nodes=len(nodes), times=times):
        heard = {f"n{i}": 1000.0 - max(0.0, silence - later) for i, (silence, later, _) in enumerate(nodes)}
        assert "n0" in assess(heard, started=0.0, now=1000.0, settings=FleetSettings()).held


@given(st.floats(0.5, 60))
def test_a_pod_has_ended_before_it_is_released(lease: float) -> None:
    times = FencingTimes(lease)
    worst = times.lease * 1.5 + times.together + times.evidence + times.grace
    assert worst * 1.05 < times.release


# ---------------------------------------------------------------- the fence


def _fence(
    clock: VirtualClock, *running: _Running, boot: str = "b", answers: list[float | None] | None = None
) -> Fence:
    async def ask(peers: Peers) -> list[float | None]:
        return answers or []

    tools = FenceTools(since_boot=clock.monotonic, boot="b", ask=ask)
    return Fence(pods=lambda: running, clock=clock, tools=tools)


async def test_only_exclusive_pods_are_stopped_with_no_more_than_the_grace() -> None:
    clock = VirtualClock()
    exclusive, other = _Running(_stateful()), _Running(pod())
    fence = _fence(clock, exclusive, other, answers=[None])
    fence.begun(0.0, WELCOME)
    await clock.advance(5.9)
    await fence.look()
    assert not fence.closed
    await clock.advance(0.1)
    await fence.look()
    assert (exclusive.stopped, other.stopped, fence.closed) == ([10.0], [], True)
    fence.begun(clock.monotonic(), WELCOME)
    assert not fence.closed


async def test_peers_that_lost_the_master_as_well_excuse_it_as_long_as_they_say_so() -> None:
    clock, exclusive, answers = VirtualClock(), _Running(_stateful()), list[float | None]([10.0, 10.0])
    fence = _fence(clock, exclusive, answers=answers)
    fence.begun(0.0, WELCOME)
    fence.meet(Peers(addresses=["a:1", "b:1"], nodes=3))
    await clock.advance(10)
    await fence.look()
    assert not exclusive.stopped
    answers[:] = [0.3, 0.3]
    await clock.advance(5.9)
    await fence.look()
    assert not exclusive.stopped
    await clock.advance(0.1)
    await fence.look()
    assert exclusive.stopped


def _kept(until: float, boot: str = "b") -> KeptLease:
    return KeptLease(
        until=until, kill_at=until, boot=boot, acknowledged_at=until - 6, terms=TERMS, peers=Peers(nodes=2)
    )


@pytest.mark.parametrize(
    ("kept", "stopped"), [(None, False), (_kept(30), False), (_kept(10), True), (_kept(30, "old"), True)]
)
async def test_a_nodelet_that_starts_acts_on_the_lease_that_it_left(kept: KeptLease | None, stopped: bool) -> None:
    clock = VirtualClock()
    await clock.advance(20)
    exclusive = _Running(_stateful())
    fence = _fence(clock, exclusive)
    fence.resume(kept)
    fence.admit(exclusive)
    assert bool(exclusive.stopped) is stopped


async def test_a_process_that_was_frozen_finds_out_before_it_starts_anything() -> None:
    clock, exclusive = VirtualClock(), _Running(_stateful())
    fence = _fence(clock, exclusive)
    fence.begun(0.0, WELCOME)
    fence.admit(exclusive)
    assert not exclusive.stopped
    await clock.advance(60)
    fence.admit(exclusive)
    assert exclusive.stopped


def test_peers_are_answered_in_seconds() -> None:
    assert (answer(3.14159), answer(None)) == (b"3.14\n", b"never\n")
