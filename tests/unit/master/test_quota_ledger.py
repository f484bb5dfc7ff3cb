"""The quota ledger admits exactly what there is room for, whatever comes in between, and settles to the truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from master.access.holds import Hold
from master.access.protocol import Create, Delete
from master.access.quotas import Account
from master.access.reader import CacheReader
from master.access.writer import StoreWriter
from master.auth.authorizer import Authorizer
from master.cache.cache import WatchCache
from podium.aio.clock import SystemClock
from podium.errors import Forbidden, PodiumError
from podium.objects.kinds import Key
from podium.objects.quotas import Terms
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import DeleteOptions
from podium.v1.policy_pb2 import ResourceQuota
from podium.v1.storage_pb2 import PersistentVolumeClaim
from tests.support.clock import VirtualClock
from tests.support.objects_api import ADMIN, namespace
from tests.support.policies import bounded_pod, claim, named, quota
from tests.support.slow_store import SlowStore

# ---------------------------------------------------------------- one account

KEYS = [Key("Pod", "default", name) for name in "abc"]
usages = st.tuples(st.integers(0, 3), st.integers(0, 3))


class Nobody:
    """Counts nothing."""

    def released(self, hold: Hold) -> None:
        return


@given(
    st.lists(
        st.tuples(st.sampled_from(("hold", "show", "fail", "gone")), st.sampled_from(KEYS), usages, st.integers(0, 9))
    )
)
def test_an_account_is_the_sum_over_objects_of_the_most_that_each_may_come_to_use(steps: list[Any]) -> None:
    account = Account(Terms.of(quota({"cpu": 9, "pods": 9})))
    visible: dict[Key, tuple[int, ...]] = {}
    holds: list[tuple[Hold, tuple[int, ...]]] = []
    for what, key, usage, which in steps:
        if what == "hold":
            holds.append((Hold(key, None, Nobody()), usage))
            account.hold(*holds[-1])
        elif what == "gone" and key in visible:
            del visible[key]
            account.see(key, None)
        elif what in ("show", "fail") and holds:
            hold, usage = holds.pop(which % len(holds))
            if what == "show":
                visible[hold.key] = usage
                account.see(hold.key, usage)
            account.release(hold)
        for kept in (visible, visible):  # seeing the same again changes nothing
            for seen, its in kept.items():
                assert not account.see(seen, its)
        most = {k: [visible.get(k, (0, 0)), *(u for h, u in holds if h.key == k)] for k in KEYS}
        assert account.used == tuple(sum(u[i] for u in visible.values()) for i in (0, 1))
        assert account.total == tuple(sum(max(u[i] for u in most[k]) for k in KEYS) for i in (0, 1))


# ---------------------------------------------------------------- the whole write path


@asynccontextmanager
async def governed(hard: dict[str, Any]) -> AsyncIterator[tuple[SlowStore, StoreWriter, CacheReader]]:
    """A writer on a slow disk, and a namespace with one quota."""
    store = SlowStore()
    async with WatchCache(store) as cache:
        writer = StoreWriter(store=store, cache=cache, authorizer=Authorizer(), clock=SystemClock())
        _ = await writer.create(namespace("default"), by=ADMIN)
        _ = await writer.create(quota(hard), by=ADMIN)
        store.slow = True
        yield store, writer, CacheReader(cache)


async def turns(count: int = 12) -> None:
    """Let everything get as far as it can without the disk."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_write_whose_caller_has_left_keeps_its_place_until_its_end_is_known() -> None:
    async with governed({"pods": 1}) as (store, writer, reader), asyncio.TaskGroup() as tasks:
        left = tasks.create_task(writer.create(bounded_pod("a"), by=ADMIN))
        await turns()
        left.cancel()
        await turns()
        late = tasks.create_task(writer.write_many([Create(bounded_pod("b"))], by=ADMIN))
        await turns()
        while store.waiting:
            await store.let_through()
            await turns()
        [refused] = await late
        assert isinstance(refused, Forbidden)
        assert [pod.metadata.name for pod in reader.list(Pod)] == ["a"]


async def test_a_write_that_failed_unheard_gives_its_place_back() -> None:
    async with governed({"pods": 1}) as (store, writer, reader), asyncio.TaskGroup() as tasks:
        left = tasks.create_task(writer.write_many([Create(bounded_pod("a"))], by=ADMIN))
        await turns()
        left.cancel()
        await turns()
        store.fail()
        late = tasks.create_task(writer.create(bounded_pod("b"), by=ADMIN))
        await turns()
        while store.waiting:
            await store.let_through()
            await turns()
        assert [pod.metadata.name for pod in reader.list(Pod)] == [(await late).metadata.name] == ["b"]


