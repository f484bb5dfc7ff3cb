"""The registry of kinds: what each is called, where it lives, which message holds it.

An object is its protobuf message; `apiVersion` and `kind` are not stored in it but follow from the message's type.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple, Protocol, TypeVar

from google.protobuf.message import Message

from podium.errors import BadRequest
from podium.v1 import (
    apps_pb2,
    autoscaling_pb2,
    batch_pb2,
    coordination_pb2,
    core_pb2,
    ingress_pb2,
    networking_pb2,
    nodepool_pb2,
    policy_pb2,
    storage_pb2,
)
from podium.v1.meta_pb2 import ObjectMeta

TYPE_URL_PREFIX = "type.googleapis.com/"


class Object(Protocol):
    """Any kind's message: what all of them share."""

    @property
    def metadata(self) -> ObjectMeta: ...

    def SerializeToString(self, deterministic: bool = ...) -> bytes: ...
    def CopyFrom(self, other: Any) -> None: ...
    def HasField(self, field_name: Any) -> bool: ...


M = TypeVar("M", bound=Message)


class Key(NamedTuple):
    """Names an object of any kind. `namespace` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of object.

    Attributes:
        name: `Deployment`.
        api_version: `apps/v1`.
        plural: `deployments`, as in commands and REST paths.
        short_names: Further names that commands accept.
        message: The protobuf class.
        namespaced: Whether objects live in a namespace.
        subresources: Of `status`, `scale`, `binding`, `eviction`.
        has_generation: Whether `metadata.generation` counts changes of spec.
    """

    name: str
    api_version: str
    plural: str
    message: type[Message]
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: frozenset[str] = frozenset()
    has_generation: bool = True

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def singular(self) -> str:
        """Lower-case name, as printed in `deployment/web`."""
        return self.name.lower()

    @property
    def type_url(self) -> str:
        """The google.protobuf.Any type URL of the kind's message."""
        return TYPE_URL_PREFIX + self.message.DESCRIPTOR.full_name

    @property
    def qualified(self) -> str:
        """`deployment.apps`, or `pod` in the core group."""
        return f"{self.singular}.{self.group}" if self.group else self.singular


_STATUS = frozenset({"status"})

POD_PARTS = frozenset({"ephemeralcontainers", "resize"})
"""Sub-resources of Pod that are a part of its spec."""

