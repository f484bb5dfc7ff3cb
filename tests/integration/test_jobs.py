"""Jobs over the real doors and cache, with a kubelet that needs no time; and on hollow nodes, through a restart."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from master.controllers.cronjob_plan import cron_job_of
from nodelet.runtime.hollow import Behaviour, HollowSettings
from podium.aio.clock import SystemClock
from podium.objects.conditions import is_true
from podium.objects.job import COMPLETION_INDEX, CONTROLLER_UID, TRACKING_FINALIZER, is_finished
from podium.objects.kinds import Key, key_of
from podium.objects.meta import timestamp
from podium.v1.batch_pb2 import CronJob, CronJobStatus, Job
from podium.v1.core_pb2 import Event, Pod
from podium.v1.meta_pb2 import DeleteOptions
from tests.support.cluster import ADMIN, hollow_cluster
from tests.support.control_plane import ME, ControlPlane, control_plane
from tests.support.waiting import until


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with control_plane() as running:
        yield running


def job(image: str, name: str = "work", **spec: object) -> Job:
    made = Job()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.spec.template.spec.containers.add(name="c", image=image)
    made.spec.template.spec.restart_policy = "Never"
    for field, value in spec.items():
        setattr(made.spec, field, value)
    return made


def current(plane: ControlPlane, name: str = "work") -> Job:
    found = plane.reader.get(Job, "default", name)
    assert found is not None
    return found


def is_true_of(plane: ControlPlane, type_: str) -> bool:
    return is_true(current(plane).status.conditions, type_)


async def test_a_job_runs_to_its_end_and_every_pod_is_counted(plane: ControlPlane) -> None:
    _ = await plane.writer.create(job("exit-0", completions=40, parallelism=15), by=ME)
    await until(lambda: is_true_of(plane, "Complete"))
    status = current(plane).status
    assert (status.succeeded, status.failed, status.active) == (40, 0, 0)
    await until(lambda: not any(TRACKING_FINALIZER in p.metadata.finalizers for p in plane.pods()))
    assert len(plane.pods()) == 40
    await until(lambda: any(e.reason == "Completed" for e in plane.reader.list(Event)))


async def test_an_indexed_job_works_off_its_indexes(plane: ControlPlane) -> None:
    _ = await plane.writer.create(job("exit-0", completion_mode="Indexed", completions=12, parallelism=4), by=ME)
    await until(lambda: is_true_of(plane, "Complete"))
    assert current(plane).status.completed_indexes == "0-11"
    assert sorted(int(p.metadata.annotations[COMPLETION_INDEX]) for p in plane.pods()) == list(range(12))


async def test_a_failing_job_says_so_and_ends_what_runs(plane: ControlPlane) -> None:
    _ = await plane.writer.create(job("exit-3", backoff_limit=0, completions=2, parallelism=2), by=ME)
    await until(lambda: is_true_of(plane, "Failed"))
    assert current(plane).status.failed == 2
    await until(lambda: any(e.reason == "BackoffLimitExceeded" for e in plane.reader.list(Event)))


async def test_a_suspended_job_starts_when_it_is_resumed(plane: ControlPlane) -> None:
    _ = await plane.writer.create(job("app", suspend=True), by=ME)
    await until(lambda: is_true_of(plane, "Suspended"))
    assert plane.pods() == []

    def set_suspend(obj: Job, value: bool) -> None:
        obj.spec.suspend = value

    _ = await plane.writer.mutate(Job, "default", "work", lambda o: set_suspend(o, False), by=ME)
    await until(lambda: current(plane).status.ready == 1)
    _ = await plane.writer.mutate(Job, "default", "work", lambda o: set_suspend(o, True), by=ME)
    await until(lambda: plane.reader.list(Pod, "default") == [] and is_true_of(plane, "Suspended"))
    assert current(plane).status.failed == 0


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_a_deleted_job_takes_its_pods_along(plane: ControlPlane, policy: str) -> None:
    _ = await plane.writer.create(job("app", completions=3, parallelism=3), by=ME)
    await until(lambda: current(plane).status.ready == 3)
    await plane.writer.delete(key_of(current(plane)), by=ME, options=DeleteOptions(propagation_policy=policy))
    await until(lambda: plane.reader.list(Pod, "default") == [] and plane.reader.list(Job) == [])


async def test_pods_of_an_orphaning_delete_live_on_and_are_held_by_nobody(plane: ControlPlane) -> None:
    _ = await plane.writer.create(job("app", completions=2, parallelism=2), by=ME)
    await until(lambda: current(plane).status.ready == 2)
    await plane.writer.delete(key_of(current(plane)), by=ME, options=DeleteOptions(propagation_policy="Orphan"))
    await until(lambda: plane.reader.list(Job) == [])
    await until(lambda: not any(TRACKING_FINALIZER in p.metadata.finalizers for p in plane.pods()))
    assert len(plane.pods()) == 2


async def test_a_pod_that_is_deleted_before_it_was_counted_is_counted(plane: ControlPlane) -> None:
    _ = await plane.writer.create(job("app", completions=2, parallelism=2), by=ME)
    await until(lambda: current(plane).status.ready == 2)
    victim = plane.pods()[0]
    await plane.writer.delete(key_of(victim), by=ME)
    await until(lambda: current(plane).status.failed == 1)
    await until(lambda: plane.reader.get(Pod, "default", victim.metadata.name) is None)
    await until(lambda: current(plane).status.ready == 2)


async def test_a_finished_job_goes_after_its_time(plane: ControlPlane) -> None:
    _ = await plane.writer.create(job("exit-0", ttl_seconds_after_finished=0), by=ME)
    await until(lambda: plane.reader.list(Job) == [] and plane.reader.list(Pod) == [])


async def test_a_job_with_a_selector_of_its_own_adopts_and_counts(plane: ControlPlane) -> None:
    orphan = Pod()
    orphan.metadata.name, orphan.metadata.namespace = "stray", "default"
    orphan.metadata.labels["app"] = "mine"
    orphan.spec.containers.add(name="c", image="slow")
    orphan.spec.restart_policy = "Never"
    _ = await plane.writer.create(orphan, by=ME)
    made = job("slow", manual_selector=True)
    made.spec.selector.match_labels["app"] = "mine"
    made.spec.template.metadata.labels["app"] = "mine"
    _ = await plane.writer.create(made, by=ME)
    await until(lambda: current(plane).status.active == 1)
    (pod,) = plane.pods()
    assert pod.metadata.name == "stray"
    assert TRACKING_FINALIZER in pod.metadata.finalizers


async def test_a_pod_whose_labels_no_longer_match_is_let_go_and_replaced(plane: ControlPlane) -> None:
    _ = await plane.writer.create(job("slow", completions=1), by=ME)
    await until(lambda: current(plane).status.active == 1)
    [pod] = plane.pods()

    def rename(obj: Pod) -> None:
        del obj.metadata.labels[CONTROLLER_UID]

    _ = await plane.writer.mutate(Pod, "default", pod.metadata.name, rename, by=ME)
    await until(lambda: len(plane.pods()) == 2 and current(plane).status.active == 1)
    stray = plane.reader.get(Pod, "default", pod.metadata.name)
    assert stray is not None
    assert not stray.metadata.owner_references
    await until(lambda: sum(TRACKING_FINALIZER in p.metadata.finalizers for p in plane.pods()) == 1)
    assert current(plane).status.failed == 0


async def test_pods_are_counted_once_though_the_master_restarts_meanwhile(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=2) as cluster:
        for member in cluster.members.values():
            member.runtime.settings = HollowSettings(
                behaviours={"short": Behaviour(exits_after=0.1), "bad": Behaviour(exits_after=0.05, exit_code=3)}
            )
        _ = await cluster.writer.create(job("short", completions=60, parallelism=20), by=ADMIN)

        def status() -> Job:
            found = cluster.reader.get(Job, "default", "work")
            assert found is not None
            return found

        for threshold in (5, 25):
            await until(lambda threshold=threshold: status().status.succeeded >= threshold, seconds=20)  # type: ignore[misc]
            await cluster.stop_master()
            await cluster.start_master()
        await until(lambda: is_finished(status()), seconds=30)
        assert (status().status.succeeded, status().status.failed) == (60, 0)
        assert len(cluster.reader.list(Pod, "default")) == 60
        await cluster.writer.delete(Key("Job", "default", "work"), by=ADMIN)
        await until(lambda: cluster.reader.list(Pod, "default") == [], seconds=20)


# ---------------------------------------------------------------- CronJob


def cron_job(image: str = "exit-0", **spec: object) -> CronJob:
    made = CronJob()
    made.metadata.name, made.metadata.namespace = "tick", "default"
    made.spec.schedule = "* * * * *"
    made.spec.job_template.spec.template.spec.containers.add(name="c", image=image)
    made.spec.job_template.spec.template.spec.restart_policy = "Never"
    for field, value in spec.items():
        setattr(made.spec, field, value)
    return made


async def was_away(plane: ControlPlane, minutes: int) -> None:
    """The CronJob last fired so long ago."""

    def change(obj: CronJob) -> None:
        ago = SystemClock().now() - datetime.timedelta(minutes=minutes)
        obj.status.last_schedule_time.CopyFrom(timestamp(ago))

    _ = await plane.writer.mutate(CronJob, "default", "tick", change, by=ME, subresource="status")


def cron_status(plane: ControlPlane) -> CronJobStatus:
    found = plane.reader.get(CronJob, "default", "tick")
    assert found is not None
    return found.status


async def test_a_cron_job_serves_one_firing_of_those_it_missed_and_sees_its_job_complete(plane: ControlPlane) -> None:
    _ = await plane.writer.create(cron_job(), by=ME)
    await was_away(plane, 5)
    await until(lambda: cron_status(plane).HasField("last_successful_time"))
    made = plane.reader.list(Job)
    assert 1 <= len(made) <= 2, "a minute may begin during the test"
    assert all(job.metadata.name.startswith("tick-") for job in made)
    await until(lambda: not cron_status(plane).active)
    await until(lambda: any(e.reason == "SawCompletedJob" for e in plane.reader.list(Event)))


async def test_a_job_that_exists_already_is_the_one_of_its_firing(plane: ControlPlane) -> None:
    made = await plane.writer.create(cron_job("slow", suspend=True), by=ME)
    firing = SystemClock().now().replace(second=0, microsecond=0)
    await plane.writer.create(cron_job_of(made, firing), by=ME)  # and then the master died

    def resume(obj: CronJob) -> None:
        obj.spec.suspend = False

    await was_away(plane, 2)
    _ = await plane.writer.mutate(CronJob, "default", "tick", resume, by=ME)
    await until(lambda: cron_status(plane).last_schedule_time.seconds >= int(firing.timestamp()))
    names = [job.metadata.name for job in plane.reader.list(Job)]
    assert len(names) == len(set(names)) <= 2
    assert cron_status(plane).active[0].name == names[0]


async def test_deleting_a_cron_job_ends_its_jobs(plane: ControlPlane) -> None:
    _ = await plane.writer.create(cron_job("slow"), by=ME)
    await was_away(plane, 3)
    await until(lambda: len(cron_status(plane).active) == 1 and len(plane.pods()) == 1)
    await plane.writer.delete(Key("CronJob", "default", "tick"), by=ME)
    await until(lambda: plane.reader.list(Job) == [] and plane.reader.list(Pod) == [])
