"""The pods that a Job makes: the template, the finalizer, and, with indexes, who is which. Pure."""

from __future__ import annotations

from itertools import chain

from master.controllers.job_plan import NewPod
from master.controllers.pods import pod_from
from podium.objects.job import (
    COMPLETION_INDEX,
    FAILURE_COUNT,
    IGNORED_FAILURE_COUNT,
    INDEX_VARIABLE,
    TRACKING_FINALIZER,
)
from podium.v1.batch_pb2 import Job
from podium.v1.core_pb2 import Pod


def job_pod(job: Job, new: NewPod) -> Pod:
    """A pod to be created; its name is generated when it is written."""
    pod = pod_from(job.spec.template, job)
    if TRACKING_FINALIZER not in pod.metadata.finalizers:
        pod.metadata.finalizers.append(TRACKING_FINALIZER)
    if new.index is not None:
        _number(pod, job.metadata.name, new.index)
    if new.failures is not None:
        pod.metadata.annotations[FAILURE_COUNT] = str(new.failures)
        if new.ignored:
            pod.metadata.annotations[IGNORED_FAILURE_COUNT] = str(new.ignored)
    return pod


def _number(pod: Pod, job: str, index: int) -> None:
    text = str(index)
    pod.metadata.generate_name = f"{job}-{text}-"
    pod.metadata.annotations[COMPLETION_INDEX] = text
    pod.metadata.labels[COMPLETION_INDEX] = text
    pod.spec.hostname = f"{job}-{text}"
    for container in chain(pod.spec.init_containers, pod.spec.containers):
        if not any(variable.name == INDEX_VARIABLE for variable in container.env):
            container.env.add(name=INDEX_VARIABLE, value=text)
