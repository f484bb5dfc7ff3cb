"""Defaults of Job and CronJob.

A Job's selector and the labels that it finds its pods by are made here, from its uid, unless it says `manualSelector`.
"""

from __future__ import annotations

from master.admission.defaults.pods import pod_spec
from podium.objects.job import (
    CONTROLLER_UID,
    NON_INDEXED,
    ONLY_FAILED,
    TERMINATING_OR_FAILED,
    UNLIMITED,
    generated_labels,
)
from podium.v1.batch_pb2 import CronJob, Job, JobSpec

_BACKOFF_LIMIT = 6


def job(obj: Job) -> None:
    """One pod that must succeed, and may fail six times."""
    template = obj.spec.template
    if not obj.metadata.labels:
        made = generated_labels(obj.metadata.name, obj.metadata.uid)
        obj.metadata.labels.update({k: v for k, v in template.metadata.labels.items() if k not in made})
    job_spec(obj.spec)
    if obj.metadata.uid and not obj.spec.manual_selector:
        template.metadata.labels.update(generated_labels(obj.metadata.name, obj.metadata.uid))
        if not obj.spec.HasField("selector"):
            obj.spec.selector.match_labels[CONTROLLER_UID] = obj.metadata.uid


def job_spec(spec: JobSpec) -> None:
    """Defaults of a Job's or a job template's spec."""
    if not spec.HasField("completions") and not spec.HasField("parallelism"):
        spec.completions = 1
    if not spec.HasField("parallelism"):
        spec.parallelism = 1
    if not spec.HasField("backoff_limit"):
        spec.backoff_limit = UNLIMITED if spec.HasField("backoff_limit_per_index") else _BACKOFF_LIMIT
    if not spec.completion_mode:
        spec.completion_mode = NON_INDEXED
    if not spec.HasField("suspend"):
        spec.suspend = False
    if not spec.HasField("manual_selector"):
        spec.manual_selector = False
    if not spec.pod_replacement_policy:
        spec.pod_replacement_policy = ONLY_FAILED if spec.HasField("pod_failure_policy") else TERMINATING_OR_FAILED
    for rule in spec.pod_failure_policy.rules if spec.HasField("pod_failure_policy") else ():
        for pattern in rule.on_pod_conditions:
            pattern.status = pattern.status or "True"
    pod_spec(spec.template.spec)


def cron_job(obj: CronJob) -> None:
    """Jobs may overlap; three that succeeded and one that failed are kept."""
    spec = obj.spec
    if not spec.concurrency_policy:
        spec.concurrency_policy = "Allow"
    if not spec.HasField("suspend"):
        spec.suspend = False
    if not spec.HasField("successful_jobs_history_limit"):
        spec.successful_jobs_history_limit = 3
    if not spec.HasField("failed_jobs_history_limit"):
        spec.failed_jobs_history_limit = 1
    job_spec(spec.job_template.spec)
