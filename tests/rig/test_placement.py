"""Where pods go on three real hosts: apart from each other, evenly, and not before a gate is removed."""

from __future__ import annotations

from collections import Counter

from podium.client import Client
from podium.objects.conditions import get_condition
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Pod
from tests.rig.manifests import deployment, pod
from tests.rig.rig import NODES, PODIUM, podium, run, until

HOST = "kubernetes.io/hostname"
SLEEP = {"command": ["sleep", "infinity"]}


def _pods(client: Client, namespace: str, app: str) -> list[Pod]:
    return list(client.list(Pod, namespace=namespace, selector=f"app={app}"))


def _apply(namespace: str, manifest: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin=manifest)


def _ready(client: Client, namespace: str, app: str, count: int) -> list[Pod]:
    def look() -> list[Pod] | None:
        ready = [p for p in _pods(client, namespace, app) if is_ready(p)]
        return ready if len(ready) == count else None

    return until(look, seconds=60, what=f"{count} ready pods of {app}")


def test_replicas_that_avoid_each_other_take_a_host_each_and_the_fourth_says_why_it_waits(
    client: Client, namespace: str
) -> None:
    apart = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"app": "apart"}}, "topologyKey": HOST}
            ]
        }
    }
    _apply(
        namespace, deployment("apart", image="busybox", replicas=4, container=SLEEP, spec={"affinity": apart})
    )  # fmt: skip
    ready = _ready(client, namespace, "apart", 3)
    assert {p.spec.node_name for p in ready} == {host.name for host in NODES}

    def waiting() -> Pod | None:
        left = [p for p in _pods(client, namespace, "apart") if not p.spec.node_name]
        told = get_condition(left[0].status.conditions, "PodScheduled") if len(left) == 1 else None
        return (
            left[0] if told is not None and "3 node(s) didn't match pod anti-affinity rules" in told.message else None
        )

    left = until(waiting, seconds=20, what="the fourth replica says why it waits")
    said = podium("-n", namespace, "explain", "pod", left.metadata.name, "--nodes")
    assert f"pod anti-affinity over {HOST}, pods matching app=apart in namespace {namespace}" in said
    for host in NODES:
        assert f"1 of the pods matching app=apart in namespace {namespace} in {HOST}={host.name}" in said

    podium("-n", namespace, "delete", "pod", ready[0].metadata.name)
    again = _ready(client, namespace, "apart", 3)
    assert {p.spec.node_name for p in again} == {host.name for host in NODES}


def test_replicas_are_spread_evenly(client: Client, namespace: str) -> None:
    even = {
        "maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "even"}}, "matchLabelKeys": ["pod-template-hash"],
    }  # fmt: skip
    spec = {"topologySpreadConstraints": [even]}
    _apply(namespace, deployment("even", image="busybox", replicas=6, container=SLEEP, spec=spec))
    placed = Counter(p.spec.node_name for p in _ready(client, namespace, "even", 6))
    assert placed == {host.name: 2 for host in NODES}


def test_a_gated_pod_runs_when_its_gate_is_removed(client: Client, namespace: str) -> None:
    _apply(namespace, pod("gated", ["sleep", "infinity"], spec={"schedulingGates": [{"name": "example.com/wait"}]}))
    assert "SchedulingGated" in podium("-n", namespace, "get", "pod", "gated")
    assert "example.com/wait" in podium("-n", namespace, "explain", "pod", "gated")
    removal = '{"spec":{"schedulingGates":[{"name":"example.com/wait","$patch":"delete"}]}}'
    podium("-n", namespace, "patch", "pod", "gated", "-p", removal)
    _ready(client, namespace, "gated", 1)
