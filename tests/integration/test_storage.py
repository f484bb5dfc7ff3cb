"""Storage from the claim to the node: a whole master, and hollow nodes that make and remove what they are told to."""

from __future__ import annotations

from pathlib import Path

from nodelet.volumes.hollow import HollowLocalVolumes
from podium.objects import storage
from podium.objects.conditions import get_condition
from podium.objects.kinds import Key
from podium.v1.apps_pb2 import StatefulSet
from podium.v1.cluster_service_pb2 import ExplainPodRequest
from podium.v1.cluster_service_pb2_grpc import ClusterStub
from podium.v1.core_pb2 import Pod
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.storage import claim, stateful_set, storage_class, volume
from tests.support.waiting import until
from tests.support.workloads import pod


def using(name: str, *claims: str) -> Pod:
    """A pod that mounts claims."""
    made = pod(name)
    for wanted in claims:
        made.spec.volumes.add(name=wanted).persistent_volume_claim.claim_name = wanted
        made.spec.containers[0].volume_mounts.add(name=wanted, mount_path=f"/{wanted}")
    return made


def its_claim(cluster: HollowCluster, name: str = "c") -> PersistentVolumeClaim | None:
    return cluster.reader.get(PersistentVolumeClaim, "default", name)


def its_pod(cluster: HollowCluster, name: str = "p") -> Pod | None:
    return cluster.reader.get(Pod, "default", name)


async def running(cluster: HollowCluster, name: str = "p") -> Pod:
    """The pod, once it runs."""

    def found() -> Pod | None:
        there = its_pod(cluster, name)
        return there if there is not None and there.status.phase == "Running" else None

    return await until(found)


async def _gone(cluster: HollowCluster, kind: str, name: str) -> None:
    _ = await cluster.writer.delete(Key(kind, "default", name), by=ADMIN)
    message: type[Pod] | type[PersistentVolumeClaim] = Pod if kind == "Pod" else PersistentVolumeClaim
    await until(lambda: cluster.reader.get(message, "default", name) is None)


async def test_a_pod_finds_its_data_again_and_both_go_when_asked(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=3) as cluster:
        _ = await cluster.writer.create(claim(cls=None), by=ADMIN)
        await until(lambda: _reason(cluster) == "WaitForFirstConsumer")
        _ = await cluster.writer.create(using("p", "c"), by=ADMIN)
        first = await running(cluster)
        [made] = cluster.reader.list(PersistentVolume)
        assert storage.where(made) == f"{first.spec.node_name}:/hollow/local-volumes/{made.metadata.name}"
        for _ in range(3):
            await _gone(cluster, "Pod", "p")
            _ = await cluster.writer.create(using("p", "c"), by=ADMIN)
            assert (await running(cluster)).spec.node_name == first.spec.node_name
        _ = await cluster.writer.delete(Key("PersistentVolumeClaim", "default", "c"), by=ADMIN)
        await until(lambda: _reason(cluster, "Deleting") == "InUse")
        await _gone(cluster, "Pod", "p")
        await until(lambda: its_claim(cluster) is None)
        await until(lambda: not cluster.reader.list(PersistentVolume))
        keeper = cluster.members[first.spec.node_name].node._parts.local_volumes
        assert isinstance(keeper, HollowLocalVolumes)
        assert keeper.removed == [made.metadata.name]


def _reason(cluster: HollowCluster, type_: str = "Bound") -> str:
    found = its_claim(cluster)
    condition = get_condition(found.status.conditions, type_) if found is not None else None
    return condition.reason if condition is not None else ""


async def test_static_volumes_draw_their_pods_and_the_rest_is_explained(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=3) as cluster:
        _ = await cluster.writer.create(storage_class("disks", storage.NO_PROVISIONER), by=ADMIN)
        for name in ("node2", "node3"):
            _ = await cluster.writer.create(volume(f"v-{name}", "5Gi", cls="disks", node=name), by=ADMIN)
        for i in range(3):
            _ = await cluster.writer.create(claim(f"c{i}", cls="disks"), by=ADMIN)
            _ = await cluster.writer.create(using(f"p{i}", f"c{i}"), by=ADMIN)
        await until(lambda: len(cluster.pods(phase="Running")) == 2)
        assert {p.spec.node_name for p in cluster.pods(phase="Running")} == {"node2", "node3"}
        [waiting] = cluster.pods(phase="Pending")
        async with cluster.admin() as channel:
            answer = await ClusterStub(channel).ExplainPod(
                ExplainPodRequest(namespace="default", name=waiting.metadata.name)
            )
        assert answer.state == "Unschedulable"
        assert "didn't find available persistent volumes to bind" in answer.message
        _ = await cluster.writer.create(volume("v-more", "5Gi", cls="disks", node="node1"), by=ADMIN)
        assert (await running(cluster, waiting.metadata.name)).spec.node_name == "node1"


