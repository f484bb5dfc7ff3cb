"""What is promised when things die: hosts, networks, nodelets, engines, the master, containers."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from podium.client import Client
from podium.errors import PodiumError
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Namespace, Node, Pod
from tests.rig.manifests import deployment, pod
from tests.rig.rig import MASTER, NODES, PODIUM, Host, podium, run, until

pytestmark = pytest.mark.usefixtures("whole")

CUT_SECONDS = 30.0


def _live(client: Client, namespace: str) -> list[Pod]:
    return [p for p in client.list(Pod, namespace=namespace) if not p.metadata.HasField("deletion_timestamp")]


def _ready_outside(client: Client, namespace: str, host: Host) -> int:
    return sum(is_ready(p) and p.spec.node_name != host.name for p in _live(client, namespace))


def _lost_for(client: Client, host: Host) -> float:
    """Seconds since the master has given a node up; 0 while it has not."""
    (ready,) = [c for c in client.get(Node, host.name).status.conditions if c.type == "Ready"]
    return time.time() - ready.last_transition_time.seconds if ready.status == "Unknown" else 0.0


def _deploy(namespace: str, manifest: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", "--wait", "--timeout=120s", stdin=manifest, timeout=150)


def _restarts(client: Client, of: Pod) -> int:
    pod_ = client.get(Pod, of.metadata.name, namespace=of.metadata.namespace)
    return pod_.status.container_statuses[0].restart_count


def _sandboxes(host: Host, namespace: str) -> list[str]:
    """Names of the pods of a namespace that have a running container on a host, as its engine sees it."""
    format_ = '{{.Label "io.podium.pod.name"}}'
    listing = host.engine("ps", "--filter", f"label=io.podium.pod.namespace={namespace}", "--format", format_)
    return sorted(set(listing.split()))


def test_a_killed_host_is_replaced_within_ten_seconds(client: Client, namespace: str) -> None:
    _deploy(namespace, deployment("web"))
    victim = Host(_live(client, namespace)[0].spec.node_name)
    start = time.monotonic()
    victim.kill()
    until(lambda: _ready_outside(client, namespace, victim) == 3, seconds=30, what="three ready pods on other hosts")
    took = time.monotonic() - start
    victim.start()
    podium("wait", "--for=condition=Ready", f"node/{victim.name}", "--timeout=60s", timeout=90)
    until(lambda: len(client.list(Pod, namespace=namespace)) == 3, seconds=30, what="the lost pods' objects to go")
    assert _sandboxes(victim, namespace) == [], "what was replaced must not run again"
    assert took <= 10.0


def test_a_host_cut_off_for_long_comes_back_clean(client: Client, namespace: str) -> None:
    _deploy(namespace, deployment("web"))
    victim = Host(_live(client, namespace)[0].spec.node_name)
    victim.cut()
    try:
        until(lambda: _ready_outside(client, namespace, victim) == 3, seconds=30, what="replacements elsewhere")
        until(lambda: _lost_for(client, victim) >= CUT_SECONDS, seconds=CUT_SECONDS + 30, what="a silence of 30 s")
        assert _sandboxes(victim, namespace), "the cut host cannot know, and goes on"
        assert _ready_outside(client, namespace, victim) == 3, "what was replaced is left alone meanwhile"
    finally:
        victim.heal()
    podium("wait", "--for=condition=Ready", f"node/{victim.name}", "--timeout=60s", timeout=90)
    until(lambda: len(client.list(Pod, namespace=namespace)) == 3, seconds=40, what="exactly three pods")
    until(lambda: _sandboxes(victim, namespace) == [], seconds=30, what="the doubles to be stopped")
    assert sum(is_ready(p) for p in _live(client, namespace)) == 3


@pytest.mark.parametrize("program", ["podium-nodelet", "dockerd"])
def test_nothing_restarts_when_a_daemon_of_the_host_is_killed(client: Client, namespace: str, program: str) -> None:
    _deploy(namespace, deployment("web"))
    host = Host(_live(client, namespace)[0].spec.node_name)
    uids = {p.metadata.uid for p in _live(client, namespace)}
    before, old = host.started(), host.pid_of(program)
    host.sh(f"kill -9 {old}")
    until(lambda: host.pid_of(program) not in (0, old), seconds=20, what=f"a new {program}")
    until(lambda: host.engine("ps", "-q", check=False), seconds=20, what="the engine's answer")

    # Proof that the whole chain works again: a container killed behind our back is started anew.
    (target,) = [p for p in _live(client, namespace) if p.spec.node_name == host.name]
    assert host.started().items() >= before.items()
    assert {p.metadata.uid for p in _live(client, namespace)} == uids
    host.engine("kill", target.status.container_statuses[0].container_id.removeprefix("docker://"))
    until(
        lambda: _restarts(client, target) == 1 and is_ready(client.get(Pod, target.metadata.name, namespace=namespace)),
        seconds=30, what="the killed container's restart",
    )  # fmt: skip
    others = {p.metadata.name: p.status.container_statuses[0].restart_count for p in _live(client, namespace)}
    assert Counter(others.values()) == Counter({0: 2, 1: 1})


def test_nodes_go_on_without_the_master(client: Client, namespace: str) -> None:
    _deploy(namespace, deployment("web", replicas=3))
    target = _live(client, namespace)[0]
    host, before = Host(target.spec.node_name), {h.name: h.started() for h in NODES}
    MASTER.kill()
    try:
        container = target.status.container_statuses[0].container_id.removeprefix("docker://")
        host.engine("kill", container)
        label = f"label=io.podium.pod.uid={target.metadata.uid}"
        until(
            lambda: set(host.engine("ps", "-q", "--no-trunc", "--filter", label).split()) - set(before[host.name]),
            seconds=20, what="a restart without the master",
        )  # fmt: skip
    finally:
        MASTER.start()
    podium("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s", timeout=90)
    until(
        lambda: _restarts(client, target) == 1, seconds=30, what="the master to hear of the restart",
    )  # fmt: skip
    assert {p.metadata.uid for p in _live(client, namespace)} >= {target.metadata.uid}
    for other in NODES:
        kept = {k: v for k, v in before[other.name].items() if k != container}
        assert other.started().items() >= kept.items(), "no container is touched by the master's death"


def test_a_killed_master_keeps_every_acknowledged_object(client: Client) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()

    def create() -> None:
        for number in range(1000):
            if stop.is_set():
                return
            name = f"acknowledged-{number}"
            space = Namespace()
            space.metadata.name = name
            space.metadata.labels["test"] = "acknowledged"
            try:
                client.create(space)
            except PodiumError:
                return
            acknowledged.append(name)

    writer = threading.Thread(target=create)
    writer.start()
    until(lambda: len(acknowledged) > 200, seconds=30, what="two hundred answers")
    MASTER.kill()
    stop.set()
    writer.join(timeout=60)
    MASTER.start()
    until(lambda: podium("version", check=False).count("master"), seconds=30, what="the master's answer")
    present = {n.metadata.name for n in client.list(Namespace, selector="test=acknowledged")}
    missing = set(acknowledged) - present
    client.delete_collection(Namespace, selector="test=acknowledged")
    until(lambda: not client.list(Namespace, selector="test=acknowledged"), seconds=90, what="the namespaces to go")
    assert not missing


def test_a_pod_that_ignores_sigterm_dies_after_its_grace(client: Client, namespace: str) -> None:
    stubborn = pod("stubborn", ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"])
    _deploy(namespace, stubborn)
    start = time.monotonic()
    podium("-n", namespace, "delete", "pod", "stubborn", "--grace-period=3", "--timeout=30s")
    assert 2.5 <= time.monotonic() - start < 15
    assert all(_sandboxes(h, namespace) == [] for h in NODES)


def test_a_hanging_probe_counts_as_a_failure(client: Client, namespace: str) -> None:
    probe = {"exec": {"command": ["sleep", "100"]}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2}
    _deploy_without_wait(namespace, pod("hang", ["sleep", "1000"], container={"livenessProbe": probe}))
    until(
        lambda: [s for s in client.get(Pod, "hang", namespace=namespace).status.container_statuses if s.restart_count],
        seconds=40, what="a restart by the liveness probe",
    )  # fmt: skip
    assert "Unhealthy" in podium("-n", namespace, "describe", "pod", "hang")


def _deploy_without_wait(namespace: str, manifest: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin=manifest)


def test_a_node_that_claims_anothers_name_is_refused(client: Client) -> None:
    token = podium("token", "create", "--ttl=5m").strip()
    other = Host("node1")
    impostor = (
        f"podium-nodelet --node-name node2 --master master --http-listen= --data-dir /tmp/it --join-token {token}"
    )
    out = other.sh(
        f"{impostor} > /tmp/said 2>&1 & "
        "for i in $(seq 120); do grep -q 'another machine' /tmp/said && break; sleep 0.25; done; "
        "kill $!; wait; cat /tmp/said; rm -rf /tmp/it /tmp/said",
        check=False, timeout=60,
    )  # fmt: skip
    assert "is alive on another machine" in out, out
    assert "podium delete node node2" in out, "what to do, and with which node"
    node = client.get(Node, "node2")
    assert any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
