"""Jobs on real containers: an Indexed one, one that fails, one that a CronJob starts, and a pod that has a deadline."""

from __future__ import annotations

import datetime

from podium.client import Client
from podium.objects.conditions import get_condition
from podium.objects.meta import timestamp
from podium.v1.batch_pb2 import CronJob, CronJobStatus, Job
from podium.v1.core_pb2 import Pod
from tests.rig.manifests import job, pod
from tests.rig.rig import podium, until


def pods_of(client: Client, namespace: str, name: str) -> list[Pod]:
    return client.list(Pod, namespace=namespace, selector=f"batch.kubernetes.io/job-name={name}")


def test_an_indexed_job_works_off_its_indexes(client: Client, namespace: str) -> None:
    script = "echo index $JOB_COMPLETION_INDEX on $(hostname)"
    podium("-n", namespace, "apply", "-f", "-",
           stdin=job("work", script, completionMode="Indexed", completions=5, parallelism=3))  # fmt: skip
    podium("-n", namespace, "wait", "--for=condition=complete", "job/work", "--timeout=60s", timeout=90)
    done = client.get(Job, "work", namespace=namespace)
    assert (done.status.succeeded, done.status.failed, done.status.completed_indexes) == (5, 0, "0-4")
    said = {podium("-n", namespace, "logs", p.metadata.name).strip() for p in pods_of(client, namespace, "work")}
    assert said == {f"index {n} on work-{n}" for n in range(5)}
    listed = podium("-n", namespace, "get", "jobs").splitlines()[1].split()
    assert listed[:3] == ["work", "Complete", "5/5"]


def test_a_failing_job_stops_at_its_limit(client: Client, namespace: str) -> None:
    podium(
        "-n", namespace, "apply", "-f", "-", stdin=job("bad", "exit 3", backoffLimit=0, parallelism=2, completions=2)
    )
    podium("-n", namespace, "wait", "--for=condition=failed", "job/bad", "--timeout=60s", timeout=90)
    failed = client.get(Job, "bad", namespace=namespace)
    why = get_condition(failed.status.conditions, "Failed")
    assert why is not None
    assert why.reason == "BackoffLimitExceeded"
    assert (failed.status.failed, failed.status.active) == (2, 0)
    # The other was still running, maybe, and is ended with the Job: it goes.
    ended = [p for p in pods_of(client, namespace, "bad") if not p.metadata.HasField("deletion_timestamp")]
    assert "exit code 3" in podium("-n", namespace, "describe", "pod", ended[0].metadata.name)


def test_a_cron_job_fires_for_what_it_missed_and_its_job_runs(client: Client, namespace: str) -> None:
    podium(
        "-n", namespace, "create", "cronjob", "tick", "--image=busybox", "--schedule=0 0 * * *", "--", "echo", "tock"
    )
    cron = client.get(CronJob, "tick", namespace=namespace)
    two_days_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    cron.status.last_schedule_time.CopyFrom(timestamp(two_days_ago))  # as if the master had been away
    client.update(cron, subresource="status")
    made = until(lambda: client.list(Job, namespace=namespace), seconds=20, what="a Job of the CronJob")
    name = made[0].metadata.name
    assert name.startswith("tick-")
    podium("-n", namespace, "wait", "--for=condition=complete", f"job/{name}", "--timeout=60s", timeout=90)
    assert podium("-n", namespace, "logs", f"job/{name}") == "tock\n"

    def succeeded() -> CronJobStatus | None:
        status = client.get(CronJob, "tick", namespace=namespace).status
        return status if status.HasField("last_successful_time") else None

    status = until(succeeded, seconds=20, what="the CronJob saw its Job complete")
    assert not status.active


def test_a_pod_ends_at_its_active_deadline(client: Client, namespace: str) -> None:
    sleepy = pod("sleepy", ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
                 spec={"activeDeadlineSeconds": 3, "restartPolicy": "Always"})  # fmt: skip
    podium("-n", namespace, "apply", "-f", "-", stdin=sleepy)

    def failed() -> Pod | None:
        found = client.get(Pod, "sleepy", namespace=namespace)
        return found if found.status.phase == "Failed" else None

    assert until(failed, seconds=40, what="the pod fails at its deadline").status.reason == "DeadlineExceeded"