async def test_a_master_that_restarts_in_between_loses_nothing(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=2) as cluster:
        for i in range(10):
            _ = await cluster.writer.create(claim(f"c{i}", cls=None), by=ADMIN)
            _ = await cluster.writer.create(using(f"p{i}", f"c{i}"), by=ADMIN)
        await cluster.stop_master()
        await cluster.start_master()
        await until(lambda: len(cluster.pods(phase="Running")) == 10, seconds=30)
        names = [c.spec.volume_name for c in cluster.reader.list(PersistentVolumeClaim)]
        assert len(set(names)) == len(cluster.reader.list(PersistentVolume)) == 10
        for one in cluster.pods():
            found = its_claim(cluster, one.spec.volumes[0].name)
            assert found is not None
            its = cluster.reader.get(PersistentVolume, "", found.spec.volume_name)
            assert its is not None
            assert storage.nodes_of(its) == (one.spec.node_name,)


async def test_a_volume_on_a_node_that_is_gone_for_good_does_not_stay(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=2) as cluster:
        _ = await cluster.writer.create(claim(cls=None), by=ADMIN)
        _ = await cluster.writer.create(using("p", "c"), by=ADMIN)
        node = (await running(cluster)).spec.node_name
        await cluster.members[node].kill()
        await until(lambda: node not in cluster.ready_nodes(), seconds=20)
        _ = await cluster.writer.delete(Key("PersistentVolumeClaim", "default", "c"), by=ADMIN)
        _ = await cluster.writer.delete(Key("Pod", "default", "p"), by=ADMIN)
        _ = await cluster.writer.delete(Key("Node", "", node), by=ADMIN)
        await until(lambda: not cluster.reader.list(PersistentVolume), seconds=20)


async def test_a_stateful_sets_claims_follow_their_pods_grow_and_go(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=3) as cluster:
        made = stateful_set(3, "1Gi", deleted="Delete", scaled="Delete")
        _ = await cluster.writer.create(made, by=ADMIN)
        await until(lambda: len(cluster.pods(phase="Running")) == 3)
        claims = {c.metadata.name: c for c in cluster.reader.list(PersistentVolumeClaim)}
        assert set(claims) == {"data-db-0", "data-db-1", "data-db-2"}
        await until(lambda: all(storage.is_bound(c) for c in cluster.reader.list(PersistentVolumeClaim)))

        def grow(obj: StatefulSet) -> None:
            obj.spec.volume_claim_templates[0].spec.resources.requests[storage.STORAGE] = "2Gi"

        _ = await cluster.writer.mutate(StatefulSet, "default", "db", grow, by=ADMIN)

        def sizes() -> list[str]:
            return [c.status.capacity[storage.STORAGE] for c in cluster.reader.list(PersistentVolumeClaim)]

        await until(lambda: sizes() == ["2Gi"] * 3)
        node = its_pod(cluster, "db-1")
        _ = await cluster.writer.delete(Key("Pod", "default", "db-1"), by=ADMIN)
        assert node is not None
        again = await until(lambda: _another(cluster, "db-1", node.metadata.uid))
        assert again.spec.node_name == node.spec.node_name

        def scale(obj: StatefulSet) -> None:
            obj.spec.replicas = 1

        _ = await cluster.writer.mutate(StatefulSet, "default", "db", scale, by=ADMIN)
        await until(lambda: [c.metadata.name for c in cluster.reader.list(PersistentVolumeClaim)] == ["data-db-0"])
        _ = await cluster.writer.delete(Key("StatefulSet", "default", "db"), by=ADMIN)
        await until(lambda: not cluster.reader.list(PersistentVolumeClaim))
        await until(lambda: not cluster.reader.list(PersistentVolume))


def _another(cluster: HollowCluster, name: str, uid: str) -> Pod | None:
    found = its_pod(cluster, name)
    return found if found is not None and found.metadata.uid != uid and found.status.phase == "Running" else None
