"""PersistentVolumeClaim and PersistentVolume: the hands of `claim_plan` and `volume_plan`.

Each object is looked at, one action is carried out, and it is looked at again, until it rests. Every write checks
in its transaction that the object is still the one that was planned for: two claims that want one volume are settled
by whose write comes first, and the other looks for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, assert_never

from google.protobuf.message import Message

from master.access.protocol import (
    Change,
    ChangeType,
    Create,
    Delete,
    EventRecorder,
    Mutate,
    Reader,
    Write,
    Writer,
    component,
)
from master.controllers import claim_plan, volume_plan
from master.controllers.claim_plan import CLAIM_BOUND, RESIZING, plan_claim
from master.controllers.volume_index import VolumeIndex
from master.controllers.volume_plan import plan_volume
from master.reconcile.protocol import Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.errors import AlreadyExists, Conflict, NotFound, PodiumError
from podium.objects import conditions, storage
from podium.objects.kinds import Key, key_of
from podium.objects.meta import timestamp
from podium.objects.node_affinity import selects
from podium.objects.pod import is_terminal
from podium.objects.storage import ClaimKey, claims_of
from podium.v1.core_pb2 import Node, Pod
from podium.v1.meta_pb2 import DeleteOptions, Preconditions
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim, StorageClass

STEPS = 8
"""Most actions for one object in a row; it never takes half of them, and a mistake must not go round for ever."""

_BY = component("controller:persistentvolume")


class Sight:
    """Implements `claim_plan.Surroundings` and `volume_plan.VolumeSurroundings` over what is in memory."""

    def __init__(self, reader: Reader, index: VolumeIndex) -> None:
        self._reader, self._index = reader, index

    def volume(self, name: str) -> PersistentVolume | None:
        return self._reader.get(PersistentVolume, "", name)

    def cls(self, name: str) -> StorageClass | None:
        return self._reader.get(StorageClass, "", name)

    def node(self, name: str) -> Node | None:
        return self._reader.get(Node, "", name) if name else None

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        return self._reader.get(PersistentVolumeClaim, namespace, name)

    def default_class(self) -> StorageClass | None:
        return storage.default_class(self._reader.list(StorageClass))

    def kept_for(self, claim: PersistentVolumeClaim) -> Sequence[PersistentVolume]:
        found = self._found(self._index.kept_for.of(storage.key_of_claim(claim)))
        return [volume for volume in found if storage.names_claim(volume, claim)]

    def of_class(self, name: str) -> Sequence[PersistentVolume]:
        return [v for v in self._found(self._index.of_class.of(name)) if v.spec.storage_class_name == name]

    def _found(self, names: Iterable[str]) -> Iterable[PersistentVolume]:
        return (volume for name in names if (volume := self.volume(name)) is not None)

    def nodes(self) -> Sequence[Node]:
        return self._reader.list(Node)

    def local_volumes_on(self, node: str) -> int:
        return self._index.on_node.count(node)

    def users(self, claim: PersistentVolumeClaim) -> Sequence[str]:
        return [pod.metadata.name for pod in self._using(claim)]

    def consumer(self, claim: PersistentVolumeClaim) -> str:
        return next((pod.spec.node_name for pod in self._using(claim)), "")

    def _using(self, claim: PersistentVolumeClaim) -> Iterable[Pod]:
        key = storage.key_of_claim(claim)
        names = sorted(self._index.users.get(key, ()))
        pods = (pod for name in names if (pod := self._reader.get(Pod, key.namespace, name)) is not None)
        return (p for p in pods if p.spec.node_name and not is_terminal(p) and key in claims_of(p))

    def reaches(self, node: Node, volume: PersistentVolume) -> bool:
        affinity = volume.spec.node_affinity
        return not affinity.HasField("required") or selects(affinity.required, node)


class StorageController:
    """See the module."""

    name = "persistentvolume"
    workers = 32
    """Each waits for a few commits one after the other; those of many claims go in one group."""

    def __init__(self, *, reader: Reader, writer: Writer, events: EventRecorder, clock: Clock) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._index = VolumeIndex()
        self._sight = Sight(reader, self._index)
        self.triggers = (
            Trigger(PersistentVolumeClaim, self._keys_of_claim),
            Trigger(PersistentVolume, self._keys_of_volume),
            Trigger(StorageClass, self._keys_of_class),
            Trigger(Node, self._keys_of_node),
            Trigger(Pod, self._keys_of_pod),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one claim or volume to rest."""
        step = self._step_claim if key.kind == "PersistentVolumeClaim" else self._step_volume
        for _ in range(STEPS):
            because = await step(key)
            if because is not None:
                return Done(because)
        raise Conflict(f"{key} does not come to rest")

    # ------------------------------------------------------------ claims

    async def _step_claim(self, key: Key) -> str | None:
        claim = self._reader.get(PersistentVolumeClaim, key.namespace, key.name)
        if claim is None:
            return "is gone"
        action = plan_claim(claim, self._sight)
        if isinstance(action, claim_plan.Rest):
            await self._tell(claim, action)
            return action.reason or "is as it should be"
        await self._write(self._claim_writes(claim, action))
        self._announce(claim, action)
        return None

    def _claim_writes(self, claim: PersistentVolumeClaim, action: claim_plan.ClaimAction) -> list[Write]:
        match action:
            case claim_plan.Adopt(cls):
                return [_of(claim, lambda c: setattr(c.spec, "storage_class_name", cls))]
            case claim_plan.Take(volume):
                return [_of(volume, lambda v: _take(v, claim))]
            case claim_plan.Make(volume):
                return [Create(volume)]
            case claim_plan.Complete(volume):
                now = self._clock.now()
                name = volume.metadata.name
                return [
                    _of(claim, lambda c: setattr(c.spec, "volume_name", name)),
                    _of(claim, lambda c: _complete(c, volume, now), "status"),
                ]
            case claim_plan.Grow(volume, size):
                return [_of(volume, lambda v: v.spec.capacity.update({storage.STORAGE: size}))]
            case claim_plan.Deselect(node):
                return [_of(claim, lambda c: _deselect(c, node))]
            case claim_plan.Lose(reason, message):
                now = self._clock.now()
                return [_of(claim, lambda c: _lose(c, reason, message, now), "status")]
            case claim_plan.Release():
                return [_of(claim, lambda c: _unhold(c, storage.CLAIM_PROTECTION))]
            case claim_plan.Rest():
                return []
            case _:
                assert_never(action)

    def _announce(self, claim: PersistentVolumeClaim, action: claim_plan.ClaimAction) -> None:
        match action:
            case claim_plan.Make(volume, node):
                where = f"on node {node} at {volume.spec.local.path}"
                message = f"Successfully provisioned volume {volume.metadata.name} {where}"
                self._events.normal(claim, "ProvisioningSucceeded", message)
            case claim_plan.Deselect(_, message):
                self._events.warning(claim, "ProvisioningFailed", message)
            case claim_plan.Lose(reason, message):
                self._events.warning(claim, reason, message)
            case claim_plan.Grow(volume, size):
                message = f"Volume {volume.metadata.name} is now {size} large"
                self._events.normal(claim, "VolumeResizeSuccessful", message)
            case _:
                pass

    async def _tell(self, claim: PersistentVolumeClaim, rest: claim_plan.Rest) -> None:
        """Put into the claim's conditions what it waits for; what is news is an event too."""
        if not rest.reason:
            if conditions.get_condition(claim.status.conditions, RESIZING) is not None:
                await self._write([_of(claim, _resized, "status")])
            return
        told = conditions.get_condition(claim.status.conditions, rest.about)
        if told is not None and (told.reason, told.message) == (rest.reason, rest.message):
            return
        now = self._clock.now()
        await self._write([_of(claim, lambda c: _say(c, rest, now), "status")])
        record = self._events.normal if rest.normal else self._events.warning
        record(claim, rest.reason, rest.message)

    # ------------------------------------------------------------ volumes

    async def _step_volume(self, key: Key) -> str | None:
        volume = self._reader.get(PersistentVolume, "", key.name)
        if volume is None:
            return "is gone"
        action = plan_volume(volume, self._sight)
        if isinstance(action, volume_plan.Leave):
            return "is as it should be"
        await self._write([self._volume_write(volume, action)])
        if isinstance(action, volume_plan.Unhold) and action.warning:
            self._events.warning(volume, "VolumeDataAbandoned", action.warning)
        elif isinstance(action, volume_plan.Settle) and action.warning:
            self._events.warning(volume, action.reason, action.message)
        return None

    def _volume_write(self, volume: PersistentVolume, action: volume_plan.VolumeAction) -> Write:
        match action:
            case volume_plan.Settle():
                now = self._clock.now()
                return _of(volume, lambda v: _settle(v, action, now), "status")
            case volume_plan.Free():
                return _of(volume, _free)
            case volume_plan.Remove():
                options = DeleteOptions(preconditions=Preconditions(uid=volume.metadata.uid))
                return Delete(key_of(volume), options)
            case volume_plan.Unhold(finalizer):
                return _of(volume, lambda v: _unhold(v, finalizer))
            case volume_plan.Leave():
                raise AssertionError("nothing is written for it")
            case _:
                assert_never(action)

    async def _write(self, writes: Sequence[Write]) -> None:
        for result in await self._writer.write_many(writes, by=_BY):
            if isinstance(result, PodiumError) and not isinstance(result, (NotFound, AlreadyExists)):
                raise result

    # ------------------------------------------------------------ what wakes whom

    def _keys_of_claim(self, change: Change[PersistentVolumeClaim]) -> Iterable[Key]:
        self._index.note_claim(change)
        yield key_of(change.new)
        for claim in (change.old, change.new):
            if claim is not None and claim.spec.volume_name:
                yield _volume_key(claim.spec.volume_name)
        if change.type is ChangeType.DELETED:
            yield from map(_volume_key, self._index.kept_for.of(storage.key_of_claim(change.new)))

    def _keys_of_volume(self, change: Change[PersistentVolume]) -> Iterable[Key]:
        self._index.note_volume(change)
        yield key_of(change.new)
        for volume in (change.old, change.new):
            if volume is not None and volume.spec.HasField("claim_ref"):
                yield _claim_key(ClaimKey(volume.spec.claim_ref.namespace, volume.spec.claim_ref.name))
        if storage.is_free(change.new) and change.type is not ChangeType.DELETED:
            yield from map(_claim_key, self._index.pending.of(change.new.spec.storage_class_name))

    def _keys_of_class(self, change: Change[StorageClass]) -> Iterable[Key]:
        yield from map(_claim_key, self._index.pending.of(change.new.metadata.name))
        if storage.is_default(change.new):
            yield from map(_claim_key, self._index.pending.of(""))

    def _keys_of_node(self, change: Change[Node]) -> Iterable[Key]:
        if change.type is ChangeType.MODIFIED and change.old is not None and _same_host(change.old, change.new):
            return
        yield from map(_claim_key, self._index.pending.all())
        yield from map(_volume_key, self._index.on_node.of(change.new.metadata.name))

    def _keys_of_pod(self, change: Change[Pod]) -> Iterable[Key]:
        pod = change.new
        if not pod.spec.volumes:
            return ()
        return map(_claim_key, self._index.concerned(self._index.note_pod(change)))


