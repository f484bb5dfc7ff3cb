"""What is refused of Jobs, by path; and that nothing else is."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import copy
from typing import Any

import pytest

from master.admission import apply_defaults, validate
from podium.codec.json import object_from_dict


def _object(kind: str, api_version: str, **body: Any) -> Any:
    obj = object_from_dict({"apiVersion": api_version, "kind": kind, **body})
    apply_defaults(obj)
    return obj


def refusals(obj: Any, old: Any = None) -> dict[str, str]:
    return {violation.field: violation.description for violation in validate(obj, old)}


# ---------------------------------------------------------------- Job


def job(template: dict[str, Any] | None = None, name: str = "x", **spec: Any) -> Any:
    made = {"spec": {"containers": [{"name": "c", "image": "i:1"}], "restartPolicy": "Never"} | (template or {})}
    return _object("Job", "batch/v1", metadata={"name": name, "uid": "u1"}, spec={"template": made} | spec)


INDEXED: dict[str, Any] = {"completionMode": "Indexed", "completions": 4}
CODES: dict[str, Any] = {"operator": "In", "values": [1]}


def failure_rule(**rule: Any) -> dict[str, Any]:
    return {"podFailurePolicy": {"rules": [{"action": "FailJob", **rule}]}}


def test_a_good_job_passes_again_after_defaulting() -> None:
    for made in (
        job(),
        job(**INDEXED, backoffLimitPerIndex=1, maxFailedIndexes=2),
        job(**failure_rule(onExitCodes=CODES)),
    ):
        assert refusals(made) == {}
        again = copy.deepcopy(made)
        apply_defaults(again)
        assert again == made
        assert refusals(again, made) == {}


@pytest.mark.parametrize(
    ("made", "field", "words"),
    [
        (job({"restartPolicy": "Always"}), "spec.template.spec.restartPolicy", '"Never" or "OnFailure"'),
        (job(parallelism=-1), "spec.parallelism", "at least 0"),
        (job(completions=-1), "spec.completions", "at least 0"),
        (job(backoffLimit=-1), "spec.backoffLimit", "at least 0"),
        (job(ttlSecondsAfterFinished=-1), "spec.ttlSecondsAfterFinished", "at least 0"),
        (job(activeDeadlineSeconds=-1), "spec.activeDeadlineSeconds", "at least 0"),
        (job(completionMode="Sorted"), "spec.completionMode", "must be one of NonIndexed, Indexed"),
        (job(completionMode="Indexed", parallelism=2), "spec.completions", "is required with completionMode Indexed"),
        (job(name="x" * 62, **INDEXED), "metadata.name", "63 characters, not 64"),
        (job(**INDEXED, parallelism=100_001), "spec.parallelism", "at most 100000"),
        (job(backoffLimitPerIndex=1), "spec.backoffLimitPerIndex", "needs completionMode: Indexed"),
        (job({"restartPolicy": "OnFailure"}, **INDEXED, backoffLimitPerIndex=1), "spec.backoffLimitPerIndex", "restartPolicy: Never"),
        (job(**INDEXED, maxFailedIndexes=1), "spec.backoffLimitPerIndex", "is required with maxFailedIndexes"),
        (job(**INDEXED, backoffLimitPerIndex=1, maxFailedIndexes=5), "spec.maxFailedIndexes", "at most completions, 4"),
        (job(successPolicy={"rules": [{"succeededCount": 1}]}), "spec.successPolicy", "needs completionMode: Indexed"),
        (job(**INDEXED, successPolicy={"rules": [{}]}), "spec.successPolicy.rules[0]", "must have succeededIndexes"),
        (job(**INDEXED, successPolicy={"rules": []}), "spec.successPolicy.rules", "is required"),
        (job(**INDEXED, successPolicy={"rules": [{"succeededIndexes": "2,1"}]}), "spec.successPolicy.rules[0].succeededIndexes", "must ascend"),
        (job(**INDEXED, successPolicy={"rules": [{"succeededIndexes": "0-4"}]}), "spec.successPolicy.rules[0].succeededIndexes", "below completions"),
        (job(**INDEXED, successPolicy={"rules": [{"succeededIndexes": "0-1", "succeededCount": 3}]}), "spec.successPolicy.rules[0].succeededCount", "at most 2"),
        (job({"restartPolicy": "OnFailure"}, **failure_rule(onExitCodes=CODES)), "spec.podFailurePolicy", "restartPolicy: Never"),
        (job(podReplacementPolicy="TerminatingOrFailed", **failure_rule(onExitCodes=CODES)), "spec.podReplacementPolicy", 'must be "Failed"'),
        (job(**failure_rule()), "spec.podFailurePolicy.rules[0]", "either onExitCodes or onPodConditions"),
        (job(**failure_rule(onExitCodes=CODES, onPodConditions=[{"type": "A"}])), "spec.podFailurePolicy.rules[0]", "either"),
        (job(**failure_rule(onExitCodes=CODES | {"containerName": "z"})), "spec.podFailurePolicy.rules[0].onExitCodes.containerName", "a container of the template"),
        (job(**failure_rule(onExitCodes=CODES | {"values": [2, 2]})), "spec.podFailurePolicy.rules[0].onExitCodes.values", "must ascend"),
        (job(**failure_rule(onExitCodes=CODES | {"values": [0, 1]})), "spec.podFailurePolicy.rules[0].onExitCodes.values", "must not hold 0"),
        (job(**failure_rule(onExitCodes={"operator": "In"})), "spec.podFailurePolicy.rules[0].onExitCodes.values", "is required"),
        (job(**failure_rule(onPodConditions=[{"type": "a b"}])), "spec.podFailurePolicy.rules[0].onPodConditions[0].type", "must be letters"),
        (job(**failure_rule(onExitCodes=CODES) | {"podFailurePolicy": {"rules": [{"action": "FailIndex", "onExitCodes": CODES}]}}), "spec.podFailurePolicy.rules[0].action", "needs backoffLimitPerIndex"),
        (job(selector={"matchLabels": {"a": "b"}}), "spec.selector", "must not be set"),
        (job(manualSelector=True), "spec.selector", "is required when manualSelector"),
        (job(manualSelector=True, selector={"matchLabels": {"a": "b"}}), "spec.template.metadata.labels", "must match the selector"),
    ],
)  # fmt: skip
def test_jobs(made: Any, field: str, words: str) -> None:
    found = refusals(made)
    assert list(found) == [field]
    assert words in found[field]


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (job(completions=2), job(completions=3), "spec.completions"),
        (job(**INDEXED, parallelism=4), job(completionMode="Indexed", completions=5, parallelism=5), None),
        (job(completions=2), job(**INDEXED | {"completions": 2}), "spec.completionMode"),
        (job(parallelism=2, completions=9), job(parallelism=5, completions=9), None),
        (job(), job(suspend=True), None),
        (job(**INDEXED), job(**INDEXED, successPolicy={"rules": [{"succeededCount": 1}]}), "spec.successPolicy"),
        (job(), job({"nodeSelector": {"a": "b"}}), "spec.template"),
        (job(suspend=True), job({"nodeSelector": {"a": "b"}}, suspend=True), None),
        (job(suspend=True), job({"containers": [{"name": "c", "image": "i:2"}]}, suspend=True), "spec.template"),
    ],
)
def test_what_of_a_job_may_change(old: Any, new: Any, field: str | None) -> None:
    assert list(refusals(new, old)) == ([field] if field else [])


# ---------------------------------------------------------------- CronJob


def cron(name: str = "x", template: dict[str, Any] | None = None, **spec: Any) -> Any:
    pod = {"spec": {"containers": [{"name": "c", "image": "i:1"}], "restartPolicy": "Never"}}
    body = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": pod} | (template or {})}} | spec
    return _object("CronJob", "batch/v1", metadata={"name": name}, spec=body)


@pytest.mark.parametrize(
    ("made", "field", "words"),
    [
        (cron(schedule="61 * * * *"), "spec.schedule", 'minute "61"'),
        (cron(schedule=""), "spec.schedule", "is required"),
        (cron(timeZone="Mars/Olympus"), "spec.timeZone", "is unknown"),
        (cron(concurrencyPolicy="Maybe"), "spec.concurrencyPolicy", "must be one of Allow, Forbid, Replace"),
        (cron(startingDeadlineSeconds=-1), "spec.startingDeadlineSeconds", "at least 0"),
        (cron(successfulJobsHistoryLimit=-1), "spec.successfulJobsHistoryLimit", "at least 0"),
        (cron(failedJobsHistoryLimit=-1), "spec.failedJobsHistoryLimit", "at least 0"),
        (cron(name="x" * 53), "metadata.name", "at most 52"),
        (cron(template={"selector": {"matchLabels": {"a": "b"}}}), "spec.jobTemplate.spec.selector", "must not be set"),
        (cron(template={"backoffLimit": -1}), "spec.jobTemplate.spec.backoffLimit", "at least 0"),
        (cron(template={"manualSelector": True}), "spec.jobTemplate.spec.manualSelector", "must not be set"),
    ],
)
def test_cron_jobs(made: Any, field: str, words: str) -> None:
    found = refusals(made)
    assert list(found) == [field]
    assert words in found[field]


def test_a_good_cron_job_passes() -> None:
    assert refusals(cron(schedule="@hourly", timeZone="Europe/Berlin")) == {}
