"""What is told of Jobs."""

from __future__ import annotations

import datetime

from podium.cli.describe import pods
from podium.cli.describe.page import Page, conditions, header, when
from podium.cli.output.jobs import completions, job_word, lasted
from podium.objects.job import UNLIMITED
from podium.objects.selectors import workload_selector
from podium.v1.batch_pb2 import Job, JobSpec, PodFailurePolicyRule


def job(page: Page, obj: Job, now: datetime.datetime) -> None:
    """A Job: how far it is, what limits it, what it runs."""
    header(page, obj)
    spec, status = obj.spec, obj.status
    page.field("Selector", workload_selector(obj))
    page.field("State", job_word(obj))
    _limits(page, spec)
    page.field("Started", when(status.start_time))
    page.field("Completed", when(status.completion_time))
    page.field("Duration", lasted(obj, now))
    page.field("Completions", completions(obj))
    page.field(
        "Pods",
        f"{status.active} active ({status.ready} ready) | {status.terminating} terminating | "
        f"{status.succeeded} succeeded | {status.failed} failed",
    )
    page.field("Completed Indexes", status.completed_indexes)
    page.field("Failed Indexes", status.failed_indexes)
    pods.template(page, spec.template.spec, spec.template.metadata.labels)
    conditions(page, status.conditions, now)


def _limits(page: Page, spec: JobSpec) -> None:
    page.field("Parallelism", spec.parallelism)
    page.field("Completion Mode", spec.completion_mode)
    page.field("Suspend", "true" if spec.suspend else "")
    if spec.backoff_limit != UNLIMITED:
        page.field("Backoff Limit", spec.backoff_limit)
    if spec.HasField("backoff_limit_per_index"):
        page.field("Backoff Limit per Index", spec.backoff_limit_per_index)
    if spec.HasField("max_failed_indexes"):
        page.field("Max Failed Indexes", spec.max_failed_indexes)
    if spec.HasField("active_deadline_seconds"):
        page.field("Active Deadline", f"{spec.active_deadline_seconds}s")
    if spec.HasField("ttl_seconds_after_finished"):
        page.field("Deleted", f"{spec.ttl_seconds_after_finished}s after its end")
    page.field("Pod Failure Policy", "\n".join(_rule(rule) for rule in spec.pod_failure_policy.rules))
    rules = [
        f"{rule.succeeded_count if rule.HasField('succeeded_count') else 'all'} of {rule.succeeded_indexes or 'any'}"
        for rule in spec.success_policy.rules
    ]
    page.field("Success Policy", "\n".join(rules))


def _rule(rule: PodFailurePolicyRule) -> str:
    if rule.HasField("on_exit_codes"):
        codes = rule.on_exit_codes
        of = f" of {codes.container_name}" if codes.container_name else ""
        return f"{rule.action}: exit code{of} {codes.operator} {', '.join(map(str, codes.values))}"
    return f"{rule.action}: {' or '.join(f'{c.type}={c.status}' for c in rule.on_pod_conditions)}"