async def test_an_account_that_is_begun_anew_knows_what_is_on_its_way() -> None:
    async with governed({"pods": 1}) as (store, writer, _), asyncio.TaskGroup() as tasks:
        rewritten = tasks.create_task(writer.update(quota({"pods": 1, "secrets": 1}), by=ADMIN))
        await turns()
        first = tasks.create_task(writer.create(bounded_pod("a"), by=ADMIN))
        await turns()
        await store.let_through()
        await turns()
        assert rewritten.done()
        [refused] = await writer.write_many([Create(bounded_pod("b"))], by=ADMIN)
        assert isinstance(refused, Forbidden)
        await store.let_through()
        await first


async def test_what_is_refused_says_which_quota_how_much_is_used_and_asked_for() -> None:
    async with governed({"pods": 2, "requests.cpu": "1500m", "limits.memory": "1Gi"}) as (store, writer, _):
        store.slow = False
        wants = {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
        _ = await writer.create(bounded_pod("a", **wants), by=ADMIN)
        results = await writer.write_many(
            [Create(bounded_pod("b", **wants)), Create(bounded_pod("c", requests={"cpu": "1m"}))], by=ADMIN
        )
        told = [str(result) for result in results]
        assert told[0] == (
            'Pod "b" is forbidden: exceeded quota: quota, requested: limits.memory=1Gi,requests.cpu=1, '
            "used: limits.memory=1Gi,requests.cpu=1, limited: limits.memory=1Gi,requests.cpu=1500m"
        )
        assert 'Pod "c" is forbidden: failed quota: quota: must specify limits.memory for: c' in told[1]


async def test_a_claim_that_grows_is_counted_and_one_that_would_grow_too_far_is_refused() -> None:
    async with governed({"requests.storage": "5Gi"}) as (store, writer, _):
        store.slow = False
        grows: dict[str, Any] = {"provisioner": "example.com/x", "allowVolumeExpansion": True}
        local = named("StorageClass", "grows", "storage.k8s.io/v1", metadata={"namespace": ""}, **grows)
        _ = await writer.create(local, by=ADMIN)
        _ = await writer.create(claim("2Gi", "a", "grows"), by=ADMIN)
        _ = await writer.create(claim("2Gi", "b", "grows"), by=ADMIN)

        def binds(obj: PersistentVolumeClaim) -> None:
            obj.spec.volume_name = "v"

        def is_bound(obj: PersistentVolumeClaim) -> None:
            obj.status.phase = "Bound"

        _ = await writer.mutate(PersistentVolumeClaim, "default", "a", binds, by=ADMIN)
        _ = await writer.mutate(PersistentVolumeClaim, "default", "a", is_bound, by=ADMIN, subresource="status")

        def grows_to(size: str) -> Callable[[PersistentVolumeClaim], None]:
            return lambda obj: obj.spec.resources.requests.update({"storage": size})

        _ = await writer.mutate(PersistentVolumeClaim, "default", "a", grows_to("3Gi"), by=ADMIN)
        with pytest.raises(Forbidden, match=r"requested: requests\.storage=1Gi, used: requests\.storage=5Gi"):
            _ = await writer.mutate(PersistentVolumeClaim, "default", "a", grows_to("4Gi"), by=ADMIN)
        assert writer.quotas.used("default", "quota") == {"requests.storage": "5Gi"}


async def test_a_pod_stuck_on_its_way_out_makes_room_when_twice_its_grace_has_passed() -> None:
    clock = VirtualClock()
    store = SlowStore()
    async with WatchCache(store) as cache:
        writer = StoreWriter(store=store, cache=cache, authorizer=Authorizer(), clock=clock)
        _ = await writer.create(namespace("default"), by=ADMIN)
        _ = await writer.create(quota({"pods": 1}), by=ADMIN)
        stuck = bounded_pod("a", spec={"nodeName": "lost"})
        _ = await writer.create(stuck, by=ADMIN)
        _ = await writer.delete(Key("Pod", "default", "a"), by=ADMIN)
        assert writer.quotas.ends_in("default") == 60
        await clock.advance(60)
        with pytest.raises(Forbidden):
            _ = await writer.create(bounded_pod("b"), by=ADMIN)
        await clock.advance(2)
        _ = await writer.create(bounded_pod("b"), by=ADMIN)
        assert writer.quotas.used("default", "quota") == {"pods": "1"}


async def test_a_pod_that_is_over_makes_room_and_a_dry_run_takes_none() -> None:
    async with governed({"pods": 1}) as (store, writer, _):
        store.slow = False
        for _ in range(2):
            _ = await writer.create(bounded_pod("a"), by=ADMIN, dry_run=True)
        made = await writer.create(bounded_pod("a"), by=ADMIN)
        with pytest.raises(Forbidden, match=r"requested: pods=1, used: pods=1, limited: pods=1"):
            _ = await writer.create(bounded_pod("b"), by=ADMIN, dry_run=True)

        def ends(pod: Pod) -> None:
            pod.status.phase = "Failed"

        _ = await writer.mutate(Pod, "default", made.metadata.name, ends, by=ADMIN, subresource="status")
        _ = await writer.create(bounded_pod("b"), by=ADMIN)


HARD: dict[str, Any] = {"pods": 3, "cpu": "4", "count/pods": 4}


class QuotaMachine(RuleBasedStateMachine):
    """Creates and deletes alone and in batches, callers that leave, disks that fail, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.tasks: list[asyncio.Task[Any]] = []

    @initialize()
    def begin(self) -> None:
        self.do(self._begin())

    async def _begin(self) -> None:
        self.store = SlowStore()
        self.cache = WatchCache(self.store)
        await self.cache.__aenter__()
        self.reader = CacheReader(self.cache)
        self.writer = self.new_writer()
        _ = await self.writer.create(namespace("default"), by=ADMIN)
        _ = await self.writer.create(quota(HARD), by=ADMIN)
        self.store.slow = True

    def new_writer(self) -> StoreWriter:
        return StoreWriter(store=self.store, cache=self.cache, authorizer=Authorizer(), clock=SystemClock())

    def do(self, body: Coroutine[Any, Any, Any]) -> None:
        """Run, and let everything get as far as it can without the disk."""

        async def settled() -> None:
            await body
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(settled())

    async def start(self, body: Coroutine[Any, Any, Any]) -> None:
        async def quiet() -> None:
            with suppress(PodiumError):
                await body

        self.tasks.append(self.loop.create_task(quiet()))

    def pod(self, name: str, cpu: int) -> Pod:
        made: Pod = bounded_pod(name, requests={"cpu": cpu})
        return made

    @rule(name=st.sampled_from("abcdefgh"), cpu=st.integers(0, 3))
    def create(self, name: str, cpu: int) -> None:
        self.do(self.start(self.writer.create(self.pod(name, cpu), by=ADMIN)))

    @rule(names=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5), cpu=st.integers(0, 2))
    def create_many(self, names: list[str], cpu: int) -> None:
        writes = [Create(self.pod(name, cpu)) for name in names]
        self.do(self.start(self.writer.write_many(writes, by=ADMIN)))

    @rule(name=st.sampled_from("abcdefgh"))
    def delete(self, name: str) -> None:
        key = Key("Pod", "default", name)
        self.do(self.start(self.writer.write_many([Delete(key, DeleteOptions())], by=ADMIN)))

    @rule()
    def disk_writes(self) -> None:
        if self.store.waiting:
            self.do(self.store.let_through())

    @rule()
    def disk_is_full(self) -> None:
        async def fail() -> None:
            self.store.fail()

        if self.store.waiting:
            self.do(fail())

    @rule(which=st.integers(0, 9))
    def caller_leaves(self, which: int) -> None:
        async def cancel(task: asyncio.Task[Any]) -> None:
            task.cancel()

        if running := [task for task in self.tasks if not task.done()]:
            self.do(cancel(running[which % len(running)]))

    @rule(hard=st.sampled_from((HARD, {**HARD, "secrets": 1})))
    def quota_is_rewritten(self, hard: dict[str, Any]) -> None:
        """An account begun anew counts the same."""

        async def rewrite() -> None:
            changed = ResourceQuota()
            changed.CopyFrom(quota(hard))
            await self.start(self.writer.update(changed, by=ADMIN))

        self.do(rewrite())

    def truth(self) -> dict[str, int]:
        pods = self.reader.list(Pod)
        cpu = sum(int(p.spec.containers[0].resources.requests.get("cpu", "0")) for p in pods)
        return {"pods": len(pods), "cpu": cpu, "count/pods": len(pods)}

    @invariant()
    def never_above(self) -> None:
        if not hasattr(self, "writer"):
            return
        truth = self.truth()
        assert all(amount <= int(HARD[name]) for name, amount in truth.items()), truth
        used = self.writer.quotas.used("default", "quota") or {}
        assert {name: int(used[name]) for name in HARD} == truth

    def teardown(self) -> None:
        try:
            if hasattr(self, "writer"):
                self.loop.run_until_complete(self._end())
        finally:
            self.loop.close()

    async def _end(self) -> None:
        try:
            while any(not task.done() for task in self.tasks) or self.store.waiting:
                if self.store.waiting:
                    await self.store.let_through()
                await asyncio.sleep(0)
            self.store.slow = False
            await self._check_end()
        finally:
            await self.cache.__aexit__(None, None, None)

    async def _check_end(self) -> None:
        """All that is left can be taken, and nothing more; and who begins anew finds the same."""
        if self.truth()["cpu"] < int(HARD["cpu"]):
            free = int(HARD["pods"]) - self.truth()["pods"]
            results = await self.writer.write_many([Create(self.pod(f"z{n}", 0)) for n in range(free + 2)], by=ADMIN)
            assert sum(isinstance(result, Forbidden) for result in results) == 2, results
        self.never_above()
        again = self.new_writer().quotas.used("default", "quota")
        assert again == self.writer.quotas.used("default", "quota")


def test_no_interleaving_admits_more_than_there_is_room_for_nor_less() -> None:
    run_state_machine_as_test(
        QuotaMachine,
        settings=settings(
            max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
