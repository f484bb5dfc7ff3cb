"""Configuration that rolls with its Deployment: the fingerprint in its template, and the copies of its revisions.

    object changes ─► another fingerprint in the template ─► another ReplicaSet, at 0 ─► its copies ─► it grows

A ReplicaSet is made empty, because its copies are its own and so come after it; it grows when they are there. What a
copy is made from is what the fingerprint stands for: the object itself, or, when that has changed since, the copy of
another revision that ran with the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from master.access.protocol import Change, ChangeType, Create, EventRecorder, Reader, Writer, component
from master.controllers.config_plan import (
    ConfigPlan,
    Live,
    Pending,
    is_automatic,
    is_of,
    pending,
    plan_config,
    sources_of,
)
from master.controllers.ownership import controller_key
from podium.aio.clock import Clock
from podium.errors import AlreadyExists, Conflict, PodiumError
from podium.objects.config import (
    FINGERPRINT,
    MESSAGES,
    PINNED,
    Ref,
    contents_of,
    copy_for,
    copy_name,
    pinned_text,
    pins_of,
    used_config,
)
from podium.objects.kinds import Key, key_of, kind_of
from podium.objects.owners import controller_of, is_controlled_by
from podium.objects.revisions import current_of
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import ConfigMap, PodSpec, Secret

_BY = component("controller:deployment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Whether the Deployment was changed, and in how many seconds to look at its configuration again."""

    changed: bool = False
    wait: float | None = None


