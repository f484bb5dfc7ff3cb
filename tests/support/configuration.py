"""ConfigMaps and Secrets for tests of what shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.codec.json import object_from_dict
from podium.objects.kinds import Key, key_of
from podium.v1.core_pb2 import ConfigMap, Pod, Secret


def config_map(
    name: str, data: Mapping[str, str] | None = None, *, namespace: str = "ns", **binary: bytes
) -> ConfigMap:
    """A ConfigMap; further arguments are binary data."""
    made = ConfigMap(data=data or {}, binary_data=binary)
    made.metadata.namespace, made.metadata.name = namespace, name
    return made


def secret(name: str, data: Mapping[str, bytes], *, namespace: str = "ns") -> Secret:
    """A Secret."""
    made = Secret(data=data)
    made.metadata.namespace, made.metadata.name = namespace, name
    return made


def by_key(*objects: Any) -> dict[Key, Any]:
    """As the pod workers get them."""
    return {key_of(obj): obj for obj in objects}


def pod_with(volumes: list[dict[str, Any]] | None = None, container: dict[str, Any] | None = None, *, uid: str = "u1",
             annotations: dict[str, str] | None = None, **spec: Any) -> Pod:  # fmt: skip
    """A pod of this node with one container `app`, its parts written as in a manifest."""
    body = {"name": "app", "image": "app:1", "imagePullPolicy": "IfNotPresent"} | (container or {})
    data = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"p-{uid}", "namespace": "ns", "uid": uid, "generation": 1,
            "labels": {"app": "web", "tier": "front"}, "annotations": annotations or {},
        },
        "spec": {"containers": [body], "volumes": volumes or [], "nodeName": "n1", "restartPolicy": "Always"} | spec,
    }  # fmt: skip
    made: Pod = object_from_dict(data)
    return made
