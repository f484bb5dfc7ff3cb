"""What is refused of a node pool, by field; and what is filled in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from master.admission import apply_defaults, validate
from podium.v1.nodepool_pb2 import NodePool
from tests.support.nodepools import node_pool


def _two_names(pool: NodePool) -> None:
    pool.spec.hosts[1].name = pool.spec.hosts[0].name


def _one_machine(pool: NodePool) -> None:
    pool.spec.hosts[1].address = pool.spec.hosts[0].address.upper()


def _no_capacity(pool: NodePool) -> None:
    del pool.spec.capacity["cpu"]


def _own_capacity(pool: NodePool) -> None:
    pool.spec.hosts[1].capacity["cpu"] = "4"


def _set(path: str, value: object) -> Callable[[NodePool], None]:
    def change(pool: NodePool) -> None:
        target: object = pool
        *steps, last = path.split(".")
        for step in steps:
            name, _, index = step.partition("[")
            target = getattr(target, name)
            if index:
                target = target[int(index.rstrip("]"))]  # type: ignore[index]
        setattr(target, last, value)

    return change


REFUSED: dict[str, tuple[Callable[[NodePool], None], str, str]] = {
    "names": (_two_names, "spec.hosts[1].name", "must be once"),
    "addresses": (_one_machine, "spec.hosts[1].address", 'must not be that of host "pool-0"'),
    "max": (_set("spec.max", -1), "spec.max", "must be at least"),
    "min": (_set("spec.min", 4), "spec.min", "must be at most the number of hosts, 3"),
    "capacity": (_no_capacity, "spec.capacity", "must say cpu"),
    "own capacity": (_own_capacity, "spec.hosts[1].capacity", "must say memory, pods"),
    "address": (_set("spec.hosts[0].address", "-oProxyCommand=x"), "spec.hosts[0].address", "must be an address"),
    "user": (_set("spec.hosts[0].user", "a b"), "spec.hosts[0].user", "must be the name of a user"),
    "hook": (_set("spec.power.start", "../../bin/sh"), "spec.power.start", "must be the name of a file"),
    "percent": (_set("spec.scale_down.utilization_percent", 101), "spec.scaleDown.utilizationPercent", "between 0"),
    "port": (_set("spec.hosts[0].port", 70000), "spec.hosts[0].port", ""),
    "secret": (_set("spec.credentials.secret_ref.name", ""), "spec.credentials.secretRef.name", "is required"),
}


@pytest.mark.parametrize(("change", "field", "words"), REFUSED.values(), ids=REFUSED)
def test_refusals(change: Callable[[NodePool], None], field: str, words: str) -> None:
    pool = node_pool()
    apply_defaults(pool)
    assert validate(pool) == []
    change(pool)
    found = {v.field: v.description for v in validate(pool)}
    assert words in found[field], found


def test_max_must_not_be_below_min() -> None:
    pool = node_pool(least=2, most=1)
    assert [v.field for v in validate(pool)] == ["spec.max"]


def test_defaults() -> None:
    pool = NodePool()
    pool.metadata.name = "p"
    pool.spec.hosts.add(name="h", address="192.0.2.1")
    pool.spec.credentials.secret_ref.name = "ssh"
    pool.spec.capacity.update({"cpu": "1", "memory": "1Gi", "pods": "10"})
    apply_defaults(pool)
    assert validate(pool) == []
    assert (pool.spec.hosts[0].port, pool.spec.hosts[0].user) == (22, "root")
    assert pool.spec.credentials.secret_ref.namespace == "podium-system"
    assert (pool.spec.scale_down.idle_seconds, pool.spec.scale_down.utilization_percent) == (600, 50)
    assert not pool.spec.HasField("max"), "hosts that are added later count as well"
