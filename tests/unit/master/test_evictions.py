"""What is kept in step for evictions is what counting anew would find, whatever was written in whatever order."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from master.access.eviction import Evictions
from master.access.protocol import Create, Delete, Mutate, Write
from master.access.reader import CacheReader
from master.access.writer import StoreWriter
from master.auth.authorizer import Authorizer
from master.cache.cache import WatchCache
from master.store.memory import MemoryStore
from podium.aio.clock import SystemClock
from podium.objects.budgets import is_healthy, selector_of
from podium.objects.kinds import Key
from podium.v1.core_pb2 import Pod
from podium.v1.policy_pb2 import PodDisruptionBudget
from tests.support.objects_api import ADMIN, namespace
from tests.support.policies import bounded_pod, budget

NAMES, APPS = st.sampled_from("abc"), st.sampled_from(("web", "db"))

steps = st.one_of(
    st.tuples(st.just("create"), NAMES, APPS),
    st.tuples(st.just("ready"), NAMES, st.sampled_from(("True", "False"))),
    st.tuples(st.just("label"), NAMES, APPS),
    st.tuples(st.just("delete"), NAMES, st.none()),
    st.tuples(st.just("budget"), NAMES, APPS),
    st.tuples(st.just("select"), NAMES, APPS),
    st.tuples(st.just("no budget"), NAMES, st.none()),
)


def _write(step: tuple[str, str, Any]) -> Write:
    what, name, value = step
    key, of = Key("Pod", "default", name), Key("PodDisruptionBudget", "default", name)
    match what:
        case "create":
            pod = bounded_pod(name, spec={"nodeName": "n1"})
            pod.metadata.labels["app"] = value
            return Create(pod)
        case "ready":
            return Mutate(key, lambda pod: _set_ready(pod, value), "status")
        case "label":
            return Mutate(key, lambda pod: pod.metadata.labels.update({"app": value}))
        case "delete":
            return Delete(key)
        case "budget":
            return Create(budget(name, {"app": value}, minAvailable=1))
        case "select":
            return Mutate(of, lambda made: made.spec.selector.match_labels.update({"app": value}))
        case _:
            return Delete(of)


def _set_ready(pod: Pod, status: str) -> None:
    del pod.status.conditions[:]
    pod.status.phase = "Running"
    pod.status.conditions.add(type="Ready", status=status)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(steps, min_size=1, max_size=6), max_size=6))
def test_the_healthy_pods_of_a_budget_are_known_at_every_moment(batches: list[list[Any]]) -> None:
    asyncio.run(_check(batches))


async def _check(batches: list[list[Any]]) -> None:
    store = MemoryStore()
    async with WatchCache(store) as cache:
        writer = StoreWriter(store=store, cache=cache, authorizer=Authorizer(), clock=SystemClock())
        reader, evictions = CacheReader(cache), Evictions(cache)
        _ = await writer.create(namespace("default"), by=ADMIN)
        for batch in batches:
            _ = await writer.write_many([_write(step) for step in batch], by=ADMIN)
            for made in reader.list(PodDisruptionBudget):
                found = [p for p in reader.list(Pod, "default", selector_of(made)) if is_healthy(p)]
                assert evictions.healthy(made, Key("Pod", "default", "a")) == (
                    len(found),
                    sum(p.metadata.name != "a" for p in found),
                )
