"""A Job's pods by what they mean to it, and its books: what was counted, what is to be, what must wait. Pure.

Every pod is counted once, although it may be deleted at any moment, and although the master may die between any two
writes. A pod has the tracking finalizer until it is counted; three states follow each other, one write each:

    over, with the finalizer    ─► its uid is in status.uncountedTerminatedPods ─► the finalizer goes
    uid there, finalizer gone   ─► succeeded or failed + 1, the uid goes

With a limit for each index the last failed pod of an index keeps the count until the index is tried again. So does a
pod that the Job gave up (suspended) when its index had failed before: it is marked, keeps the finalizer, and is itself
not counted.

An index that succeeded needs no such care, for `completedIndexes` is a set; nor do the last pods of a Job, because the
write that counts them says as well that the Job is finished, and a finished Job counts no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from master.controllers.job_policy import Action, Judgement, judge_failure
from podium.objects.indexes import IndexSet
from podium.objects.job import (
    failures_of,
    ignored_failures_of,
    index_of,
    is_indexed,
    is_tracked,
    replaces_only_failed,
    was_given_up,
)
from podium.objects.pod import FAILED, SUCCEEDED, is_ready, is_terminating
from podium.v1.batch_pb2 import Job
from podium.v1.core_pb2 import Pod

MOST_UNCOUNTED = 500
"""Uids that one write adds to the status, which is to stay small."""


@dataclass(slots=True)
class Census:
    """Pods of one Job.

    Attributes:
        active: Alive, and to be counted when they end.
        given_up: Alive without the finalizer, or marked: the Job was about to delete them, and never counts them.
        set_aside: Marked, with the finalizer, and over or being deleted: they keep the count of their index.
        terminating: Being deleted, and not known to be over.
        succeeded: Over, and to be counted.
        failed: To be counted as failed: over, or being deleted if the Job replaces such pods at once.
        tracked: Uids of all pods with the finalizer.
        ready: How many of the active ones are ready.
    """

    active: list[Pod] = field(default_factory=list)
    given_up: list[Pod] = field(default_factory=list)
    set_aside: list[Pod] = field(default_factory=list)
    terminating: list[Pod] = field(default_factory=list)
    succeeded: list[Pod] = field(default_factory=list)
    failed: list[Pod] = field(default_factory=list)
    tracked: set[str] = field(default_factory=set)
    ready: int = 0


def take_census(job: Job, pods: Iterable[Pod]) -> Census:
    """Sort a Job's pods."""
    census, patient = Census(), replaces_only_failed(job.spec)
    for pod in pods:
        phase, tracked, dying = pod.status.phase, is_tracked(pod), is_terminating(pod)
        over = is_over(pod)
        if not over:
            _add_living(census, pod, tracked=tracked, dying=dying)
        if not tracked:
            continue
        census.tracked.add(pod.metadata.uid)
        if phase == SUCCEEDED:
            census.succeeded.append(pod)
        elif was_given_up(pod):
            if over or dying:
                census.set_aside.append(pod)
        elif over or (dying and not patient):
            census.failed.append(pod)
    return census


def is_over(pod: Pod) -> bool:
    """Whether nothing of the pod runs: it says so, or its deletion was confirmed and only finalizers hold it."""
    if pod.status.phase in (SUCCEEDED, FAILED):
        return True
    return is_terminating(pod) and not pod.metadata.deletion_grace_period_seconds


def _add_living(census: Census, pod: Pod, *, tracked: bool, dying: bool) -> None:
    if dying:
        census.terminating.append(pod)
    elif tracked and not was_given_up(pod):
        census.active.append(pod)
        census.ready += is_ready(pod)
    else:
        census.given_up.append(pod)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The last pod of an index that failed or was given up, kept until it is tried again, and what the next is told."""

    pod: Pod
    failures: int
    ignored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What a Job's status is to say about pods that are over.

    Attributes:
        succeeded: Counted.
        failed: Counted.
        uncounted_succeeded: Uids on their way to be counted.
        uncounted_failed: Likewise.
        completed: Indexes.
        failed_indexes: Those that are not tried again.
        release: Pods whose finalizer can go once the status is written.
        held: Failed pods of indexes that are to be tried again, by index.
        left_succeeded: Pods to be counted that have no place in this write.
        left_failed: Likewise.
        judgement: Of a pod whose failure fails the Job.
    """

    succeeded: int
    failed: int
    uncounted_succeeded: Sequence[str]
    uncounted_failed: Sequence[str]
    completed: IndexSet
    failed_indexes: IndexSet
    release: Sequence[Pod]
    held: dict[int, Held]
    left_succeeded: int
    left_failed: int
    judgement: Judgement | None = None

    @property
    def all_succeeded(self) -> int:
        """Counted or to be counted."""
        return self.succeeded + len(self.uncounted_succeeded) + self.left_succeeded

    @property
    def all_failed(self) -> int:
        """Counted or to be counted."""
        return self.failed + len(self.uncounted_failed) + self.left_failed


def keep_books(job: Job, census: Census, *, final: bool = False) -> Books:
    """Bring a Job's books up to its pods. `final`: no index is tried again, and nothing is left for a later write."""
    return _Clerk(job, census, final=final).close()


