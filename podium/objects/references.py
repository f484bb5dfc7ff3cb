"""Which objects a pod needs on its node, and how an `Assignments` message carries them. Pure.

Master and nodelet ask the same functions: what a node is sent is exactly what it will look for. A further kind is one
line in `CARRIED`, and one place here that says which of its objects a pod uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from podium.objects.kinds import Key, key_of
from podium.objects.storage import ClaimKey
from podium.v1.core_pb2 import ConfigMap, Container, EphemeralContainer, Pod, Secret, Volume
from podium.v1.node_session_pb2 import Assignments
from podium.v1.storage_pb2 import PersistentVolume

Objects = Mapping[Key, Any]
"""Objects by their key."""

NONE: frozenset[Key] = frozenset()


def references(pod: Pod) -> frozenset[Key]:
    """Every object that a pod uses, whether it is there or not."""
    spec, namespace = pod.spec, pod.metadata.namespace
    keys = [secret_key(namespace, reference.name) for reference in spec.image_pull_secrets]
    # Plain loops: they run for every pod of the cluster, and most use nothing.
    for containers in (spec.init_containers, spec.containers, spec.ephemeral_containers):
        for container in containers:
            if container.env or container.env_from:
                keys += _of_environment(container, namespace)
    if spec.volumes:
        keys += volume_references(pod)
    return frozenset(keys) if keys else NONE


def _of_environment(container: Container | EphemeralContainer, namespace: str) -> Iterable[Key]:
    keys: list[Key] = []
    for source in container.env_from:
        if source.HasField("config_map_ref"):
            keys.append(config_map_key(namespace, source.config_map_ref.name))
        elif source.HasField("secret_ref"):
            keys.append(secret_key(namespace, source.secret_ref.name))
    for variable in container.env:
        if not variable.HasField("value_from"):
            continue
        if variable.value_from.HasField("config_map_key_ref"):
            keys.append(config_map_key(namespace, variable.value_from.config_map_key_ref.name))
        elif variable.value_from.HasField("secret_key_ref"):
            keys.append(secret_key(namespace, variable.value_from.secret_key_ref.name))
    return keys


def volume_references(pod: Pod) -> frozenset[Key]:
    """The objects that the pod's volumes show or lie in."""
    return frozenset(key for volume in pod.spec.volumes for key in _of_volume(volume, pod.metadata.namespace))


def _of_volume(volume: Volume, namespace: str) -> Iterator[Key]:
    if volume.HasField("config_map"):
        yield config_map_key(namespace, volume.config_map.name)
    elif volume.HasField("secret"):
        yield secret_key(namespace, volume.secret.secret_name)
    elif volume.HasField("persistent_volume_claim"):
        yield claim_key(ClaimKey(namespace, volume.persistent_volume_claim.claim_name))
    for projection in volume.projected.sources:
        if projection.HasField("config_map"):
            yield config_map_key(namespace, projection.config_map.name)
        elif projection.HasField("secret"):
            yield secret_key(namespace, projection.secret.name)


def shows_the_pod(volume: Volume) -> bool:
    """Whether a volume has files with fields of the pod itself."""
    return volume.HasField("downward_api") or any(p.HasField("downward_api") for p in volume.projected.sources)


def used(keys: frozenset[Key], objects: Objects) -> Objects:
    """Those of the objects that are there."""
    return {key: objects[key] for key in keys if key in objects}


def volumes_differ(old: Pod, before: Objects, new: Pod, after: Objects) -> bool:
    """Whether the volumes of a pod should hold something else than before."""
    if not new.spec.volumes:
        return False
    if any(before.get(key) != after.get(key) for key in volume_references(new)):
        return True
    meta, earlier = new.metadata, old.metadata
    relabelled = meta.labels != earlier.labels or meta.annotations != earlier.annotations
    return relabelled and any(map(shows_the_pod, new.spec.volumes))


def secret_key(namespace: str, name: str) -> Key:
    """The key of a Secret."""
    return Key("Secret", namespace, name)


def config_map_key(namespace: str, name: str) -> Key:
    """The key of a ConfigMap."""
    return Key("ConfigMap", namespace, name)


