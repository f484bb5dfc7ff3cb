"""Policies on real hosts: a LimitRange in a container's cgroup, a quota, a budget that a drain keeps to."""

from __future__ import annotations

import json
from typing import Any

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Pod
from podium.v1.policy_pb2 import PodDisruptionBudget, ResourceQuota
from tests.rig.manifests import deployment, pod
from tests.rig.rig import PODIUM, Host, podium, run, until


def _apply(namespace: str, manifest: str | dict[str, Any], *words: str, check: bool = True) -> str:
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    done = run(PODIUM, "-n", namespace, "apply", "-f", "-", *words, stdin=text, check=check, timeout=150)
    return done.stdout + done.stderr


def _pods(client: Client, namespace: str) -> list[Pod]:
    found = client.list(Pod, namespace=namespace)
    return [p for p in found if not p.metadata.HasField("deletion_timestamp")]


def _object(kind: str, api_version: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def test_defaults_of_a_limit_range_bind_the_real_container_and_bounds_refuse(client: Client, namespace: str) -> None:
    container = {
        "type": "Container", "default": {"cpu": "250m", "memory": "48Mi"}, "defaultRequest": {"cpu": "50m"},
        "max": {"cpu": "1", "memory": "64Mi"},
    }  # fmt: skip
    _apply(namespace, _object("LimitRange", "v1", "limits", limits=[container]))
    _apply(namespace, pod("bounded", ["sleep", "600"]), "--wait", "--timeout=60s")
    [made] = _pods(client, namespace)
    assert dict(made.spec.containers[0].resources.limits) == {"cpu": "250m", "memory": "48Mi"}
    container_id = made.status.container_statuses[0].container_id.rpartition("//")[2]
    limits = json.loads(Host(made.spec.node_name).engine("inspect", container_id))[0]["HostConfig"]
    assert limits["Memory"] == 48 * 1024 * 1024
    read = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || true"
    inside = podium("-n", namespace, "exec", "bounded", "--", "sh", "-c", read)
    assert inside.split() == [str(48 * 1024 * 1024)]
    said = _apply(namespace, pod("big", ["true"], container={"resources": {"limits": {"memory": "1Gi"}}}), check=False)
    assert "spec.containers[0].resources.limits[memory]: must be at most 64Mi, not 1Gi" in said


def test_a_quota_lets_so_many_run_and_says_why_no_more(client: Client, namespace: str) -> None:
    _apply(namespace, _object("ResourceQuota", "v1", "team", hard={"pods": "2", "count/deployments.apps": "1"}))
    _apply(namespace, deployment("web", image="busybox", replicas=4, container={"command": ["sleep", "600"]}))
    until(lambda: sum(is_ready(p) for p in _pods(client, namespace)) == 2, seconds=60, what="two pods of four running")
    said = _apply(namespace, deployment("other", image="busybox"), check=False)
    assert "exceeded quota: team, requested: count/deployments.apps=1, used: count/deployments.apps=1" in said
    assert "exceeded quota: team, requested: pods=1, used: pods=2, limited: pods=2" in podium(
        "-n", namespace, "describe", "replicasets"
    )
    until(
        lambda: (
            dict(client.get(ResourceQuota, "team", namespace=namespace).status.used)
            == {"pods": "2", "count/deployments.apps": "1"}
        ),
        seconds=10,
        what="the quota's status",
    )
    assert len(_pods(client, namespace)) == 2


def test_a_drain_keeps_to_a_budget_and_goes_on_when_successors_are_ready(client: Client, namespace: str) -> None:
    _apply(namespace, _object("PodDisruptionBudget", "policy/v1", "web", minAvailable=4,
                              selector={"matchLabels": {"app": "web"}}))  # fmt: skip
    _apply(namespace, deployment("web", replicas=4), "--wait", "--timeout=120s")
    node = _pods(client, namespace)[0].spec.node_name
    try:
        held = run(PODIUM, "drain", node, "--force", "--timeout=3s", check=False, timeout=30)
        assert held.returncode == 1
        assert f"disruption budget {namespace}/web needs 4 healthy pods, and has 4" in held.stderr
        assert sum(is_ready(p) for p in _pods(client, namespace)) == 4

        _apply(namespace, _object("PodDisruptionBudget", "policy/v1", "web", minAvailable=3,
                                  selector={"matchLabels": {"app": "web"}}))  # fmt: skip
        podium("drain", node, "--force", "--timeout=60s", timeout=90)
        assert node not in {p.spec.node_name for p in _pods(client, namespace)}
        until(
            lambda: client.get(PodDisruptionBudget, "web", namespace=namespace).status.disruptions_allowed == 1,
            seconds=40,
            what="all four ready elsewhere",
        )
    finally:
        podium("uncordon", node)
