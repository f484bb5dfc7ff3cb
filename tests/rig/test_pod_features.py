"""Smaller fields of pods on real hosts, and what changes while a pod runs: debug containers, resources."""

from __future__ import annotations

import json
from typing import Any

from podium.client import Client
from podium.v1.core_pb2 import ContainerStatus, Pod
from tests.rig.manifests import deployment, pod
from tests.rig.rig import PODIUM, podium, run, until

FOREVER = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.2; done"]


def _apply(namespace: str, manifest: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin=manifest, timeout=60)


def _sh(namespace: str, name: str, command: str) -> str:
    return podium("-n", namespace, "exec", name, "--", "sh", "-c", command).strip()


def _in_phase(client: Client, namespace: str, name: str, phase: str) -> Pod:
    def there() -> Pod | None:
        found = client.get(Pod, name, namespace=namespace)
        return found if found.status.phase == phase else None

    return until(there, seconds=40, what=f"{name} is {phase}")


def test_names_and_kernel(client: Client, namespace: str) -> None:
    spec: dict[str, Any] = {
        "hostAliases": [{"ip": "10.9.8.7", "hostnames": ["db", "db.example"]}],
        "shareProcessNamespace": True, "subdomain": "apps", "setHostnameAsFQDN": True,
        "securityContext": {
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "7"}],
            "seccompProfile": {"type": "Unconfined"},
        },
    }  # fmt: skip
    _apply(namespace, pod("small", FOREVER, spec=spec))
    _in_phase(client, namespace, "small", "Running")
    assert _sh(namespace, "small", "hostname") == f"small.apps.{namespace}.svc.cluster.local"
    assert "10.9.8.7\tdb.example" in _sh(namespace, "small", "cat /etc/hosts")
    assert "/pause" in _sh(namespace, "small", "ps")
    assert _sh(namespace, "small", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start") == "7"
    assert _sh(namespace, "small", "grep Seccomp: /proc/self/status").split()[-1] == "0"


def test_what_a_container_leaves(client: Client, namespace: str) -> None:
    never = {"restartPolicy": "Never"}
    _apply(namespace, pod("said", ["sh", "-c", "echo -n no database > /dev/termination-log; exit 3"], spec=never))
    fallback = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    _apply(namespace, pod("logged", ["sh", "-c", "echo only logged; exit 4"], spec=never, container=fallback))
    for name, message in (("said", "no database"), ("logged", "only logged\n")):
        (status,) = _in_phase(client, namespace, name, "Failed").status.container_statuses
        assert status.state.terminated.message == message


def test_a_running_pod_is_looked_into(client: Client, namespace: str) -> None:
    _apply(namespace, pod("closed", FOREVER))
    before = _in_phase(client, namespace, "closed", "Running")
    words = ("--image=busybox", "--target=main", "-c", "tools")
    podium("-n", namespace, "debug", "closed", *words, "--", "sh", "-c", "ps; cat /proc/1/root/etc/hostname; exit 5")

    def ended() -> ContainerStatus | None:
        (status,) = client.get(Pod, "closed", namespace=namespace).status.ephemeral_container_statuses
        return status if status.state.HasField("terminated") else None

    assert until(ended, seconds=20, what="the debug container has ended").state.terminated.exit_code == 5
    said = podium("-n", namespace, "logs", "closed", "-c", "tools")
    assert "sleep 0.2" in said  # the target's own process
    after = _in_phase(client, namespace, "closed", "Running")
    assert after.status.container_statuses[0].container_id == before.status.container_statuses[0].container_id
    shell = (PODIUM, "-n", namespace, "debug", "-i", "closed", "--image=busybox", "--", "sh")
    typed = run(*shell, stdin="hostname; exit 7\n", check=False, timeout=60)
    assert (typed.stdout.strip(), typed.returncode) == ("closed", 7)


def _change_limits(namespace: str, memory: str, cpu: str) -> None:
    limits = {"memory": memory, "cpu": cpu}
    body = {"spec": {"template": {"spec": {"containers": [{"name": "cache", "resources": {"limits": limits}}]}}}}
    podium("-n", namespace, "patch", "deploy/cache", "-p", json.dumps(body))
    podium("-n", namespace, "rollout", "status", "deploy/cache", "--timeout=60s")


def test_a_deployment_is_resized_where_it_runs(client: Client, namespace: str) -> None:
    container = {"command": FOREVER, "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": SHARE}}
    how = {"strategy": {"resize": "InPlace"}}
    _apply(namespace, deployment("cache", image="busybox", replicas=3, container=container, deployment=how))
    podium("-n", namespace, "rollout", "status", "deploy/cache", "--timeout=60s")

    def lives() -> dict[str, tuple[str, int]]:
        pods = client.list(Pod, namespace=namespace)
        return {p.metadata.name: (s.container_id, s.state.running.started_at.seconds) for p in pods
                for s in p.status.container_statuses}  # fmt: skip

    before = lives()
    for memory, cpu in (("96Mi", "300m"), ("64Mi", "200m")):
        _change_limits(namespace, memory, cpu)
        assert lives() == before, "no pod was replaced, and no container was started again"
        for name in before:
            assert _sh(namespace, name, LIMIT) == str(int(memory.removesuffix("Mi")) << 20)
    history = podium("-n", namespace, "rollout", "history", "deploy/cache")
    assert "3" in history
    podium("-n", namespace, "rollout", "undo", "deploy/cache")
    podium("-n", namespace, "rollout", "status", "deploy/cache", "--timeout=60s")
    assert (lives(), _sh(namespace, next(iter(before)), LIMIT)) == (before, str(96 << 20))


