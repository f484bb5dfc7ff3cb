"""ReplicationController, DaemonSet and StatefulSet on real containers; a pod with an identity never runs twice."""

from __future__ import annotations

import datetime
import json
import time

import pytest

from podium.client import Client
from podium.objects.fencing import ACQUAINTED
from podium.objects.pod import is_ready
from podium.v1.apps_pb2 import DaemonSet, StatefulSet
from podium.v1.core_pb2 import Node, Pod
from tests.rig.manifests import workload
from tests.rig.rig import MASTER, NODES, PODIUM, Host, podium, run, until


def _apply(namespace: str, manifest: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin=manifest)


def _pods(client: Client, namespace: str) -> dict[str, Pod]:
    found = client.list(Pod, namespace=namespace)
    return {p.metadata.name: p for p in found if not p.metadata.HasField("deletion_timestamp")}


def _ready(client: Client, namespace: str) -> dict[str, Pod]:
    return {name: p for name, p in _pods(client, namespace).items() if is_ready(p)}


def test_a_replication_controller_is_scaled_and_read(client: Client, namespace: str) -> None:
    _apply(namespace, workload("ReplicationController", "rc", api_version="v1", replicas=1,
                                command=["sh", "-c", "echo here; sleep 1000"]))  # fmt: skip
    until(lambda: len(_ready(client, namespace)) == 1, seconds=30, what="one pod")
    podium("-n", namespace, "scale", "rc/rc", "--replicas=3")
    until(lambda: len(_ready(client, namespace)) == 3, seconds=30, what="three pods")
    assert podium("-n", namespace, "logs", "rc/rc").count("here") == 3
    assert "3 desired" in podium("-n", namespace, "describe", "rc", "rc")


def test_a_daemon_set_is_on_every_node_rolls_and_returns(client: Client, namespace: str) -> None:
    _apply(namespace, workload("DaemonSet", "agent"))
    podium("-n", namespace, "rollout", "status", "ds/agent", "--timeout=60s", timeout=90)
    assert sorted(p.spec.node_name for p in _ready(client, namespace).values()) == [h.name for h in NODES]
    podium("-n", namespace, "set", "env", "ds/agent", "LEVEL=2")
    podium("-n", namespace, "rollout", "status", "ds/agent", "--timeout=60s", timeout=90)
    assert all(p.spec.containers[0].env[0].value == "2" for p in _ready(client, namespace).values())
    podium("-n", namespace, "rollout", "undo", "ds/agent")
    podium("-n", namespace, "rollout", "status", "ds/agent", "--timeout=60s", timeout=90)
    assert not any(p.spec.containers[0].env for p in _ready(client, namespace).values())
    assert [r.revision for r in client.rollouts.history(DaemonSet, "agent", namespace=namespace)] == [2, 3]
    podium("label", "node", NODES[0].name, "agent=no")
    try:
        run(PODIUM, "-n", namespace, "patch", "ds", "agent", "-p", json.dumps({"spec": {"template": {"spec": {
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "agent", "operator": "DoesNotExist"}]}]}}}}}}}))  # fmt: skip
        until(lambda: {p.spec.node_name for p in _ready(client, namespace).values()} == {h.name for h in NODES[1:]},
              seconds=40, what="the pod to leave the labelled node")  # fmt: skip
    finally:
        podium("label", "node", NODES[0].name, "agent-")


def test_a_stateful_set_has_names_order_and_takes_back_a_broken_template(client: Client, namespace: str) -> None:
    _apply(namespace, workload("StatefulSet", "db", replicas=2, serviceName="dbs"))
    podium("-n", namespace, "rollout", "status", "sts/db", "--timeout=60s", timeout=90)
    assert sorted(_ready(client, namespace)) == ["db-0", "db-1"]
    assert podium("-n", namespace, "exec", "db-1", "--", "hostname").strip() == "db-1"
    assert f"db-1.dbs.{namespace}.svc.cluster.local" in podium(
        "-n", namespace, "exec", "db-1", "--", "cat", "/etc/hosts"
    )
    podium("-n", namespace, "set", "image", "sts/db", "main=registry.invalid/none:1")

    def broken() -> bool:
        pod = _pods(client, namespace).get("db-1")
        reasons = [s.state.waiting.reason for s in pod.status.container_statuses] if pod is not None else []
        return bool({"ErrImagePull", "ImagePullBackOff"}.intersection(reasons))

    until(broken, seconds=60, what="the broken pod")
    podium("-n", namespace, "rollout", "undo", "sts/db")
    podium("-n", namespace, "rollout", "status", "sts/db", "--timeout=60s", timeout=90)
    assert sorted(_ready(client, namespace)) == ["db-0", "db-1"]