KINDS: tuple[Kind, ...] = (
    Kind(name="Namespace", api_version="v1", plural="namespaces", short_names=("ns",), message=core_pb2.Namespace,
         namespaced=False, subresources=_STATUS, has_generation=False),
    Kind(name="Node", api_version="v1", plural="nodes", short_names=("no",), message=core_pb2.Node,
         namespaced=False, subresources=_STATUS, has_generation=False),
    Kind(name="Pod", api_version="v1", plural="pods", short_names=("po",), message=core_pb2.Pod,
         subresources=frozenset({"status", "binding", "eviction"}) | POD_PARTS),
    Kind(name="Secret", api_version="v1", plural="secrets", message=core_pb2.Secret, has_generation=False),
    Kind(name="ConfigMap", api_version="v1", plural="configmaps", short_names=("cm",), message=core_pb2.ConfigMap,
         has_generation=False),
    Kind(name="Event", api_version="v1", plural="events", short_names=("ev",), message=core_pb2.Event,
         has_generation=False),
    Kind(name="ReplicationController", api_version="v1", plural="replicationcontrollers", short_names=("rc",),
         message=apps_pb2.ReplicationController, subresources=frozenset({"status", "scale"})),
    Kind(name="ReplicaSet", api_version="apps/v1", plural="replicasets", short_names=("rs",),
         message=apps_pb2.ReplicaSet, subresources=frozenset({"status", "scale"})),
    Kind(name="Deployment", api_version="apps/v1", plural="deployments", short_names=("deploy",),
         message=apps_pb2.Deployment, subresources=frozenset({"status", "scale"})),
    Kind(name="HorizontalPodAutoscaler", api_version="autoscaling/v2", plural="horizontalpodautoscalers",
         short_names=("hpa",), message=autoscaling_pb2.HorizontalPodAutoscaler, subresources=_STATUS),
    Kind(name="PersistentVolume", api_version="v1", plural="persistentvolumes", short_names=("pv",),
         message=storage_pb2.PersistentVolume, namespaced=False, subresources=_STATUS, has_generation=False),
    Kind(name="PersistentVolumeClaim", api_version="v1", plural="persistentvolumeclaims", short_names=("pvc",),
         message=storage_pb2.PersistentVolumeClaim, subresources=_STATUS, has_generation=False),
    Kind(name="StorageClass", api_version="storage.k8s.io/v1", plural="storageclasses", short_names=("sc",),
         message=storage_pb2.StorageClass, namespaced=False, has_generation=False),
    Kind(name="DaemonSet", api_version="apps/v1", plural="daemonsets", short_names=("ds",),
         message=apps_pb2.DaemonSet, subresources=_STATUS),
    Kind(name="StatefulSet", api_version="apps/v1", plural="statefulsets", short_names=("sts",),
         message=apps_pb2.StatefulSet, subresources=frozenset({"status", "scale"})),
    Kind(name="ControllerRevision", api_version="apps/v1", plural="controllerrevisions",
         message=apps_pb2.ControllerRevision, has_generation=False),
    Kind(name="Job", api_version="batch/v1", plural="jobs", message=batch_pb2.Job, subresources=_STATUS),
    Kind(name="CronJob", api_version="batch/v1", plural="cronjobs", short_names=("cj",), message=batch_pb2.CronJob,
         subresources=_STATUS),
    Kind(name="Lease", api_version="coordination.k8s.io/v1", plural="leases", message=coordination_pb2.Lease,
         has_generation=False),
    Kind(name="Service", api_version="v1", plural="services", short_names=("svc",), message=networking_pb2.Service,
         subresources=_STATUS, has_generation=False),
    Kind(name="EndpointSlice", api_version="discovery.k8s.io/v1", plural="endpointslices",
         message=networking_pb2.EndpointSlice, has_generation=False),
    Kind(name="NetworkPolicy", api_version="networking.k8s.io/v1", plural="networkpolicies", short_names=("netpol",),
         message=networking_pb2.NetworkPolicy),
    Kind(name="AddressPool", api_version="podium.dev/v1", plural="addresspools", message=networking_pb2.AddressPool,
         namespaced=False, subresources=_STATUS),
    Kind(name="Ingress", api_version="networking.k8s.io/v1", plural="ingresses", short_names=("ing",),
         message=ingress_pb2.Ingress, subresources=_STATUS),
    Kind(name="IngressClass", api_version="networking.k8s.io/v1", plural="ingressclasses",
         message=ingress_pb2.IngressClass, namespaced=False),
    Kind(name="LimitRange", api_version="v1", plural="limitranges", short_names=("limits",),
         message=policy_pb2.LimitRange, has_generation=False),
    Kind(name="PriorityClass", api_version="scheduling.k8s.io/v1", plural="priorityclasses", short_names=("pc",),
         message=policy_pb2.PriorityClass, namespaced=False, has_generation=False),
    Kind(name="PodDisruptionBudget", api_version="policy/v1", plural="poddisruptionbudgets", short_names=("pdb",),
         message=policy_pb2.PodDisruptionBudget, subresources=_STATUS),
    Kind(name="ResourceQuota", api_version="v1", plural="resourcequotas", short_names=("quota",),
         message=policy_pb2.ResourceQuota, subresources=_STATUS, has_generation=False),
    Kind(name="NodePool", api_version="podium.dev/v1", plural="nodepools", short_names=("pool",),
         message=nodepool_pb2.NodePool, namespaced=False, subresources=_STATUS),
)  # fmt: skip

BY_NAME: dict[str, Kind] = {k.name: k for k in KINDS}
BY_MESSAGE: dict[type[Message], Kind] = {k.message: k for k in KINDS}
BY_TYPE_URL: dict[str, Kind] = {k.type_url: k for k in KINDS}
_BY_ALIAS: dict[str, Kind] = {
    alias: k
    for k in KINDS
    for alias in (k.singular, k.plural, *k.short_names, k.qualified, f"{k.plural}.{k.group}" if k.group else k.plural)
}


def kind_of(obj: Message | type[Message]) -> Kind:
    """The kind of an object or of its class.

    Raises:
        KeyError: The message is not a kind's.
    """
    return BY_MESSAGE[obj if isinstance(obj, type) else type(obj)]


def lookup(word: str) -> Kind:
    """The kind meant by a word on a command line: `deploy`, `Deployment`, `deployments.apps`.

    Raises:
        BadRequest: No such kind; names the nearest.
    """
    found = _BY_ALIAS.get(word.lower())
    if found is None:
        near = get_close_matches(word.lower(), _BY_ALIAS, n=1)
        known = ", ".join(k.plural for k in KINDS)
        hint = f'did you mean "{near[0]}"?' if near else f"known kinds: {known}"
        raise BadRequest(f'unknown kind "{word}": {hint}')
    return found


def named(name: str) -> Kind:
    """The kind of exactly this name (`Deployment`).

    Raises:
        BadRequest: No such kind.
    """
    found = BY_NAME.get(name)
    return found if found is not None else lookup(name)


def key_of(obj: Any) -> Key:
    """The key of an object. Namespaces are few and keys are kept by the hundred thousand: they share the text."""
    return Key(kind_of(obj).name, sys.intern(obj.metadata.namespace), obj.metadata.name)
