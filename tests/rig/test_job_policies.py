"""What makes a Job fail, succeed, wait and go; what a CronJob does about Jobs that overlap, are late, or are over."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import yaml

from podium.client import Client
from podium.errors import NotFound
from podium.objects.conditions import get_condition, is_true
from podium.v1.batch_pb2 import CronJob, Job
from podium.v1.core_pb2 import Event, Pod
from tests.rig.manifests import job
from tests.rig.rig import PODIUM, podium, run, until

WAIT = "until [ -e /tmp/go ]; do sleep 0.1; done"
UNTIL_ENDED = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


def _exit_codes(action: str, code: int) -> dict[str, object]:
    return {"action": action, "onExitCodes": {"operator": "In", "values": [code]}}


def _jobs() -> str:
    by_index = "case $JOB_COMPLETION_INDEX in 0) exit 9;; 1) exit 1;; esac"
    first_is_enough = f"[ $JOB_COMPLETION_INDEX = 0 ] || {{ {UNTIL_ENDED}; }}"
    indexed: dict[str, Any] = {"completionMode": "Indexed", "completions": 3, "parallelism": 3}
    return "---\n".join(
        [
            job("fatal", "exit 42", podFailurePolicy={"rules": [_exit_codes("FailJob", 42)]}),
            job("harmless", "exit 7", backoffLimit=0, podFailurePolicy={"rules": [_exit_codes("Ignore", 7)]}),
            job("indexes", by_index, **indexed, backoffLimitPerIndex=1,
                podFailurePolicy={"rules": [_exit_codes("FailIndex", 9)]}),
            job("leader", first_is_enough, **indexed, successPolicy={"rules": [{"succeededIndexes": "0"}]}),
            job("paused", WAIT, suspend=True),
            job("halted", WAIT),
            job("brief", "true", ttlSecondsAfterFinished=1),
            job("late", UNTIL_ENDED, activeDeadlineSeconds=4),
        ]
    )  # fmt: skip


class _Jobs:
    """The Jobs of a namespace as they are now."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    def get(self, name: str) -> Job:
        return self._client.get(Job, name, namespace=self._namespace)

    def is_gone(self, name: str) -> bool:
        try:
            self.get(name)
        except NotFound:
            return True
        return False

    def why(self, name: str, condition: str) -> str:
        """The reason of a condition that is True."""
        conditions = self.get(name).status.conditions
        found = get_condition(conditions, condition)
        return found.reason if found is not None and is_true(conditions, condition) else ""

    def pods(self, name: str) -> list[Pod]:
        selector = f"batch.kubernetes.io/job-name={name}"
        return self._client.list(Pod, namespace=self._namespace, selector=selector)

    def running(self, name: str) -> list[str]:
        """The pods whose container runs."""
        mine = self.pods(name)
        return [p.metadata.name for p in mine if any(s.state.HasField("running") for s in p.status.container_statuses)]

    def suspend(self, name: str, value: bool) -> None:
        self._client.patch(Job, name, {"spec": {"suspend": value}}, namespace=self._namespace)

    def let_go(self, name: str) -> None:
        [pod] = until(lambda: self.running(name), seconds=60, what=f"a pod of {name} that runs")
        podium("-n", self._namespace, "exec", pod, "--", "touch", "/tmp/go")


def _all(conditions: dict[str, Callable[[], object]], seconds: float) -> None:
    """Waits for all of them together."""
    missing = dict(conditions)

    def met() -> bool:
        for name in [name for name, condition in missing.items() if condition()]:
            del missing[name]
        return not missing

    until(met, seconds=seconds, what=lambda: sorted(missing))


def test_every_end_of_a_job(client: Client, namespace: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin=_jobs())
    jobs = _Jobs(client, namespace)
    until(lambda: jobs.running("halted"), seconds=60, what="a Job that runs")
    assert jobs.why("paused", "Suspended") == "JobSuspended"
    assert not jobs.pods("paused")
    jobs.suspend("halted", True)
    jobs.suspend("paused", False)
    until(lambda: not jobs.pods("halted"), seconds=30, what="no pod of a Job that is suspended")
    jobs.suspend("halted", False)
    jobs.let_go("paused")
    jobs.let_go("halted")
    _all(
        {
            "fatal": lambda: jobs.why("fatal", "Failed") == "PodFailurePolicy",
            "harmless": lambda: len([p for p in jobs.pods("harmless") if p.status.phase == "Failed"]) >= 2,
            "indexes": lambda: jobs.why("indexes", "Failed") == "FailedIndexes",
            "leader": lambda: jobs.why("leader", "Complete") == "SuccessPolicy",
            "paused": lambda: jobs.why("paused", "Complete"),
            "halted": lambda: jobs.why("halted", "Complete"),
            "brief": lambda: jobs.is_gone("brief") and not jobs.pods("brief"),
            "late": lambda: jobs.why("late", "Failed") == "DeadlineExceeded",
        },
        seconds=90,
    )
    assert "exit code 42" in podium("-n", namespace, "describe", "job", "fatal")
    assert len(jobs.pods("fatal")) == 1
    # Ignored failures do not count, so a limit of none is kept to.
    assert jobs.get("harmless").status.failed == 0
    assert not jobs.why("harmless", "Failed")
    # The first index failed at once, the second after its one retry.
    indexes = jobs.get("indexes").status
    assert (indexes.failed_indexes, indexes.completed_indexes, indexes.failed) == ("0,1", "2", 3)
    leader = jobs.get("leader").status
    assert (leader.completed_indexes, leader.succeeded, leader.active) == ("0", 1, 0)
    assert [jobs.get(name).status.failed for name in ("paused", "halted")] == [0, 0]
    assert not [name for name in ("fatal", "indexes", "leader", "late") if jobs.running(name)]