# ---------------------------------------------------------------- never twice


def _age(node: Node) -> float:
    return time.time() - node.metadata.creation_timestamp.seconds


def _life(host: Host, uid: str) -> tuple[str, str, bool]:
    """When a pod's container on a host was started, when it ended, and whether it runs."""
    ids = host.engine("ps", "-aq", "--filter", f"label=io.podium.pod.uid={uid}",
                      "--filter", "label=io.podium.container.name=main").split()  # fmt: skip
    states = [c["State"] for c in json.loads(host.engine("inspect", *ids))] if ids else []
    assert states, f"no container of {uid} on {host.name}"
    newest = max(states, key=lambda s: s["StartedAt"])
    return newest["StartedAt"], newest["FinishedAt"], bool(newest["Running"])


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00")


def _stateful(client: Client, namespace: str) -> tuple[Pod, Host]:
    until(lambda: all(_age(node) > 2 * ACQUAINTED for node in client.list(Node)), seconds=60, what="nodes to be known")
    _apply(namespace, workload("StatefulSet", "db", replicas=1))
    until(lambda: "db-0" in _ready(client, namespace), seconds=30, what="db-0")
    first = _ready(client, namespace)["db-0"]
    return first, Host(first.spec.node_name)


def _replacement(client: Client, namespace: str, first: Pod) -> Pod:
    def found() -> Pod | None:
        pod = _ready(client, namespace).get("db-0")
        return pod if pod is not None and pod.metadata.uid != first.metadata.uid else None

    return until(found, seconds=60, what="db-0 elsewhere")


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("how", ["cut", "frozen"])
def test_a_stateful_pod_ends_before_it_begins_elsewhere(client: Client, namespace: str, how: str) -> None:
    """Cut off, the nodelet stops it; frozen and cut off, the watchdog does."""
    first, host = _stateful(client, namespace)
    nodelet = host.pid_of("podium-nodelet")
    if how == "frozen":
        host.sh(f"kill -STOP {nodelet}")
    host.cut()
    try:
        second = _replacement(client, namespace, first)
        _, ended, running = _life(host, first.metadata.uid)
        assert not running
        began, _, _ = _life(Host(second.spec.node_name), second.metadata.uid)
        assert second.spec.node_name != host.name
        assert _moment(ended) < _moment(began), f"ended {ended}, began elsewhere {began}"
    finally:
        host.heal()
        if how == "frozen":
            host.sh(f"kill -CONT {nodelet}")
    podium("wait", "--for=condition=Ready", f"node/{host.name}", "--timeout=60s", timeout=90)
    until(lambda: host.engine("ps", "-q", "--filter", f"label=io.podium.pod.namespace={namespace}") == "",
          seconds=30, what="nothing of it on the host that returned")  # fmt: skip
    assert _ready(client, namespace)["db-0"].metadata.uid == second.metadata.uid
    assert client.get(StatefulSet, "db", namespace=namespace).status.ready_replicas == 1


def _silence(host: Host) -> float:
    """For how long the host's nodelet has not been heard by a master, as it tells its peers."""
    return float(host.sh("curl -sf --max-time 2 http://127.0.0.1:7445/lease"))


@pytest.mark.usefixtures("whole")
def test_stateful_pods_go_on_without_the_master(client: Client, namespace: str) -> None:
    """Every node loses it at once, and they tell each other so: nobody is there to replace anything."""
    first, host = _stateful(client, namespace)
    before = _life(host, first.metadata.uid)
    MASTER.kill()
    try:
        until(lambda: _silence(host) > 16, seconds=60, what="a silence of more than two leases")
        assert _life(host, first.metadata.uid) == before
    finally:
        MASTER.start()
    podium("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s", timeout=90)
    assert _ready(client, namespace)["db-0"].metadata.uid == first.metadata.uid
    assert _life(host, first.metadata.uid) == before