def test_a_memory_limit_below_what_is_used_waits(client: Client, namespace: str) -> None:
    hungry = ["sh", "-c", "kept=$(head -c 50000000 /dev/zero | tr '\\0' x); while true; do sleep 0.2; done"]
    limits = {"limits": {"cpu": "200m", "memory": "256Mi"}}
    _apply(namespace, pod("hungry", hungry, container={"resources": limits}))
    before = _in_phase(client, namespace, "hungry", "Running").status.container_statuses[0]
    usage = "cat /sys/fs/cgroup/memory.current 2>/dev/null || cat /sys/fs/cgroup/memory/memory.usage_in_bytes"
    until(lambda: int(_sh(namespace, "hungry", usage)) > 50_000_000, seconds=30, what="it uses its memory")
    _patch(namespace, "hungry", cpu="200m", memory="32Mi")

    def waits() -> bool:
        conditions = client.get(Pod, "hungry", namespace=namespace).status.conditions
        return any(c.type == "PodResizeInProgress" and c.reason == "Error" for c in conditions)

    until(waits, seconds=30, what="a limit below what is used waits")
    assert _sh(namespace, "hungry", LIMIT) == str(256 << 20)
    (after,) = client.get(Pod, "hungry", namespace=namespace).status.container_statuses
    assert (after.container_id, after.restart_count) == (before.container_id, 0)


SHARE = {"cpu": "200m", "memory": "64Mi"}
LIMIT = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"


def _patch(namespace: str, name: str, **limits: str) -> None:
    body = {"spec": {"containers": [{"name": "main", "resources": {"limits": limits, "requests": limits}}]}}
    podium("-n", namespace, "patch", f"pod/{name}", "--subresource=resize", "-p", json.dumps(body))


def test_resources_change_in_place(client: Client, namespace: str) -> None:
    share = {"cpu": "100m", "memory": "64Mi"}
    _apply(namespace, pod("sized", FOREVER, container={"resources": {"limits": share}}))
    before = _in_phase(client, namespace, "sized", "Running").status.container_statuses[0]
    assert _sh(namespace, "sized", LIMIT) == str(64 << 20)
    _patch(namespace, "sized", cpu="200m", memory="96Mi")

    def resized(name: str, memory: str) -> ContainerStatus | None:
        (status,) = client.get(Pod, name, namespace=namespace).status.container_statuses
        return status if status.resources.limits["memory"] == memory else None

    after = until(lambda: resized("sized", "96Mi"), seconds=20, what="the container is resized")
    assert _sh(namespace, "sized", LIMIT) == str(96 << 20)
    assert (after.container_id, after.restart_count) == (before.container_id, 0)
    _patch(namespace, "sized", cpu="100m", memory="32Mi")
    until(lambda: resized("sized", "32Mi"), seconds=20, what="the container is resized again")
    assert _sh(namespace, "sized", LIMIT) == str(32 << 20)

    def refused() -> bool:
        conditions = client.get(Pod, "sized", namespace=namespace).status.conditions
        return any(c.type == "PodResizePending" and c.reason == "Infeasible" for c in conditions)

    _patch(namespace, "sized", cpu="1000", memory="32Mi")
    until(refused, seconds=20, what="more than the node has is refused")
