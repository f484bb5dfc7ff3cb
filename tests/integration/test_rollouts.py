"""The Rollouts service over a running control plane: watch one succeed, watch one fail, and go back."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from master.api.rollouts import RolloutsServicer
from master.auth.authorizer import Authorizer
from master.auth.ca import CertificateAuthority
from podium.aio.clock import SystemClock
from podium.errors import BadRequest, Conflict, Forbidden, NotFound
from podium.objects.revisions import RESTARTED_AT, REVISION
from podium.v1.apps_pb2 import DaemonSet, Deployment, StatefulSet
from podium.v1.objects_service_pb2 import ObjectKey, ObjectResponse
from podium.v1.rollouts_service_pb2 import (
    RolloutHistoryRequest,
    RolloutPromoteRequest,
    RolloutRequest,
    RolloutStatus,
    RolloutStatusRequest,
    RolloutUndoRequest,
)
from tests.support.control_plane import ME, ControlPlane, control_plane
from tests.support.waiting import until
from tests.support.workloads import daemon_set, deployment, stateful_set

KEY = ObjectKey(kind="Deployment", namespace="default", name="web")


class _Caller:
    """The part of a call's context that says who calls."""

    def __init__(self, certificate: bytes) -> None:
        self._certificate = certificate

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return {"x509_pem_cert": [self._certificate]}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    folder: Path = tmp_path_factory.mktemp("pki")
    return CertificateAuthority.open(folder / "ca", SystemClock())


@pytest.fixture
def ada(authority: CertificateAuthority) -> _Caller:
    return _Caller(authority.issue_client("ada", ["system:masters"])[1])


@pytest.fixture
def viewer(authority: CertificateAuthority) -> _Caller:
    return _Caller(authority.issue_client("vera", ["podium:viewers"])[1])


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with control_plane() as running:
        await running.writer.create(deployment(replicas=3), by=ME)
        await until(running.is_rolled_out)
        yield running


def _rollouts(plane: ControlPlane) -> RolloutsServicer:
    return RolloutsServicer(reader=plane.reader, writer=plane.writer, authorizer=Authorizer())


def _unpacked(response: ObjectResponse) -> Deployment:
    found = Deployment()
    assert response.object.Unpack(found)
    return found


async def test_a_watched_rollout_ends_complete(plane: ControlPlane, ada: _Caller) -> None:
    await plane.set_image("busybox:2")
    told = [s async for s in _rollouts(plane).Status(RolloutStatusRequest(key=KEY, watch=True), ada)]
    assert told[-1].phase == RolloutStatus.COMPLETE
    assert (told[-1].revision, told[-1].available, told[-1].old) == (2, 3, 0)
    assert all(s.phase == RolloutStatus.PROGRESSING for s in told[:-1])


async def test_a_failing_rollout_ends_the_investigation(plane: ControlPlane, ada: _Caller) -> None:
    def break_it(obj: Deployment) -> None:
        obj.spec.template.spec.containers[0].image = "crash"
        obj.spec.progress_deadline_seconds = 1

    await plane.change(break_it)
    async with aclosing(_rollouts(plane).Status(RolloutStatusRequest(key=KEY, watch=True), ada)) as statuses:
        told = [s async for s in statuses]
    last = told[-1]
    assert last.phase == RolloutStatus.FAILED
    (problem,) = last.problems
    assert (problem.reason, problem.exit_code, problem.restart_count) == ("CrashLoopBackOff", 7, 3)
    assert "no such option" in problem.message
    assert problem.node
    assert list(last.changes) == ["spec.containers[c].image: busybox -> crash"]


