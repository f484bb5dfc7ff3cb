"""The autoscaler's acts: on any kind that has replicas, never over somebody's head, and with few writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import pytest

from master.access.protocol import Change, ChangeType, component
from master.access.reader import CacheReader
from master.access.writer import StoreWriter
from master.auth.authorizer import Authorizer
from master.autoscaler.controller import FIGURES_SECONDS, HorizontalController
from master.cache.cache import WatchCache
from master.reconcile.protocol import After, Done
from master.signals.samples import Sample
from master.store.memory import MemoryStore
from podium.codec.json import object_from_dict
from podium.errors import Conflict
from podium.objects.conditions import get_condition
from podium.objects.kinds import BY_NAME, Key, key_of
from podium.v1.apps_pb2 import Deployment
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler
from podium.v1.cluster_service_pb2 import PodUsage
from podium.v1.core_pb2 import Namespace
from podium.v1.meta_pb2 import DeleteOptions
from tests.support.clock import VirtualClock

ME = component("test")
KEY = Key("HorizontalPodAutoscaler", "default", "web")


@dataclass
class World:
    """The real doors over a store in memory; events, usage and Prometheus under the test's rule."""

    reader: CacheReader
    writer: StoreWriter
    clock: VirtualClock
    controller: HorizontalController = field(init=False)
    said: list[tuple[str, str]] = field(default_factory=list)
    queue: float = 0
    meanwhile: Callable[[], Awaitable[None]] | None = None
    watched: dict[Key, Collection[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.controller = HorizontalController(
            reader=self.reader, writer=self.writer, events=self, clock=self.clock, usages=self, queries=self
        )

    def normal(self, about: Any, reason: str, message: str) -> None:
        self.said.append((reason, message))

    warning = normal

    def of_node(self, node: str) -> dict[str, PodUsage]:
        return {}

    def watch(self, who: Key, nodes: Collection[str]) -> None:
        self.watched[who] = nodes

    async def query(self, text: str) -> tuple[Sample, ...]:
        if self.meanwhile is not None:
            await self.meanwhile()
        return (Sample(value=self.queue, time=0),)

    async def create(self, kind: str, name: str = "web", **spec: Any) -> Any:
        metadata = {"name": name, "namespace": "default"}
        version = BY_NAME[kind].api_version
        obj = object_from_dict({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
        made = await self.writer.create(obj, by=ME)
        self.told(Change(ChangeType.ADDED, None, made, 1))
        return made

    def told(self, change: Change[Any]) -> set[Key]:
        """What the controller wants to look at when it hears of a change."""
        triggers = (t for t in self.controller.triggers if t.kind is type(change.new))
        return {key for trigger in triggers for key in trigger.keys(change)}

    async def autoscale(self, kind: str = "Deployment", name: str = "web", **spec: Any) -> Any:
        queue = {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}}
        metrics = [{"type": "External", "external": queue}]
        whole = {"scaleTargetRef": {"kind": kind, "name": "web"}, "maxReplicas": 9, "metrics": metrics}
        return await self.create("HorizontalPodAutoscaler", name, **whole | spec)

    async def deploy(self, kind: str = "Deployment", replicas: int = 2) -> Any:
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        selector: Any = {"app": "web"} if kind == "ReplicationController" else {"matchLabels": {"app": "web"}}
        return await self.create(kind, replicas=replicas, selector=selector, template=template)

    def replicas(self, kind: type[Any] = Deployment) -> int:
        found: Any = self.reader.get(kind, "default", "web")
        return int(found.spec.replicas)

    def hpa(self) -> HorizontalPodAutoscaler:
        found = self.reader.get(HorizontalPodAutoscaler, "default", "web")
        assert found is not None
        return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock, store = VirtualClock(), MemoryStore()
    async with WatchCache(store, detect_mutation=True) as cache:
        writer = StoreWriter(store=store, cache=cache, authorizer=Authorizer(), clock=clock)
        namespace = Namespace()
        namespace.metadata.name = "default"
        await writer.create(namespace, by=ME)
        yield World(CacheReader(cache), writer, clock)


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"])
async def test_any_kind_that_has_replicas(world: World, kind: str) -> None:
    await world.deploy(kind)
    await world.autoscale(kind)
    world.queue = 45
    assert isinstance(await world.controller.reconcile(KEY), After)
    assert world.replicas(BY_NAME[kind].message) == 5
    assert world.said == [("SuccessfulRescale", "New size: 5; reason: external metric queue above target")]
    assert world.hpa().status.desired_replicas == 5
    await world.controller.reconcile(KEY)
    assert len(world.said) == 1, "decided twice, done once"


async def test_who_scales_by_hand_meanwhile_is_not_overruled_unseen(world: World) -> None:
    await world.deploy()
    await world.autoscale()
    world.queue = 45

    async def by_hand() -> None:
        def change(obj: Deployment) -> None:
            obj.spec.replicas = 7

        await world.writer.mutate(Deployment, "default", "web", change, by=ME)

    world.meanwhile = by_hand
    with pytest.raises(Conflict, match="scaled by somebody else meanwhile"):
        await world.controller.reconcile(KEY)
    assert (world.replicas(), world.said) == (7, [])


async def test_a_target_that_cannot_be_scaled_is_told(world: World) -> None:
    target = await world.deploy()
    await world.autoscale()
    world.queue = 45

    async def gone() -> None:
        if world.reader.get(Deployment, "default", "web") is not None:
            await world.writer.delete(key_of(target), by=ME, options=DeleteOptions())

    world.meanwhile = gone
    assert isinstance(await world.controller.reconcile(KEY), After)
    ((reason, message),) = world.said
    assert reason == "FailedUpdateScale"
    assert message.startswith("the HPA controller was unable to update the target scale: ")


async def test_figures_alone_are_written_now_and_then(world: World) -> None:
    await world.deploy(replicas=1)
    await world.autoscale()
    versions = set()
    for second in range(int(FIGURES_SECONDS * 4)):
        world.queue = 9 + second / 100
        await world.controller.reconcile(KEY)
        versions.add(world.hpa().metadata.resource_version)
        await world.clock.advance(1)
    assert len(versions) <= 5
    assert world.hpa().status.current_metrics[0].external.current.average_value.startswith("9")


async def test_what_goes_wrong_is_an_event_once(world: World) -> None:
    await world.autoscale()
    for _ in range(3):
        await world.controller.reconcile(KEY)
    assert [reason for reason, _ in world.said] == ["FailedGetScale"]
    await world.deploy()
    await world.controller.reconcile(KEY)
    condition = get_condition(world.hpa().status.conditions, "AbleToScale")
    assert condition is not None
    assert condition.status == "True"


async def test_rivals_wake_each_other_and_the_last_one_acts(world: World) -> None:
    await world.deploy()
    first, second = await world.autoscale(), await world.autoscale(name="other")
    world.queue = 45
    await world.controller.reconcile(KEY)
    assert (world.replicas(), world.said[0][0]) == (2, "AmbiguousSelector")
    await world.writer.delete(key_of(second), by=ME, options=DeleteOptions())
    assert world.told(Change(ChangeType.DELETED, second, second, 9)) == {key_of(first), key_of(second)}
    await world.controller.reconcile(KEY)
    assert world.replicas() == 5


async def test_only_what_matters_wakes_it(world: World) -> None:
    target, hpa = await world.deploy(), await world.autoscale()
    same, more = Deployment(), Deployment()
    same.CopyFrom(target)
    more.CopyFrom(target)
    same.status.replicas, more.spec.replicas = 2, 3
    assert not world.told(Change(ChangeType.MODIFIED, target, same, 2))
    assert world.told(Change(ChangeType.MODIFIED, target, more, 2)) == {KEY}
    assert world.told(Change(ChangeType.DELETED, target, target, 2)) == {KEY}
    status = HorizontalPodAutoscaler()
    status.CopyFrom(hpa)
    status.status.current_replicas = 1
    assert not world.told(Change(ChangeType.MODIFIED, hpa, status, 2))


async def test_nothing_is_kept_of_one_that_is_gone(world: World) -> None:
    hpa = await world.autoscale()
    await world.deploy()
    await world.controller.reconcile(KEY)
    await world.writer.delete(KEY, by=ME, options=DeleteOptions())
    world.told(Change(ChangeType.DELETED, hpa, hpa, 9))
    assert await world.controller.reconcile(KEY) == Done("is gone")
    assert world.watched[KEY] == ()