class DeploymentConfig:
    """See the module. Owned by the Deployment controller, which asks it before it plans."""

    def __init__(self, *, reader: Reader, writer: Writer, events: EventRecorder, clock: Clock) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._pending: dict[Key, Pending] = {}
        self._missing: dict[Key, Sequence[Ref]] = {}

    async def settle(self, deployment: Deployment, sets: Sequence[ReplicaSet]) -> Settled:
        """Bring the fingerprint in the template up to date."""
        if not is_automatic(deployment) and not _has_traces(deployment):
            return Settled()
        plan = plan_config(deployment, sets, self._live(deployment.spec.template.spec, deployment.metadata.namespace))
        self._tell_missing(deployment, plan)
        if deployment.spec.template.metadata.annotations.get(FINGERPRINT, "") != plan.fingerprint:
            wait = self._quiet(deployment, plan, sets)
            if wait > 0:
                return Settled(wait=wait)
            await self._mark(deployment, plan)
            self._tell_changed(deployment, plan)
        elif dict(deployment.status.observed_config) == dict(plan.observed):
            return Settled()
        await self._note(deployment, plan)
        return Settled(changed=True)

    def forget(self, key: Key) -> None:
        """The Deployment is gone."""
        self._pending.pop(key, None)
        self._missing.pop(key, None)

    def _quiet(self, deployment: Deployment, plan: ConfigPlan, sets: Sequence[ReplicaSet]) -> float:
        """Seconds until a change has gone unchanged for long enough; a template that is new anyway waits for nothing.

        What is applied together, objects and the template that fits them, makes one rollout so, and no pod runs an old
        template with new content. That a master that restarts waits anew does no harm.
        """
        key, now = key_of(deployment), self._clock.monotonic()
        if not plan.changed or current_of(deployment, sets) is None:
            self._pending.pop(key, None)
            return 0.0
        waiting = self._pending[key] = pending(self._pending.get(key), plan.fingerprint, now)
        if now < waiting.until:
            return waiting.until - now
        del self._pending[key]
        return 0.0

    async def _mark(self, deployment: Deployment, plan: ConfigPlan) -> None:
        def change(obj: Deployment) -> None:
            if obj.spec.template != deployment.spec.template:
                raise Conflict(f"the template of {obj.metadata.name} was changed; looking again")
            annotations = obj.spec.template.metadata.annotations
            if plan.fingerprint:
                annotations[FINGERPRINT] = plan.fingerprint
            else:
                annotations.pop(FINGERPRINT, None)

        meta = deployment.metadata
        await self._writer.mutate(Deployment, meta.namespace, meta.name, change, by=_BY)

    async def _note(self, deployment: Deployment, plan: ConfigPlan) -> None:
        """Remember what was seen, after the template says so: what is lost in between is seen again."""

        def change(obj: Deployment) -> None:
            obj.status.observed_config.clear()
            obj.status.observed_config.update(plan.observed)

        meta = deployment.metadata
        await self._writer.mutate(Deployment, meta.namespace, meta.name, change, by=_BY, subresource="status")

    def _tell_changed(self, deployment: Deployment, plan: ConfigPlan) -> None:
        if plan.changed:
            names = ", ".join(map(str, sorted(plan.changed)))
            self._events.normal(deployment, "ConfigChanged", f"{names} changed, and is rolled out")

    def _tell_missing(self, deployment: Deployment, plan: ConfigPlan) -> None:
        key, missing = key_of(deployment), sorted(plan.missing)
        if missing and self._missing.get(key) != missing:
            names = ", ".join(map(str, missing))
            self._events.warning(deployment, "ConfigMissing", f"{names} does not exist; what runs has its copies")
        self._missing[key] = missing

    # ------------------------------------------------------------ copies

    def prepare(self, deployment: Deployment, made: ReplicaSet, sets: Sequence[ReplicaSet]) -> None:
        """Complete a ReplicaSet that is about to be made, in place: it pins what there is, and begins with no pods.

        Raises:
            Conflict: What it is to run with is not there any more.
        """
        if not is_automatic(deployment) or FINGERPRINT not in made.spec.template.metadata.annotations:
            return
        pinned = self._contents(made, sets)
        if pinned is None:
            why = f"what {made.metadata.name} is to run with was changed or deleted meanwhile"
            self._events.warning(deployment, "ConfigLost", why)
            raise Conflict(why)
        if pinned:
            made.metadata.annotations[PINNED] = pinned_text(pinned)
            made.spec.replicas = 0

    async def pin(self, sets: Sequence[ReplicaSet]) -> PodiumError | None:
        """Make the copies that ReplicaSets lack; says why one was refused, for what lacks it must not grow."""
        for rs in sets:
            lacking = [ref for ref in pins_of(rs) if not self._has(rs, ref)]
            contents = (self._contents(rs, sets) or {}) if lacking else {}
            copies = [copy_for(rs, ref, contents[ref]) for ref in lacking if ref in contents]
            for result in await self._writer.write_many([Create(copy) for copy in copies], by=_BY) if copies else ():
                if isinstance(result, PodiumError) and not isinstance(result, AlreadyExists):
                    self._events.warning(rs, "FailedPin", f"Error copying configuration: {result.message}")
                    return result
        return None

    def _has(self, rs: ReplicaSet, ref: Ref) -> bool:
        copy = self._reader.get(MESSAGES[ref.kind], rs.metadata.namespace, copy_name(ref, rs))
        if copy is not None and not is_controlled_by(copy, rs):
            raise Conflict(f"{ref.kind} {copy.metadata.name} is not the copy that {rs.metadata.name} needs: rename it")
        return copy is not None

    def _contents(self, rs: ReplicaSet, sets: Sequence[ReplicaSet]) -> Mapping[Ref, ConfigMap | Secret] | None:
        """What a ReplicaSet is to run with, wherever it is still to be found; None: nowhere."""
        live = self._live(rs.spec.template.spec, rs.metadata.namespace)
        if is_of(rs, live):
            return {ref: obj for ref, obj in live.items() if obj is not None}
        for other in sources_of(rs, sets):
            found = contents_of(other, self._reader.get)
            if found.keys() == pins_of(other):
                return found
        return None

    def _live(self, spec: PodSpec, namespace: str) -> Live:
        return {ref: self._reader.get(MESSAGES[ref.kind], namespace, ref.name) for ref in used_config(spec)}

    # ------------------------------------------------------------ what wakes it

    def keys(self, change: Change[ConfigMap] | Change[Secret]) -> Iterable[Key]:
        """The Deployments that a change of an object concerns: those that use it, or whose copy it was."""
        obj = change.new
        if controller_of(obj) is not None:
            return self._keys_of_copy(change)
        ref, namespace = Ref(kind_of(obj).name, obj.metadata.name), obj.metadata.namespace
        users = (d for d in self._reader.list(Deployment, namespace) if is_automatic(d))
        return [key_of(d) for d in users if ref in used_config(d.spec.template.spec)]

    def _keys_of_copy(self, change: Change[ConfigMap] | Change[Secret]) -> Iterable[Key]:
        owner = controller_key(change.new, ReplicaSet) if change.type is ChangeType.DELETED else None
        replica_set = self._reader.get(ReplicaSet, owner.namespace, owner.name) if owner is not None else None
        key = controller_key(replica_set, Deployment) if replica_set is not None else None
        return [key] if key is not None else ()


def _has_traces(deployment: Deployment) -> bool:
    """Whether its configuration rolled with it before."""
    return FINGERPRINT in deployment.spec.template.metadata.annotations or bool(deployment.status.observed_config)