async def test_history_and_undo(plane: ControlPlane, ada: _Caller, viewer: _Caller) -> None:
    rollouts = _rollouts(plane)
    for image in ("busybox:2", "busybox:3"):
        await plane.set_image(image)
        await until(plane.is_rolled_out)
    answer = await rollouts.History(RolloutHistoryRequest(key=KEY), viewer)
    assert [(r.revision, r.user, r.current) for r in answer.revisions] == [
        (1, ME.user, False),
        (2, ME.user, False),
        (3, ME.user, True),
    ]
    dry = _unpacked(await rollouts.Undo(RolloutUndoRequest(key=KEY, dry_run=True), ada))
    assert dry.spec.template.spec.containers[0].image == "busybox:2"
    assert plane.deployment().spec.template.spec.containers[0].image == "busybox:3"
    await rollouts.Undo(RolloutUndoRequest(key=KEY, to_revision=1), ada)
    await until(lambda: plane.is_rolled_out() and len(plane.pods("busybox")) == 3)
    assert plane.deployment().metadata.annotations[REVISION] == "4"
    answer = await rollouts.History(RolloutHistoryRequest(key=KEY), viewer)
    assert [(r.revision, r.user) for r in answer.revisions] == [(2, ME.user), (3, ME.user), (4, "ada")]
    with pytest.raises(NotFound, match="no revision 9"):
        await rollouts.Undo(RolloutUndoRequest(key=KEY, to_revision=9), ada)
    with pytest.raises(Forbidden):
        await rollouts.Undo(RolloutUndoRequest(key=KEY), viewer)


async def test_paused_rollouts_wait_and_refuse(plane: ControlPlane, ada: _Caller) -> None:
    rollouts = _rollouts(plane)
    await rollouts.Pause(RolloutRequest(key=KEY), ada)
    await plane.set_image("busybox:2")
    (status,) = [s async for s in rollouts.Status(RolloutStatusRequest(key=KEY), ada)]
    assert status.phase in (RolloutStatus.PAUSED, RolloutStatus.PROGRESSING)
    with pytest.raises(Conflict, match="rollout resume"):
        await rollouts.Undo(RolloutUndoRequest(key=KEY, to_revision=1), ada)
    with pytest.raises(Conflict, match="rollout resume"):
        await rollouts.Restart(RolloutRequest(key=KEY), ada)
    assert len(plane.replica_sets()) == 1
    await rollouts.Resume(RolloutRequest(key=KEY), ada)
    await until(lambda: plane.is_rolled_out() and len(plane.pods("busybox:2")) == 3)


async def test_restart_replaces_every_pod(plane: ControlPlane, ada: _Caller) -> None:
    before = {p.metadata.uid for p in plane.pods()}
    restarted = _unpacked(await _rollouts(plane).Restart(RolloutRequest(key=KEY), ada))
    told = restarted.spec.template.metadata.annotations[RESTARTED_AT]
    assert datetime.datetime.fromisoformat(told).tzinfo is not None
    await until(lambda: plane.is_rolled_out() and not before & {p.metadata.uid for p in plane.pods()})


async def test_a_daemon_set_is_followed_told_undone_and_restarted(plane: ControlPlane, ada: _Caller) -> None:
    rollouts, key = _rollouts(plane), ObjectKey(kind="ds", namespace="default", name="agent")
    await plane.writer.create(daemon_set(), by=ME)

    async def told() -> list[RolloutStatus]:
        return [s async for s in rollouts.Status(RolloutStatusRequest(key=key, watch=True), ada)]

    assert (await told())[-1].phase == RolloutStatus.COMPLETE
    await plane.writer.mutate(DaemonSet, "default", "agent", _break, by=ME)
    async with aclosing(rollouts.Status(RolloutStatusRequest(key=key, watch=True), ada)) as statuses:
        stuck = [s async for s in _until_problem(statuses)][-1]
    assert (stuck.phase, stuck.revision, stuck.old) == (RolloutStatus.PROGRESSING, 2, 2)
    assert stuck.problems[0].reason == "CrashLoopBackOff"
    assert list(stuck.changes) == ["spec.containers[c].image: busybox -> crash"]

    await rollouts.Undo(RolloutUndoRequest(key=key), ada)
    last = (await told())[-1]
    assert (last.phase, last.revision, last.available) == (RolloutStatus.COMPLETE, 3, 3)
    answer = await rollouts.History(RolloutHistoryRequest(key=key), ada)
    assert [(r.revision, r.user, r.current) for r in answer.revisions] == [(2, ME.user, False), (3, "ada", True)]
    before = {p.metadata.uid for p in plane.pods()}
    await rollouts.Restart(RolloutRequest(key=key), ada)
    assert (await told())[-1].revision == 4
    assert len(before - {p.metadata.uid for p in plane.pods()}) == 3
    with pytest.raises(BadRequest, match="cannot be paused"):
        await rollouts.Pause(RolloutRequest(key=key), ada)


