"""The controllers together, over the real doors and cache, with a kubelet that needs no time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from podium.objects.conditions import get_condition
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.owners import owner_reference
from podium.objects.pod import is_ready
from podium.objects.revisions import REVISION
from podium.v1.apps_pb2 import Deployment
from podium.v1.core_pb2 import Event, Namespace, Node, Pod, Secret
from podium.v1.meta_pb2 import DeleteOptions
from tests.support.control_plane import ME, ControlPlane, control_plane
from tests.support.waiting import until
from tests.support.workloads import deployment, pod, replica_set


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with control_plane() as running:
        yield running


async def _roll_out(plane: ControlPlane, made: Deployment) -> None:
    await plane.writer.create(made, by=ME)
    await until(plane.is_rolled_out)


# ---------------------------------------------------------------- ReplicaSet and Deployment


async def test_a_deployment_comes_to_its_number_and_says_so(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=5))
    assert len(plane.pods()) == 5
    (rs,) = plane.replica_sets()
    assert rs.metadata.annotations[REVISION] == plane.deployment().metadata.annotations[REVISION] == "1"
    progressing = get_condition(plane.deployment().status.conditions, "Progressing")
    assert progressing is not None
    assert progressing.reason == "NewReplicaSetAvailable"
    await until(lambda: any(e.reason == "ScalingReplicaSet" for e in plane.reader.list(Event)))


async def test_a_thousand_pods_come_in_seconds(plane: ControlPlane) -> None:
    plane.kubelet.paused = True
    loop = asyncio.get_running_loop()
    began = loop.time()
    rs = replica_set("big", replicas=1000)
    await plane.writer.create(rs, by=ME)
    await until(lambda: len(plane.reader.list(Pod)) == 1000)
    assert loop.time() - began < 5


async def test_a_lost_pod_is_replaced_at_once_though_it_still_terminates(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=3))
    victim = plane.pods()[0]
    plane.kubelet.frozen.add(victim.spec.node_name)
    await plane.writer.delete(key_of(victim), by=ME)
    await until(lambda: len(plane.pods()) == 3)
    there = plane.reader.get(Pod, "default", victim.metadata.name)
    assert there is not None
    assert is_terminating(there)


async def test_scaling_down_removes_pods(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=6))

    def shrink(obj: Deployment) -> None:
        obj.spec.replicas = 2

    await plane.change(shrink)
    await until(lambda: plane.is_rolled_out() and len(plane.reader.list(Pod)) == 2)


async def test_a_rollout_keeps_its_limits_at_every_moment(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=6, surge=2, unavailable=1))
    most, least = 0, 6
    async with plane.reader.subscribe(Pod, Deployment) as changes, asyncio.timeout(10):
        await plane.set_image("busybox:2")
        async for _ in changes:
            alive = plane.pods()
            most = max(most, len(alive))
            least = min(least, sum(is_ready(p) for p in alive))
            if plane.is_rolled_out() and len(plane.pods("busybox:2")) == 6 == len(alive):
                break
    assert most <= 8
    assert least >= 5


async def test_a_broken_rollout_stops_and_undoing_it_needs_no_new_pods(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=4, surge=1, unavailable=0))
    before = {p.metadata.uid for p in plane.pods()}
    await plane.set_image("crash")
    await until(lambda: any(p.status.phase == "Running" for p in plane.pods("crash")))
    assert {p.metadata.uid for p in plane.pods("busybox")} == before
    await plane.set_image("busybox")
    await until(plane.is_rolled_out)
    await until(lambda: {p.metadata.uid for p in plane.pods()} == before)
    assert plane.deployment().metadata.annotations[REVISION] == "3"


async def test_recreate_never_runs_two_templates_at_once(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=3, recreate=True))
    seen: set[frozenset[str]] = set()
    async with plane.reader.subscribe(Pod, Deployment) as changes, asyncio.timeout(10):
        await plane.set_image("busybox:2")
        async for _ in changes:
            seen.add(frozenset(p.spec.containers[0].image for p in plane.reader.list(Pod)))
            if plane.is_rolled_out() and len(plane.pods("busybox:2")) == 3:
                break
    assert not any(len(images) > 1 for images in seen)


async def test_a_rollout_overtaken_by_another_ends_with_the_last(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=4, surge=1, unavailable=1))
    await plane.set_image("slow")
    await until(lambda: plane.pods("slow"))
    await plane.set_image("busybox:3")
    await until(lambda: plane.is_rolled_out() and len(plane.pods("busybox:3")) == 4)
    await until(lambda: len(plane.pods()) == 4)


async def test_history_is_cut_to_its_limit(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=1, history=2))
    for number in range(2, 6):
        await plane.set_image(f"busybox:{number}")
        await until(lambda: plane.is_rolled_out() and len(plane.pods()) == 1)
    await until(lambda: len(plane.replica_sets()) == 3)
    assert {rs.metadata.annotations[REVISION] for rs in plane.replica_sets()} == {"3", "4", "5"}


async def test_a_progress_deadline_is_told_in_time(plane: ControlPlane) -> None:
    await plane.writer.create(deployment(image="crash", replicas=1, deadline=1), by=ME)

    def reason() -> str:
        found = get_condition(plane.deployment().status.conditions, "Progressing")
        return found.reason if found is not None else ""

    await until(lambda: reason() == "ProgressDeadlineExceeded")


async def test_pods_are_adopted_and_released_by_their_labels(plane: ControlPlane) -> None:
    stray = pod("stray")
    await plane.writer.create(stray, by=ME)
    await plane.writer.create(replica_set("web-1", replicas=2), by=ME)
    await until(lambda: len(plane.pods()) == 2)
    rs = plane.replica_sets()[0]
    assert [p.metadata.name for p in plane.reader.owned_by(Pod, rs.metadata.uid) if p.metadata.name == "stray"]

    def relabel(obj: Pod) -> None:
        obj.metadata.labels["app"] = "debug"

    await plane.writer.mutate(Pod, "default", "stray", relabel, by=ME)
    await until(lambda: len(plane.reader.owned_by(Pod, rs.metadata.uid)) == 2 and len(plane.pods()) == 3)
    found = plane.reader.get(Pod, "default", "stray")
    assert found is not None
    assert not found.metadata.owner_references


# ---------------------------------------------------------------- nodes


async def test_pods_of_a_silent_node_run_elsewhere(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=6))
    plane.kubelet.frozen.add("n1")
    plane.liveness.silence("n1", ago=3.5)
    await until(lambda: plane.is_rolled_out() and not any(p.spec.node_name == "n1" for p in plane.pods()))
    node = plane.reader.get(Node, "", "n1")
    assert node is not None
    assert {(t.key, t.effect) for t in node.spec.taints} == {
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    }
    left = list(plane.reader.pods_on("n1"))
    assert left
    assert all(is_terminating(p) for p in left), "they stay until the node confirms their end or is deleted"
    await plane.writer.delete(Key("Node", "", "n1"), by=ME)
    await until(lambda: not plane.reader.pods_on("n1"))


async def test_a_partition_evicts_nobody_and_heals(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=6))
    before = {p.metadata.uid for p in plane.pods()}
    plane.kubelet.frozen.update(("n1", "n2", "n3"))
    plane.liveness.silence("n1", "n2", "n3", ago=3.5)
    await until(lambda: any(e.reason == "EvictionHeld" for e in plane.reader.list(Event)))
    await until(lambda: not any(is_ready(p) for p in plane.pods()))
    plane.liveness.hear("n1", "n2", "n3")
    await until(lambda: all(is_ready(p) for p in plane.pods()))
    assert {p.metadata.uid for p in plane.pods()} == before
    await until(lambda: not any(n.spec.taints for n in plane.reader.list(Node) if _says_ready(n)))


async def test_a_node_that_merely_paused_is_believed_when_it_says_it_is_ready(plane: ControlPlane) -> None:
    plane.liveness.silence("n1", ago=5)

    def node() -> Node:
        found = plane.reader.get(Node, "", "n1")
        assert found is not None
        return found

    await until(lambda: node().spec.taints and not _says_ready(node()))
    plane.liveness.hear("n1", new_session=False)

    def restore(obj: Node) -> None:
        obj.status.conditions[0].status = "True"

    await plane.writer.mutate(Node, "", "n1", restore, by=ME, subresource="status")
    await until(lambda: not node().spec.taints)
    await until(lambda: plane.runtime.idle)
    assert _says_ready(node())


def _says_ready(node: Node) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)


# ---------------------------------------------------------------- deletion


async def test_deleting_a_deployment_takes_all_it_owns(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=3))
    await plane.writer.delete(Key("Deployment", "default", "web"), by=ME)
    await until(lambda: not plane.reader.list(Pod) and not plane.replica_sets())


async def test_foreground_deletion_waits_for_the_last_pod(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=3))
    plane.kubelet.frozen.add("n1")
    options = DeleteOptions(propagation_policy="Foreground")
    await plane.writer.delete(Key("Deployment", "default", "web"), by=ME, options=options)
    await until(lambda: len(plane.reader.list(Pod)) == len(plane.reader.pods_on("n1")) > 0)
    assert plane.reader.get(Deployment, "default", "web") is not None
    plane.kubelet.frozen.clear()
    await plane.kubelet.nudge()
    await until(lambda: plane.reader.get(Deployment, "default", "web") is None)
    assert not plane.reader.list(Pod)
    assert not plane.replica_sets()


async def test_orphaning_leaves_pods_to_themselves(plane: ControlPlane) -> None:
    await plane.writer.create(replica_set("web-1", replicas=2), by=ME)
    await until(lambda: len(plane.pods()) == 2)
    options = DeleteOptions(propagation_policy="Orphan")
    await plane.writer.delete(Key("ReplicaSet", "default", "web-1"), by=ME, options=options)
    await until(lambda: not plane.replica_sets())
    assert len(plane.pods()) == 2
    assert not any(p.metadata.owner_references for p in plane.pods())


async def test_an_object_born_to_a_dead_owner_is_collected(plane: ControlPlane) -> None:
    secret = Secret()
    secret.metadata.name, secret.metadata.namespace = "left", "default"
    ghost = replica_set("ghost")
    secret.metadata.owner_references.append(owner_reference(ghost))
    await plane.writer.create(secret, by=ME)
    await until(lambda: plane.reader.get(Secret, "default", "left") is None)


async def test_a_namespace_is_emptied_and_tells_who_holds_it(plane: ControlPlane) -> None:
    namespace = Namespace()
    namespace.metadata.name = "team"
    await plane.writer.create(namespace, by=ME)
    made = deployment(replicas=2)
    made.metadata.namespace = "team"
    await plane.writer.create(made, by=ME)
    held = Secret()
    held.metadata.name, held.metadata.namespace = "held", "team"
    held.metadata.finalizers.append("example.com/keep")
    await plane.writer.create(held, by=ME)
    await until(lambda: len(plane.reader.list(Pod, "team")) == 2)
    await plane.writer.delete(Key("Namespace", "", "team"), by=ME)

    def told() -> str:
        found = plane.reader.get(Namespace, "", "team")
        condition = get_condition(found.status.conditions, "NamespaceFinalizersRemaining") if found else None
        return condition.message if condition is not None else ""

    await until(lambda: "example.com/keep (1)" in told())
    await until(lambda: [type(o) for o in plane.reader.everything_in("team")] == [Secret])

    def release(obj: Secret) -> None:
        del obj.metadata.finalizers[:]

    await plane.writer.mutate(Secret, "team", "held", release, by=ME)
    await until(lambda: plane.reader.get(Namespace, "", "team") is None)


async def test_controllers_come_to_rest(plane: ControlPlane) -> None:
    await _roll_out(plane, deployment(replicas=4))
    await until(lambda: plane.runtime.idle)
    await until(lambda: any(e.reason == "ScalingReplicaSet" for e in plane.reader.list(Event)))
    revision = plane.reader.revision
    # Whoever would still have something to do is woken by this write, and would write after it.
    secret = Secret()
    secret.metadata.name, secret.metadata.namespace = "bystander", "default"
    await plane.writer.create(secret, by=ME)
    await until(lambda: plane.runtime.idle)
    assert plane.reader.revision == revision + 1
