"""What nodes are told of volumes, and what they may say of them."""

from __future__ import annotations

import pytest

from master.controllers.claim_plan import provisioned
from master.dispatcher.assignments import Ledger
from master.dispatcher.local_volumes import NotIts, merge, merge_status
from podium.objects import storage
from podium.objects.kinds import Key
from podium.objects.references import loaded, references
from podium.v1.core_pb2 import Pod
from podium.v1.node_session_pb2 import VolumeState
from podium.v1.storage_pb2 import PersistentVolume
from tests.support.storage import claim, node, storage_class


def made() -> PersistentVolume:
    """A volume on n1."""
    its = provisioned(claim(), storage_class(), node("n1"))
    its.metadata.uid = "u"
    its.status.phase = storage.BOUND
    return its


def condemned() -> PersistentVolume:
    its = made()
    its.metadata.deletion_timestamp.seconds = 1
    its.status.phase = storage.RELEASED
    return its


def state(**what: bool | str) -> VolumeState:
    return VolumeState(name=made().metadata.name, uid="u", **what)  # type: ignore[arg-type]


def using(uid: str, where: str = "n1") -> Pod:
    pod = Pod()
    pod.metadata.namespace, pod.metadata.name, pod.metadata.uid = "default", uid, uid
    pod.spec.node_name = where
    pod.spec.volumes.add(name="d").persistent_volume_claim.claim_name = "c"
    return pod


def test_a_node_says_what_became_of_its_own_volumes() -> None:
    its = made()
    merge(its, state(made=True), "n1")
    assert its.metadata.annotations[storage.LOCAL_MADE] == "true"
    merge_status(its, state(failure="busy"), "n1")
    assert its.status.message == "node n1: busy"
    gone = condemned()
    merge(gone, state(gone=True), "n1")
    assert not gone.metadata.finalizers


def test_how_full_a_volume_is_does_not_change_all_the_time() -> None:
    its, mi = made(), 1024 * 1024
    its.spec.capacity[storage.STORAGE] = "1Gi"
    report = VolumeState(name=its.metadata.name, uid="u", used_bytes=100 * mi, free_bytes=5000 * mi)
    merge_status(its, report, "n1")
    assert (its.status.used, its.status.free) == ("103Mi", "5008Mi")
    report.used_bytes += 2 * mi
    merge_status(its, report, "n1")
    assert its.status.used == "103Mi"


def test_a_change_of_status_alone_is_not_sent_down() -> None:
    ledger = Ledger()
    ledger.pod_changed(None, using("a"), deleted=False)
    fuller = made()
    fuller.status.used = "1Mi"
    assert ledger.volume_changed(made(), fuller, deleted=False) == set()


def test_a_volume_that_nobody_condemned_is_not_let_go() -> None:
    its = made()
    merge(its, state(gone=True), "n1")
    assert list(its.metadata.finalizers) == [storage.LOCAL_DATA]


@pytest.mark.parametrize(("where", "uid"), [("n2", "u"), ("n1", "another")])
def test_nobody_speaks_for_another_node_or_another_volume(where: str, uid: str) -> None:
    report = state(gone=True)
    report.uid = uid
    with pytest.raises(NotIts):
        merge(condemned(), report, where)


def test_a_node_is_sent_the_volumes_of_its_pods_and_no_others() -> None:
    ledger, its = Ledger(), made()
    ledger.pod_changed(None, using("a"), deleted=False)
    book = ledger.book("n1")
    none = book.snapshot(lambda key: None)
    assert not list(loaded(none))
    assert ledger.volume_changed(None, its, deleted=False) == {"n1"}
    told = book.delta(lambda key: its)
    assert told is not None
    [(key, found)] = loaded(told)
    assert (key, found) == (Key("PersistentVolumeClaim", "default", "c"), its)
    assert references(using("a")) == {key}
    ledger.pod_changed(using("a"), using("a"), deleted=True)
    last = book.delta(lambda key: its)
    assert last is not None
    assert list(last.removed_persistent_volumes) == ["default/c"]


def test_a_node_is_told_what_to_remove_once_and_in_every_snapshot() -> None:
    ledger = Ledger()
    book = ledger.book("n1")
    _ = book.snapshot(lambda key: None)
    assert ledger.volume_changed(None, condemned(), deleted=False) == {"n1"}
    assert ledger.volume_changed(None, condemned(), deleted=False) == set()
    told = book.delta(lambda key: None)
    assert told is not None
    assert [v.metadata.name for v in told.condemned_volumes] == ["pvc-uid-c"]
    assert book.delta(lambda key: None) is None
    assert len(book.snapshot(lambda key: None).condemned_volumes) == 1
    ledger.volume_changed(None, condemned(), deleted=True)
    assert not book.snapshot(lambda key: None).condemned_volumes
