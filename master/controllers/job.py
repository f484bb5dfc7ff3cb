"""Job: pods that run to completion, each counted exactly once.

`job_plan` decides, `job_census` keeps the books. What is done follows in an order that lets the master die after any
write: pods are created; the status is written, which holds the uids of pods that are over; only then their tracking
finalizer goes; then pods are deleted. What a Job gives up while it goes on (parallelism lowered, suspended) loses the
finalizer first, so that it is not counted; a living pod without the finalizer is deleted by the next plan if this one
did not come to it.

Pods whose Job is gone, or that belong to none any more, are let go: nobody will count them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from master.access.protocol import (
    Change,
    ChangeType,
    EventRecorder,
    Mutate,
    Reader,
    Write,
    Writer,
    component,
)
from master.controllers.job_plan import BACKOFF, JobPlan, plan_job
from master.controllers.job_pods import job_pod
from master.controllers.ownership import Claims, carry_out, plan_claims
from master.controllers.pod_writes import PodWrites
from master.controllers.pods import matters
from master.reconcile.protocol import After, Done, Outcome, Trigger
from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.errors import Conflict, NotFound, PodiumError
from podium.objects.conditions import is_true
from podium.objects.job import COMPLETE, FAILED, GIVEN_UP, JOB_NAME, SUSPENDED, TRACKING_FINALIZER, is_tracked
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating, qualified_name
from podium.objects.owners import controller_of, owner_reference
from podium.objects.pod import is_terminal
from podium.objects.selectors import from_label_selector
from podium.v1.batch_pb2 import Job, JobStatus
from podium.v1.core_pb2 import Pod

_BY = component("controller:job")
_UID = "uid"
"""In place of a kind: the key names a Job that is gone, by uid."""


class JobController:
    """See the module. Keys are Jobs; Jobs that are gone, by uid; and pods that no Job controls any more."""

    name = "job"
    workers = 16
    """Most of a reconciliation is waiting for a group commit, which more of them share."""

    def __init__(
        self, *, reader: Reader, writer: Writer, events: EventRecorder, clock: Clock, backoff: Backoff = BACKOFF
    ) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._pods, self._backoff = PodWrites(writer=writer, events=events, by=_BY), backoff
        self._manual: set[Key] = set()
        self._unclaimed: set[Key] = set()  # Jobs that may have pods to adopt or to let go
        self.triggers = (
            Trigger(Job, self._keys_of_job),
            Trigger(Pod, self._keys_of_pod, controller="Job"),
            Trigger(Pod, self._keys_of_uncounted),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Take a Job's next step, or let go what nobody counts."""
        if key.kind == _UID:
            return await self._let_go(self._reader.owned_by(Pod, key.name))
        if key.kind == "Pod":
            pod = self._reader.get(Pod, key.namespace, key.name)
            return await self._let_go([pod] if pod is not None and self._job_of(pod) is None else [])
        job = self._reader.get(Job, key.namespace, key.name)
        if job is None:
            return Done("is gone")
        if key in self._unclaimed:
            self._unclaimed.discard(key)  # first: what changes meanwhile is to be seen to as well
            try:
                await self._claim(job)
            except BaseException:
                self._unclaimed.add(key)
                raise
        plan = self._plan(job)
        failure: PodiumError | None = None
        if plan.create:
            failure = await self._pods.create(job, (job_pod(job, new) for new in plan.create))
            plan = self._plan(job)
        await self._write_status(job, plan.status)
        aside = {pod.metadata.uid for pod in plan.set_aside}
        await self._set_aside(plan.set_aside)
        await self._release([*plan.release, *(pod for pod in plan.give_up if pod.metadata.uid not in aside)])
        await self._pods.delete(job, [*plan.delete, *plan.give_up])
        if failure is not None:
            raise failure
        return Done(plan.because) if plan.wait is None else After(plan.wait, plan.because)

    def _plan(self, job: Job) -> JobPlan:
        return plan_job(job, self._controlled(job), self._clock.now(), self._backoff)

    def _controlled(self, job: Job) -> list[Pod]:
        uid = job.metadata.uid
        owned = self._reader.owned_by(Pod, uid)
        return [pod for pod in owned if (ref := controller_of(pod)) is not None and ref.uid == uid]

    async def _claim(self, job: Job) -> None:
        selector = from_label_selector(job.spec.selector)
        orphans = [o for o in self._reader.orphans(Pod, job.metadata.namespace) if not is_terminal(o)]
        claims: Claims[Pod] = plan_claims(job, selector, self._controlled(job), orphans)
        if claims.adopt:
            await self._write([Mutate(key_of(pod), _adoption(pod, job)) for pod in claims.adopt])
        if claims.release:
            await carry_out(Claims(kept=(), adopt=(), release=claims.release), job, self._writer, _BY)

    # ------------------------------------------------------------ effects

    async def _write_status(self, job: Job, status: JobStatus) -> None:
        if job.status == status:
            return

        def change(obj: Job) -> None:
            if obj.metadata.uid != job.metadata.uid:
                raise Conflict(f"{qualified_name(obj)} is another Job now")
            obj.status.CopyFrom(status)

        meta = job.metadata
        await self._writer.mutate(Job, meta.namespace, meta.name, change, by=_BY, subresource="status")
        self._announce(job, status)

    def _announce(self, job: Job, status: JobStatus) -> None:
        def became(type_: str) -> bool:
            return is_true(status.conditions, type_) and not is_true(job.status.conditions, type_)

        if became(COMPLETE):
            self._events.normal(job, "Completed", "Job completed")
        elif became(FAILED):
            why = next(c for c in status.conditions if c.type == FAILED)
            self._events.warning(job, why.reason, why.message)
        elif became(SUSPENDED):
            self._events.normal(job, "Suspended", "Job suspended")
        elif is_true(job.status.conditions, SUSPENDED) and not is_true(status.conditions, SUSPENDED):
            self._events.normal(job, "Resumed", "Job resumed")

    async def _release(self, pods: Sequence[Pod]) -> None:
        await self._write([Mutate(key_of(pod), _release(pod)) for pod in pods if is_tracked(pod)])

    async def _set_aside(self, pods: Sequence[Pod]) -> None:
        await self._write([Mutate(key_of(pod), _give_up(pod)) for pod in pods if is_tracked(pod)])

    async def _let_go(self, pods: Sequence[Pod]) -> Outcome:
        await self._release(pods)
        return Done(f"let {len(pods)} pods go that no Job counts" if pods else "")

    async def _write(self, writes: Sequence[Write]) -> None:
        if not writes:
            return
        for result in await self._writer.write_many(writes, by=_BY):
            if isinstance(result, PodiumError) and not isinstance(result, NotFound | Conflict):
                raise result

    # ------------------------------------------------------------ triggers

    def _keys_of_job(self, change: Change[Job]) -> Iterable[Key]:
        job, key = change.new, key_of(change.new)
        if change.type is ChangeType.DELETED:
            self._manual.discard(key)
            self._unclaimed.discard(key)
            return (Key(_UID, "", job.metadata.uid),)
        if change.type is ChangeType.ADDED:
            self._unclaimed.add(key)
        if job.spec.manual_selector:
            self._manual.add(key)
        return (key,)

    def _keys_of_pod(self, change: Change[Pod]) -> Iterable[Key]:
        old, new = change.old, change.new
        if change.type is ChangeType.MODIFIED and old is not None and not _matters(old, new):
            return ()
        keys = {key for pod in (old, new) if pod is not None and (key := _job_key(pod)) is not None}
        if change.type is ChangeType.DELETED:
            return keys
        if old is not None and old.metadata.labels != new.metadata.labels:
            self._unclaimed |= keys
        if controller_of(new) is None:
            adopting = set(self._selecting(new))
            self._unclaimed |= adopting
            keys |= adopting
        return keys

    def _keys_of_uncounted(self, change: Change[Pod]) -> Iterable[Key]:
        """A pod that is kept for a Job to count, and no Job will."""
        pod = change.new
        if not is_tracked(pod) or change.type is ChangeType.DELETED:
            return ()
        return (key_of(pod),) if self._job_of(pod) is None else ()

    def _selecting(self, pod: Pod) -> Iterator[Key]:
        """Jobs that could adopt a pod: the one that its labels name, and those that select by labels of their own."""
        meta = pod.metadata
        names = {key.name for key in self._manual if key.namespace == meta.namespace}
        names.add(meta.labels.get(JOB_NAME, ""))
        for name in names:
            job = self._reader.get(Job, meta.namespace, name)
            if job is not None and from_label_selector(job.spec.selector).matches(meta.labels):
                yield key_of(job)

    def _job_of(self, pod: Pod) -> Job | None:
        """The Job that controls a pod, if it is still there."""
        key, reference = _job_key(pod), controller_of(pod)
        job = self._reader.get(Job, key.namespace, key.name) if key is not None else None
        return job if job is not None and reference is not None and job.metadata.uid == reference.uid else None


