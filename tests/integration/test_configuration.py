"""ConfigMaps and Secrets from the API to files of running pods: a master, and nodes hollow but for their volumes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podium.codec.json import object_from_dict
from podium.errors import Invalid
from podium.objects.kinds import Key
from podium.v1.core_pb2 import ConfigMap, Event, Pod, Secret
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.configuration import config_map, secret
from tests.support.host_volumes import host_volumes
from tests.support.waiting import until

FILES = [{"name": "files", "mountPath": "/etc/app"}]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[HollowCluster]:
    async with hollow_cluster(tmp_path) as running:
        for name in ("node1", "node2"):
            await running.add_node(name, volumes=host_volumes(tmp_path / name))
        await until(lambda: len(running.ready_nodes()) == 2)
        yield running


def pod(name: str, volume: dict[str, Any], *, node: str = "node1", **container: Any) -> Pod:
    body = {"name": "app", "image": "app:1", "volumeMounts": FILES, **container}
    spec = {"nodeName": node, "containers": [body], "volumes": [{"name": "files", **volume}]}
    data = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    made: Pod = object_from_dict(data)
    return made


async def create(cluster: HollowCluster, *objects: Any) -> None:
    for obj in objects:
        await cluster.writer.create(obj, by=ADMIN)


def found(cluster: HollowCluster, name: str) -> Pod:
    return next(p for p in cluster.pods() if p.metadata.name == name)


def folder(cluster: HollowCluster, tmp_path: Path, name: str) -> Path:
    p = found(cluster, name)
    return tmp_path / p.spec.node_name / p.metadata.uid / "files"


async def running(cluster: HollowCluster, count: int) -> None:
    await until(lambda: len(cluster.pods(phase="Running")) == count, what=str(cluster.pods()))


async def change(cluster: HollowCluster, name: str, **data: str) -> None:
    def edit(stored: ConfigMap) -> None:
        stored.data.update(data)

    await cluster.writer.mutate(ConfigMap, "default", name, edit, by=ADMIN)


async def test_files_follow_their_config_map_on_every_node_that_shows_it(
    cluster: HollowCluster, tmp_path: Path
) -> None:
    await create(cluster, config_map("c", {"k": "1"}, namespace="default"))
    for number, node in enumerate(("node1", "node2", "node2")):
        await create(cluster, pod(f"p{number}", {"configMap": {"name": "c"}}, node=node))
    await running(cluster, 3)
    files = [folder(cluster, tmp_path, f"p{number}") / "k" for number in range(3)]
    assert [file.read_text() for file in files] == ["1", "1", "1"]
    await change(cluster, "c", k="2", new="x")
    await until(lambda: [file.read_text() for file in files] == ["2", "2", "2"])
    assert all(file.with_name("new").read_text() == "x" for file in files)


async def test_a_pod_waits_for_what_it_needs_and_starts_as_it_comes(cluster: HollowCluster) -> None:
    ref = {"secretKeyRef": {"name": "s", "key": "password"}}
    await create(cluster, pod("p", {"configMap": {"name": "c"}}, env=[{"name": "PASSWORD", "valueFrom": ref}]))

    def waiting() -> Any:
        statuses = found(cluster, "p").status.container_statuses
        return statuses[0].state.waiting if statuses else None

    await until(lambda: waiting() and 'configmap "c" not found' in waiting().message)
    await create(cluster, config_map("c", {}, namespace="default"))
    await until(lambda: waiting() and waiting().reason == "CreateContainerConfigError")
    assert waiting().message == 'secret "s" not found'
    await create(cluster, secret("s", {"other": b"x"}, namespace="default"))
    await until(lambda: waiting() and waiting().message == "couldn't find key password in Secret default/s")

    def edit(stored: Secret) -> None:
        stored.data["password"] = b"hunter2"

    await cluster.writer.mutate(Secret, "default", "s", edit, by=ADMIN)
    await running(cluster, 1)

    def reasons() -> set[str]:
        return {e.reason for e in cluster.reader.list(Event, "default") if e.involved_object.name == "p"}

    await until(lambda: reasons() >= {"FailedMount", "Failed", "Started"})
    assert not any("hunter2" in e.message for e in cluster.reader.list(Event, "default"))


async def test_an_object_goes_only_to_nodes_whose_pods_use_it_and_leaves_with_the_last(cluster: HollowCluster) -> None:
    def known(node: str) -> set[Key]:
        return set(cluster.members[node].node.session.desired.objects)

    await create(cluster, secret("s", {"k": b"v"}, namespace="default"), secret("t", {}, namespace="default"))
    await create(cluster, pod("p", {"secret": {"secretName": "s"}}))
    await running(cluster, 1)
    assert known("node1") == {Key("Secret", "default", "s")}
    assert known("node2") == set()
    await cluster.writer.delete(Key("Pod", "default", "p"), by=ADMIN)
    await until(lambda: not known("node1"))


async def test_labels_of_a_running_pod_show_in_its_files(cluster: HollowCluster, tmp_path: Path) -> None:
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    await create(cluster, pod("p", {"downwardAPI": {"items": items}}))
    await running(cluster, 1)
    file = folder(cluster, tmp_path, "p") / "labels"
    assert file.read_text() == ""

    def edit(stored: Pod) -> None:
        stored.metadata.labels["track"] = "stable"

    await cluster.writer.mutate(Pod, "default", "p", edit, by=ADMIN)
    await until(lambda: file.read_text() == 'track="stable"')


async def test_an_immutable_object_stays_and_a_deleted_pod_leaves_nothing(
    cluster: HollowCluster, tmp_path: Path
) -> None:
    fixed = config_map("c", {"k": "1"}, namespace="default")
    fixed.immutable = True
    await create(cluster, fixed, pod("p", {"configMap": {"name": "c"}}))
    await running(cluster, 1)
    with pytest.raises(Invalid, match="immutable"):
        await change(cluster, "c", k="2")
    place = folder(cluster, tmp_path, "p").parent
    assert place.exists()
    await cluster.writer.delete(Key("Pod", "default", "p"), by=ADMIN)
    await until(lambda: not cluster.pods())
    assert not place.exists()
