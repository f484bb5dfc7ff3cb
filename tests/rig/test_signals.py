"""Replicas and rollouts that follow figures beyond a pod's CPU: memory, one container's share, and Prometheus.

What answers for Prometheus here is a shell script in a pod, at the node port where the rig's master asks; the figures
that it gives are a ConfigMap. What is asked for, and what follows of the answer, is real.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import ConfigMap, Pod
from tests.rig.manifests import SLEEP, deployment, pod, workload
from tests.rig.rig import PODIUM, podium, run, until

PORT = 30909
ANSWER = r"""#!/bin/sh
while read -r line; do
  line=$(printf %s "$line" | tr -d '\r')
  [ -n "$line" ] || break
  case "$line" in [Cc]ontent-[Ll]ength:*) length=${line#*: };; esac
done
case "$(head -c "$length")" in
  *jobs_waiting*) value=$(cat /figures/waiting);;
  *success_ratio*) value=$(cat /figures/success);;
esac
text='{"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [0, "'$value'"]}]}}'
printf 'HTTP/1.1 200 OK\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' "${#text}" "$text"
"""
FILL = "dd if=/dev/zero of=/memory/f bs=1M count=24"


def _object(kind: str, name: str, **body: Any) -> str:
    return str(yaml.safe_dump({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **body}))


def _figures(waiting: int, success: float) -> str:
    return _object("ConfigMap", "figures", data={"waiting": str(waiting), "success": str(success)})


def _prometheus() -> list[str]:
    volumes = [
        {"name": "answer", "configMap": {"name": "answer", "defaultMode": 0o755}},
        {"name": "figures", "configMap": {"name": "figures"}},
    ]
    mounts = [{"name": "answer", "mountPath": "/answer"}, {"name": "figures", "mountPath": "/figures"}]
    ports = [{"port": 9090, "nodePort": PORT}]
    return [
        _object("ConfigMap", "answer", data={"answer": ANSWER}),
        _object("Service", "prometheus", spec={"type": "NodePort", "selector": {"app": "prometheus"}, "ports": ports}),
        pod("prometheus", ["nc", "-ll", "-p", "9090", "-e", "/answer/answer"], spec={"volumes": volumes},
            container={"volumeMounts": mounts}),
    ]  # fmt: skip


def _autoscaler(kind: str, name: str, metric: dict[str, Any], *, least: int = 1, most: int = 2) -> str:
    target = {"apiVersion": "apps/v1", "kind": kind, "name": name}
    made = {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": target, "minReplicas": least, "maxReplicas": most, "metrics": [metric],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 1}},
        },
    }  # fmt: skip
    return str(yaml.safe_dump(made))


MEMORY = {
    "type": "Resource",
    "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}},
}
OF_MAIN = {
    "type": "ContainerResource",
    "containerResource": {
        "name": "memory",
        "container": "main",
        "target": {"type": "AverageValue", "averageValue": "8Mi"},
    },
}
WAITING = {
    "type": "External",
    "external": {"metric": {"name": "jobs_waiting"}, "target": {"type": "AverageValue", "averageValue": "10"}},
}


def _scaled() -> list[str]:
    """Workloads with their autoscalers: `heavy` by memory, `pair` by that of one container, `worker` by a queue."""
    mount = {"volumeMounts": [{"name": "memory", "mountPath": "/memory"}]}
    heavy = yaml.safe_load(workload("ReplicaSet", "heavy", command=["sh", "-c", f"{FILL}; exec sleep 3600"],
                                    container={**mount, "resources": {"requests": {"memory": "16Mi"}}}))  # fmt: skip
    pair = yaml.safe_load(workload("StatefulSet", "pair", container=mount))
    # Beside `main`, another whose memory is none of this autoscaler's business.
    beside = {"name": "beside", "image": "busybox", "command": ["sh", "-c", f"{FILL}; exec sleep 3600"],
              "volumeMounts": [{"name": "other", "mountPath": "/memory"}]}  # fmt: skip
    pair["spec"]["template"]["spec"]["containers"].append(beside)
    for made in (heavy, pair):
        volumes = [
            {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": "32Mi"}} for name in ("memory", "other")
        ]
        made["spec"]["template"]["spec"]["volumes"] = volumes
    return [
        str(yaml.safe_dump(heavy)), _autoscaler("ReplicaSet", "heavy", MEMORY),
        str(yaml.safe_dump(pair)), _autoscaler("StatefulSet", "pair", OF_MAIN),
        deployment("worker", image="busybox", replicas=1, container={"command": SLEEP}),
        _autoscaler("Deployment", "worker", WAITING, least=0, most=3),
    ]  # fmt: skip


def _canary() -> str:
    metric = {
        "name": "success", "interval": "1s", "count": 2, "successCondition": ">= 0.99",
        "prometheus": {"query": 'success_ratio{pod=~"$(NAME)-$(HASH)-.*"}'},
    }  # fmt: skip
    steps = [{"setWeight": 50}, {"analysis": {"metrics": [metric]}}]
    strategy = {"type": "Canary", "rollback": {"onFailure": "Automatic"}, "canary": {"steps": steps}}
    return deployment(
        "web", image="busybox", replicas=2, container={"command": SLEEP}, deployment={"strategy": strategy}
    )


class _Space:
    """A namespace as it is now."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    def ready(self, app: str) -> list[Pod]:
        found = self._client.list(Pod, namespace=self._namespace, selector=f"app={app}")
        return [p for p in found if not p.metadata.HasField("deletion_timestamp") and is_ready(p)]

    def counts(self) -> dict[str, int]:
        return {app: len(self.ready(app)) for app in ("heavy", "pair", "worker", "web")}

    def levels(self) -> list[str]:
        """What each pod of the canary was made from."""
        return sorted(p.spec.containers[0].env[0].value if p.spec.containers[0].env else "" for p in self.ready("web"))

    def figures(self, **figures: str) -> None:
        self._client.patch(ConfigMap, "figures", {"data": figures}, namespace=self._namespace)

    def describe(self) -> str:
        return podium("-n", self._namespace, "describe", "hpa")