# ---------------------------------------------------------------- CronJobs


class _Firing:
    """CronJobs whose schedules fire at given minutes of the past: at once, without waiting for a clock."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self._now = datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0)

    def manifest(self, name: str, script: str, **spec: object) -> str:
        made: dict[str, object] = yaml.safe_load(job(name, script, backoffLimit=0))
        # Yesterday, before there was the CronJob: it does not fire before it is told to.
        body = {"schedule": self._at(-1440), "jobTemplate": {"spec": made["spec"]}, **spec}
        return str(
            yaml.safe_dump({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": body})
        )

    def _at(self, minutes: int) -> str:
        moment = self._now + datetime.timedelta(minutes=minutes)
        return f"{moment.minute} {moment.hour} {moment.day} {moment.month} *"

    def fire(self, *names: str, minutes_ago: int) -> None:
        """As if this minute had come and the master had been away; it was there for what came before."""
        before = self._now - datetime.timedelta(minutes=minutes_ago + 1)
        for name in names:
            status = {"status": {"lastScheduleTime": f"{before:%Y-%m-%dT%H:%M:%SZ}"}}
            self._client.patch(CronJob, name, status, namespace=self._namespace, subresource="status")
            spec = {"spec": {"schedule": self._at(-minutes_ago)}}
            self._client.patch(CronJob, name, spec, namespace=self._namespace)

    def jobs(self, name: str) -> list[Job]:
        """A CronJob's Jobs, the oldest firing first."""
        found = self._client.list(Job, namespace=self._namespace)
        mine = [j for j in found if j.metadata.name.startswith(f"{name}-")]
        return sorted(mine, key=lambda j: j.metadata.name)

    def done(self, name: str, condition: str) -> list[str]:
        return [j.metadata.name for j in self.jobs(name) if is_true(j.status.conditions, condition)]

    def reasons(self, name: str) -> set[str]:
        events = self._client.list(Event, namespace=self._namespace, field_selector=f"involvedObject.name={name}")
        return {event.reason for event in events}


def test_overlapping_late_and_old_jobs_of_cron_jobs(client: Client, namespace: str) -> None:
    firing = _Firing(client, namespace)
    manifests = [
        firing.manifest("forbid", WAIT, concurrencyPolicy="Forbid"),
        firing.manifest("replace", UNTIL_ENDED, concurrencyPolicy="Replace"),
        firing.manifest("allow", UNTIL_ENDED),
        firing.manifest("missed", "true", startingDeadlineSeconds=120),
        firing.manifest("in-time", "true", startingDeadlineSeconds=3600),
        firing.manifest("good", "true", successfulJobsHistoryLimit=1),
        firing.manifest("bad", "false", failedJobsHistoryLimit=0),
    ]
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin="---\n".join(manifests))
    firing.fire("forbid", "replace", "allow", "missed", "in-time", "good", "bad", minutes_ago=30)
    jobs = _Jobs(client, namespace)

    def runs(name: str, count: int) -> bool:
        return sum(len(jobs.running(j.metadata.name)) for j in firing.jobs(name)) == count

    _all(
        {
            **{name: lambda name=name: runs(name, 1) for name in ("forbid", "replace", "allow")},  # type: ignore[misc]
            "missed": lambda: "MissSchedule" in firing.reasons("missed"),
            "in-time": lambda: firing.done("in-time", "Complete"),
            "good": lambda: firing.done("good", "Complete"),
            "bad": lambda: "SawCompletedJob" in firing.reasons("bad") and not firing.jobs("bad"),
        },
        seconds=60,
    )
    assert not firing.jobs("missed")
    first = {name: firing.jobs(name)[0].metadata.name for name in ("forbid", "replace", "allow", "good")}

    firing.fire(*first, minutes_ago=10)
    _all(
        {
            "forbid": lambda: "JobAlreadyActive" in firing.reasons("forbid"),
            "replace": lambda: runs("replace", 1) and len(firing.jobs("replace")) == 1,
            "allow": lambda: runs("allow", 2),
            "good": lambda: (ended := firing.done("good", "Complete")) and first["good"] not in ended,
        },
        seconds=60,
    )
    assert [j.metadata.name for j in firing.jobs("forbid")] == [first["forbid"]]
    assert firing.jobs("replace")[0].metadata.name != first["replace"]
    assert len(firing.jobs("good")) == 1

    # The firing that had to wait is served when the Job before is over.
    jobs.let_go(first["forbid"])
    until(lambda: len(firing.jobs("forbid")) == 2 and runs("forbid", 1), seconds=60, what="the firing that waited")
