"""Pods with claims: where they may go, what is promised to them, and what wakes them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.scheduler.binder import is_kept, selecting, taking
from master.scheduler.engine import Engine
from master.scheduler.ledger import PodKey
from master.scheduler.volume_table import Promise
from podium.errors import Conflict
from podium.objects import storage
from podium.objects.storage import MANY, NO_PROVISIONER, ONCE, ONCE_POD, ClaimKey
from podium.v1.core_pb2 import Pod
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim, StorageClass
from tests.support.scheduling import bound, engine, node, pod, refused, see, turns
from tests.support.storage import bind, claim, storage_class, volume

NODES = (node("n1"), node("n2"), node("n3"))
STATIC = storage_class("static", NO_PROVISIONER)


def using(name: str, *claims: str, **wishes: Any) -> Pod:
    """A pod that uses claims."""
    made = pod(name, **wishes)
    for wanted in claims:
        made.spec.volumes.add(name=wanted).persistent_volume_claim.claim_name = wanted
    return made


def world(*objects: Any) -> Engine:
    """An engine that has seen these."""
    made = engine()
    show(made, *objects)
    return made


def show(seeing: Engine, *objects: Any, gone: bool = False) -> None:
    for obj in objects:
        if isinstance(obj, (PersistentVolume, PersistentVolumeClaim, StorageClass)):
            seeing.see_storage(obj, gone=gone)
        else:
            see(seeing, obj)


def pair(name: str = "c", *, on: str = "n2", modes: tuple[str, ...] = (ONCE,)) -> tuple[Any, Any]:
    """A claim bound to a volume of a node (or, with an empty `on`, of none)."""
    its, wanted = volume(f"v-{name}", node=on, modes=modes), claim(name, modes=modes)
    bind(its, wanted)
    return its, wanted


def promises(of: Engine, name: str) -> tuple[Promise, ...]:
    return of.ledger.entries[PodKey("default", name)].promises


# ---------------------------------------------------------------- where


def test_a_pod_follows_its_data() -> None:
    made = world(*NODES, *pair(on="n2"), using("p", "c"))
    assert bound(turns(made)) == {"p": "n2"}
    assert promises(made, "p") == ()


def test_data_on_a_node_that_has_no_room_keeps_its_pod_waiting() -> None:
    made = world(node("n1"), node("n2", cpu="1"), node("n3"), *pair(on="n2"), using("p", "c", cpu="2"))
    assert "2 node(s) didn't match PersistentVolume's node affinity" in refused(turns(made))["p"]


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ((), 'persistentvolumeclaim "c" not found'),
        ((claim(),), "pod has unbound immediate PersistentVolumeClaims"),
        ((claim(cls="static"), STATIC), "node(s) didn't find available persistent volumes to bind"),
        ((claim(cls="static"), STATIC, volume("v", "1Mi", cls="static")), "didn't find available persistent volumes"),
        ((claim(cls="local", modes=[MANY]), storage_class()), "didn't find available persistent volumes"),
        (pair(on="n9"), 'persistentvolume "v-c" lies on node n9, which is not there'),
        (pair()[1:], 'persistentvolumeclaim "c" bound to non-existent persistentvolume "v-c"'),
    ],
)
def test_why_a_pod_waits_for_its_claim(objects: tuple[Any, ...], words: str) -> None:
    made = world(*NODES, *objects, using("p", "c"))
    assert words in refused(turns(made))["p"]
    assert not bound(turns(made))


def test_a_claim_that_is_being_deleted_takes_no_more_pods() -> None:
    its, wanted = pair()
    wanted.metadata.deletion_timestamp.seconds = 1
    made = world(*NODES, its, wanted, using("p", "c"))
    assert 'persistentvolumeclaim "c" is being deleted' in refused(turns(made))["p"]


def test_claims_of_the_same_name_in_two_namespaces_are_two() -> None:
    other = using("q", "c")
    other.metadata.namespace = "other"
    its, wanted = volume("v-other", node="n3"), claim()
    wanted.metadata.namespace = "other"
    bind(its, wanted)
    made = world(*NODES, *pair(on="n2"), its, wanted, using("p", "c"), other)
    assert bound(turns(made)) == {"p": "n2", "q": "n3"}


# ---------------------------------------------------------------- open claims


def test_a_free_volume_is_promised_before_one_is_made() -> None:
    made = world(*NODES, storage_class(), volume("v", cls="local", node="n3"), claim(cls="local"), using("p", "c"))
    placed = bound(turns(made))
    [promise] = promises(made, "p")
    assert promise == Promise(ClaimKey("default", "c"), "uid-c", "v" if placed["p"] == "n3" else "")


def test_a_volume_is_made_only_where_the_class_allows() -> None:
    cls = storage_class()
    cls.allowed_topologies.add().match_label_expressions.add(key="zone", values=["a"])
    made = world(node("n1"), node("n2", labels={"zone": "a"}), cls, claim(cls="local"), using("p", "c"))
    assert bound(turns(made)) == {"p": "n2"}


def test_two_pods_are_never_promised_one_volume() -> None:
    claims = [claim(f"c{i}", cls="static") for i in range(3)]
    volumes = [volume(f"v{i}", cls="static", node="n1") for i in range(2)]
    made = world(*NODES, STATIC, *claims, *volumes, *(using(f"p{i}", f"c{i}") for i in range(3)))
    assert len(bound(turns(made))) == 2
    taken = [p.volume for i in range(3) for p in promises(made, f"p{i}")]
    assert sorted(taken) == ["v0", "v1"]


def test_several_claims_of_a_pod_need_several_volumes_on_one_node() -> None:
    claims = [claim("a", cls="static"), claim("b", "2Gi", cls="static")]
    alone = [volume("v1", "5Gi", cls="static", node="n1"), volume("v2", "5Gi", cls="static", node="n2")]
    made = world(*NODES, STATIC, *claims, *alone, using("p", "a", "b"))
    assert "3 node(s) didn't find available persistent volumes to bind" in refused(turns(made))["p"]
    show(made, volume("v3", "1Gi", cls="static", node="n2"))
    assert bound(turns(made)) == {"p": "n2"}
    assert {p.claim.name: p.volume for p in promises(made, "p")} == {"a": "v3", "b": "v2"}


def test_replicas_that_share_an_open_claim_go_to_one_node() -> None:
    made = world(*NODES, storage_class(), claim(cls="local"), *(using(f"p{i}", "c", group="rs") for i in range(5)))
    assert len(set(bound(turns(made)).values())) == 1
    assert len({promises(made, f"p{i}") for i in range(5)}) == 1


def test_a_selected_node_is_kept_to() -> None:
    wanted = claim(cls="local")
    wanted.metadata.annotations[storage.SELECTED_NODE] = "n3"
    made = world(*NODES, storage_class(), wanted, using("p", "c"))
    assert bound(turns(made)) == {"p": "n3"}


def test_a_promise_that_fails_is_open_again() -> None:
    made = world(*NODES, STATIC, claim(cls="static"), volume("v", cls="static", node="n1"), using("p", "c"))
    [turn] = turns(made)
    [entry] = turn.bound
    assert made.undo(entry)
    show(made, volume("w", cls="static", node="n2"))
    made.again(entry)
    assert list(bound(turns(made))) == ["p"]


def test_a_pod_that_goes_away_frees_what_it_was_promised() -> None:
    claims = [claim("a", cls="static"), claim("b", cls="static")]
    made = world(*NODES, STATIC, *claims, volume("v", cls="static", node="n1"), using("p", "a"))
    _ = turns(made)
    show(made, using("q", "b"))
    assert not bound(turns(made))
    made.pod_gone(PodKey("default", "p"), "uid-p")
    assert bound(turns(made)) == {"q": "n1"}


# ---------------------------------------------------------------- who else uses it


def test_a_claim_for_one_pod_is_for_one_pod_anywhere() -> None:
    made = world(*NODES, *pair(on="", modes=(ONCE_POD,)), using("a", "c", on="n1"), using("p", "c"))
    assert "3 node has pod using PersistentVolumeClaim with the same name" in refused(turns(made))["p"]
    made.pod_gone(PodKey("default", "a"), "uid-a")
    assert list(bound(turns(made))) == ["p"]


def test_of_equal_pods_one_gets_a_claim_for_one_pod() -> None:
    made = world(*NODES, *pair(on="", modes=(ONCE_POD,)), *(using(f"p{i}", "c", group="rs") for i in range(3)))
    assert len(bound(turns(made))) == 1


def test_a_pod_of_higher_priority_takes_a_claim_for_one_pod_over() -> None:
    made = world(*NODES, *pair(on="", modes=(ONCE_POD,)), using("a", "c", on="n1"), using("p", "c", priority=10))
    [making] = [m for turn in turns(made) for m in turn.evictions]
    assert [victim.key.name for victim in making.eviction.victims] == ["a"]


def test_a_once_volume_that_all_nodes_reach_is_used_from_one_node() -> None:
    made = world(*NODES, *pair(on=""), *(using(f"p{i}", "c", group="rs") for i in range(4)))
    assert len(set(bound(turns(made)).values())) == 1
    shared = world(*NODES, *pair(on="", modes=(MANY,)), *(using(f"p{i}", "c", group="rs") for i in range(4)))
    assert len(set(bound(turns(shared)).values())) == 3


# ---------------------------------------------------------------- waking


def test_what_a_pod_waits_for_wakes_it() -> None:
    its, wanted = pair(on="n1")
    made = world(*NODES, using("p", "c"))
    assert "not found" in refused(turns(made))["p"]
    show(made, claim(cls="local"))
    assert not bound(turns(made))
    show(made, storage_class())
    assert list(bound(turns(made))) == ["p"]
    late = world(*NODES, its, claim(), using("p", "c"))
    assert refused(turns(late))
    show(late, wanted)
    assert bound(turns(late)) == {"p": "n1"}


def test_what_says_nothing_new_wakes_nobody() -> None:
    made = world(*NODES, *pair())
    table = made.cluster.volumes
    its, wanted = pair()
    wanted.status.conditions.add(type="x", status="True")
    its.status.message = "news"
    assert not table.see_claim(wanted)
    assert not table.see_volume(its)


# ---------------------------------------------------------------- binding


def test_when_a_promise_is_kept() -> None:
    promise, wanted = Promise(ClaimKey("default", "c"), "uid-c", ""), claim(cls="local")
    selecting(promise, "n1")(wanted)
    assert not is_kept(promise, wanted, "n1")
    with pytest.raises(Conflict, match="cannot have a volume on node n2"):
        is_kept(promise, wanted, "n2")
    bind(volume("v"), wanted)
    assert is_kept(promise, wanted, "n1")
    with pytest.raises(Conflict, match="is gone"):
        is_kept(promise, None, "n1")


def test_a_volume_is_taken_once() -> None:
    its = volume("v")
    taking(Promise(ClaimKey("default", "c"), "uid-c", "v"))(its)
    taking(Promise(ClaimKey("default", "c"), "uid-c", "v"))(its)
    assert its.spec.claim_ref.name == "c"
    with pytest.raises(Conflict, match="was taken by claim default/c"):
        taking(Promise(ClaimKey("default", "d"), "uid-d", "v"))(its)


@given(
    volumes=st.lists(st.tuples(st.sampled_from(["1Gi", "2Gi", "4Gi"]), st.sampled_from(["n1", "n2", ""])), max_size=5),
    wishes=st.lists(st.lists(st.sampled_from(["1Gi", "2Gi", "3Gi"]), min_size=1, max_size=2), max_size=4),
)
def test_promises_fit_are_near_and_are_distinct(volumes: list[Any], wishes: list[Any]) -> None:
    made = world(*NODES, STATIC, *(volume(f"v{i}", s, cls="static", node=n) for i, (s, n) in enumerate(volumes)))
    sizes: dict[str, str] = {}
    for i, wanted in enumerate(wishes):
        names = [f"c{i}-{k}" for k in range(len(wanted))]
        sizes.update(zip(names, wanted, strict=True))
        show(made, *(claim(n, s, cls="static") for n, s in zip(names, wanted, strict=True)), using(f"p{i}", *names))
    placed = bound(turns(made))
    given_away = [(p, where) for name, where in placed.items() for p in promises(made, name)]
    assert len({p.volume for p, _ in given_away}) == len(given_away)
    for promise, where in given_away:
        size, near = volumes[int(promise.volume[1:])]
        assert near in ("", where)
        assert storage.capacity(volume("x", size)) >= storage.requested_storage(claim("x", sizes[promise.claim.name]))