def claim_key(claim: ClaimKey) -> Key:
    """The key under which a pod finds the volume that its claim is bound to."""
    return Key("PersistentVolumeClaim", claim.namespace, claim.name)


def key_of_bound(volume: PersistentVolume) -> Key:
    """The same, from the volume's side."""
    return claim_key(ClaimKey(volume.spec.claim_ref.namespace, volume.spec.claim_ref.name))


# ---------------------------------------------------------------- on the wire


@dataclass(frozen=True, slots=True)
class Withheld:
    """Stands in for a Secret that is there, but whose content this node does not have. Nothing may be started as if
    the Secret were missing, or empty: not what holds it for optional, either."""

    key: Key

    def __str__(self) -> str:
        return (
            f'secret "{self.key.name}" was kept in memory only, and is gone since this host started: '
            "waiting for a master to send it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A kind that goes to nodes: in which field, and in which one the names of those no longer needed.

    `kind` is that of the keys by which pods name the objects, and `key` says which of them an object has.
    """

    kind: str
    message: type[Message]
    field: str
    removed: str
    key: Callable[[Any], Key] = key_of


CARRIED: tuple[Carried, ...] = (
    Carried(kind="Secret", message=Secret, field="secrets", removed="removed_secrets"),
    Carried(kind="ConfigMap", message=ConfigMap, field="config_maps", removed="removed_config_maps"),
    Carried(
        kind="PersistentVolumeClaim",
        message=PersistentVolume,
        field="persistent_volumes",
        removed="removed_persistent_volumes",
        key=key_of_bound,
    ),
)


def load(message: Assignments, objects: Iterable[Any], removed: Iterable[Key] = ()) -> None:
    """Put objects, and the keys of those no longer needed, into a message."""
    by_kind = {carried.message: carried for carried in CARRIED}
    for obj in objects:
        if isinstance(obj, Withheld):
            message.withheld_secrets.append(_name(obj.key))
        else:
            getattr(message, by_kind[type(obj)].field).append(obj)
    names = {carried.kind: carried.removed for carried in CARRIED}
    for key in removed:
        getattr(message, names[key.kind]).append(_name(key))


def take_objects(message: Assignments) -> Assignments:
    """Move the objects out of a message into one of their own."""
    objects = Assignments()
    for carried in CARRIED:
        getattr(objects, carried.field).extend(getattr(message, carried.field))
        message.ClearField(carried.field)  # type: ignore[arg-type]  # a field's name, from the table
    objects.withheld_secrets.extend(message.withheld_secrets)
    message.ClearField("withheld_secrets")
    return objects


def take_secrets(message: Assignments) -> Assignments:
    """Move the Secrets out of a message into one of their own; their names stay, as withheld."""
    secrets = Assignments(secrets=message.secrets)
    message.withheld_secrets.extend(_name(key_of(secret)) for secret in message.secrets)
    message.ClearField("secrets")
    return secrets


def put_secrets(message: Assignments, secrets: Iterable[Secret]) -> None:
    """Give a message the content of those Secrets that it withholds."""
    by_name = {_name(key_of(secret)): secret for secret in secrets}
    names = list(message.withheld_secrets)
    message.secrets.extend(by_name[name] for name in names if name in by_name)
    message.withheld_secrets[:] = [name for name in names if name not in by_name]


def loaded(message: Assignments) -> Iterator[tuple[Key, Any]]:
    """The objects in a message, by key."""
    for carried in CARRIED:
        for obj in getattr(message, carried.field):
            yield carried.key(obj), obj
    for name in message.withheld_secrets:
        key = secret_key(*name.split("/", 1))
        yield key, Withheld(key)


def unloaded(message: Assignments) -> Iterator[Key]:
    """The keys of what a message says is no longer needed."""
    for carried in CARRIED:
        for name in getattr(message, carried.removed):
            yield Key(carried.kind, *name.split("/", 1))


def _name(key: Key) -> str:
    """A key as messages name it, in a list of one kind."""
    return f"{key.namespace}/{key.name}"
