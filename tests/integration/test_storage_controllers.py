"""Claims and volumes over the real doors and cache, with a kubelet that needs no time and no scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from master.access.protocol import Create
from master.bootstrap import ensure_namespaces, ensure_storage_class
from podium.errors import Invalid
from podium.objects import storage
from podium.objects.conditions import get_condition
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.v1.core_pb2 import Event, Node, Pod
from podium.v1.meta_pb2 import DeleteOptions
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim, StorageClass
from tests.support.control_plane import ME, ControlPlane, control_plane
from tests.support.storage import claim, storage_class, volume
from tests.support.waiting import until
from tests.support.workloads import pod


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with control_plane() as running:
        yield running


def using(name: str, claim_name: str) -> Pod:
    """A pod that mounts a claim."""
    made = pod(name)
    made.spec.volumes.add(name="data").persistent_volume_claim.claim_name = claim_name
    made.spec.containers[0].volume_mounts.add(name="data", mount_path="/data")
    return made


def its_claim(plane: ControlPlane, name: str = "c") -> PersistentVolumeClaim:
    found = plane.reader.get(PersistentVolumeClaim, "default", name)
    assert found is not None
    return found


def volumes(plane: ControlPlane) -> list[PersistentVolume]:
    return plane.reader.list(PersistentVolume)


def reason(plane: ControlPlane, type_: str = "Bound", name: str = "c") -> str:
    found = get_condition(its_claim(plane, name).status.conditions, type_)
    return found.reason if found is not None else ""


async def _provisioned(plane: ControlPlane) -> PersistentVolume:
    """A claim `c` that pod `p` uses, bound to a volume that was made for it."""
    _ = await plane.writer.create(storage_class(default=True), by=ME)
    _ = await plane.writer.create(claim(cls=None), by=ME)
    _ = await plane.writer.create(using("p", "c"), by=ME)
    await until(lambda: storage.is_bound(its_claim(plane)) and volumes(plane)[0].status.phase == storage.BOUND)
    return volumes(plane)[0]


async def test_a_claim_waits_for_its_pod_and_gets_a_volume_on_the_pods_node(plane: ControlPlane) -> None:
    plane.kubelet.paused = True
    _ = await plane.writer.create(storage_class(default=True), by=ME)
    _ = await plane.writer.create(claim(cls=None), by=ME)
    await until(lambda: reason(plane) == "WaitForFirstConsumer")
    await until(lambda: any(e.reason == "WaitForFirstConsumer" for e in plane.reader.list(Event)))
    assert its_claim(plane).spec.storage_class_name == "local"
    _ = await plane.writer.create(using("p", "c"), by=ME)
    plane.kubelet.paused = False
    await plane.kubelet.nudge()
    await until(lambda: storage.is_bound(its_claim(plane)))
    [its] = volumes(plane)
    [its_pod] = plane.pods()
    assert storage.nodes_of(its) == (its_pod.spec.node_name,)
    await until(lambda: volumes(plane)[0].status.phase == storage.BOUND)


async def test_a_default_class_that_comes_later_is_taken(plane: ControlPlane) -> None:
    _ = await plane.writer.create(claim(cls=None), by=ME)
    await until(lambda: reason(plane) == "FailedBinding")
    _ = await plane.writer.create(storage_class(default=True, mode="Immediate"), by=ME)
    await until(lambda: storage.is_bound(its_claim(plane)))


async def test_the_first_class_is_made_once(plane: ControlPlane) -> None:
    await ensure_namespaces(plane.reader, plane.writer)
    await ensure_storage_class(plane.reader, plane.writer)
    [cls] = plane.reader.list(StorageClass)
    assert storage.is_default(cls)
    _ = await plane.writer.delete(key_of(cls), by=ME)
    await ensure_storage_class(plane.reader, plane.writer)
    assert not plane.reader.list(StorageClass)


async def test_many_claims_share_out_few_volumes(plane: ControlPlane) -> None:
    made = [Create(volume(f"v{i}", f"{i + 1}Gi")) for i in range(6)]
    wanted = [Create(claim(f"c{i}", f"{i % 4 + 1}Gi")) for i in range(12)]
    results = await plane.writer.write_many([*wanted, *made], by=ME)
    assert not [r for r in results if isinstance(r, Exception)]
    await until(lambda: all(v.status.phase == storage.BOUND for v in volumes(plane)))

    def bound() -> list[PersistentVolumeClaim]:
        return [c for c in plane.reader.list(PersistentVolumeClaim) if storage.is_bound(c)]

    await until(lambda: len(bound()) == 6)
    assert len({c.spec.volume_name for c in bound()}) == 6
    for one in bound():
        its = plane.reader.get(PersistentVolume, "", one.spec.volume_name)
        assert its is not None
        assert storage.belongs_to(its, one)
        assert not storage.misfit(its, one)


async def test_a_claim_in_use_stays_and_says_who_uses_it(plane: ControlPlane) -> None:
    _ = await _provisioned(plane)
    _ = await plane.writer.delete(key_of(its_claim(plane)), by=ME)
    await until(lambda: reason(plane, "Deleting") == "InUse")
    assert storage.is_bound(its_claim(plane))
    plane.kubelet.frozen.update(plane.kubelet.nodes)
    _ = await plane.writer.delete(Key("Pod", "default", "p"), by=ME)
    assert its_claim(plane) is not None, "its pod still ends"
    plane.kubelet.frozen.clear()
    await plane.kubelet.nudge()
    await until(lambda: plane.reader.get(PersistentVolumeClaim, "default", "c") is None)


async def _without_claim(plane: ControlPlane) -> None:
    _ = await plane.writer.delete(Key("Pod", "default", "p"), by=ME, options=DeleteOptions(grace_period_seconds=0))
    _ = await plane.writer.delete(Key("PersistentVolumeClaim", "default", "c"), by=ME)


async def test_a_released_volume_waits_for_its_node_and_goes_with_the_node(plane: ControlPlane) -> None:
    its = await _provisioned(plane)
    await _without_claim(plane)
    await until(lambda: volumes(plane)[0].status.reason == "WaitingForNode")
    assert storage.is_condemned(volumes(plane)[0])
    _ = await plane.writer.delete(Key("Node", "", storage.nodes_of(its)[0]), by=ME)
    await until(lambda: not volumes(plane))
    await until(lambda: any(e.reason == "VolumeDataAbandoned" for e in plane.reader.list(Event)))


async def test_a_retained_volume_is_released_and_can_be_given_away_again(plane: ControlPlane) -> None:
    its = await _provisioned(plane)

    def retain(v: PersistentVolume) -> None:
        v.spec.persistent_volume_reclaim_policy = storage.RETAIN

    _ = await plane.writer.mutate(PersistentVolume, "", its.metadata.name, retain, by=ME)
    await _without_claim(plane)
    await until(lambda: volumes(plane)[0].status.phase == storage.RELEASED)
    assert not is_terminating(volumes(plane)[0])
    _ = await plane.writer.mutate(
        PersistentVolume, "", its.metadata.name, lambda v: v.spec.ClearField("claim_ref"), by=ME
    )
    _ = await plane.writer.create(_pinned("d", its.metadata.name), by=ME)
    await until(lambda: storage.is_bound(its_claim(plane, "d")))


def _pinned(name: str, volume_name: str) -> PersistentVolumeClaim:
    made = claim(name, cls="local")
    made.spec.volume_name = volume_name
    return made


def _ask(size: str):  # type: ignore[no-untyped-def]
    def change(c: PersistentVolumeClaim) -> None:
        c.spec.resources.requests[storage.STORAGE] = size

    return change


async def test_a_claim_grows_with_its_volume_and_never_shrinks(plane: ControlPlane) -> None:
    _ = await _provisioned(plane)
    _ = await plane.writer.mutate(PersistentVolumeClaim, "default", "c", _ask("5Gi"), by=ME)
    await until(lambda: its_claim(plane).status.capacity[storage.STORAGE] == "5Gi")
    assert volumes(plane)[0].spec.capacity[storage.STORAGE] == "5Gi"
    with pytest.raises(Invalid, match="must not shrink"):
        await plane.writer.mutate(PersistentVolumeClaim, "default", "c", _ask("2Gi"), by=ME)


async def test_growth_needs_the_consent_of_the_class(plane: ControlPlane) -> None:
    _ = await plane.writer.create(storage_class(mode="Immediate", grows=False), by=ME)
    _ = await plane.writer.create(claim(cls="local"), by=ME)
    await until(lambda: storage.is_bound(its_claim(plane)))
    with pytest.raises(Invalid, match="does not allow it"):
        await plane.writer.mutate(PersistentVolumeClaim, "default", "c", _ask("5Gi"), by=ME)


async def test_a_volume_whose_node_is_gone_says_so(plane: ControlPlane) -> None:
    its = await _provisioned(plane)
    node = storage.nodes_of(its)[0]
    _ = await plane.writer.delete(Key("Node", "", node), by=ME)
    await until(lambda: volumes(plane)[0].status.reason == "NodeGone")
    back = Node()
    back.metadata.name = node
    _ = await plane.writer.create(back, by=ME)
    await until(lambda: volumes(plane)[0].status.reason == "")
