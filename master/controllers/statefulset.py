"""StatefulSet: pods with identities, each made, updated and taken away in order.

`stateful_plan` decides; `history` keeps the revisions. A pod's name is its ordinal's, so the store itself refuses a
second one; what could still run twice is a pod whose *object* is gone while its containers are not. Objects of pods go
when their nodelet says that nothing is left, when their Node object is deleted (its host is then said to be gone), or
when the node is silent for so long that it has stopped them by itself (`docs/workloads.md`, fencing).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from master.access.protocol import Change, ChangeType, EventRecorder, Reader, Writer, component
from master.controllers.claim_writes import ClaimWrites
from master.controllers.config_plan import healing
from master.controllers.config_rollout import ConfigRollout
from master.controllers.history import Histories
from master.controllers.ownership import carry_out, keys_of_owned, plan_claims
from master.controllers.patience import Patience
from master.controllers.pod_writes import PodWrites
from master.controllers.pods import matters
from master.controllers.stateful_plan import (
    Revisions,
    StatefulPlan,
    plan_stateful,
    revision_of,
    stateful_pod,
    stateful_status,
    wanted_revision,
    worked,
)
from master.reconcile.protocol import After, Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.codec.revisions import template_of
from podium.errors import PodiumError
from podium.objects.config import point_to_copies
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.owners import is_controlled_by
from podium.objects.pod import is_failing, is_terminal
from podium.objects.revisions import SUCCEEDED
from podium.objects.selectors import workload_selector
from podium.objects.stateful import ordinal_in
from podium.objects.storage import is_bound
from podium.v1.apps_pb2 import ControllerRevision, StatefulSet
from podium.v1.core_pb2 import ConfigMap, Pod, Secret
from podium.v1.storage_pb2 import PersistentVolumeClaim

_BY = component("controller:statefulset")


class StatefulSetController:
    """See the module."""

    name = "statefulset"
    workers = 3

    def __init__(self, *, reader: Reader, writer: Writer, events: EventRecorder, clock: Clock) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._pods = PodWrites(writer=writer, events=events, by=_BY)
        self._claims = ClaimWrites(reader=reader, writer=writer, events=events, by=_BY)
        self._histories = Histories(StatefulSet, reader=reader, writer=writer, by=_BY)
        self._config = ConfigRollout(
            StatefulSet, ControllerRevision, reader=reader, writer=writer, events=events, clock=clock, by=_BY
        )
        self._patience = Patience(clock)
        self.triggers = (
            Trigger(StatefulSet, lambda change: [key_of(change.new)]),
            Trigger(ControllerRevision, self._histories.keys),
            Trigger(Pod, self._keys_of_pod, controller="StatefulSet"),
            Trigger(PersistentVolumeClaim, self._keys_of_claim),
            Trigger(ConfigMap, self._config.keys),
            Trigger(Secret, self._config.keys),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Take the next steps of one StatefulSet, and bring its status up to date."""
        stateful_set = self._reader.get(StatefulSet, key.namespace, key.name)
        if stateful_set is None:
            self._config.forget(key)
            return Done("is gone")
        if is_terminating(stateful_set):
            return Done("is being deleted")  # and must not make again what goes before it
        pods = await self._claim(stateful_set)
        config = await self._config.settle(stateful_set, self._histories.of(stateful_set))
        if config.changed:
            return Done("takes its configuration as it is now")
        revisions = await self._revisions(stateful_set, pods)
        plan, failure = await self._advance(stateful_set, pods, revisions)
        wait = await self._write_status(stateful_set, revisions)
        if failure is not None:
            raise failure
        waits = [w for w in (plan.recheck, wait, config.wait) if w is not None]
        return After(min(waits), plan.because) if waits else Done(plan.because)

    async def _advance(
        self, stateful_set: StatefulSet, pods: Sequence[Pod], revisions: Revisions
    ) -> tuple[StatefulPlan, PodiumError | None]:
        refused = await self._config.pin(stateful_set, self._histories.of(stateful_set))
        if refused is None:
            return await self._take_step(stateful_set, pods, revisions)
        last = self._reader.get(ControllerRevision, stateful_set.metadata.namespace, revisions.current)
        if revisions.current == revisions.update or last is None or not self._config.is_whole(last):
            return StatefulPlan(because="waits for copies of its configuration"), refused
        kept = Revisions(current=revisions.current, update=revisions.current, worked=revisions.worked)
        plan, failure = await self._take_step(healing(stateful_set, last), pods, kept)
        return plan, failure or refused

    async def _take_step(
        self, stateful_set: StatefulSet, pods: Sequence[Pod], revisions: Revisions
    ) -> tuple[StatefulPlan, PodiumError | None]:
        uid = stateful_set.metadata.uid
        plan = plan_stateful(
            stateful_set, pods, revisions, now=self._clock.now(), patience=lambda n: self._patience.left((uid, n))
        )
        self._tell_failures(stateful_set, plan.failed)
        failure = await self._claims.settle(stateful_set, pods, plan.create)
        if failure is None:
            await self._pods.delete(stateful_set, plan.delete)
            failure = await self._pods.create(stateful_set, self._made(stateful_set, plan.create, revisions))
        return plan, failure

    # ------------------------------------------------------------ pods

    async def _claim(self, stateful_set: StatefulSet) -> list[Pod]:
        controlled = self._controlled(stateful_set)
        orphans = self._reader.orphans(Pod, stateful_set.metadata.namespace)
        members = (p for p in orphans if ordinal_in(stateful_set, p) is not None and not is_terminal(p))
        claims = plan_claims(stateful_set, workload_selector(stateful_set), controlled, members)
        if not claims.adopt and not claims.release:
            return controlled
        await carry_out(claims, stateful_set, self._writer, _BY)
        return self._controlled(stateful_set)

    def _controlled(self, stateful_set: StatefulSet) -> list[Pod]:
        owned = self._reader.owned_by(Pod, stateful_set.metadata.uid)
        return [pod for pod in owned if is_controlled_by(pod, stateful_set)]

    def _made(self, stateful_set: StatefulSet, wanted: Sequence[int], revisions: Revisions) -> Iterable[Pod]:
        templates = {revisions.update: stateful_set.spec.template}
        for ordinal in wanted:
            name = wanted_revision(stateful_set, ordinal, revisions)
            revision = self._reader.get(ControllerRevision, stateful_set.metadata.namespace, name)
            assert revision is not None, "the revision was there a moment ago"
            if name not in templates:
                templates[name] = template_of(revision)
            pod = stateful_pod(stateful_set, templates[name], name, ordinal)
            point_to_copies(pod.spec, revision)
            yield pod

    def _tell_failures(self, stateful_set: StatefulSet, failed: Sequence[Pod]) -> None:
        for pod in failed:
            self._patience.lose((stateful_set.metadata.uid, ordinal_in(stateful_set, pod)))
            over = f"pod {pod.metadata.name} is over ({pod.status.phase}): it is made again"
            self._events.warning(stateful_set, "RecreatingFailedPod", over)

    # ------------------------------------------------------------ revisions

    async def _revisions(self, stateful_set: StatefulSet, pods: Iterable[Pod]) -> Revisions:
        current = stateful_set.status.current_revision
        live = {revision_of(pod) for pod in pods} | {current}
        prepare = partial(self._config.prepare, stateful_set)
        update = (await self._histories.settle(stateful_set, live, prepare)).metadata.name
        known = {r.metadata.name: r for r in self._histories.of(stateful_set)}
        return Revisions(
            current=current if current in known else update,
            update=update,
            worked=[name for name, revision in known.items() if SUCCEEDED in revision.metadata.annotations],
        )

    async def _note_success(self, stateful_set: StatefulSet, revisions: Revisions) -> None:
        if revisions.update in revisions.worked:
            return

        def change(obj: ControllerRevision) -> None:
            obj.metadata.annotations[SUCCEEDED] = "true"

        await self._writer.mutate(ControllerRevision, stateful_set.metadata.namespace, revisions.update, change, by=_BY)

    async def _write_status(self, seen: StatefulSet, revisions: Revisions) -> float | None:
        stateful_set = self._reader.get(StatefulSet, seen.metadata.namespace, seen.metadata.name)
        if stateful_set is None or stateful_set.metadata.uid != seen.metadata.uid:
            return None
        status, wait = stateful_status(seen, self._controlled(seen), revisions, now=self._clock.now())
        if worked(seen, status):
            await self._note_success(seen, revisions)
        if status == stateful_set.status:
            return wait

        def change(obj: StatefulSet) -> None:
            if obj.metadata.uid == seen.metadata.uid:
                obj.status.CopyFrom(status)

        meta = seen.metadata
        await self._writer.mutate(StatefulSet, meta.namespace, meta.name, change, by=_BY, subresource="status")
        return wait

    # ------------------------------------------------------------ triggers

    def _keys_of_pod(self, change: Change[Pod]) -> Iterable[Key]:
        if change.type is ChangeType.MODIFIED and change.old is not None and not _matters(change.old, change.new):
            return ()
        return keys_of_owned(change, StatefulSet, self._reader)

    def _keys_of_claim(self, change: Change[PersistentVolumeClaim]) -> Iterable[Key]:
        """A claim that is gone may be missed; one that is bound now may have to grow."""
        settled = change.old is not None and is_bound(change.new) and not is_bound(change.old)
        if change.type is not ChangeType.DELETED and not settled:
            return ()
        return [key_of(found) for found in self._claims.set_of(change.new)]


def _matters(old: Pod, new: Pod) -> bool:
    return matters(old, new) or is_failing(old) != is_failing(new)
