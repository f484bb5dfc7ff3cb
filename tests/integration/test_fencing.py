"""Never two pods of one identity at once, whatever is cut off: the real session, fence, dispatcher and controllers."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from podium.objects.fencing import FencingTimes
from podium.v1.apps_pb2 import StatefulSet
from podium.v1.core_pb2 import Pod
from tests.support.fencing import LEASE, ME, World, fencing_world
from tests.support.workloads import stateful_set

TIMES = FencingTimes(LEASE)


async def _running(world: World, replicas: int = 1) -> None:
    made = stateful_set(replicas=replicas, parallel=True)
    made.spec.template.spec.termination_grace_period_seconds = 30
    await world.writer.create(made, by=ME)
    await world.clock.advance(5)
    assert all(len(world.where(f"db-{i}")) == 1 for i in range(replicas))


async def test_a_cut_off_node_stops_its_pod_before_it_runs_elsewhere() -> None:
    async with fencing_world("n1", "n2", "n3") as world:
        await _running(world)
        (first,) = world.where("db-0")
        cut_at = world.clock.monotonic()
        first.node.cut()
        await world.clock.advance(TIMES.release + 10)
        assert first.ends is not None
        assert first.ends <= cut_at + TIMES.silence + TIMES.evidence + TIMES.grace
        (second,) = world.where("db-0")
        assert second.node is not first.node
        assert first.ends < second.began <= cut_at + TIMES.release + 5
        assert world.overlaps() == []


async def test_a_node_that_returns_resurrects_nothing() -> None:
    async with fencing_world("n1", "n2", "n3") as world:
        await _running(world)
        (first,) = world.where("db-0")
        first.node.cut()
        await world.clock.advance(TIMES.release + 10)
        await first.node.heal()
        await world.clock.advance(20)
        (second,) = world.where("db-0")
        assert second.node is not first.node
        assert world.overlaps() == []


async def test_a_node_that_does_not_know_of_later_ones_is_left_alone() -> None:
    """It was alone when it was cut off, and so excuses itself; that others have joined since must not move its pod."""
    async with fencing_world("n1") as world:
        await _running(world)
        (first,) = world.where("db-0")
        first.node.cut()
        await world.clock.advance(30)
        for name in ("n2", "n3", "n4"):
            _ = await world.add_node(name)
        await world.clock.advance(200)
        assert world.where("db-0") == [first]
        assert world.overlaps() == []


async def test_a_node_that_was_cut_off_before_it_was_told_of_the_others_is_left_alone() -> None:
    async with fencing_world("n1") as world:
        await _running(world)
        (first,) = world.where("db-0")
        for name in ("n2", "n3"):
            _ = await world.add_node(name)
        first.node.cut()
        await world.clock.advance(200)
        assert world.overlaps() == []


async def test_a_short_cut_is_nothing() -> None:
    async with fencing_world("n1", "n2", "n3") as world:
        await _running(world)
        (first,) = world.where("db-0")
        first.node.cut()
        await world.clock.advance(2.5)
        await first.node.heal()
        await world.clock.advance(20)
        assert world.where("db-0") == [first]


async def test_a_pod_that_was_fenced_for_nothing_is_made_again() -> None:
    """Cut for longer than the lease, back before the master would have replaced it."""
    async with fencing_world("n1", "n2", "n3") as world:
        await _running(world)
        (first,) = world.where("db-0")
        first.node.cut()
        await world.clock.advance(TIMES.silence + 2)
        await first.node.heal()
        await world.clock.advance(40)
        (second,) = world.where("db-0")
        assert second is not first
        assert world.overlaps() == []


async def test_what_the_master_says_is_no_proof_that_it_hears() -> None:
    """The way up is broken, the way down is not: assignments arrive, and nothing of it counts as a lease."""
    async with fencing_world("n1", "n2", "n3") as world:
        await _running(world)
        (first,) = world.where("db-0")
        first.node.mute()
        await world.clock.advance(TIMES.release + 10)
        (second,) = world.where("db-0")
        assert second.node is not first.node
        assert world.overlaps() == []


async def test_without_a_master_everything_goes_on() -> None:
    async with fencing_world("n1", "n2", "n3") as world:
        await _running(world, replicas=3)
        before = [world.where(f"db-{i}") for i in range(3)]
        await world.kill_master()
        await world.clock.advance(300)
        assert [world.where(f"db-{i}") for i in range(3)] == before
        world.start_master()
        await world.clock.advance(60)
        assert [world.where(f"db-{i}") for i in range(3)] == before


async def test_a_node_that_is_cut_off_while_there_is_no_master_stops_its_pods() -> None:
    async with fencing_world("n1", "n2", "n3") as world:
        await _running(world)
        (first,) = world.where("db-0")
        await world.kill_master()
        await world.clock.advance(30)
        first.node.cut()
        await world.clock.advance(TIMES.silence + TIMES.evidence + TIMES.grace)
        assert world.where("db-0") == []
        world.start_master()
        await world.clock.advance(TIMES.release + 30)
        (second,) = world.where("db-0")
        assert second.node is not first.node


async def test_most_nodes_cut_off_from_their_master_go_on_and_it_waits() -> None:
    """The master is in the smaller part: nodes that see each other excuse themselves, the master holds them."""
    async with fencing_world(*(f"n{i}" for i in range(1, 6))) as world:
        await _running(world, replicas=5)
        before = [world.where(f"db-{i}") for i in range(5)]
        for name in ("n1", "n2", "n3", "n4"):
            world.nodes[name].part()
        await world.clock.advance(120)
        assert [world.where(f"db-{i}") for i in range(5)] == before
        for name in ("n1", "n2"):
            await world.nodes[name].heal()
        await world.clock.advance(TIMES.release + 30)
        assert world.overlaps() == []
        for name in ("n3", "n4"):
            await world.nodes[name].heal()
        await world.clock.advance(60)
        assert world.overlaps() == []
        assert all(len(world.where(f"db-{i}")) == 1 for i in range(5))


async def test_the_object_of_a_pod_that_may_run_twice_stays() -> None:
    async with fencing_world("n1", "n2", "n3") as world:
        made = Pod()
        made.metadata.name, made.metadata.namespace = "plain", "default"
        made.spec.containers.add(name="c", image="busybox")
        await world.writer.create(made, by=ME)
        await world.clock.advance(3)
        (running,) = world.where("plain")
        running.node.cut()
        await world.clock.advance(TIMES.release + 30)
        assert world.where("plain") == [running], "it does no harm, and the node cannot know"
        assert world.reader.get(Pod, "default", "plain") is not None


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["cut", "heal", "part", "mute", "kill", "start"]),
        st.sampled_from(["n1", "n2", "n3", "n4"]),
        st.sampled_from([0.7, 3.0, 6.5, 13.0, 31.0]),
    ),
    min_size=3,
    max_size=10,
)


@given(_STEPS)
# Two that joined first and fell silent together, before they had heard of the others: they are not most of the nodes.
@example([("part", "n2", 0.7), ("part", "n3", 13.0), ("part", "n3", 13.0), ("part", "n3", 31.0)])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_never_two_pods_of_one_identity(steps: list[tuple[str, str, float]]) -> None:
    async with fencing_world("n1", "n2", "n3", "n4") as world:
        await _running(world, replicas=3)
        for step, name, seconds in steps:
            await world.disturb(step, name)
            await world.clock.advance(seconds)
            assert world.overlaps() == []
        await world.mend()
        await world.clock.advance(TIMES.release + 60)
        assert world.overlaps() == []
        assert all(len(world.where(f"db-{i}")) == 1 for i in range(3)), "and it comes back by itself"
        assert world.reader.get(StatefulSet, "default", "db") is not None
