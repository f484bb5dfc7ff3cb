"""Rules of Job and CronJob: a template that can end, policies that fit together, a selector of its own, a schedule."""

from __future__ import annotations

from itertools import pairwise

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.walk import FieldRule, Findings, MessageRule, between
from podium.errors import BadRequest, Violation
from podium.objects import cron
from podium.objects.indexes import IndexSet
from podium.objects.job import CONTROLLER_UID, INDEXED, MOST_INDEXES, ONLY_FAILED
from podium.objects.pod import all_containers
from podium.objects.selectors import from_label_selector
from podium.v1.batch_pb2 import (
    CronJob,
    CronJobSpec,
    Job,
    JobSpec,
    PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
    SuccessPolicy,
    SuccessPolicyRule,
)
from podium.v1.core_pb2 import PodTemplateSpec

_MOST_RULES = 20
_MOST_VALUES = 255
_LONGEST_HOSTNAME = 63
_ANEW = "delete the Job and create it anew"


# ---------------------------------------------------------------- the spec as a whole


def _job(job: Job, path: str, findings: Findings) -> None:
    spec = job.spec
    if spec.completion_mode == INDEXED and spec.HasField("completions"):
        longest = len(job.metadata.name) + 1 + len(str(max(spec.completions - 1, 0)))
        if longest > _LONGEST_HOSTNAME:
            words = f"must leave room for pods' host names NAME-INDEX of {_LONGEST_HOSTNAME} characters, not {longest}"
            findings.append(Violation(f"{path}.metadata.name", words))
    _selector(job, f"{path}.spec", findings)


def _selector(job: Job, path: str, findings: Findings) -> None:
    spec = job.spec
    if spec.manual_selector and not spec.HasField("selector"):
        findings.append(Violation(f"{path}.selector", "is required when manualSelector is true"))
    if not spec.HasField("selector"):
        return
    if not spec.manual_selector and dict(spec.selector.match_labels) != {CONTROLLER_UID: job.metadata.uid}:
        hint = "leave it out, or set manualSelector: true and choose labels that no other workload's pods have"
        findings.append(Violation(f"{path}.selector", "must not be set: a Job selects its pods by its uid", hint))
        return
    try:
        found = from_label_selector(spec.selector)
    except BadRequest:
        return  # named by the walk
    if not found.matches(spec.template.metadata.labels):
        where = f"{path}.template.metadata.labels"
        findings.append(Violation(where, f'must match the selector "{found}"', "or its pods would not be found again"))


def _spec(spec: JobSpec, path: str, findings: Findings) -> None:
    policy = spec.template.spec.restart_policy
    if policy not in ("Never", "OnFailure"):
        where = f"{path}.template.spec.restartPolicy"
        findings.append(Violation(where, f'must be "Never" or "OnFailure" in a Job, not "{policy}"'))
    _indexes(spec, path, findings)
    if spec.HasField("pod_failure_policy"):
        _failure_policy(spec, path, findings)


def _indexes(spec: JobSpec, path: str, findings: Findings) -> None:
    indexed = spec.completion_mode == INDEXED
    if indexed and not spec.HasField("completions"):
        findings.append(Violation(f"{path}.completions", "is required with completionMode Indexed"))
    if indexed and spec.parallelism > MOST_INDEXES:
        words = f"must be at most {MOST_INDEXES} with completionMode Indexed, not {spec.parallelism}"
        findings.append(Violation(f"{path}.parallelism", words))
    for field, name in (("backoff_limit_per_index", "backoffLimitPerIndex"), ("success_policy", "successPolicy")):
        if spec.HasField(field) and not indexed:  # type: ignore[arg-type]  # both are optional fields of JobSpec
            findings.append(Violation(f"{path}.{name}", "needs completionMode: Indexed"))
    if spec.HasField("backoff_limit_per_index") and spec.template.spec.restart_policy != "Never":
        findings.append(Violation(f"{path}.backoffLimitPerIndex", "needs the template's restartPolicy: Never"))
    if not spec.HasField("max_failed_indexes"):
        return
    if not spec.HasField("backoff_limit_per_index"):
        findings.append(Violation(f"{path}.backoffLimitPerIndex", "is required with maxFailedIndexes"))
    if spec.HasField("completions") and spec.max_failed_indexes > spec.completions:
        words = f"must be at most completions, {spec.completions}, not {spec.max_failed_indexes}"
        findings.append(Violation(f"{path}.maxFailedIndexes", words))


