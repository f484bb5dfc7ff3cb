"""Load on real containers: measured from their control groups, answered with more of them within seconds, and back."""

from __future__ import annotations

import time

import pytest

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.apps_pb2 import Deployment
from podium.v1.core_pb2 import Pod
from tests.rig.manifests import on_demand
from tests.rig.rig import PODIUM, podium, run, until


def _pods(client: Client, namespace: str) -> list[Pod]:
    found = client.list(Pod, namespace=namespace, selector="app=work")
    return [p for p in found if not p.metadata.HasField("deletion_timestamp") and is_ready(p)]


def _replicas(client: Client, namespace: str) -> int:
    return client.get(Deployment, "work", namespace=namespace).spec.replicas


def _millicores(namespace: str) -> int:
    rows = podium("-n", namespace, "top", "pods", "--no-headers", check=False).split("\n")
    return max((int(row.split()[1].removesuffix("m")) for row in rows if row), default=-1)


def _seen(namespace: str) -> bool:
    return "%/50%" in podium("-n", namespace, "get", "hpa")


@pytest.fixture
def busy(client: Client, namespace: str) -> str:
    """A pod of Deployment `work` that is idle, measured and autoscaled; its name."""
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin=on_demand("work", most=3))
    (pod,) = until(lambda: _pods(client, namespace), seconds=60, what="the pod")
    until(lambda: 0 <= _millicores(namespace) < 50, seconds=20, what="an idle pod in top")
    until(lambda: _seen(namespace), seconds=20, what="the autoscaler sees it")
    return pod.metadata.name


def test_a_busy_pod_gets_company_within_seconds_and_loses_it_again(client: Client, namespace: str, busy: str) -> None:
    podium("-n", namespace, "exec", busy, "--", "touch", "/tmp/busy")
    began = time.monotonic()
    until(lambda: _replicas(client, namespace) > 1, seconds=15, what="more replicas")
    print(f"decided {time.monotonic() - began:.1f}s after the load began")
    until(lambda: len(_pods(client, namespace)) == 3, seconds=60, what="three pods that are ready")
    assert _millicores(namespace) >= 100
    wide = podium("-n", namespace, "top", "pods", "-o", "wide", "--sum")
    assert "NET-IN/s" in wide
    said = podium("-n", namespace, "explain", "hpa", "work")
    assert "Deployment work is to have 3 replicas, of between 1 and 3." in said
    assert "cpu resource utilization (percentage of request) above target" in podium("-n", namespace, "describe", "hpa")

    podium("-n", namespace, "exec", busy, "--", "rm", "/tmp/busy")
    until(lambda: _replicas(client, namespace) == 1, seconds=30, what="one replica again")
    until(lambda: len(_pods(client, namespace)) == 1, seconds=30, what="one pod again")