def _same_host(old: Node, new: Node) -> bool:
    labels, annotations = old.metadata.labels == new.metadata.labels, old.metadata.annotations
    return labels and annotations == new.metadata.annotations and claim_plan.is_open(old) == claim_plan.is_open(new)


def _claim_key(key: ClaimKey) -> Key:
    return Key("PersistentVolumeClaim", key.namespace, key.name)


def _volume_key(name: str) -> Key:
    return Key("PersistentVolume", "", name)


# ---------------------------------------------------------------- changes of one object


def _of(obj: Message, change: Callable[[Any], object], subresource: str = "") -> Mutate:
    """Change this very object; another of its name is left alone."""
    uid = obj.metadata.uid  # type: ignore[attr-defined]

    def guarded(found: Any) -> None:
        if found.metadata.uid != uid:
            raise Conflict(f"{key_of(found)} is another object than meant")
        change(found)

    return Mutate(key_of(obj), guarded, subresource)


def _take(volume: PersistentVolume, claim: PersistentVolumeClaim) -> None:
    if not storage.is_free(volume) and not storage.names_claim(volume, claim):
        raise Conflict(f'volume "{volume.metadata.name}" was taken by another claim')
    if not volume.spec.HasField("claim_ref"):
        volume.metadata.annotations[storage.BOUND_BY_CONTROLLER] = "yes"
    volume.spec.claim_ref.CopyFrom(claim_plan.reference(claim))


