"""Volumes, claims and classes for tests, and a world that carries a planner's actions out in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from master.admission import apply_defaults
from master.controllers import claim_plan
from master.controllers.claim_plan import ClaimAction, plan_claim
from podium.objects import storage
from podium.objects.node_affinity import selects
from podium.v1.apps_pb2 import StatefulSet
from podium.v1.core_pb2 import Node
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim, StorageClass


def volume(
    name: str,
    size: str = "1Gi",
    *,
    cls: str = "",
    modes: Sequence[str] = (storage.ONCE,),
    node: str = "n1",
    labels: Mapping[str, str] | None = None,
) -> PersistentVolume:
    """A static local volume; with an empty `node` one that an NFS server has."""
    made = PersistentVolume()
    made.metadata.name = name
    made.metadata.labels.update(labels or {})
    made.spec.capacity[storage.STORAGE] = size
    made.spec.access_modes.extend(modes)
    made.spec.storage_class_name = cls
    if node:
        made.spec.local.path = f"/srv/{name}"
        term = made.spec.node_affinity.required.node_selector_terms.add()
        term.match_expressions.add(key=storage.HOSTNAME, operator="In", values=[node])
    else:
        made.spec.nfs.server, made.spec.nfs.path = "files", f"/{name}"
    apply_defaults(made)
    return made


def claim(
    name: str = "c", size: str = "1Gi", *, cls: str | None = "", modes: Sequence[str] = (storage.ONCE,)
) -> PersistentVolumeClaim:
    """A claim of the default namespace, with a uid that follows from its name."""
    made = PersistentVolumeClaim()
    made.metadata.namespace, made.metadata.name, made.metadata.uid = "default", name, f"uid-{name}"
    made.spec.access_modes.extend(modes)
    made.spec.resources.requests[storage.STORAGE] = size
    if cls is not None:
        made.spec.storage_class_name = cls
    apply_defaults(made)
    return made


def storage_class(
    name: str = "local",
    provisioner: str = storage.LOCAL_PROVISIONER,
    *,
    mode: str = storage.FIRST_CONSUMER,
    grows: bool = True,
    default: bool = False,
) -> StorageClass:
    """A storage class."""
    made = StorageClass(provisioner=provisioner, volume_binding_mode=mode, allow_volume_expansion=grows)
    made.metadata.name = name
    if default:
        made.metadata.annotations[storage.DEFAULT_CLASS] = "true"
    apply_defaults(made)
    return made


def node(name: str, *, ready: bool = True) -> Node:
    """A node with the label that nodelets give it."""
    made = Node()
    made.metadata.name = name
    made.metadata.labels[storage.HOSTNAME] = name
    made.metadata.annotations[storage.LOCAL_VOLUMES] = f"/data/{name}"
    made.status.conditions.add(type="Ready", status="True" if ready else "False")
    return made


def stateful_set(replicas: int = 2, size: str = "1Gi", *, deleted: str = "", scaled: str = "") -> StatefulSet:
    """`db`, with a claim template `data` that its pods mount."""
    made = StatefulSet()
    made.metadata.namespace, made.metadata.name, made.metadata.uid = "default", "db", "uid-db"
    made.spec.replicas = replicas
    made.spec.selector.match_labels["app"] = "db"
    made.spec.template.metadata.labels["app"] = "db"
    container = made.spec.template.spec.containers.add(name="c", image="i:1")
    container.volume_mounts.add(name="data", mount_path="/data")
    template = made.spec.volume_claim_templates.add()
    template.metadata.name = "data"
    template.metadata.labels["tier"] = "gold"
    template.spec.access_modes.append(storage.ONCE)
    template.spec.resources.requests[storage.STORAGE] = size
    policy = made.spec.persistent_volume_claim_retention_policy
    policy.when_deleted, policy.when_scaled = deleted, scaled
    apply_defaults(made)
    return made


def bind(to: PersistentVolume, by: PersistentVolumeClaim) -> None:
    """Bind the two to each other."""
    to.spec.claim_ref.CopyFrom(claim_plan.reference(by))
    to.status.phase = storage.BOUND
    by.spec.volume_name, by.status.phase = to.metadata.name, storage.BOUND
    by.status.capacity.update(to.spec.capacity)
    by.status.access_modes[:] = to.spec.access_modes
    by.status.conditions.add(type="Bound", status="True")


class World:
    """Implements both planners' surroundings; `step` carries an action out."""

    def __init__(self, *objects: object) -> None:
        self.volumes: dict[str, PersistentVolume] = {}
        self.claims: dict[str, PersistentVolumeClaim] = {}
        self.classes: dict[str, StorageClass] = {}
        self.hosts: dict[str, Node] = {}
        self.pods: dict[str, list[tuple[str, str]]] = {}
        """By claim: pods that use it, each with its node."""
        for obj in objects:
            match obj:
                case PersistentVolume():
                    self.volumes[obj.metadata.name] = obj
                case PersistentVolumeClaim():
                    self.claims[obj.metadata.name] = obj
                case StorageClass():
                    self.classes[obj.metadata.name] = obj
                case Node():
                    self.hosts[obj.metadata.name] = obj

    def volume(self, name: str) -> PersistentVolume | None:
        return self.volumes.get(name)

    def cls(self, name: str) -> StorageClass | None:
        return self.classes.get(name)

    def node(self, name: str) -> Node | None:
        return self.hosts.get(name)

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        return self.claims.get(name)

    def default_class(self) -> StorageClass | None:
        return storage.default_class(self.classes.values())

    def kept_for(self, claim: PersistentVolumeClaim) -> Sequence[PersistentVolume]:
        return [v for v in self.volumes.values() if storage.names_claim(v, claim)]

    def of_class(self, name: str) -> Sequence[PersistentVolume]:
        return [v for v in self.volumes.values() if v.spec.storage_class_name == name]

    def nodes(self) -> Sequence[Node]:
        return list(self.hosts.values())

    def local_volumes_on(self, node: str) -> int:
        return sum(storage.nodes_of(v) == (node,) for v in self.volumes.values())

    def users(self, claim: PersistentVolumeClaim) -> Sequence[str]:
        return [pod for pod, _ in self.pods.get(claim.metadata.name, [])]

    def consumer(self, claim: PersistentVolumeClaim) -> str:
        return next((where for _, where in self.pods.get(claim.metadata.name, [])), "")

    def reaches(self, node: Node, volume: PersistentVolume) -> bool:
        return not volume.spec.HasField("node_affinity") or selects(volume.spec.node_affinity.required, node)

    def plan(self, name: str = "c") -> ClaimAction:
        """What a claim needs next."""
        return plan_claim(self.claims[name], self)

    def step(self, name: str = "c") -> ClaimAction:
        """Carry the next action for a claim out."""
        claim, action = self.claims[name], self.plan(name)
        match action:
            case claim_plan.Adopt(cls):
                claim.spec.storage_class_name = cls
            case claim_plan.Take(volume):
                volume.spec.claim_ref.CopyFrom(claim_plan.reference(claim))
            case claim_plan.Make(volume):
                self.volumes[volume.metadata.name] = volume
            case claim_plan.Complete(volume):
                del claim.status.conditions[:]
                bind(volume, claim)
            case claim_plan.Grow(volume, size):
                volume.spec.capacity[storage.STORAGE] = size
            case claim_plan.Deselect():
                del claim.metadata.annotations[storage.SELECTED_NODE]
            case claim_plan.Lose():
                claim.status.phase = storage.LOST
            case claim_plan.Release():
                del self.claims[name]
            case claim_plan.Rest():
                pass
        return action

    def settle(self, name: str = "c") -> claim_plan.Rest:
        """Step until the claim rests."""
        for _ in range(8):
            action = self.step(name)
            if isinstance(action, claim_plan.Rest):
                return action
        raise AssertionError(f"{name} does not come to rest: {self.plan(name)}")