def _failure_policy(spec: JobSpec, path: str, findings: Findings) -> None:
    if spec.template.spec.restart_policy != "Never":
        findings.append(Violation(f"{path}.podFailurePolicy", "needs the template's restartPolicy: Never"))
    if spec.pod_replacement_policy != ONLY_FAILED:
        words = f'must be "Failed" with a podFailurePolicy, not "{spec.pod_replacement_policy}"'
        findings.append(Violation(f"{path}.podReplacementPolicy", words))
    containers = {container.name for container in all_containers(spec.template.spec)}
    for number, rule in enumerate(spec.pod_failure_policy.rules):
        where = f"{path}.podFailurePolicy.rules[{number}]"
        if rule.action == "FailIndex" and not spec.HasField("backoff_limit_per_index"):
            findings.append(Violation(f"{where}.action", '"FailIndex" needs backoffLimitPerIndex'))
        name = rule.on_exit_codes.container_name
        if name and name not in containers:
            words = f'must name a container of the template, not "{name}"'
            findings.append(Violation(f"{where}.onExitCodes.containerName", words))


# ---------------------------------------------------------------- rules of the policies


def _few_rules(policy: PodFailurePolicy | SuccessPolicy, path: str, findings: Findings) -> None:
    if len(policy.rules) > _MOST_RULES:
        findings.append(Violation(f"{path}.rules", f"must be at most {_MOST_RULES}"))


def _failure_rule(rule: PodFailurePolicyRule, path: str, findings: Findings) -> None:
    if rule.HasField("on_exit_codes") == bool(rule.on_pod_conditions):
        findings.append(Violation(path, "must have either onExitCodes or onPodConditions"))
    if len(rule.on_pod_conditions) > _MOST_RULES:
        findings.append(Violation(f"{path}.onPodConditions", f"must be at most {_MOST_RULES}"))


def _exit_codes(codes: PodFailurePolicyOnExitCodesRequirement, path: str, findings: Findings) -> None:
    values = list(codes.values)
    if len(values) > _MOST_VALUES:
        findings.append(Violation(f"{path}.values", f"must be at most {_MOST_VALUES}"))
    if any(a >= b for a, b in pairwise(values)):
        findings.append(Violation(f"{path}.values", "must ascend, each once"))
    if codes.operator == "In" and 0 in values:
        findings.append(Violation(f"{path}.values", "must not hold 0 with the operator In: that is success"))


def _pod_condition(pattern: PodFailurePolicyOnPodConditionsPattern, path: str, findings: Findings) -> None:
    if problem := names.qualified_name(pattern.type) if pattern.type else "":
        findings.append(Violation(f"{path}.type", f'"{pattern.type}" {problem}'))


def _success_rule(rule: SuccessPolicyRule, path: str, findings: Findings) -> None:
    if not rule.succeeded_indexes and not rule.HasField("succeeded_count"):
        findings.append(Violation(path, "must have succeededIndexes, succeededCount, or both"))


def _success_policy(spec: JobSpec, path: str, findings: Findings) -> None:
    for number, rule in enumerate(spec.success_policy.rules):
        where = f"{path}.successPolicy.rules[{number}]"
        named = spec.completions
        if rule.succeeded_indexes:
            try:
                indexes = IndexSet.parse(rule.succeeded_indexes)
            except BadRequest as error:
                findings.append(Violation(f"{where}.succeededIndexes", error.message))
                continue
            if indexes.ranges and indexes.ranges[-1][1] >= spec.completions:
                words = f"must be below completions, {spec.completions}, not {indexes.ranges[-1][1]}"
                findings.append(Violation(f"{where}.succeededIndexes", words))
            named = len(indexes)
        if rule.succeeded_count > named:
            words = f"must be at most {named}, the number of indexes that it counts, not {rule.succeeded_count}"
            findings.append(Violation(f"{where}.succeededCount", words))


def job_spec(spec: JobSpec, path: str, findings: Findings) -> None:
    """Rules of a Job's spec, wherever it is."""
    _spec(spec, path, findings)
    if spec.completion_mode == INDEXED and spec.HasField("completions"):
        _success_policy(spec, path, findings)


# ---------------------------------------------------------------- CronJob

_LONGEST_CRON_NAME = 52