def _complete(claim: PersistentVolumeClaim, volume: PersistentVolume, now: Any) -> None:
    status = claim.status
    status.phase = storage.BOUND
    status.capacity.clear()
    status.capacity.update(volume.spec.capacity)
    status.access_modes[:] = volume.spec.access_modes
    where = storage.where(volume)
    message = f"bound to PersistentVolume {volume.metadata.name}{f' at {where}' if where else ''}"
    conditions.set_condition(
        status.conditions, CLAIM_BOUND, conditions.TRUE, now=now, reason="VolumeBound", message=message
    )


def _lose(claim: PersistentVolumeClaim, reason: str, message: str, now: Any) -> None:
    claim.status.phase = storage.LOST
    conditions.set_condition(
        claim.status.conditions, CLAIM_BOUND, conditions.FALSE, now=now, reason=reason, message=message
    )


def _say(claim: PersistentVolumeClaim, rest: claim_plan.Rest, now: Any) -> None:
    status = conditions.FALSE if rest.about == CLAIM_BOUND else conditions.TRUE
    conditions.set_condition(
        claim.status.conditions, rest.about, status, now=now, reason=rest.reason, message=rest.message
    )


def _resized(claim: PersistentVolumeClaim) -> None:
    conditions.remove_condition(claim.status.conditions, RESIZING)


def _deselect(claim: PersistentVolumeClaim, node: str) -> None:
    if claim.metadata.annotations.get(storage.SELECTED_NODE) == node:
        del claim.metadata.annotations[storage.SELECTED_NODE]


def _unhold(obj: Any, finalizer: str) -> None:
    if finalizer in obj.metadata.finalizers:
        obj.metadata.finalizers.remove(finalizer)


def _free(volume: PersistentVolume) -> None:
    volume.spec.ClearField("claim_ref")
    volume.metadata.annotations.pop(storage.BOUND_BY_CONTROLLER, None)


def _settle(volume: PersistentVolume, wanted: volume_plan.Settle, now: Any) -> None:
    status = volume.status
    if status.phase != wanted.phase:
        status.last_phase_transition_time.CopyFrom(timestamp(now))
    status.phase, status.reason, status.message = wanted.phase, wanted.reason, wanted.message
