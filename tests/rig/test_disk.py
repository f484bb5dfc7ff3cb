"""A real disk: a pod that takes more of it than it may is evicted, and nothing of it stays there."""

from __future__ import annotations

import json
from typing import Any

from podium.client import Client
from podium.v1.core_pb2 import Event, Pod
from tests.rig.manifests import pod
from tests.rig.rig import PODIUM, Host, podium, run, until

GROWS = "echo begun; dd if=/dev/zero of=/scratch/big bs=1M count={size} && exec sleep 3600"


def _writes(name: str, size: int) -> str:
    """A pod that writes so many MiB into a volume that may take 8."""
    volumes: list[dict[str, Any]] = [{"name": "scratch", "emptyDir": {"sizeLimit": "8Mi"}}]
    return pod(
        name, ["sh", "-c", GROWS.format(size=size)], spec={"volumes": volumes, "nodeName": "node1"},
        container={"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]},
    )  # fmt: skip


def test_a_volume_that_outgrows_its_limit_costs_its_pod_and_no_other(client: Client, namespace: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin=f"{_writes('modest', 4)}---\n{_writes('greedy', 12)}")

    def evicted() -> Pod | None:
        found = client.get(Pod, "greedy", namespace=namespace)
        return found if found.status.phase == "Failed" else None

    status = until(evicted, seconds=90, what="the greedy pod to be evicted").status
    message = 'Usage of EmptyDir volume "scratch" exceeds the limit "8Mi".'
    assert (status.reason, status.message) == ("Evicted", message)
    events = until(
        lambda: [e for e in client.list(Event, namespace=namespace) if e.reason == "Evicted"],
        seconds=20, what="an event",
    )  # fmt: skip
    assert [(e.involved_object.name, e.type, e.message) for e in events] == [("greedy", "Warning", message)]
    assert message in podium("-n", namespace, "describe", "pod", "greedy")

    node, uid = Host("node1"), client.get(Pod, "greedy", namespace=namespace).metadata.uid
    until(lambda: not _left(node, uid), seconds=30, what=lambda: f"nothing left on the disk but {_left(node, uid)}")
    after = client.get(Pod, "greedy", namespace=namespace).status
    said, stays = (
        "what was said of it stays, though its containers are gone",
        (after.phase, after.reason, after.message),
    )
    assert stays == ("Failed", "Evicted", message), said
    assert list(after.container_statuses) == list(status.container_statuses), said
    assert after.container_statuses[0].state.HasField("terminated")
    assert client.get(Pod, "modest", namespace=namespace).status.phase == "Running"


def _left(node: Host, uid: str) -> list[str]:
    """What a host still has of a pod: containers, and folders of volumes."""
    ids = node.engine("ps", "-aq").split()
    known = json.loads(node.engine("inspect", *ids)) if ids else []
    containers = [c["Name"] for c in known if uid in json.dumps(c["Config"]["Labels"])]
    return containers + node.sh(f"ls -d /var/lib/podium/nodelet/volumes/{uid} 2>/dev/null || true").split()
