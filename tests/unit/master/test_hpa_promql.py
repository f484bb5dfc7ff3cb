"""Queries that follow from a metric's name and selector, and answers that are good for a while."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from master.autoscaler.promql import query_of
from master.signals.recent import MOST_KEPT, RecentQueries
from master.signals.samples import QueryFailed, Sample
from podium.codec.json import object_from_dict
from podium.v1.autoscaling_pb2 import MetricSpec
from tests.support.clock import VirtualClock, settle

SELECTOR = {
    "matchLabels": {"app.kubernetes.io/name": 'a"b'},
    "matchExpressions": [
        {"key": "tier", "operator": "In", "values": ["x.y", "z"]},
        {"key": "env", "operator": "NotIn", "values": ["dev"]},
        {"key": "up", "operator": "Exists"},
        {"key": "old", "operator": "DoesNotExist"},
    ],
}
TARGET = {"type": "AverageValue", "averageValue": "1"}


def metric(type_: str, about: Any = None, **identifier: Any) -> MetricSpec:
    source = {"metric": {"name": "m", **identifier}, "target": TARGET, **({"describedObject": about} if about else {})}
    hpa: Any = object_from_dict(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "x"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "maxReplicas": 1,
                "metrics": [{"type": type_, type_.lower(): source}],
            },
        }
    )
    made: MetricSpec = hpa.spec.metrics[0]
    return made


@pytest.mark.parametrize(
    ("spec", "query"),
    [
        (metric("Pods"), 'sum by (pod) (m{namespace="shop"})'),
        (metric("Pods", name="requests_total"), 'sum by (pod) (rate(requests_total{namespace="shop"}[1m]))'),
        (metric("Object", {"kind": "Ingress", "name": "main"}), 'sum(m{namespace="shop", ingress="main"})'),
        (metric("Object", {"kind": "Namespace", "name": "shop2"}), 'sum(m{namespace="shop2"})'),
        (metric("External"), "sum(m{})"),
        (metric("External", query="max(q)"), "max(q)"),
        (
            metric("External", selector=SELECTOR),
            'sum(m{app_kubernetes_io_name="a\\"b", tier=~"x\\\\.y|z", env!~"dev", up!="", old=""})',
        ),
    ],
)
def test_queries(spec: MetricSpec, query: str) -> None:
    assert query_of(spec, "shop") == query


class Slow:
    """Answers when it is let, and counts."""

    def __init__(self) -> None:
        self.asked, self.go, self.fault = 0, asyncio.Event(), False

    async def query(self, text: str) -> tuple[Sample, ...]:
        self.asked += 1
        await self.go.wait()
        if self.fault:
            raise QueryFailed("down")
        return (Sample(value=self.asked, time=0),)


async def test_answers_are_shared_and_kept_for_a_while() -> None:
    clock, slow = VirtualClock(), Slow()
    queries = RecentQueries(slow, clock=clock, seconds=5)
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(queries.query("up")) for _ in range(2)]
        await settle()
        slow.go.set()
    assert both[0].result() == both[1].result()
    await clock.advance(4)
    assert (await queries.query("up"))[0].value == 1
    await queries.query("down")
    assert slow.asked == 2
    await clock.advance(2)
    assert (await queries.query("up"))[0].value == 3


async def test_refusals_are_kept_as_well() -> None:
    clock, slow = VirtualClock(), Slow()
    slow.fault = True
    slow.go.set()
    queries = RecentQueries(slow, clock=clock, seconds=5)
    for _ in range(3):
        with pytest.raises(QueryFailed):
            await queries.query("up")
    assert slow.asked == 1


async def test_what_nobody_asks_for_is_dropped() -> None:
    clock, slow = VirtualClock(), Slow()
    slow.go.set()
    queries = RecentQueries(slow, clock=clock, seconds=5)
    for number in range(MOST_KEPT):
        await queries.query(str(number))
    await clock.advance(6)
    await queries.query("new")
    assert len(queries._kept) == 1
