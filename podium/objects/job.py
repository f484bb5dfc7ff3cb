"""What a Job's fields, labels and conditions mean. Names are those of batch/v1."""

from __future__ import annotations

from collections.abc import Mapping

from podium.objects.conditions import is_true
from podium.v1.batch_pb2 import Job, JobSpec
from podium.v1.core_pb2 import Pod

JOB_NAME, CONTROLLER_UID = "batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid"
LEGACY_JOB_NAME, LEGACY_CONTROLLER_UID = "job-name", "controller-uid"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
FAILURE_COUNT = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURE_COUNT = "batch.kubernetes.io/job-index-ignored-failure-count"
TRACKING_FINALIZER = "batch.kubernetes.io/job-tracking"
"""On a pod that its Job has not counted yet."""
GIVEN_UP = "podium.dev/job-given-up"
"""On a pod that its Job ended uncounted, and that keeps how often its index had failed."""
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"

COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
SUCCESS_CRITERIA_MET, FAILURE_TARGET = "SuccessCriteriaMet", "FailureTarget"

INDEXED, NON_INDEXED = "Indexed", "NonIndexed"
TERMINATING_OR_FAILED, ONLY_FAILED = "TerminatingOrFailed", "Failed"

MOST_INDEXES = 100_000
UNLIMITED = 2**31 - 1


def generated_labels(name: str, uid: str) -> dict[str, str]:
    """What every pod of a Job is labelled with."""
    return {CONTROLLER_UID: uid, JOB_NAME: name, LEGACY_CONTROLLER_UID: uid, LEGACY_JOB_NAME: name}


def is_finished(job: Job) -> bool:
    """Whether the Job has come to its end: Complete or Failed."""
    return is_true(job.status.conditions, COMPLETE) or is_true(job.status.conditions, FAILED)


def finish_time(job: Job) -> int | None:
    """When the Job came to its end, in seconds since the epoch."""
    for condition in job.status.conditions:
        if condition.type in (COMPLETE, FAILED) and condition.status == "True":
            return int(condition.last_transition_time.seconds)
    return None


def is_indexed(spec: JobSpec) -> bool:
    """Whether each pod works on an index."""
    return spec.completion_mode == INDEXED


def replaces_only_failed(spec: JobSpec) -> bool:
    """Whether a pod that is being deleted counts, and is replaced, only when it is over."""
    return spec.pod_replacement_policy == ONLY_FAILED


def index_of(pod: Pod) -> int | None:
    """The completion index of a pod, if it has one."""
    return _number(pod.metadata.annotations, COMPLETION_INDEX)


def failures_of(pod: Pod) -> int:
    """How often the pod's index had failed when the pod was made."""
    return _number(pod.metadata.annotations, FAILURE_COUNT) or 0


def ignored_failures_of(pod: Pod) -> int:
    """How many failures of the pod's index had been ignored when the pod was made."""
    return _number(pod.metadata.annotations, IGNORED_FAILURE_COUNT) or 0


def is_tracked(pod: Pod) -> bool:
    """Whether the pod's end is yet to be counted."""
    return TRACKING_FINALIZER in pod.metadata.finalizers


def was_given_up(pod: Pod) -> bool:
    """Whether the Job ended the pod itself, for example because it was suspended."""
    return GIVEN_UP in pod.metadata.annotations


def _number(annotations: Mapping[str, str], key: str) -> int | None:
    text = annotations.get(key, "")
    return int(text) if text.isdecimal() else None
