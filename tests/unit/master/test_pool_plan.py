"""Which service has which address of a pool, and which node answers for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.controllers.pool_plan import Pooled, announcer, counts, plan_pools, pooled
from podium.objects.address_pool import NODES_CLASS, POOL, POOL_CLASS
from podium.v1.networking_pb2 import AddressPool, Service

LABELS = {"default": {"team": "web"}, "other": {"team": "ops"}}
HOSTS = {"192.0.2.1"}


def _service(name: str, *, age: int = 0, held: Iterable[str] = (), pool: str = "", namespace: str = "default",
             **spec: str) -> Service:  # fmt: skip
    """`age`: the smaller, the older. `held`: the addresses that it has."""
    made = Service()
    made.metadata.name, made.metadata.namespace = name, namespace
    made.metadata.creation_timestamp.seconds = age + 1
    made.spec.type = "LoadBalancer"
    if pool:
        made.metadata.annotations[POOL] = pool
    for field, value in spec.items():
        setattr(made.spec, field, value)
    for address in held:
        made.status.load_balancer.ingress.add(ip=address)
    return made


def _pool(*addresses: str, name: str = "lab", auto: bool = True, team: str = "") -> AddressPool:
    made = AddressPool()
    made.metadata.name = name
    made.spec.addresses.extend(addresses)
    made.spec.auto_assign = auto
    if team:
        made.spec.namespace_selector.match_labels["team"] = team
    return made


SMALL = _pool("192.0.2.10-192.0.2.11")


def _plan(pools: list[AddressPool], *services: Service) -> dict[str, Pooled]:
    chosen = pooled(services, pools, LABELS)
    return {key.name: made for key, made in plan_pools(chosen, pools, LABELS, HOSTS).items()}


def _addresses(plan: dict[str, Pooled]) -> dict[str, str]:
    return {name: made.address for name, made in plan.items()}


def test_the_oldest_are_given_addresses_first() -> None:
    plan = _plan([SMALL], _service("c", age=3), _service("a", age=1), _service("b", age=2))
    assert _addresses(plan) == {"a": "192.0.2.10", "b": "192.0.2.11", "c": ""}
    assert plan["c"] == Pooled(reason="AddressPoolExhausted", refusal="no address is free in lab")
    assert counts(SMALL, ["192.0.2.10", "192.0.2.11", "192.0.2.12"]) == (2, 2)


def test_who_has_an_address_keeps_it_before_older_ones_get_theirs() -> None:
    plan = _plan([SMALL], _service("old", age=1), _service("new", age=2, held=["192.0.2.10"]))
    assert _addresses(plan) == {"old": "192.0.2.11", "new": "192.0.2.10"}


def test_of_two_that_have_one_address_the_older_keeps_it() -> None:
    plan = _plan([SMALL], _service("old", age=1, held=["192.0.2.10"]), _service("new", age=2, held=["192.0.2.10"]))
    assert _addresses(plan) == {"old": "192.0.2.10", "new": "192.0.2.11"}


def test_an_address_that_is_in_no_pool_any_more_is_exchanged() -> None:
    assert _addresses(_plan([SMALL], _service("a", held=["192.0.2.99"]))) == {"a": "192.0.2.10"}


def test_hosts_keep_their_addresses() -> None:
    assert _addresses(_plan([_pool("192.0.2.1-192.0.2.2")], _service("a"))) == {"a": "192.0.2.2"}
    refused = _plan([_pool("192.0.2.1")], _service("a", load_balancer_ip="192.0.2.1"))["a"]
    assert refused.refusal == "loadBalancerIP 192.0.2.1 is that of a host"


def test_an_address_is_had_for_the_asking_unless_another_has_it() -> None:
    quiet = _pool("198.51.100.0/28", name="quiet", auto=False)
    services = [_service("a", load_balancer_ip="198.51.100.3"), _service("b", age=1, load_balancer_ip="198.51.100.3")]
    plan = _plan([SMALL, quiet], *services, _service("c", load_balancer_ip="203.0.113.1"))
    assert plan["a"] == Pooled("198.51.100.3", "quiet")
    assert plan["b"].refusal == "loadBalancerIP 198.51.100.3 is that of service default/a"
    assert plan["c"].refusal == "loadBalancerIP 203.0.113.1 is in no address pool for this namespace"
    moved = _plan([SMALL], _service("a", held=["192.0.2.10"], load_balancer_ip="192.0.2.11"))
    assert _addresses(moved) == {"a": "192.0.2.11"}


def test_a_pool_that_does_not_give_unasked_gives_to_who_names_it() -> None:
    quiet = _pool("198.51.100.0/28", auto=False)
    assert not _plan([quiet], _service("a"))
    assert _addresses(_plan([quiet], _service("a", pool="lab"))) == {"a": "198.51.100.0"}
    assert "there is no address pool x" in _plan([quiet], _service("a", pool="x"))["a"].refusal
    assert _plan([quiet], _service("a", load_balancer_class=POOL_CLASS))["a"].reason == "NoAddressPool"


def test_a_pool_is_for_the_namespaces_that_it_selects() -> None:
    pools = [_pool("192.0.2.10", team="web"), _pool("192.0.2.20", name="ops", team="ops")]
    plan = _plan(pools, _service("a"), _service("b", namespace="other"))
    assert _addresses(plan) == {"a": "192.0.2.10", "b": "192.0.2.20"}
    assert _plan(pools, _service("a", pool="ops"))["a"].reason == "NoAddressPool"
    assert not _plan(pools, _service("a", namespace="third"))


@pytest.mark.parametrize("class_", [NODES_CLASS, "example.com/balancer"])
def test_who_wants_something_else_is_left_alone(class_: str) -> None:
    assert not _plan([SMALL], _service("a", load_balancer_class=class_, load_balancer_ip="192.0.2.10"))


def test_without_a_pool_who_does_not_ask_is_left_to_the_nodes_and_who_asks_waits() -> None:
    assert not _plan([], _service("a"))
    assert _plan([], _service("a", load_balancer_class=POOL_CLASS))["a"].reason == "NoAddressPool"


_HELD = st.sampled_from([(), ("192.0.2.10",), ("192.0.2.11",), ("192.0.2.12",), ("192.0.2.1", "192.0.2.2")])
_SERVICES = st.lists(st.tuples(st.integers(0, 5), _HELD, st.sampled_from(["", "192.0.2.10", "192.0.2.12"])), max_size=5)


@given(_SERVICES)
def test_no_address_is_given_twice_and_the_plan_is_stable(made: list[tuple[int, tuple[str, ...], str]]) -> None:
    services = [
        _service(f"s{n}", age=age, held=held, load_balancer_ip=wanted) for n, (age, held, wanted) in enumerate(made)
    ]
    plan = _plan([_pool("192.0.2.10-192.0.2.12")], *services)
    assert max(Counter(p.address for p in plan.values() if p.address).values(), default=1) == 1
    for service in services:
        service.status.load_balancer.ClearField("ingress")
        if address := plan[service.metadata.name].address:
            service.status.load_balancer.ingress.add(ip=address)
    assert _addresses(_plan([_pool("192.0.2.10-192.0.2.12")], *services)) == _addresses(plan)


def test_only_the_addresses_of_a_node_that_goes_move() -> None:
    addresses, nodes = [f"192.0.2.{n}" for n in range(100)], ["n1", "n2", "n3"]
    before = {address: announcer(address, nodes) for address in addresses}
    assert set(before.values()) == set(nodes), "they are spread"
    for address in addresses:
        after = announcer(address, ["n3", "n1"])
        assert after == before[address] if before[address] != "n2" else after in ("n1", "n3")
    assert announcer("192.0.2.1", []) == ""
