"""How DaemonSets and StatefulSets replace their pods, by every strategy, on real containers at once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.apps_pb2 import DaemonSet, StatefulSet
from podium.v1.core_pb2 import Pod
from tests.rig.manifests import workload
from tests.rig.rig import NODES, PODIUM, podium, run, until

Kind = type[DaemonSet] | type[StatefulSet]

SETS: Mapping[str, Kind] = {
    "surge": DaemonSet, "by-hand": DaemonSet, "part": StatefulSet, "hand": StatefulSet, "fifth": StatefulSet,
}  # fmt: skip
"""Those whose template changes; `side` is made, and stays as it is."""


def _manifests() -> str:
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
    by_hand = {"type": "OnDelete"}
    parts = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    # The first pod of `side` is never ready, so whoever waits for it makes no other.
    never = {"exec": {"command": ["sh", "-c", '[ "$(hostname)" != side-0 ]']}, "periodSeconds": 1}
    return "---\n".join(
        [
            workload("DaemonSet", "surge", minReadySeconds=2, updateStrategy=surge),
            workload("DaemonSet", "by-hand", updateStrategy=by_hand),
            workload("StatefulSet", "part", replicas=3, podManagementPolicy="Parallel", updateStrategy=parts),
            workload("StatefulSet", "hand", replicas=2, podManagementPolicy="Parallel", updateStrategy=by_hand),
            workload("StatefulSet", "fifth", replicas=2, ordinals={"start": 5}, podManagementPolicy="Parallel"),
            workload("StatefulSet", "side", replicas=3, podManagementPolicy="Parallel",
                     container={"readinessProbe": never}),
        ]
    )  # fmt: skip


class _Sets:
    """The sets of a namespace as they are now, by their pods' label."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    def pods(self, app: str) -> list[Pod]:
        """Those that are not being deleted, by name."""
        found = self._client.list(Pod, namespace=self._namespace, selector=f"app={app}")
        return sorted(
            (p for p in found if not p.metadata.HasField("deletion_timestamp")), key=lambda p: p.metadata.name
        )

    def ready(self, app: str) -> list[Pod]:
        return [p for p in self.pods(app) if is_ready(p)]

    def levels(self, app: str) -> list[str]:
        """What each pod that is ready was made from: `LEVEL` of its template."""
        return [p.spec.containers[0].env[0].value if p.spec.containers[0].env else "" for p in self.ready(app)]

    def all_levels(self) -> dict[str, list[str]]:
        return {app: self.levels(app) for app in SETS}

    def seen(self) -> bool:
        """Whether every controller has taken the templates in that are there now."""
        found = [self._client.get(kind, app, namespace=self._namespace) for app, kind in SETS.items()]
        return all(s.status.observed_generation == s.metadata.generation for s in found)

    def change(self) -> None:
        main = {"name": "main", "env": [{"name": "LEVEL", "value": "2"}]}
        patch = {"spec": {"template": {"spec": {"containers": [main]}}}}
        for app, kind in SETS.items():
            self._client.patch(kind, app, patch, namespace=self._namespace)

    def delete(self, *pods: str) -> None:
        podium("-n", self._namespace, "delete", "pod", *pods, "--timeout=30s", timeout=60)


def test_every_way_to_replace_pods(client: Client, namespace: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin=_manifests())
    sets = _Sets(client, namespace)
    full = {"surge": 3, "by-hand": 3, "part": 3, "hand": 2, "fifth": 2, "side": 2}
    until(lambda: {app: len(sets.ready(app)) for app in full} == full, seconds=90, what=sets.all_levels)

    # Parallel: all of them were made, though the first is not ready.
    assert [p.metadata.name for p in sets.pods("side")] == ["side-0", "side-1", "side-2"]
    assert [p.metadata.name for p in sets.ready("fifth")] == ["fifth-5", "fifth-6"]
    assert [p.metadata.labels["apps.kubernetes.io/pod-index"] for p in sets.ready("fifth")] == ["5", "6"]
    assert podium("-n", namespace, "exec", "fifth-6", "--", "hostname").strip() == "fifth-6"

    sets.change()
    crowds = _watch_the_update(sets)
    assert min(crowds) == 1, "with maxSurge no node is ever without a pod that is ready"
    assert max(crowds) == 2, "the new pod is made beside the old one"
    assert sets.seen()

    # Pods that wait for somebody to delete them come back from the new template; below the partition from the old one.
    mine = next(p for p in sets.ready("by-hand") if p.spec.node_name == NODES[0].name)
    sets.delete(mine.metadata.name, "hand-0", "part-0")
    until(lambda: _sorted(sets) == {**UPDATED, "by-hand": ["", "", "2"], "hand": ["", "2"]}, seconds=60,
          what=sets.all_levels)  # fmt: skip
    assert sets.levels("hand") == ["2", ""]
    assert sets.levels("part") == ["", "", "2"]
    _is_told(namespace)


UPDATED = {"surge": ["2"] * 3, "by-hand": [""] * 3, "part": ["", "", "2"], "hand": [""] * 2, "fifth": ["2"] * 2}


def _sorted(sets: _Sets) -> dict[str, list[str]]:
    return {app: sorted(levels) for app, levels in sets.all_levels().items()}


def _watch_the_update(sets: _Sets) -> set[int]:
    """Until all is updated that is updated by itself: how many ready pods of `surge` were on a node, at any look."""
    crowds: set[int] = set()

    def updated() -> bool:
        on = Counter(p.spec.node_name for p in sets.ready("surge"))
        crowds.update(on[host.name] for host in NODES)
        return sets.seen() and _sorted(sets) == UPDATED

    until(updated, seconds=90, what=sets.all_levels)
    return crowds


def _is_told(namespace: str) -> None:
    """Their status says how many are new."""
    listed: Any = json.loads(podium("-n", namespace, "get", "ds,sts", "-o", "json"))
    status = {item["metadata"]["name"]: item["status"] for item in listed["items"]}
    assert status["by-hand"]["updatedNumberScheduled"] == 1
    assert [status[name].get("updatedReplicas") for name in ("part", "hand", "fifth")] == [1, 1, 2]
    assert status["part"]["currentRevision"] != status["part"]["updateRevision"]
