"""Configuration of pods on real hosts: variables and files, changes under way, what is missing, and what is secret."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import ConfigMap, Pod
from tests.rig.manifests import deployment, pod
from tests.rig.rig import PODIUM, Host, podium, run, until

SECRET = "s3cr3t-of-the-rig"
FOREVER = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.2; done"]


def _apply(namespace: str, *manifests: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin="\n---\n".join(manifests), timeout=60)


def _object(kind: str, name: str, **body: Any) -> str:
    return str(yaml.safe_dump({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **body}))


def _sh(namespace: str, target: str, command: str, *, check: bool = True) -> str:
    return podium("-n", namespace, "exec", target, "--", "sh", "-c", command, check=check).strip()


def _running(client: Client, namespace: str, name: str) -> Pod:
    def ready() -> Pod | None:
        found = client.get(Pod, name, namespace=namespace)
        return found if is_ready(found) else None

    return until(ready, seconds=40, what=f"{name} is ready")


VOLUMES = [
    {"name": "config", "configMap": {"name": "settings"}},
    {"name": "secret", "secret": {"secretName": "db", "defaultMode": 0o400}},
    {"name": "pod", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    {
        "name": "all",
        "projected": {"sources": [{"configMap": {"name": "settings"}}, {"secret": {"name": "db"}}]},
    },
    {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
]
MOUNTS = [
    {"name": "config", "mountPath": "/config"},
    {"name": "secret", "mountPath": "/secret"},
    {"name": "pod", "mountPath": "/pod"},
    {"name": "all", "mountPath": "/all"},
    {"name": "scratch", "mountPath": "/scratch"},
    {"name": "config", "mountPath": "/one.conf", "subPath": "mode"},
]
ENV = {
    "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "APP_"}],
    "env": [
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "OPTIONAL", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "k", "optional": True}}},
    ],
    "resources": {"limits": {"memory": "64Mi"}},
    "volumeMounts": MOUNTS,
}


def test_variables_files_changes_and_secrets_of_a_running_pod(client: Client, namespace: str) -> None:
    _apply(
        namespace,
        _object("ConfigMap", "settings", data={"mode": "fast"}),
        _object("Secret", "db", stringData={"password": SECRET}),
        pod("app", FOREVER, spec={"volumes": VOLUMES}, container=ENV),
    )
    made = _running(client, namespace, "app")
    node = Host(made.spec.node_name)
    lines = _sh(namespace, "app", "env").splitlines()
    told = {"APP_mode=fast", f"PASSWORD={SECRET}", f"POD_IP={made.status.pod_ip}", f"NODE={node.name}", "MEMORY=64"}
    assert told <= set(lines)
    assert not any(line.startswith("OPTIONAL=") for line in lines)
    assert _sh(namespace, "app", "cat /config/mode /secret/password /all/mode /one.conf") == f"fast{SECRET}fastfast"
    assert _sh(namespace, "app", "cat /pod/labels") == 'app="app"'
    assert _sh(namespace, "app", "stat -L -c %a /secret/password") == "400"
    assert "Read-only" in _sh(namespace, "app", "touch /config/x 2>&1; true")
    assert "No space left" in _sh(namespace, "app", "dd if=/dev/zero of=/scratch/f bs=64k count=32 2>&1; true")

    # A secret lies in memory (more: test_secrets.py).
    place = f"/var/lib/podium/nodelet/volumes/{made.metadata.uid}"
    assert node.sh(f"stat -f -c %T {place}/secret {place}/all").split() == ["tmpfs", "tmpfs"]
    assert node.sh(f"stat -f -c %T {place}/config").strip() != "tmpfs"
    assert SECRET not in podium("-n", namespace, "describe", "pod", "app")
    assert SECRET not in podium("-n", namespace, "events")

    podium("-n", namespace, "patch", "configmap", "settings", "-p", '{"data": {"mode": "slow", "new": "x"}}')
    podium("-n", namespace, "label", "pod", "app", "track=stable")
    until(
        lambda: _sh(namespace, "app", "cat /config/mode /all/new", check=False) == "slowx",
        seconds=5, what="the changed file",
    )  # fmt: skip
    until(lambda: 'track="stable"' in _sh(namespace, "app", "cat /pod/labels"), seconds=5, what="the new label")
    assert _sh(namespace, "app", "cat /one.conf; echo $APP_mode") == "fastfast"
    assert client.get(Pod, "app", namespace=namespace).status.container_statuses[0].restart_count == 0

    podium("-n", namespace, "delete", "pod", "app", "--timeout=30s")
    until(lambda: not node.sh(f"ls -d {place} 2>/dev/null || true").strip(), seconds=10, what="nothing left")
    assert made.metadata.uid not in node.sh("cat /proc/mounts")


def test_a_pod_waits_for_a_missing_key_and_starts_as_it_comes(client: Client, namespace: str) -> None:
    ref = {"configMapKeyRef": {"name": "late", "key": "mode"}}
    _apply(namespace, pod("waits", FOREVER, container={"env": [{"name": "MODE", "valueFrom": ref}]}))

    def waiting() -> Any:
        statuses = client.get(Pod, "waits", namespace=namespace).status.container_statuses
        return statuses[0].state.waiting if statuses else None

    def says(message: str) -> bool:
        return bool(waiting() and waiting().reason == "CreateContainerConfigError" and waiting().message == message)

    until(lambda: says('configmap "late" not found'), seconds=30, what="the missing object is named")
    _apply(namespace, _object("ConfigMap", "late", data={"other": "x"}))
    until(lambda: says(f"couldn't find key mode in ConfigMap {namespace}/late"), seconds=30, what="the key is named")
    _apply(namespace, _object("ConfigMap", "late", data={"mode": "on"}))
    _running(client, namespace, "waits")
    assert _sh(namespace, "waits", "echo $MODE") == "on"


def _new_nodelet(node: Host, old: int) -> int:
    """The process id of the nodelet that follows one that was killed."""
    return until(lambda: (pid := node.pid_of("podium-nodelet")) != old and pid, seconds=30, what="a new nodelet")


@pytest.mark.parametrize("moment", ["while it is down", "as it starts"])
def test_pods_made_anew_and_a_restarted_nodelet_keep_their_configuration(
    client: Client, namespace: str, moment: str
) -> None:
    # A busy machine may need longer than a lease to start a nodelet: then the pod must not be replaced.
    spec = {"volumes": VOLUMES[:2], "tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}
    mounts = {"volumeMounts": MOUNTS[:2], "command": FOREVER}
    _apply(
        namespace,
        _object("ConfigMap", "settings", data={"mode": "one"}),
        _object("Secret", "db", stringData={"password": SECRET}),
        deployment("app", image="busybox", replicas=1, spec=spec, container=mounts),
    )
    podium("-n", namespace, "rollout", "status", "deploy/app", "--timeout=60s", timeout=90)

    def newest() -> Pod:
        found = client.list(Pod, namespace=namespace, selector="app=app")
        return next(p for p in found if not p.metadata.HasField("deletion_timestamp"))

    first = newest()
    node = Host(first.spec.node_name)
    old = node.pid_of("podium-nodelet")
    node.sh(f"kill -9 {old}")
    if moment == "as it starts":
        _new_nodelet(node, old)
    config = client.get(ConfigMap, "settings", namespace=namespace)
    config.data["mode"] = "two"
    client.update(config)
    new, target = _new_nodelet(node, old), first.metadata.name
    until(
        lambda: _sh(namespace, target, "cat /config/mode", check=False) == "two",
        seconds=60, what="a change after the restart",
    )  # fmt: skip
    assert _sh(namespace, target, "cat /secret/password") == SECRET
    assert client.get(Pod, target, namespace=namespace).status.container_statuses[0].restart_count == 0
    assert node.pid_of("podium-nodelet") == new, "the new nodelet died by itself"

    podium("-n", namespace, "delete", "pod", target, "--timeout=30s")
    until(lambda: newest().metadata.uid != first.metadata.uid and is_ready(newest()), seconds=40, what="another pod")
    assert _sh(namespace, newest().metadata.name, "cat /config/mode /secret/password") == f"two{SECRET}"


def _rolled(kind: str, name: str, **spec: Any) -> str:
    """A workload that shows ConfigMap `settings` as a file and rolls with it."""
    container = {"name": "main", "image": "busybox", "command": FOREVER, "volumeMounts": MOUNTS[:1]}
    pods = {"containers": [container], "volumes": VOLUMES[:1], "terminationGracePeriodSeconds": 2}
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pods}
    made = {"configRollout": "Automatic", "selector": {"matchLabels": labels}, "template": template, **spec}
    body = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": made}
    return str(yaml.safe_dump(body))


def test_changes_are_rolled_out_with_stateful_sets_and_daemon_sets_and_undone(client: Client, namespace: str) -> None:
    """All that is waited for is waited for together."""
    settings = _object("ConfigMap", "settings", data={"mode": "one"})
    stateful = _rolled("StatefulSet", "db", replicas=2, podManagementPolicy="Parallel")
    at_once = {"rollingUpdate": {"maxUnavailable": "100%"}}
    _apply(namespace, settings, stateful, _rolled("DaemonSet", "agent", updateStrategy=at_once))

    def pods(app: str) -> list[Pod]:
        found = client.list(Pod, namespace=namespace, selector=f"app={app}")
        return sorted(
            (p for p in found if not p.metadata.HasField("deletion_timestamp")), key=lambda p: p.metadata.name
        )

    def shown() -> list[str]:
        ready = [p.metadata.name for p in (*pods("db"), *pods("agent")) if is_ready(p)]
        return [_sh(namespace, name, "cat /config/mode", check=False) for name in ready] if len(ready) == 5 else ready

    until(lambda: shown() == ["one"] * 5, seconds=90, what=shown)
    _apply(namespace, _object("ConfigMap", "settings", data={"mode": "two"}))
    until(lambda: shown() == ["two"] * 5, seconds=90, what=shown)
    first, last = pods("db")
    ready = next(c for c in last.status.conditions if c.type == "Ready").last_transition_time
    assert ready.ToDatetime() <= first.metadata.creation_timestamp.ToDatetime(), "db-0 waited for db-1"
    for workload in ("sts/db", "ds/agent"):
        assert "ConfigMap/settings[mode]: one -> two" in podium("-n", namespace, "rollout", "history", workload)
        podium("-n", namespace, "rollout", "undo", workload)
    until(lambda: shown() == ["one"] * 5, seconds=90, what=shown)
    assert client.get(ConfigMap, "settings", namespace=namespace).data["mode"] == "two"
