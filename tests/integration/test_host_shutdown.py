"""A host of a hollow cluster shuts down: its pods are replaced first, then end; critical ones and daemons last."""

from __future__ import annotations

import datetime
from pathlib import Path

from nodelet.runtime.hollow import Behaviour, HollowSettings
from podium.aio.clock import SystemClock
from podium.objects.conditions import get_condition
from podium.objects.meta import is_terminating
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Event, Node, Pod
from podium.v1.policy_pb2 import PodDisruptionBudget
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.waiting import until
from tests.support.workloads import daemon_set, deployment

SLOW = HollowSettings(default=Behaviour(stop_takes=3.0))


def _running(cluster: HollowCluster, app: str, node: str) -> list[Pod]:
    pods = cluster.pods(node=node, phase="Running")
    return [p for p in pods if p.metadata.name.startswith(f"{app}-") and not is_terminating(p)]


def _is(pod: Pod, name: str) -> bool:
    return pod.metadata.name == name


def _critical() -> Pod:
    made = Pod()
    made.metadata.namespace, made.metadata.name = "default", "critical"
    made.spec.priority_class_name = "system-node-critical"
    made.spec.node_name = "node1"
    made.spec.containers.add(name="c", image="busybox")
    return made


async def test_pods_of_a_host_that_shuts_down_are_replaced_first(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path) as cluster:
        host = await cluster.add_node("node1", behaviours=SLOW)
        await until(lambda: cluster.ready_nodes() == ["node1"])
        await cluster.writer.create(deployment("web", replicas=3), by=ADMIN)
        await cluster.writer.create(daemon_set("agents"), by=ADMIN)
        await cluster.writer.create(_critical(), by=ADMIN)
        await until(lambda: len(cluster.pods(node="node1", phase="Running")) == 5)
        await cluster.add_node("node2")
        await until(lambda: len(cluster.ready_nodes()) == 2)

        order: list[str] = []
        said: list[str] = []
        shutting = cluster.scope.start(host.node.shutdown.run(said.append), name="shutdown")

        def over() -> bool:
            seen = {
                "replaced": len(_running(cluster, "web", "node2")) == 3,
                "ordinary ended": not [p for p in host.node.pods.alive() if p.metadata.name != "critical"],
                "critical ended": not host.node.pods.alive(),
            }
            order.extend(what for what, true in seen.items() if true and what not in order)
            return shutting.done()

        await until(over, seconds=25)
        assert order == ["replaced", "ordinary ended", "critical ended"]

        node = cluster.reader.get(Node, "", "node1")
        assert node is not None
        ready = get_condition(node.status.conditions, "Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("False", "NodeShutdown")
        await until(lambda: not [p for p in cluster.pods(node="node1") if p.metadata.name.startswith("web")])
        critical = await until(lambda: next(iter(p for p in cluster.pods(phase="Failed") if _is(p, "critical")), None))
        assert critical.status.reason == "Terminated"
        assert critical.status.message == "Pod was terminated in response to imminent node shutdown."
        disrupted = get_condition(critical.status.conditions, "DisruptionTarget")
        assert disrupted is not None
        assert disrupted.reason == "TerminationByKubelet"
        await until(lambda: [e for e in cluster.reader.list(Event) if e.reason == "NodeShutdown"])
        # What comes now is refused.
        late = _critical()
        late.metadata.name = "late"
        await cluster.writer.create(late, by=ADMIN)
        await until(lambda: [p for p in cluster.pods(phase="Failed") if p.status.reason == "NodeShutdown"])


async def test_budgets_are_kept_for_as_long_as_there_is_time(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=["node1"]) as cluster:
        budget = PodDisruptionBudget()
        budget.metadata.namespace, budget.metadata.name = "default", "web"
        budget.spec.selector.match_labels["app"] = "web"
        budget.spec.min_available.int_value = 2
        await cluster.writer.create(budget, by=ADMIN)
        await cluster.writer.create(deployment("web", replicas=3), by=ADMIN)
        await until(lambda: len(_ready(cluster)) == 3)
        await cluster.add_node("node2")
        await until(lambda: len(cluster.ready_nodes()) == 2)
        fewest = 3

        def over() -> bool:
            nonlocal fewest
            fewest = min(fewest, len(_ready(cluster)))
            return shutting.done() and len(_ready(cluster)) == 3

        shutting = cluster.scope.start(cluster.members["node1"].node.shutdown.run(lambda line: None), name="shutdown")
        await until(over, seconds=25)
        assert fewest >= 2


def _ready(cluster: HollowCluster) -> list[Pod]:
    pods = cluster.pods(phase="Running")
    return [p for p in pods if is_ready(p) and not is_terminating(p) and p.metadata.labels.get("app") == "web"]


async def test_a_host_that_is_back_takes_pods_again(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=["node1"]) as cluster:
        host = cluster.members["node1"]
        await cluster.writer.create(deployment("web", replicas=1), by=ADMIN)
        await until(lambda: len(_running(cluster, "web", "node1")) == 1)
        await host.node.shutdown.run(lambda line: None)
        await until(lambda: not _running(cluster, "web", "node1"))
        await host.kill()
        del cluster.members["node1"]
        await cluster.add_node("node1")
        await until(lambda: len(_running(cluster, "web", "node1")) == 1, seconds=20)


class AheadClock(SystemClock):
    """A host's clock that nobody set."""

    def now(self) -> datetime.datetime:
        return super().now() + datetime.timedelta(seconds=90)


async def test_a_clock_that_is_off_is_told(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=["right"]) as cluster:
        cluster.clock = AheadClock()
        await cluster.add_node("wrong")

        def skew(name: str) -> str:
            node = cluster.reader.get(Node, "", name)
            found = get_condition(node.status.conditions, "ClockSkew") if node is not None else None
            return f"{found.status}: {found.message}" if found is not None else ""

        await until(lambda: skew("wrong").startswith("True: the clock is 90 s ahead of the master's"), seconds=20)
        assert skew("right").startswith("False")
