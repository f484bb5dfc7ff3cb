"""Configuration that rolls with its workload: the fingerprint in its template, and the copies of its revisions.

    object changes ─► another fingerprint in the template ─► another revision ─► its copies ─► pods of it

A revision's copies are its own, and so come after it; its pods come when they are there. What a copy is made from is
what the fingerprint stands for: the object itself, or, when that has changed since, the copy of another revision that
ran with the same.

    workload                   revision            its pods wait because
    Deployment                 ReplicaSet          it is made with no replicas
    StatefulSet, DaemonSet     ControllerRevision  their controller asks first (`pin`)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from master.access.protocol import Change, ChangeType, Create, EventRecorder, Principal, Reader, Writer
from master.controllers.config_plan import (
    ConfigPlan,
    Live,
    Pending,
    Workload,
    has_current,
    is_automatic,
    is_of,
    pending,
    plan_config,
    sources_of,
    template_of,
)
from master.controllers.ownership import controller_key
from podium.aio.clock import Clock
from podium.errors import AlreadyExists, Conflict, PodiumError
from podium.objects.config import (
    FINGERPRINT,
    MESSAGES,
    PINNED,
    Ref,
    Revision,
    contents_of,
    copy_for,
    copy_name,
    pinned_text,
    pins_of,
    used_config,
)
from podium.objects.kinds import Key, key_of, kind_of
from podium.objects.owners import controller_of, is_controlled_by
from podium.v1.core_pb2 import ConfigMap, PodSpec, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Whether the workload was changed, and in how many seconds to look at its configuration again."""

    changed: bool = False
    wait: float | None = None


