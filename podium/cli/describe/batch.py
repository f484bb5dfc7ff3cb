"""What is told of Jobs and CronJobs."""

from __future__ import annotations

import datetime

from podium.cli.describe import pods
from podium.cli.describe.page import Page, conditions, header, when
from podium.cli.output.jobs import completions, job_word, lasted
from podium.errors import BadRequest
from podium.objects.cron import parse, zone_of
from podium.objects.job import UNLIMITED
from podium.objects.selectors import workload_selector
from podium.v1.batch_pb2 import CronJob, CronJobSpec, Job, JobSpec, PodFailurePolicyRule


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


def cron_job(page: Page, obj: CronJob, now: datetime.datetime) -> None:
    """A CronJob: when it starts Jobs, which run, and what they run."""
    header(page, obj)
    spec, status = obj.spec, obj.status
    page.field("Schedule", spec.schedule)
    page.field("Time Zone", spec.time_zone or "UTC")
    page.field("Concurrency Policy", spec.concurrency_policy)
    page.field("Suspend", spec.suspend)
    if spec.HasField("starting_deadline_seconds"):
        page.field("Starting Deadline", f"{spec.starting_deadline_seconds}s")
    page.field(
        "History", f"{spec.successful_jobs_history_limit} succeeded, {spec.failed_jobs_history_limit} failed are kept"
    )
    page.field("Last Schedule", when(status.last_schedule_time))
    page.field("Last Success", when(status.last_successful_time))
    page.field("Next Schedule", "" if spec.suspend else _next(spec, now))
    page.field("Active Jobs", "\n".join(reference.name for reference in status.active) or "<none>")
    with page.section("Job Template"):
        _limits(page, spec.job_template.spec)
        template = spec.job_template.spec.template
        pods.template(page, template.spec, template.metadata.labels)


def _next(spec: CronJobSpec, now: datetime.datetime) -> str:
    try:
        zone = zone_of(spec.time_zone)
        moment = parse(spec.schedule).after(now, zone)
    except BadRequest:  # this host may know other time zones than the master
        return ""
    return moment.astimezone(zone).isoformat() if moment is not None else ""


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