def _cron_job(obj: CronJob, path: str, findings: Findings) -> None:
    if len(obj.metadata.name) > _LONGEST_CRON_NAME:
        words = f"must be at most {_LONGEST_CRON_NAME} characters: names of Jobs are made of it"
        findings.append(Violation(f"{path}.metadata.name", words))
    spec = obj.spec.job_template.spec
    where = f"{path}.spec.jobTemplate.spec"
    if spec.HasField("selector"):
        findings.append(Violation(f"{where}.selector", "must not be set: each Job has its own"))
    if spec.manual_selector:
        findings.append(Violation(f"{where}.manualSelector", "must not be set: each Job has its own selector"))


def _schedule(text: str, path: str, findings: Findings) -> None:
    try:
        _ = cron.parse(text)
    except BadRequest as error:
        findings.append(Violation(path, error.message, "e.g. 30 2 * * mon-fri, or @hourly"))


def _time_zone(name: str, path: str, findings: Findings) -> None:
    try:
        _ = cron.zone_of(name)
    except BadRequest as error:
        findings.append(Violation(path, error.message))


# ---------------------------------------------------------------- updates


def update_job(new: Job, old: Job, findings: Findings) -> None:
    """What a Job's pods were made by stays; how many there are, and whether, may change."""
    for field, name in (
        ("selector", "selector"),
        ("completion_mode", "completionMode"),
        ("pod_failure_policy", "podFailurePolicy"),
        ("success_policy", "successPolicy"),
        ("backoff_limit_per_index", "backoffLimitPerIndex"),
    ):
        if getattr(new.spec, field) != getattr(old.spec, field) or _presence(new, field) != _presence(old, field):
            findings.append(Violation(f".spec.{name}", "is immutable", _ANEW))
    _completions(new, old, findings)
    if _fixed_part(new.spec.template, old) != _fixed_part(old.spec.template, old):
        hint = f"{_ANEW}; where its pods may run can change while it is suspended and has not started"
        findings.append(Violation(".spec.template", "is immutable", hint))


def _presence(job: Job, field: str) -> bool:
    optional = field != "completion_mode"
    return optional and job.spec.HasField(field)  # type: ignore[arg-type]  # names are from the list above


def _completions(new: Job, old: Job, findings: Findings) -> None:
    if new.spec.completions == old.spec.completions and _presence(new, "completions") == _presence(old, "completions"):
        return
    elastic = new.spec.completion_mode == INDEXED and new.spec.completions == new.spec.parallelism
    if not elastic:
        hint = f"{_ANEW}; an Indexed Job may change completions together with an equal parallelism"
        findings.append(Violation(".spec.completions", "is immutable", hint))


def _fixed_part(template: PodTemplateSpec, old: Job) -> PodTemplateSpec:
    """All of the template that can't change now: before its first start a suspended Job may still be placed anew."""
    if not old.spec.suspend or old.status.HasField("start_time"):
        return template
    fixed = PodTemplateSpec()
    fixed.CopyFrom(template)
    fixed.metadata.ClearField("annotations")
    fixed.metadata.ClearField("labels")
    for field in ("node_selector", "affinity", "tolerations", "scheduling_gates"):
        fixed.spec.ClearField(field)
    return fixed


MESSAGES: dict[type[Message], MessageRule] = {
    CronJob: _cron_job,
    Job: _job,
    JobSpec: job_spec,
    PodFailurePolicy: _few_rules,
    PodFailurePolicyRule: _failure_rule,
    PodFailurePolicyOnExitCodesRequirement: _exit_codes,
    PodFailurePolicyOnPodConditionsPattern: _pod_condition,
    SuccessPolicy: _few_rules,
    SuccessPolicyRule: _success_rule,
}

_COUNT = between(0, 2**31 - 1)

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (CronJobSpec, "schedule"): _schedule,
    (CronJobSpec, "time_zone"): _time_zone,
    (CronJobSpec, "starting_deadline_seconds"): between(0),
    (CronJobSpec, "successful_jobs_history_limit"): _COUNT,
    (CronJobSpec, "failed_jobs_history_limit"): _COUNT,
    (JobSpec, "parallelism"): _COUNT,
    (JobSpec, "completions"): _COUNT,
    (JobSpec, "active_deadline_seconds"): between(0),
    (JobSpec, "backoff_limit"): _COUNT,
    (JobSpec, "backoff_limit_per_index"): _COUNT,
    (JobSpec, "max_failed_indexes"): between(0, MOST_INDEXES),
    (JobSpec, "ttl_seconds_after_finished"): _COUNT,
    (SuccessPolicyRule, "succeeded_count"): between(1, MOST_INDEXES),
}