class _Clerk:
    def __init__(self, job: Job, census: Census, *, final: bool) -> None:
        spec, status = job.spec, job.status
        self._spec, self._census, self._status, self._final = spec, census, status, final
        self._indexed = is_indexed(spec)
        self._per_index = spec.HasField("backoff_limit_per_index")
        self._completed = IndexSet.parse(status.completed_indexes, below=spec.completions)
        self._failed_indexes = IndexSet.parse(status.failed_indexes, below=spec.completions)
        self._succeeded = self._settled(status.uncounted_terminated_pods.succeeded)
        self._failed = self._settled(status.uncounted_terminated_pods.failed)
        self._release: list[Pod] = []
        self._held: dict[int, Held] = {}
        self._left: Counter[bool] = Counter()
        self._judgement: Judgement | None = None

    def close(self) -> Books:
        gone = self._status.uncounted_terminated_pods
        counted = len(gone.succeeded) - len(self._succeeded), len(gone.failed) - len(self._failed)
        self._enter_succeeded()
        if self._per_index:
            self._hold()
        self._enter_failed()
        held = {h.pod.metadata.uid for h in self._held.values()}
        self._release += [pod for pod in self._census.set_aside if pod.metadata.uid not in held]
        return Books(
            succeeded=len(self._completed) if self._indexed else self._status.succeeded + counted[0],
            failed=self._status.failed + counted[1],
            uncounted_succeeded=self._succeeded,
            uncounted_failed=self._failed,
            completed=self._completed,
            failed_indexes=self._failed_indexes,
            release=self._release,
            held=self._held,
            left_succeeded=self._left[True],
            left_failed=self._left[False],
            judgement=self._judgement,
        )

    def _settled(self, uids: Iterable[str]) -> list[str]:
        """Those whose pods still have the finalizer; the others are counted now."""
        return [uid for uid in uids if uid in self._census.tracked]

    def _enter_succeeded(self) -> None:
        """A pod that was entered as failed when it was deleted, and succeeded nevertheless, stays failed."""
        failed = set(self._failed)
        fresh = [pod for pod in self._census.succeeded if pod.metadata.uid not in failed]
        self._release += [pod for pod in self._census.succeeded if pod.metadata.uid in failed]
        if self._indexed:
            found = [i for pod in fresh if (i := self._index(pod)) is not None]
            self._completed = self._completed.with_indexes([i for i in found if i not in self._completed])
            self._release += fresh
            return
        known = set(self._succeeded)
        for pod in fresh:
            self._enter(pod, self._succeeded, known)

    def _enter_failed(self) -> None:
        known = set(self._failed)
        held = {h.pod.metadata.uid for h in self._held.values()}
        for pod in self._census.failed:
            if pod.metadata.uid in held:
                continue
            judgement = judge_failure(self._spec, pod)
            if judgement.action is Action.FAIL_JOB and self._judgement is None:
                self._judgement = judgement
            outside = self._indexed and self._index(pod) is None
            if outside or judgement.action is Action.IGNORE:
                self._release.append(pod)
            else:
                self._enter(pod, self._failed, known)

    def _enter(self, pod: Pod, uids: list[str], known: set[str]) -> None:
        uid = pod.metadata.uid
        if uid not in known:
            if len(self._succeeded) + len(self._failed) >= MOST_UNCOUNTED and not self._final:
                self._left[uids is self._succeeded] += 1
                return
            uids.append(uid)
        self._release.append(pod)

    # ------------------------------------------------------------ a limit for each index

    def _hold(self) -> None:
        """Find indexes that have failed for good, and of the others the newest failed pod, which keeps the count."""
        tried_again = {index_of(pod): _tries(pod) for pod in self._census.active}
        newest: dict[int, Pod] = {}
        # Of a failed pod and one set aside that were told the same, the failed one knows more: it comes last.
        for pod in (*self._census.set_aside, *self._census.failed):
            index = self._index(pod)
            if index is None or index in self._completed or index in self._failed_indexes:
                continue
            known = newest.get(index)
            if _tries(pod) >= tried_again.get(index, 0) and (known is None or _tries(pod) >= _tries(known)):
                newest[index] = pod
        lost = []
        for index, pod in newest.items():
            if was_given_up(pod):
                if index not in tried_again and not self._final:
                    self._held[index] = Held(pod=pod, failures=failures_of(pod), ignored=ignored_failures_of(pod))
                continue
            action = judge_failure(self._spec, pod).action
            if action is Action.FAIL_JOB:
                continue
            failures = failures_of(pod) + (action is not Action.IGNORE)
            if action is Action.FAIL_INDEX or failures > self._spec.backoff_limit_per_index:
                lost.append(index)
            elif index not in tried_again and not self._final:
                ignored = ignored_failures_of(pod) + (action is Action.IGNORE)
                self._held[index] = Held(pod=pod, failures=failures, ignored=ignored)
        self._failed_indexes = self._failed_indexes.with_indexes(lost)

    def _index(self, pod: Pod) -> int | None:
        index = index_of(pod)
        return index if index is not None and index < self._spec.completions else None


def _tries(pod: Pod) -> int:
    return failures_of(pod) + ignored_failures_of(pod)
