"""What an autoscaler sees: whose usage counts for which metric, against which requests."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from master.autoscaler.facts import Figure, OfOne, OfPods, PodFacts, Unread
from master.autoscaler.observe import KnownPod, Observer, measured
from master.signals.samples import QueryFailed, Sample
from podium.codec.json import object_from_dict
from podium.objects.kinds import Key
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler, MetricSpec
from podium.v1.cluster_service_pb2 import PodUsage
from podium.v1.core_pb2 import Pod
from tests.support.clock import VirtualClock

SHARE = {"type": "Utilization", "averageUtilization": 50}
AMOUNT = {"type": "AverageValue", "averageValue": "1"}


def pod(name: str = "a", *, cpu: str | None = "100m", node: str = "n1", **status: Any) -> Pod:
    requests = {"requests": {"cpu": cpu, "memory": "64Mi"}} if cpu else {}
    made: Any = object_from_dict(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "1"},
            "spec": {
                "nodeName": node,
                "initContainers": [
                    {"name": "once", "image": "i"},
                    {"name": "proxy", "image": "i", "restartPolicy": "Always", "resources": requests},
                ],
                "containers": [{"name": "main", "image": "i", "resources": requests}],
            },
            "status": {"phase": "Running"} | status,
        }
    )
    typed: Pod = made
    return typed


def known(name: str = "a", *, cpu: str | None = "100m", **status: Any) -> KnownPod:
    return KnownPod.of(pod(name, cpu=cpu, **status))


def usage(name: str = "a", **cores: float) -> PodUsage:
    made = PodUsage(namespace="shop", name=name, uid=f"uid-{name}")
    made.time.FromMilliseconds(90_500)
    for container, used in cores.items():
        made.containers.add(
            name=container, cpu_nanocores=round(used * 1e9), memory_bytes=1 << 20, window_milliseconds=4000
        )
    return made


def autoscaler(*metrics: Any) -> HorizontalPodAutoscaler:
    made: Any = object_from_dict(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "maxReplicas": 9,
                "metrics": list(metrics),
            },
        }
    )
    hpa: HorizontalPodAutoscaler = made
    return hpa


def resource(name: str, target: Any, container: str = "") -> MetricSpec:
    if container:
        source = {"name": name, "container": container, "target": target}
        return autoscaler({"type": "ContainerResource", "containerResource": source}).spec.metrics[0]
    return autoscaler({"type": "Resource", "resource": {"name": name, "target": target}}).spec.metrics[0]


def test_a_pod_is_all_that_runs_in_it() -> None:
    used = {"a": usage(main=0.05, proxy=0.0201)}
    assert measured(resource("cpu", SHARE), [known()], used) == OfPods(
        figures={"a": Figure(71, 90.5, 4.0)}, requests={"a": 200}
    )
    memory = (2 << 20) * 1000
    assert measured(resource("memory", AMOUNT), [known()], used) == OfPods(figures={"a": Figure(memory, 90.5, 4.0)})


def test_one_container_of_a_pod() -> None:
    used = {"a": usage(main=0.05, proxy=0.02), "b": usage("b", proxy=0.02)}
    found = measured(resource("cpu", SHARE, "main"), [known(), known("b")], used)
    assert found == OfPods(figures={"a": Figure(50, 90.5, 4.0)}, requests={"a": 100, "b": 100})


@pytest.mark.parametrize(
    ("metric", "pods", "says"),
    [
        (resource("cpu", SHARE), [known(cpu=None)], "container main of pod a requests no cpu"),
        (resource("cpu", SHARE, "other"), [known()], "pod a has no container other"),
    ],
)
def test_a_share_needs_requests(metric: MetricSpec, pods: list[KnownPod], says: str) -> None:
    found = measured(metric, pods, {})
    assert isinstance(found, Unread)
    assert says in found.message


def test_an_amount_needs_none_and_neither_does_a_pod_that_is_over() -> None:
    assert measured(resource("cpu", AMOUNT), [known(cpu=None)], {}) == OfPods(figures={})
    over = known("old", cpu=None, phase="Failed")
    assert measured(resource("cpu", SHARE), [known(), over], {}) == OfPods(figures={}, requests={"a": 200})


# ---------------------------------------------------------------- everything together


class World:
    """A Deployment with a ReplicaSet of two pods; it is a Reader, Usages and Queries."""

    def __init__(self) -> None:
        self.pods, self.read = {"a": pod(), "b": pod("b", node="n2")}, list[str]()
        self.watched: dict[Key, set[str]] = {}
        self.answers: dict[str, tuple[Sample, ...]] = {}
        self.target = Deployment()
        self.target.metadata.uid, self.target.spec.replicas, self.target.status.replicas = "d", 3, 2

    def owned_by(self, kind: Any, uid: str) -> list[Any]:
        if kind is ReplicaSet and uid == "d":
            owned = ReplicaSet()
            owned.metadata.uid = "rs"
            return [owned]
        return []

    def versions_owned_by(self, kind: Any, uid: str) -> list[tuple[Key, int]]:
        owned = list(self.pods.items()) if kind is Pod and uid == "rs" else []
        return [(Key("Pod", "shop", name), int(found.metadata.resource_version)) for name, found in owned]

    def get(self, kind: Any, namespace: str, name: str) -> Any:
        self.read.append(name)
        return self.pods[name]

    def of_node(self, node: str) -> dict[str, PodUsage]:
        return {"uid-a": usage(main=0.1), "uid-b": usage("b", main=0.1)} if node == "n1" else {}

    def watch(self, who: Key, nodes: Collection[str]) -> None:
        self.watched[who] = set(nodes)

    async def query(self, text: str) -> tuple[Sample, ...]:
        if text not in self.answers:
            raise QueryFailed("Prometheus is not there")
        return self.answers[text]

    def observer(self) -> Observer:
        reader: Any = self
        return Observer(reader=reader, usages=self, queries=self, clock=VirtualClock())


KEY = Key("HorizontalPodAutoscaler", "shop", "web")
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": SHARE}}


def external(query: str) -> Any:
    target = {"type": "Value", "value": "1"}
    return {"type": "External", "external": {"metric": {"name": "q", "query": query}, "target": target}}


async def test_pods_and_their_usage_are_found_and_asked_for() -> None:
    world = World()
    seen = await world.observer().observe(autoscaler(CPU), world.target)
    assert (seen.wanted, seen.there, [one.name for one in seen.pods]) == (3, 2, ["a", "b"])
    assert seen.pods[0] == PodFacts(name="a", phase="Running")
    assert seen.readings == (OfPods(figures={"a": Figure(100, 90.5, 4.0)}, requests={"a": 200, "b": 200}),)
    assert world.watched == {KEY: {"n1", "n2"}}
    await world.observer().observe(autoscaler(external("up")), world.target)
    assert world.watched == {KEY: set()}, "nobody looks at usage any more"


async def test_a_pod_is_read_again_only_when_it_changed() -> None:
    world = World()
    observer = world.observer()
    await observer.observe(autoscaler(CPU), world.target)
    await observer.observe(autoscaler(CPU), world.target)
    assert world.read == ["a", "b"]
    world.pods["b"] = pod("b", node="n2", phase="Failed")
    world.pods["b"].metadata.resource_version = "2"
    seen = await observer.observe(autoscaler(CPU), world.target)
    assert world.read == ["a", "b", "b"]
    assert [one.over for one in seen.pods] == [False, True]


async def test_what_prometheus_says_becomes_a_reading() -> None:
    world = World()
    pods_metric = {"type": "Pods", "pods": {"metric": {"name": "rate"}, "target": AMOUNT}}
    world.answers = {
        "ok": (Sample(value=1.2345, time=0),),
        "nan": (Sample(value=float("nan"), time=0),),
        "below": (Sample(value=-3, time=0),),
        "two": (Sample(value=1, time=0), Sample(value=2, time=0)),
        'sum by (pod) (rate{namespace="shop"})': (
            Sample(value=7, time=5, labels={"pod": "a"}),
            Sample(value=9, time=5, labels={"pod": "of another"}),
            Sample(value=9, time=5),
        ),
    }
    queries = [external(query) for query in ("ok", "nan", "below", "two", "none")]
    seen = await world.observer().observe(autoscaler(*queries, pods_metric), world.target)
    ok, nan, below, two, none, of_pods = seen.readings
    assert (ok, below, of_pods) == (OfOne(1235), OfOne(0), OfPods(figures={"a": Figure(7000, 5)}))
    for reading, says in ((nan, "nan, which is no amount"), (two, "gives 2 series"), (none, "Prometheus is not there")):
        assert isinstance(reading, Unread)
        assert reading.reason == "FailedGetExternalMetric"
        assert says in reading.message