class ConfigRollout:
    """See the module. Owned by the controller of a kind of workload, which asks it before it plans."""

    def __init__(
        self,
        kind: type[Workload],
        revision: type[Revision],
        *,
        reader: Reader,
        writer: Writer,
        events: EventRecorder,
        clock: Clock,
        by: Principal,
    ) -> None:
        """For the workloads of a kind, whose revisions are of another.

        Args:
            kind: Of the workloads.
            revision: What stands for their revisions, and owns the copies.
            reader: Of the cache.
            writer: For the template, the status and the copies.
            events: Takes what there is to tell of the workloads.
            clock: For the time of quiet.
            by: The controller that writes.
        """
        self._kind, self._revision = kind, revision
        self._reader, self._writer, self._events, self._clock, self._by = reader, writer, events, clock, by
        self._pending: dict[Key, Pending] = {}
        self._missing: dict[Key, Sequence[Ref]] = {}

    async def settle(self, workload: Workload, revisions: Sequence[Revision]) -> Settled:
        """Bring the fingerprint in the template up to date."""
        if not is_automatic(workload) and not _has_traces(workload):
            return Settled()
        plan = plan_config(workload, revisions, self._live(workload.spec.template.spec, workload.metadata.namespace))
        self._tell_missing(workload, plan)
        if workload.spec.template.metadata.annotations.get(FINGERPRINT, "") != plan.fingerprint:
            wait = self._quiet(workload, plan, revisions)
            if wait > 0:
                return Settled(wait=wait)
            await self._mark(workload, plan)
            self._tell_changed(workload, plan)
        elif dict(workload.status.observed_config) == dict(plan.observed):
            return Settled()
        await self._note(workload, plan)
        return Settled(changed=True)

    def forget(self, key: Key) -> None:
        """The workload is gone."""
        self._pending.pop(key, None)
        self._missing.pop(key, None)

    def _quiet(self, workload: Workload, plan: ConfigPlan, revisions: Sequence[Revision]) -> float:
        """Seconds until a change has gone unchanged for long enough; a template that is new anyway waits for nothing.

        What is applied together, objects and the template that fits them, makes one rollout so, and no pod runs an old
        template with new content. That a master that restarts waits anew does no harm.
        """
        key, now = key_of(workload), self._clock.monotonic()
        if not plan.changed or not has_current(workload, revisions):
            self._pending.pop(key, None)
            return 0.0
        waiting = self._pending[key] = pending(self._pending.get(key), plan.fingerprint, now)
        if now < waiting.until:
            return waiting.until - now
        del self._pending[key]
        return 0.0

    async def _mark(self, workload: Workload, plan: ConfigPlan) -> None:
        def change(obj: Workload) -> None:
            if obj.spec.template != workload.spec.template:
                raise Conflict(f"the template of {obj.metadata.name} was changed; looking again")
            annotations = obj.spec.template.metadata.annotations
            if plan.fingerprint:
                annotations[FINGERPRINT] = plan.fingerprint
            else:
                annotations.pop(FINGERPRINT, None)

        meta = workload.metadata
        await self._writer.mutate(self._kind, meta.namespace, meta.name, change, by=self._by)

    async def _note(self, workload: Workload, plan: ConfigPlan) -> None:
        """Remember what was seen, after the template says so: what is lost in between is seen again."""

        def change(obj: Workload) -> None:
            obj.status.observed_config.clear()
            obj.status.observed_config.update(plan.observed)

        meta = workload.metadata
        await self._writer.mutate(self._kind, meta.namespace, meta.name, change, by=self._by, subresource="status")

    def _tell_changed(self, workload: Workload, plan: ConfigPlan) -> None:
        if plan.changed:
            names = ", ".join(map(str, sorted(plan.changed)))
            self._events.normal(workload, "ConfigChanged", f"{names} changed, and is rolled out")

    def _tell_missing(self, workload: Workload, plan: ConfigPlan) -> None:
        key, missing = key_of(workload), sorted(plan.missing)
        if missing and self._missing.get(key) != missing:
            names = ", ".join(map(str, missing))
            self._events.warning(workload, "ConfigMissing", f"{names} does not exist; what runs has its copies")
        self._missing[key] = missing

    # ------------------------------------------------------------ copies

    def prepare(self, workload: Workload, made: Revision, revisions: Sequence[Revision]) -> None:
        """Have a revision that is about to be made pin what there is, in place.

        Raises:
            Conflict: What it is to run with is not there any more.
        """
        if not is_automatic(workload) or FINGERPRINT not in template_of(made).metadata.annotations:
            return
        pinned = self._contents(made, revisions)
        if pinned is None:
            why = f"what {made.metadata.name} is to run with was changed or deleted meanwhile"
            self._events.warning(workload, "ConfigLost", why)
            raise Conflict(why)
        if pinned:
            made.metadata.annotations[PINNED] = pinned_text(pinned)

    async def pin(self, workload: Workload, revisions: Sequence[Revision]) -> PodiumError | None:
        """Make the copies that revisions lack; says why one was refused, for what lacks it must get no pods."""
        for revision in revisions:
            try:
                await self._complete(revision, revisions)
            except PodiumError as refused:
                self._events.warning(workload, "FailedPin", f"Error copying configuration: {refused.message}")
                return refused
        return None

    async def _complete(self, revision: Revision, revisions: Sequence[Revision]) -> None:
        lacking = [ref for ref in pins_of(revision) if not self._has(revision, ref)]
        contents = (self._contents(revision, revisions) or {}) if lacking else {}
        copies = [copy_for(revision, ref, contents[ref]) for ref in lacking if ref in contents]
        for result in await self._writer.write_many([Create(copy) for copy in copies], by=self._by) if copies else ():
            if isinstance(result, PodiumError) and not isinstance(result, AlreadyExists):
                raise result

    def is_whole(self, revision: Revision) -> bool:
        """Whether all the copies of a revision are there."""
        return contents_of(revision, self._reader.get).keys() == pins_of(revision)

    def _has(self, revision: Revision, ref: Ref) -> bool:
        copy = self._reader.get(MESSAGES[ref.kind], revision.metadata.namespace, copy_name(ref, revision))
        if copy is not None and not is_controlled_by(copy, revision):
            needs = f"is not the copy that {revision.metadata.name} needs: rename it"
            raise Conflict(f"{ref.kind} {copy.metadata.name} {needs}")
        return copy is not None

    def _contents(self, revision: Revision, revisions: Sequence[Revision]) -> Mapping[Ref, ConfigMap | Secret] | None:
        """What a revision is to run with, wherever it is still to be found; None: nowhere."""
        live = self._live(template_of(revision).spec, revision.metadata.namespace)
        if is_of(revision, live):
            return {ref: obj for ref, obj in live.items() if obj is not None}
        for other in sources_of(revision, revisions):
            found = contents_of(other, self._reader.get)
            if found.keys() == pins_of(other):
                return found
        return None

    def _live(self, spec: PodSpec, namespace: str) -> Live:
        return {ref: self._reader.get(MESSAGES[ref.kind], namespace, ref.name) for ref in used_config(spec)}

    # ------------------------------------------------------------ what wakes it

    def keys(self, change: Change[ConfigMap] | Change[Secret]) -> Iterable[Key]:
        """The workloads that a change of an object concerns: those that use it, or whose copy it was."""
        obj = change.new
        if controller_of(obj) is not None:
            return self._keys_of_copy(change)
        ref, namespace = Ref(kind_of(obj).name, obj.metadata.name), obj.metadata.namespace
        users = (w for w in self._reader.list(self._kind, namespace) if is_automatic(w))
        return [key_of(w) for w in users if ref in used_config(w.spec.template.spec)]

    def _keys_of_copy(self, change: Change[ConfigMap] | Change[Secret]) -> Iterable[Key]:
        owner = controller_key(change.new, self._revision) if change.type is ChangeType.DELETED else None
        revision = self._reader.get(self._revision, owner.namespace, owner.name) if owner is not None else None
        key = controller_key(revision, self._kind) if revision is not None else None
        return [key] if key is not None else ()


def _has_traces(workload: Workload) -> bool:
    """Whether its configuration rolled with it before."""
    return FINGERPRINT in workload.spec.template.metadata.annotations or bool(workload.status.observed_config)