def _job_key(pod: Pod) -> Key | None:
    reference = controller_of(pod)
    return (
        Key("Job", pod.metadata.namespace, reference.name)
        if reference is not None and reference.kind == "Job"
        else None
    )


def _matters(old: Pod, new: Pod) -> bool:
    """Whether a change of a pod can change what its Job does or says."""
    return (
        matters(old, new)
        or _deletion(old) != _deletion(new)
        or list(old.metadata.finalizers) != list(new.metadata.finalizers)
        or _restarts(old) != _restarts(new)
    )


def _deletion(pod: Pod) -> int | None:
    return pod.metadata.deletion_grace_period_seconds if is_terminating(pod) else None


def _restarts(pod: Pod) -> int:
    return sum(s.restart_count for s in (*pod.status.init_container_statuses, *pod.status.container_statuses))


def _adoption(seen: Pod, job: Job) -> Callable[[Any], None]:
    def adopt(obj: Pod) -> None:
        _same(obj, seen)
        if controller_of(obj) is not None or is_terminating(obj):
            raise Conflict(f"{qualified_name(obj)} was adopted by another or is being deleted")
        obj.metadata.owner_references.append(owner_reference(job))
        if not is_tracked(obj):
            obj.metadata.finalizers.append(TRACKING_FINALIZER)

    return adopt


def _release(seen: Pod) -> Callable[[Any], None]:
    def release(obj: Pod) -> None:
        _same(obj, seen)
        if is_tracked(obj):
            obj.metadata.finalizers.remove(TRACKING_FINALIZER)

    return release


def _give_up(seen: Pod) -> Callable[[Any], None]:
    def give_up(obj: Pod) -> None:
        _same(obj, seen)
        if not is_terminal(obj):
            obj.metadata.annotations[GIVEN_UP] = "true"

    return give_up


def _same(obj: Pod, seen: Pod) -> None:
    if obj.metadata.uid != seen.metadata.uid:
        raise Conflict(f"{qualified_name(obj)} is another pod now")
