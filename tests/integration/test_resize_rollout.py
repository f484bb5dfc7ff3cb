"""`resize: InPlace` on hollow nodes: a rollout that restarts nothing, forth and back; what has no room is replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from nodelet.hollow import HollowSize
from podium.objects.revisions import current_of, revision_of
from podium.objects.template import HASH_LABEL
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import Pod
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.waiting import until


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[HollowCluster]:
    async with hollow_cluster(tmp_path, nodes=2, size=HollowSize(cpu="4", memory="8Gi")) as running:
        yield running


def web(replicas: int, cpu: str) -> Deployment:
    made = Deployment()
    made.metadata.namespace, made.metadata.name = "default", "web"
    made.spec.replicas = replicas
    made.spec.strategy.resize = "InPlace"
    made.spec.selector.match_labels["app"] = "web"
    made.spec.template.metadata.labels["app"] = "web"
    container = made.spec.template.spec.containers.add(name="main", image="web:1")
    container.resources.requests.update({"cpu": cpu, "memory": "64Mi"})
    return made


async def ask(cluster: HollowCluster, cpu: str) -> None:
    def change(found: Deployment) -> None:
        found.spec.template.spec.containers[0].resources.requests["cpu"] = cpu

    await cluster.writer.mutate(Deployment, "default", "web", change, by=ADMIN)


def sets(cluster: HollowCluster) -> dict[str, int]:
    return {rs.metadata.name: rs.spec.replicas for rs in cluster.reader.list(ReplicaSet) if rs.spec.replicas}


def current(cluster: HollowCluster) -> ReplicaSet | None:
    deployment = cluster.reader.get(Deployment, "default", "web")
    assert deployment is not None
    return current_of(deployment, cluster.reader.list(ReplicaSet))


def rolled_out(cluster: HollowCluster, cpu: str) -> bool:
    """Whether every pod is the newest ReplicaSet's, and has what its template asks for."""
    rs, pods = current(cluster), cluster.pods()
    deployment = cluster.reader.get(Deployment, "default", "web")
    if rs is None or deployment is None or deployment.status.observed_generation != deployment.metadata.generation:
        return False
    digest = rs.spec.template.metadata.labels[HASH_LABEL]
    return (
        sets(cluster) == {rs.metadata.name: deployment.spec.replicas}
        and deployment.status.updated_replicas == deployment.status.available_replicas == deployment.spec.replicas
        and len(pods) == deployment.spec.replicas
        and all(pod.metadata.labels[HASH_LABEL] == digest and has(pod) == cpu for pod in pods)
        and all([o.uid for o in pod.metadata.owner_references] == [rs.metadata.uid] for pod in pods)
    )


def has(pod: Pod) -> str:
    return pod.status.container_statuses[0].resources.requests["cpu"] if pod.status.container_statuses else ""


def lives(pods: Sequence[Pod]) -> dict[str, tuple[str, int]]:
    return {p.metadata.uid: (s.container_id, s.restart_count) for p in pods for s in p.status.container_statuses}


async def started(cluster: HollowCluster, replicas: int, cpu: str) -> dict[str, tuple[str, int]]:
    await cluster.writer.create(web(replicas, cpu), by=ADMIN)
    await until(lambda: rolled_out(cluster, cpu))
    return lives(cluster.pods())


async def test_pods_are_resized_where_they_run_and_back_again(cluster: HollowCluster) -> None:
    before = await started(cluster, 6, "500m")
    first = current(cluster)
    assert first is not None
    await ask(cluster, "750m")
    await until(lambda: rolled_out(cluster, "750m"))
    second = current(cluster)
    assert lives(cluster.pods()) == before, "no pod was replaced, and no container restarted"
    assert second is not None
    assert (revision_of(first), revision_of(second)) == (1, 2)
    assert second.metadata.name != first.metadata.name

    await ask(cluster, "500m")
    await until(lambda: rolled_out(cluster, "500m"))
    back = current(cluster)
    assert back is not None
    assert (back.metadata.name, revision_of(back)) == (first.metadata.name, 3)
    assert lives(cluster.pods()) == before


async def test_a_pod_whose_node_has_no_room_is_replaced(cluster: HollowCluster) -> None:
    filler = Pod()
    before = await started(cluster, 2, "1")
    node = cluster.pods()[0].spec.node_name
    filler.metadata.namespace, filler.metadata.name, filler.spec.node_name = "default", "filler", node
    filler.spec.containers.add(name="main", image="x:1").resources.requests.update({"cpu": "2700m"})
    await cluster.writer.create(filler, by=ADMIN)
    await until(lambda: len(cluster.pods(phase="Running")) == 3)
    await ask(cluster, "1500m")

    def done() -> bool:
        pods = [pod for pod in cluster.pods() if pod.metadata.name != "filler"]
        return len(pods) == 2 and all(has(pod) == "1500m" for pod in pods) and len(sets(cluster)) == 1

    await until(done)
    after = lives([pod for pod in cluster.pods() if pod.metadata.name != "filler"])
    kept = before.keys() & after.keys()
    assert len(kept) == 1, "one could grow where it was, the other could not"
    assert all(before[uid] == after[uid] for uid in kept)


async def test_another_image_is_a_rollout_as_ever(cluster: HollowCluster) -> None:
    before = await started(cluster, 2, "500m")

    def change(found: Deployment) -> None:
        found.spec.template.spec.containers[0].image = "web:2"
        found.spec.template.spec.containers[0].resources.requests["cpu"] = "750m"

    await cluster.writer.mutate(Deployment, "default", "web", change, by=ADMIN)
    await until(lambda: rolled_out(cluster, "750m"))
    assert not before.keys() & lives(cluster.pods()).keys()


async def test_a_template_that_returns_in_the_middle_finds_its_pods_as_they_were(cluster: HollowCluster) -> None:
    before = await started(cluster, 6, "500m")
    await ask(cluster, "600m")
    await until(lambda: any(pod.spec.containers[0].resources.requests["cpu"] == "600m" for pod in cluster.pods()))
    await ask(cluster, "500m")
    await until(lambda: rolled_out(cluster, "500m"))
    assert lives(cluster.pods()) == before


async def test_what_is_scaled_meanwhile_comes_out_right(cluster: HollowCluster) -> None:
    await started(cluster, 4, "500m")
    await ask(cluster, "600m")

    def grow(found: Deployment) -> None:
        found.spec.replicas = 6

    await cluster.writer.mutate(Deployment, "default", "web", grow, by=ADMIN)
    await until(lambda: rolled_out(cluster, "600m"))
    assert all(restarts == 0 for _, restarts in lives(cluster.pods()).values())
