"""The manifests of the documentation run, unchanged: each in a namespace of its own, all on one hollow cluster.

Containers here do nothing and go on for ever: those of Jobs are ended by hand, and what probes ask over HTTP is
answered in their stead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from nodelet.probes import check
from nodelet.probes.answer import Answer
from nodelet.probes.http import Request
from podium.client import AsyncClient
from podium.client.config import load
from podium.codec.yaml import load_all, parse, unfold
from podium.objects.conditions import get_condition
from podium.objects.kinds import BY_NAME, KINDS, kind_of
from podium.v1.core_pb2 import Namespace
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.docs import MANIFESTS, Shown
from tests.support.waiting import until

PATIENCE = 60.0
"""Seconds for what takes two or three on a machine with nothing else to do."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HollowCluster]:
    """Three nodes, to which every manifest has been applied."""

    async def answer(request: Request, timeout: float) -> Answer:
        return Answer(healthy=True, message=f"nobody was asked for {request.path}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "http_check", answer)
        async with hollow_cluster(tmp_path_factory.mktemp("docs"), nodes=3) as running:
            async with AsyncClient(load(running.master.admin_config).context()) as client:
                for shown in MANIFESTS:
                    await _apply(running, client, shown)
            yield running


async def _apply(cluster: HollowCluster, client: AsyncClient, shown: Shown) -> None:
    namespace = Namespace()
    namespace.metadata.name = shown.id
    await cluster.writer.create(namespace, by=ADMIN)
    for document in unfold(parse(shown.text)):
        if BY_NAME[document["kind"]].namespaced:
            document["metadata"].setdefault("namespace", shown.id)
        await client.apply(document)


# ---------------------------------------------------------------- when an object is what its page promises


def _condition(type_: str, status: str = "True", reason: str = "") -> Callable[[Any], bool]:
    def holds(obj: Any) -> bool:
        found = get_condition(obj.status.conditions, type_)
        return found is not None and found.status == status and reason in ("", found.reason)

    return holds


def _replicas_ready(obj: Any) -> bool:
    return bool(0 < obj.spec.replicas == obj.status.ready_replicas)


def _on_every_node(obj: Any) -> bool:
    return bool(obj.status.desired_number_scheduled == obj.status.number_available == 3)


def _address_given(obj: Any) -> bool:
    opened = obj.spec.type not in ("NodePort", "LoadBalancer") or all(port.node_port for port in obj.spec.ports)
    return bool(obj.spec.cluster_ip or obj.spec.type == "ExternalName") and opened


def _stored(obj: Any) -> bool:
    return bool(obj.metadata.uid)


READY: dict[str, Callable[[Any], bool]] = {
    "Pod": _condition("Ready"),
    "ReplicationController": _replicas_ready,
    "ReplicaSet": _replicas_ready,
    "Deployment": lambda obj: _condition("Available")(obj) and _replicas_ready(obj),
    "StatefulSet": _replicas_ready,
    "DaemonSet": _on_every_node,
    "Job": _condition("Complete"),
    "HorizontalPodAutoscaler": _condition("AbleToScale"),
    "PersistentVolume": lambda obj: obj.status.phase == "Bound",
    "PersistentVolumeClaim": lambda obj: obj.status.phase == "Bound",
    "Service": _address_given,
    "AddressPool": lambda obj: obj.status.total > 0,
    "PodDisruptionBudget": _condition("DisruptionAllowed", "False", "InsufficientPods"),  # it has no pods here
    "ResourceQuota": lambda obj: obj.status.hard == obj.spec.hard and set(obj.status.used) == set(obj.spec.hard),
    "NodePool": _condition("CredentialsValid", "False"),  # its Secret is not part of the manifest
}  # fmt: skip

AS_STORED = {
    "CronJob", "ConfigMap", "Secret", "StorageClass", "NetworkPolicy", "LimitRange", "PriorityClass", "Ingress",
    "IngressClass", "Namespace",
}  # fmt: skip
"""Kinds that have nothing to become."""

MADE_BY_OTHERS = {"Node", "Event", "ControllerRevision", "Lease", "EndpointSlice"}
"""Kinds that users read, and seldom write."""

EXCEPTIONS: dict[tuple[str, str], Callable[[Any], bool]] = {
    ("scheduling-2", "Pod"): _condition("PodScheduled", "False", "SchedulingGated"),
    ("autoscaling-1", "HorizontalPodAutoscaler"): _condition("AbleToScale", "False", "FailedGetScale"),
}
"""Of a page's manifest: it shows a gate; it scales what the reader has."""


def test_every_kind_that_users_write_has_a_page_with_a_manifest() -> None:
    assert set(READY) | AS_STORED | MADE_BY_OTHERS == {kind.name for kind in KINDS}
    assert {document["kind"] for shown in MANIFESTS for document in parse(shown.text)} == set(READY) | AS_STORED


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("shown", MANIFESTS, ids=lambda shown: shown.id)
async def test_a_manifest_of_the_documentation_runs_unchanged(cluster: HollowCluster, shown: Shown) -> None:
    for obj in load_all(shown.text):
        await until(_readiness(cluster, shown, obj), seconds=PATIENCE, what=f"{type(obj).__name__} {obj.metadata.name}")


def _readiness(cluster: HollowCluster, shown: Shown, obj: Any) -> Callable[[], bool]:
    kind = kind_of(obj)
    ready = EXCEPTIONS.get((shown.id, kind.name)) or READY.get(kind.name, _stored)

    def holds() -> bool:
        if kind.name == "Job":
            _end_containers(cluster, shown.id)
        found = cluster.reader.get(type(obj), shown.id if kind.namespaced else "", obj.metadata.name)
        assert found is not None
        return ready(found)

    return holds


def _end_containers(cluster: HollowCluster, namespace: str) -> None:
    for member in cluster.members.values():
        for container, _ in member.runtime.loads():
            if container.pod.namespace == namespace:
                member.runtime.crash(container.id, exit_code=0)
