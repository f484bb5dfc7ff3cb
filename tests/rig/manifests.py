"""Manifests that rig tests apply."""

from __future__ import annotations

from typing import Any

import yaml

SLEEP = ["sh", "-c", "trap exit TERM; while true; do sleep 0.2; done"]
"""Runs until it is asked to end, and then ends at once."""


def deployment(name: str, *, image: str = "nginx:1.14.2", replicas: int = 3, **pod: Any) -> str:
    """A Deployment of one container, with a readiness probe when it is nginx; `container` and `spec` extend the pod."""
    container: dict[str, Any] = {"name": name, "image": image, **pod.get("container", {})}
    if image.startswith("nginx"):
        container.setdefault("ports", [{"containerPort": 80}])
        container.setdefault("readinessProbe", {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1})
    labels = {"app": name}
    return str(
        yaml.safe_dump(
            {
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {
                    "replicas": replicas, "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": dict(labels)},
                        "spec": {"containers": [container], "terminationGracePeriodSeconds": 2, **pod.get("spec", {})},
                    },
                    **pod.get("deployment", {}),
                },
            }
        )
    )  # fmt: skip


def pod(name: str, command: list[str], *, image: str = "busybox", spec: dict[str, Any] | None = None,
        container: dict[str, Any] | None = None) -> str:  # fmt: skip
    """A pod of one container."""
    return str(
        yaml.safe_dump(
            {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
                "spec": {
                    "containers": [{"name": "main", "image": image, "command": command, **(container or {})}],
                    "terminationGracePeriodSeconds": 2, **(spec or {}),
                },
            }
        )
    )  # fmt: skip


def workload(
    kind: str,
    name: str,
    *,
    api_version: str = "apps/v1",
    command: list[str] | None = None,
    container: dict[str, Any] | None = None,
    **spec: Any,
) -> str:
    """A workload of one container `main`, extended by `container`; `spec` extends the workload's."""
    main = {"name": "main", "image": "busybox", "command": command or SLEEP, **(container or {})}
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [main], "terminationGracePeriodSeconds": 2},
    }
    selector = {"app": name} if kind == "ReplicationController" else {"matchLabels": {"app": name}}
    body = {"selector": selector, "template": template, **spec}
    return str(yaml.safe_dump({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": body}))


def job(name: str, script: str, *, template: dict[str, Any] | None = None, **spec: Any) -> str:
    """A Job whose pods run a shell script; `template` extends their spec."""
    pods = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", script]}],
        **(template or {}),
    }
    body = {"template": {"spec": pods}, **spec}
    return str(yaml.safe_dump({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": body}))


def on_demand(name: str, *, most: int, window: int = 2) -> str:
    """A Deployment of one pod that is busy while it has a file /tmp/busy, and its autoscaler."""
    loop = "while :; do if [ -e /tmp/busy ]; then :; else sleep 0.2; fi; done"
    container = {
        "command": ["sh", "-c", loop],
        "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "400m"}},
    }
    workload = deployment(name, image="busybox", replicas=1, container=container)
    aim = {"type": "Utilization", "averageUtilization": 50}
    autoscaler = {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1, "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": aim}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": window}},
        },
    }  # fmt: skip
    return f"{workload}---\n{yaml.safe_dump(autoscaler)}"
