"""The example of several tiers, as it is in examples/guestbook: applied, used, hurt, copied."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from podium.client import Client
from podium.objects.conditions import get_condition
from podium.objects.pod import is_ready
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler
from podium.v1.core_pb2 import ConfigMap, Pod
from podium.v1.policy_pb2 import PodDisruptionBudget
from tests.rig.rig import ADDRESSES, NODES, PODIUM, ROOT, podium, run, until

SPACE = "guestbook"


@pytest.fixture(scope="module")
def guestbook() -> Iterator[None]:
    run(PODIUM, "apply", "-f", str(ROOT / "examples/guestbook"))
    for workload in ("statefulset/redis", "deploy/app", "deploy/web"):
        podium("-n", SPACE, "rollout", "status", workload, "--timeout=120s", timeout=150)
    yield
    podium("delete", "namespace", SPACE, "--timeout=90s", timeout=120)
    podium("delete", "priorityclass", "guestbook-data")


def _page(query: str = "", host: str = "node1") -> str:
    return run("curl", "-sS", "-m", "5", f"http://{ADDRESSES[host]}:30080/{query}", check=False).stdout


def test_the_guestbook_keeps_what_is_written(client: Client, guestbook: None) -> None:
    podium("-n", SPACE, "wait", "--for=condition=complete", "job/first-entry", "--timeout=60s", timeout=90)
    until(lambda: "Welcome, sign here." in _page(), seconds=30, what="the first entry on the page")
    until(lambda: "Kilroy was here" in _page("?add=Kilroy+was+here", "node2"), seconds=30, what="what was written")

    before = client.get(Pod, "redis-0", namespace=SPACE)
    podium("-n", SPACE, "delete", "pod", "redis-0", timeout=90)
    until(
        lambda: client.get(Pod, "redis-0", namespace=SPACE).metadata.uid != before.metadata.uid,
        seconds=30, what="another redis-0",
    )  # fmt: skip
    podium("-n", SPACE, "wait", "--for=condition=Ready", "pod/redis-0", "--timeout=60s", timeout=90)
    until(lambda: "Kilroy was here" in _page("", "node3"), seconds=30, what="the data of the pod before")

    podium("-n", SPACE, "create", "job", "copy-now", "--from=cronjob/copy")
    podium("-n", SPACE, "wait", "--for=condition=complete", "job/copy-now", "--timeout=60s", timeout=90)


class _Visitors:
    """Who asks for the page again and again, at one node's port; `asked` counts, `failures` says what went wrong."""

    def __init__(self, host: str) -> None:
        self.asked = 0
        self.failures: list[str] = []
        self._host, self._enough = host, threading.Event()

    def run(self) -> None:
        """Ask until it is enough."""
        while not self._enough.wait(0.1):
            url = f"http://{ADDRESSES[self._host]}:30080/"
            got = subprocess.run(["curl", "-sSf", "-m", "5", url], capture_output=True, text=True, timeout=30)
            self.asked += 1
            if got.returncode or "served by" not in got.stdout:
                self.failures.append(f"request {self.asked}: exit {got.returncode}: {got.stderr}{got.stdout}")

    def stop(self) -> None:
        self._enough.set()


@contextmanager
def _visitors(host: str) -> Iterator[_Visitors]:
    visitors = _Visitors(host)
    thread = threading.Thread(target=visitors.run, name="visitors")
    thread.start()
    try:
        yield visitors
    finally:
        visitors.stop()
        thread.join(timeout=40)


def _headings() -> set[str]:
    """The heading of the page, as often as it takes to be answered by each pod of the tier."""
    pages = [_page(host=host.name) for host in NODES for _ in range(4)]
    return {page.partition("<h1>")[2].partition("</h1>")[0] for page in pages}


def _nodes_of(client: Client, tier: str) -> list[str]:
    """Where the tier's pods are that are ready and stay."""
    found = client.list(Pod, namespace=SPACE, selector=f"tier={tier}")
    return [p.spec.node_name for p in found if is_ready(p) and not p.metadata.HasField("deletion_timestamp")]


def test_the_guestbook_is_changed_and_moved_while_it_is_used(client: Client, guestbook: None) -> None:
    [data] = until(lambda: _nodes_of(client, "redis"), seconds=60, what="the data tier")
    others = [host.name for host in NODES if host.name != data]
    with _visitors(data) as visitors:
        # Its script is configuration: a change is a canary of the tier, and undo brings the old one back.
        script = client.get(ConfigMap, "app", namespace=SPACE).data["guestbook"]
        changed = {"data": {"guestbook": script.replace("<h1>%s", "<h1>Dear %s")}}
        client.patch(ConfigMap, "app", changed, namespace=SPACE)
        until(lambda: _headings() == {"Dear Guestbook"}, seconds=90, what=lambda: _headings())
        podium("-n", SPACE, "rollout", "status", "deploy/app", "--timeout=60s", timeout=90)
        assert "ConfigMap/app[guestbook]" in podium("-n", SPACE, "rollout", "history", "deploy/app")
        podium("-n", SPACE, "rollout", "undo", "deploy/app")
        podium("-n", SPACE, "rollout", "promote", "deploy/app", "--full")
        podium("-n", SPACE, "rollout", "status", "deploy/app", "--timeout=60s", timeout=90)
        until(lambda: _headings() == {"Guestbook"}, seconds=60, what=lambda: _headings())

        # Two of three nodes are emptied at once: budgets keep one pod of each tier until another one is there.
        assert client.get(PodDisruptionBudget, "web", namespace=SPACE).status.disruptions_allowed == 1
        try:
            podium("drain", *others, "--timeout=120s", timeout=150)
            assert {*_nodes_of(client, "app"), *_nodes_of(client, "web")} == {data}
            until(lambda: len(_nodes_of(client, "web")) == 2, seconds=60, what="the tier at its size")
        finally:
            podium("uncordon", *others)
    assert not visitors.failures, f"{len(visitors.failures)} of {visitors.asked} failed: {visitors.failures[:3]}"
    assert visitors.asked > 30
    _is_autoscaled(client)


def _is_autoscaled(client: Client) -> None:
    """Its autoscaler sees what the visitors cost, and has done what it says."""

    def told() -> dict[str, str]:
        found = client.get(HorizontalPodAutoscaler, "app", namespace=SPACE).status.conditions
        conditions = {type_: get_condition(found, type_) for type_ in ("AbleToScale", "ScalingActive")}
        return {type_: f"{c.status} {c.reason}" for type_, c in conditions.items() if c is not None}

    until(lambda: told().get("ScalingActive") == "True ValidMetricFound", seconds=60, what=told)
    assert told()["AbleToScale"].startswith("True ")
    its = client.get(HorizontalPodAutoscaler, "app", namespace=SPACE)
    until(lambda: len(_nodes_of(client, "app")) >= its.status.desired_replicas, seconds=60, what=told)
    assert its.spec.min_replicas <= its.status.desired_replicas <= its.spec.max_replicas
    assert "cpu: " in podium("-n", SPACE, "get", "hpa", "app")