async def test_a_stateful_set_is_followed_undone_and_restarted(plane: ControlPlane, ada: _Caller) -> None:
    rollouts, key = _rollouts(plane), ObjectKey(kind="sts", namespace="default", name="db")
    await plane.writer.create(stateful_set(), by=ME)

    async def told() -> RolloutStatus:
        return [s async for s in rollouts.Status(RolloutStatusRequest(key=key, watch=True), ada)][-1]

    assert (await told()).phase == RolloutStatus.COMPLETE
    await plane.writer.mutate(StatefulSet, "default", "db", _break, by=ME)
    async with aclosing(rollouts.Status(RolloutStatusRequest(key=key, watch=True), ada)) as statuses:
        stuck = [s async for s in _until_problem(statuses)][-1]
    assert (stuck.revision, stuck.problems[0].pod) == (2, "db-2")
    await rollouts.Undo(RolloutUndoRequest(key=key), ada)
    last = await told()
    assert (last.phase, last.revision, last.available) == (RolloutStatus.COMPLETE, 3, 3)
    before = {p.metadata.uid for p in plane.pods()}
    await rollouts.Restart(RolloutRequest(key=key), ada)
    assert (await told()).revision == 4
    assert len(before - {p.metadata.uid for p in plane.pods()}) == 3


def _break(obj: DaemonSet | StatefulSet) -> None:
    obj.spec.template.spec.containers[0].image = "crash"


async def _until_problem(statuses: AsyncIterator[RolloutStatus]) -> AsyncIterator[RolloutStatus]:
    async for status in statuses:
        yield status
        if status.problems:
            return


async def test_what_has_no_rollouts_is_refused(plane: ControlPlane, ada: _Caller) -> None:
    rollouts = _rollouts(plane)
    with pytest.raises(BadRequest, match="must be a Deployment"):
        await rollouts.Pause(RolloutRequest(key=ObjectKey(kind="Pod", namespace="default", name="p")), ada)
    with pytest.raises(NotFound):
        await rollouts.History(
            RolloutHistoryRequest(key=ObjectKey(kind="Deployment", namespace="default", name="x")), ada
        )


async def test_a_canary_is_promoted_aborted_and_tried_again(plane: ControlPlane, ada: _Caller, viewer: _Caller) -> None:
    def to_canary(obj: Deployment) -> None:
        obj.spec.strategy.Clear()
        obj.spec.strategy.type = "Canary"
        obj.spec.strategy.canary.steps.add(set_weight=34)
        obj.spec.strategy.canary.steps.add().pause.SetInParent()
        obj.spec.template.spec.containers[0].image = "busybox:2"

    rollouts, ask = _rollouts(plane), RolloutRequest(key=KEY)
    await plane.change(to_canary)

    async def phase(wanted: RolloutStatus.Phase.ValueType) -> RolloutStatus:
        async with aclosing(rollouts.Status(RolloutStatusRequest(key=KEY, watch=True), ada)) as statuses:
            async for status in statuses:
                if status.phase == wanted:
                    return status
        raise AssertionError(f"never came to {wanted}")

    waiting = await phase(RolloutStatus.PAUSED)
    assert (waiting.weight, waiting.updated, waiting.steps[1].state) == (34, 1, 2)
    with pytest.raises(Forbidden):
        await rollouts.Promote(RolloutPromoteRequest(key=KEY), viewer)
    await rollouts.Abort(ask, ada)
    failed = await phase(RolloutStatus.FAILED)
    assert "aborted by ada" in failed.message
    assert failed.changes == ["spec.containers[c].image: busybox -> busybox:2"]
    found = (await rollouts.History(RolloutHistoryRequest(key=KEY), ada)).revisions
    assert [r.verdict for r in found] == ["worked", "failed: RolloutAborted: aborted by ada"]
    with pytest.raises(Conflict, match="rollout retry"):
        await rollouts.Promote(RolloutPromoteRequest(key=KEY), ada)
    await rollouts.Retry(ask, ada)
    await phase(RolloutStatus.PAUSED)
    await rollouts.Promote(RolloutPromoteRequest(key=KEY), ada)
    done = await phase(RolloutStatus.COMPLETE)
    assert (done.revision, len(plane.pods("busybox:2"))) == (2, 3)
