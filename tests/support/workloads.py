"""Pods, ReplicaSets, Deployments and Nodes as tests need them: valid, defaulted, one line each."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Mapping
from typing import Any

from podium.objects.meta import timestamp
from podium.objects.owners import owner_reference
from podium.objects.revisions import REVISION
from podium.objects.template import HASH_LABEL
from podium.v1.apps_pb2 import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from podium.v1.core_pb2 import ContainerStatus, Node, Pod, Taint, Toleration
from podium.v1.meta_pb2 import Condition

T0 = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
_uids = itertools.count(1)


def uid() -> str:
    """A fresh uid."""
    return f"uid-{next(_uids)}"


def at(seconds: float) -> datetime.datetime:
    """A moment after T0."""
    return T0 + datetime.timedelta(seconds=seconds)


def pod(
    name: str = "p",
    *,
    node: str = "",
    phase: str = "",
    ready: bool = False,
    ready_at: float = 0,
    restarts: int = 0,
    created: float = 0,
    owner: Any = None,
    labels: Mapping[str, str] | None = None,
    terminating: bool = False,
    tolerations: tuple[Toleration, ...] = (),
) -> Pod:
    """A pod of one container; `ready` implies Running."""
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, "default", uid()
    made.metadata.creation_timestamp.CopyFrom(timestamp(at(created)))
    made.metadata.labels.update(labels if labels is not None else {"app": "web"})
    if owner is not None:
        made.metadata.owner_references.append(owner_reference(owner))
    if terminating:
        made.metadata.deletion_timestamp.CopyFrom(timestamp(T0))
    made.spec.containers.add(name="c", image="busybox")
    made.spec.node_name = node
    made.spec.tolerations.extend(tolerations)
    made.status.phase = phase or ("Running" if ready else "Pending")
    if ready:
        made.status.conditions.append(
            Condition(type="Ready", status="True", last_transition_time=timestamp(at(ready_at)))
        )
    if restarts:
        made.status.container_statuses.append(ContainerStatus(name="c", restart_count=restarts))
    return made


def replica_set(
    name: str = "web-1",
    *,
    replicas: int = 3,
    available: int = 0,
    image: str = "busybox",
    revision: int = 0,
    owner: Deployment | None = None,
    created: float = 0,
) -> ReplicaSet:
    """A ReplicaSet of `app=web`; status says that all its pods exist."""
    made = ReplicaSet()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, "default", uid()
    made.metadata.generation = 1
    made.metadata.creation_timestamp.CopyFrom(timestamp(at(created)))
    if owner is not None:
        made.metadata.owner_references.append(owner_reference(owner))
    if revision:
        made.metadata.annotations[REVISION] = str(revision)
    made.spec.replicas = replicas
    made.spec.selector.match_labels["app"] = "web"
    made.spec.template.metadata.labels["app"] = "web"
    made.spec.template.spec.containers.add(name="c", image=image)
    if owner is not None:
        made.spec.template.metadata.labels[HASH_LABEL] = name
        made.spec.selector.match_labels[HASH_LABEL] = name
    made.status.replicas, made.status.available_replicas, made.status.ready_replicas = replicas, available, available
    made.status.observed_generation = 1
    return made


def replication_controller(name: str = "web", *, replicas: int = 3) -> ReplicationController:
    """A ReplicationController of `app=web`."""
    made = ReplicationController()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, "default", uid()
    made.spec.replicas = replicas
    made.spec.template.metadata.labels["app"] = "web"
    made.spec.template.spec.containers.add(name="c", image="busybox")
    return made


def deployment(
    name: str = "web",
    *,
    replicas: int = 3,
    image: str = "busybox",
    surge: int = 1,
    unavailable: int = 0,
    recreate: bool = False,
    paused: bool = False,
    deadline: int | None = 600,
    history: int = 10,
) -> Deployment:
    """A Deployment of `app=web` with its defaults written out."""
    made = Deployment()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, "default", uid()
    made.metadata.generation = 1
    made.spec.replicas = replicas
    made.spec.selector.match_labels["app"] = "web"
    made.spec.template.metadata.labels["app"] = "web"
    made.spec.template.spec.containers.add(name="c", image=image)
    made.spec.paused = paused
    made.spec.revision_history_limit = history
    if deadline is not None:
        made.spec.progress_deadline_seconds = deadline
    if recreate:
        made.spec.strategy.type = "Recreate"
    else:
        made.spec.strategy.type = "RollingUpdate"
        made.spec.strategy.rolling_update.max_surge.int_value = surge
        made.spec.strategy.rolling_update.max_unavailable.int_value = unavailable
    return made


def daemon_set(
    name: str = "agent", *, image: str = "busybox", unavailable: int = 1, surge: int = 0, on_delete: bool = False
) -> DaemonSet:
    """A DaemonSet of `app=web` with its defaults written out."""
    made = DaemonSet()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, "default", uid()
    made.metadata.generation = 1
    made.spec.selector.match_labels["app"] = "web"
    made.spec.template.metadata.labels["app"] = "web"
    made.spec.template.spec.containers.add(name="c", image=image)
    made.spec.revision_history_limit = 10
    made.spec.update_strategy.type = "OnDelete" if on_delete else "RollingUpdate"
    if not on_delete:
        made.spec.update_strategy.rolling_update.max_unavailable.int_value = unavailable
        made.spec.update_strategy.rolling_update.max_surge.int_value = surge
    return made


def stateful_set(
    name: str = "db",
    *,
    replicas: int = 3,
    image: str = "busybox",
    parallel: bool = False,
    partition: int = 0,
    unavailable: int = 1,
    start: int = 0,
    on_delete: bool = False,
) -> StatefulSet:
    """A StatefulSet of `app=web` with its defaults written out."""
    made = StatefulSet()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, "default", uid()
    made.metadata.generation = 1
    made.spec.replicas = replicas
    made.spec.selector.match_labels["app"] = "web"
    made.spec.template.metadata.labels["app"] = "web"
    made.spec.template.spec.containers.add(name="c", image=image)
    made.spec.service_name = "dbs"
    made.spec.pod_management_policy = "Parallel" if parallel else "OrderedReady"
    made.spec.revision_history_limit = 10
    made.spec.ordinals.start = start
    made.spec.update_strategy.type = "OnDelete" if on_delete else "RollingUpdate"
    if not on_delete:
        made.spec.update_strategy.rolling_update.partition = partition
        made.spec.update_strategy.rolling_update.max_unavailable.int_value = unavailable
    return made


def node(
    name: str, *, ready: str = "True", taints: tuple[Taint, ...] = (), labels: Mapping[str, str] | None = None
) -> Node:
    """A node whose Ready condition is `ready`."""
    made = Node()
    made.metadata.labels.update(labels or {})
    made.metadata.name, made.metadata.uid = name, uid()
    made.spec.taints.extend(taints)
    made.status.conditions.append(Condition(type="Ready", status=ready, last_transition_time=timestamp(T0)))
    return made