def test_memory_containers_queues_and_a_canary_by_prometheus(client: Client, namespace: str) -> None:
    manifests = [_figures(waiting=0, success=0.5), *_prometheus(), *_scaled(), _canary()]
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin="---\n".join(manifests))
    space = _Space(client, namespace)
    # Nothing waits, so nobody works; and what a container beside it takes is not what `main` takes.
    idle = {"heavy": 2, "pair": 1, "worker": 0, "web": 2}
    until(lambda: space.counts() == idle, seconds=90, what=lambda: (space.counts(), space.describe()))
    listed = podium("-n", namespace, "get", "hpa")
    assert "StatefulSet/pair" in listed
    assert "ReplicaSet/heavy" in listed
    until(lambda: "/8Mi" in podium("-n", namespace, "get", "hpa", "pair"), seconds=20, what="the container's figure")

    podium("-n", namespace, "exec", "pair-0", "-c", "main", "--", "sh", "-c", FILL)
    podium("-n", namespace, "set", "env", "deploy/web", "LEVEL=2")
    space.figures(waiting="25")
    full = {"heavy": 2, "pair": 2, "worker": 3, "web": 2}
    until(lambda: space.counts() == full and _failed(namespace), seconds=90,
          what=lambda: (space.counts(), space.describe()))  # fmt: skip
    until(lambda: space.levels() == ["", ""], seconds=60, what="the return of the canary")
    assert "failed: AnalysisFailed" in podium("-n", namespace, "rollout", "history", "deploy/web")
    assert "25" in podium("-n", namespace, "explain", "hpa", "worker")

    space.figures(waiting="0", success="0.999")
    until(lambda: not space.ready("worker"), seconds=60, what=space.describe)
    podium("-n", namespace, "rollout", "retry", "deploy/web")
    podium("-n", namespace, "rollout", "status", "deploy/web", "--timeout=60s", timeout=90)
    assert space.levels() == ["2", "2"]


def _failed(namespace: str) -> bool:
    found = json.loads(podium("-n", namespace, "get", "deploy", "web", "-o", "json"))
    return bool(found["status"].get("aborted"))
