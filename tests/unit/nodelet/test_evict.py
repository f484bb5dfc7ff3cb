"""Who goes first when the host runs short, and what the node says of itself."""

from __future__ import annotations

from collections.abc import Mapping

from nodelet.pods.evict import (
    DEFAULT_THRESHOLDS,
    Evictor,
    PodUse,
    Pressures,
    Resource,
    Shortage,
    Signal,
    plan_eviction,
    rank,
    shortages,
)
from podium.v1.core_pb2 import Pod
from tests.support.kept_pods import container, deleted, kept, make_pod

MI = 1 << 20
SHORT = Shortage(resource=Resource.MEMORY, available=50 * MI, least=100 * MI)


def asking(uid: str, request: str = "", priority: int = 0) -> Pod:
    pod = make_pod(container(), uid=uid)
    if request:
        pod.spec.containers[0].resources.requests["memory"] = request
    pod.spec.priority = priority
    return pod


def names(pods: list[Pod]) -> list[str]:
    return [pod.metadata.uid for pod in pods]


def test_what_uses_more_than_it_asked_for_goes_before_what_does_not() -> None:
    pods = [asking("modest", "200Mi"), asking("greedy", "100Mi", priority=1000)]
    uses = {"modest": PodUse(memory=190 * MI), "greedy": PodUse(memory=110 * MI)}
    assert names(rank(pods, uses, Resource.MEMORY)) == ["greedy", "modest"]


def test_then_lower_priority_then_the_most_above_the_request() -> None:
    pods = [asking("high", priority=5), asking("low-small"), asking("low-big")]
    uses = {"high": PodUse(memory=900 * MI), "low-small": PodUse(memory=1 * MI), "low-big": PodUse(memory=2 * MI)}
    assert names(rank(pods, uses, Resource.MEMORY)) == ["low-big", "low-small", "high"]


def test_critical_pods_are_never_evicted() -> None:
    assert plan_eviction([asking("a", priority=2_000_000_000)], {}, SHORT) is None


def test_nobody_else_is_evicted_while_a_pod_is_going() -> None:
    assert plan_eviction([asking("a"), deleted(asking("b"))], {}, SHORT) is None


def test_the_message_says_what_was_short_and_who_used_how_much() -> None:
    found = plan_eviction([asking("a", "64Mi")], {"a": PodUse(memory=128 * MI)}, SHORT)
    assert found is not None
    assert found.message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "The pod was using 128Mi, its request is 64Mi."
    )


def test_thresholds_are_amounts_or_shares() -> None:
    signals = {
        Resource.MEMORY: Signal(available=101 * MI, total=8000 * MI),
        Resource.DISK: Signal(available=9, total=100),
        Resource.INODES: Signal(available=5, total=100),
        Resource.PIDS: Signal(available=0, total=0),
    }
    assert [s.resource for s in shortages(signals, DEFAULT_THRESHOLDS)] == [Resource.DISK]


def test_a_condition_stays_up_for_a_while() -> None:
    pressures = Pressures(hold=60)
    assert pressures.update([SHORT], 0) == {"MemoryPressure"}
    assert pressures.update([], 59) == {"MemoryPressure"}
    assert pressures.update([], 61) == frozenset()
    inodes = Shortage(resource=Resource.INODES, available=0, least=1)
    assert pressures.update([inodes], 62) == {"DiskPressure"}


async def nothing(uid: str, volume: str) -> int:
    return 0


async def test_the_evictor_ends_the_pod_with_the_least_claim_and_no_other() -> None:
    async with kept() as node:
        left = {"memory": 10 * MI}

        async def signals() -> Mapping[Resource, Signal]:
            return {Resource.MEMORY: Signal(available=left["memory"], total=8000 * MI)}

        async def uses() -> Mapping[str, PodUse]:
            return {"a": PodUse(memory=10 * MI), "b": PodUse(memory=900 * MI)}

        await node.assign(asking("a"), asking("b"))
        evictor = Evictor(manager=node.manager, signals=signals, uses=uses, measure=nothing, clock=node.clock)
        await evictor.look()
        left["memory"] = 900 * MI
        await evictor.look()
        assert evictor.conditions == {"MemoryPressure"}
        assert (node.status("a").phase, node.status("b").phase) == ("Running", "Failed")
        assert node.status("b").reason == "Evicted"
        assert "low on resource: memory" in node.status("b").message
        assert node.of("app", "b").state.terminated.exit_code == 137
        assert [reason for reason, _ in node.events].count("Evicted") == 1
