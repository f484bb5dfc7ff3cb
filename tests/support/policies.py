"""Objects with which a namespace is governed, from their Kubernetes form."""

from __future__ import annotations

from typing import Any

from podium.codec.json import object_from_dict


def limit_range(*limits: dict[str, Any], name: str = "limits") -> Any:
    """A LimitRange; each item a Container's unless it says otherwise."""
    items = [{"type": "Container"} | item for item in limits]
    return named("LimitRange", name, spec={"limits": items})


def bounded_pod(name: str = "p", *, spec: dict[str, Any] | None = None, **resources: Any) -> Any:
    """A pod of one container, with `requests` and `limits`."""
    container: dict[str, Any] = {"name": "c", "image": "i:1", "resources": resources}
    return named("Pod", name, spec={"containers": [container], **(spec or {})})


def named(kind: str, name: str, api_version: str = "v1", **body: Any) -> Any:
    """An object of the namespace `default`, if its kind lives in one."""
    metadata: dict[str, Any] = {"name": name, "namespace": "default"} | body.pop("metadata", {})
    if kind == "PriorityClass":
        del metadata["namespace"]
    return object_from_dict({"apiVersion": api_version, "kind": kind, "metadata": metadata, **body})


def claim(size: str = "1Gi", name: str = "data", storage_class: str | None = None) -> Any:
    """A PersistentVolumeClaim."""
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return named("PersistentVolumeClaim", name, spec=spec)


def quota(hard: dict[str, Any], name: str = "quota", **spec: Any) -> Any:
    """A ResourceQuota."""
    return named("ResourceQuota", name, spec={"hard": hard, **spec})


def priority_class(name: str, value: int = 10, **body: Any) -> Any:
    """A PriorityClass."""
    return named("PriorityClass", name, "scheduling.k8s.io/v1", value=value, **body)


def budget(name: str = "budget", labels: dict[str, str] | None = None, **spec: Any) -> Any:
    """A PodDisruptionBudget of the pods with these labels; `app=web` when none are given."""
    selector = {"matchLabels": {"app": "web"} if labels is None else labels}
    return named("PodDisruptionBudget", name, "policy/v1", spec={"selector": selector} | spec)
