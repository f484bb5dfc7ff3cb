"""What the scheduler says of nodes that are not there: it packs, spreads, explains, and leaves nothing behind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master.scheduler import whatif
from master.scheduler.engine import Engine
from master.scheduler.snapshot import facts_of
from podium.v1.core_pb2 import Node, Pod, Taint, Toleration
from tests.support.scheduling import engine, node, pod, state, turns


def _waiting(*objects: Node | Pod) -> Engine:
    made = engine(*objects)
    _ = turns(made)
    return made


def _hosts(count: int, *, cpu: str = "4", **more: object) -> list[tuple[str, Node]]:
    return [("pool", node(f"h{i}", cpu=cpu, **more)) for i in range(count)]  # type: ignore[arg-type]


def test_fifty_pods_of_which_ten_fit_a_host_take_five_hosts() -> None:
    made = _waiting(node("n1", cpu="1"), *(pod(f"p{i}", cpu="400m", group="g") for i in range(52)))
    assert whatif.waiting(made) == 50, "two fit the node that is there"
    packing = whatif.pack(made, _hosts(8), {"pool": 8}, [])
    assert packing.taken == [10, 10, 10, 10, 10, 0, 0, 0]
    assert packing.left == 0


def test_no_more_hosts_than_may_be_taken_and_the_rest_waits() -> None:
    made = _waiting(node("n1", cpu="100m"), *(pod(f"p{i}", cpu="2") for i in range(9)))
    packing = whatif.pack(made, _hosts(8), {"pool": 2}, [])
    assert packing.taken == [2, 2, 0, 0, 0, 0, 0, 0]
    assert packing.left == 5


def test_a_host_that_is_coming_takes_pods_first() -> None:
    made = _waiting(node("n1", cpu="100m"), *(pod(f"p{i}", cpu="2") for i in range(3)))
    packing = whatif.pack(made, [("", node("coming", cpu="4")), *_hosts(3)], {"pool": 3}, [])
    assert packing.taken == [2, 1, 0, 0]


def test_daemons_take_their_part_of_each_host() -> None:
    made = _waiting(node("n1", cpu="100m"), *(pod(f"p{i}", cpu="2") for i in range(2)))
    packing = whatif.pack(made, _hosts(3), {"pool": 3}, [pod("agent", cpu="100m"), pod("gpu", selector={"gpu": "yes"})])
    assert packing.taken == [1, 1, 0], "a host of four cores has room for one beside the agent"


def test_what_no_host_takes_starts_none_and_is_explained() -> None:
    made = _waiting(node("n1", cpu="100m"), pod("large", cpu="64"), pod("picky", cpu="1", selector={"disk": "ssd"}))
    packing = whatif.pack(made, _hosts(3), {"pool": 3}, [])
    assert packing.taken == [0, 0, 0]
    assert packing.refused["pool"] == {
        "Insufficient cpu": 1,
        "node(s) didn't match Pod's node affinity/selector": 1,
    }


def test_taints_of_the_pool_keep_out_who_does_not_tolerate_them() -> None:
    taint = Taint(key="batch", effect="NoSchedule")
    tolerant = pod("t", cpu="1", tolerations=[Toleration(key="batch", operator="Exists")])
    made = _waiting(node("n1", cpu="100m"), pod("p", cpu="1"), tolerant)
    packing = whatif.pack(made, _hosts(2, taints=[taint]), {"pool": 2}, [])
    assert packing.taken == [1, 0]
    assert packing.left == 1


def test_pods_that_keep_apart_take_a_host_each() -> None:
    pods = [pod(f"p{i}", cpu="100m", app="a", apart=("a", "kubernetes.io/hostname"), group="g") for i in range(4)]
    made = _waiting(node("n1"), *pods)
    assert whatif.waiting(made) == 3
    assert whatif.pack(made, _hosts(6), {"pool": 6}, []).taken == [1, 1, 1, 0, 0, 0]


def test_a_second_pool_gets_what_the_first_does_not_take() -> None:
    made = _waiting(node("n1", cpu="100m"), pod("small", cpu="1"), pod("large", cpu="16"))
    nodes = [("a", node("a1", cpu="4")), ("a", node("a2", cpu="4")), ("b", node("b1", cpu="32")), ("b", node("b2"))]
    assert whatif.pack(made, nodes, {"a": 2, "b": 2}, []).taken == [1, 0, 1, 0]


def test_pods_that_room_is_made_for_do_not_count() -> None:
    made = _waiting(node("n1", cpu="2"), pod("low", cpu="2", on="n1"), pod("high", cpu="2", priority=5))
    assert whatif.waiting(made) == 0


def test_a_node_whose_name_is_there_already_can_be_tried() -> None:
    made = _waiting(node("h0", ready="False"), pod("p", cpu="1"))
    assert whatif.pack(made, [("", node("h0"))], {}, []).taken == [1]


def test_a_node_that_is_coming_does_not_count_once_it_is_there() -> None:
    made = _waiting(node("h0", cpu="4"), *(pod(f"p{i}", cpu="3") for i in range(2)))
    assert whatif.pack(made, [("", node("h0")), *[("pool", node("h1"))]], {"pool": 1}, []).taken == [0, 1]


# ---------------------------------------------------------------- one node fewer


def test_pods_that_a_node_takes_by_now_need_no_host() -> None:
    made = _waiting(node("n1", cpu="100m"), *(pod(f"p{i}", cpu="1", group="g") for i in range(5)))
    _ = made.cluster.set_node(facts_of(node("late", cpu="4")))  # and nobody has tried them again yet
    packing = whatif.pack(made, _hosts(2), {"pool": 2}, [])
    assert (packing.taken, packing.left) == ([1, 0], 0)


def test_pods_may_go_where_there_is_room() -> None:
    bound = [pod(f"p{i}", cpu="1", on="n1") for i in range(3)]
    assert whatif.confined(_waiting(node("n1"), node("n2"), *bound), "n1", bound) == []
    tight = _waiting(node("n1"), node("n2", cpu="2"), *bound)
    assert whatif.confined(tight, "n1", bound) == ["default/p2"]


def test_pods_that_only_their_node_suits_are_confined_to_it() -> None:
    bound = [pod("p", cpu="1", on="n1", selector={"disk": "ssd"})]
    made = _waiting(node("n1", labels={"disk": "ssd"}), node("n2"), *bound)
    assert whatif.confined(made, "n1", bound) == ["default/p"]


def test_of_a_node_that_is_not_known_all_pods_are_confined() -> None:
    assert whatif.confined(engine(), "n1", [pod("p", on="n1")]) == ["default/p"]


# ---------------------------------------------------------------- nothing is left


@pytest.mark.parametrize("spread", ["", "kubernetes.io/hostname"])
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    hosts=st.lists(st.integers(0, 8), min_size=1, max_size=20),
    most=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_nothing_of_a_trial_is_left(spread: str, sizes: list[int], hosts: list[int], most: int) -> None:
    pods = [pod(f"p{i}", cpu=str(size), group="g", app="a", spread=spread) for i, size in enumerate(sizes)]
    there = [pod("there", cpu="1", on="n1", app="a", spread=spread)]
    made = _waiting(node("n1", cpu="3"), *there, *pods)
    before, rows = state(made.cluster), [made.cluster.name(int(row)) for row in made.cluster.rows()]
    nodes = [("pool" if size % 2 else "", node(f"h{i}", cpu=str(size))) for i, size in enumerate(hosts)]
    packing = whatif.pack(made, nodes, {"pool": most}, [pod("daemon", cpu="500m")])
    _ = whatif.confined(made, "n1", there)

    waiting = whatif.waiting(made)
    assert sum(packing.taken) + packing.left <= waiting
    assert sum(1 for (group, _), taken in zip(nodes, packing.taken, strict=True) if group and taken) <= most
    assert [made.cluster.name(int(row)) for row in made.cluster.rows()] == rows
    assert _without_zeros(state(made.cluster)) == _without_zeros(before)
    assert turns(made) == [], "nobody was woken"


def _without_zeros(found: dict[str, object]) -> dict[str, object]:
    """Arrays may have grown; what they hold has not changed."""
    return {key: tuple(value)[:16] if isinstance(value, tuple) else value for key, value in found.items()}
