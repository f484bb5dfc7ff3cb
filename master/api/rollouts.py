"""Rollouts, served: how one stands, its history, and going back, on hold, on, and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from google.protobuf.message import Message

from master.access.protocol import Reader, Writer
from master.api import revision_view
from master.api.identity import caller
from master.api.rollout_view import history, rollout_status
from master.auth.authorizer import Authorizer
from podium.aio.clock import Clock, SystemClock
from podium.aio.tasks import TaskScope
from podium.codec.revisions import template_of
from podium.errors import BadRequest, Conflict, NotFound
from podium.objects import promotion
from podium.objects.config import Content, Revision, contents_of
from podium.objects.kinds import Kind, kind_of, lookup
from podium.objects.meta import to_datetime
from podium.objects.owners import is_controlled_by
from podium.objects.revisions import (
    CHANGE_CAUSE,
    RESTARTED_AT,
    bare_template,
    current_of,
    previous_of,
    revision_of,
)
from podium.telemetry.log import get_logger
from podium.v1 import rollouts_service_pb2_grpc
from podium.v1.apps_pb2 import ControllerRevision, Deployment, ReplicaSet
from podium.v1.core_pb2 import Event, Pod
from podium.v1.objects_service_pb2 import ObjectKey, ObjectResponse
from podium.v1.rollouts_service_pb2 import (
    RolloutHistoryRequest,
    RolloutHistoryResponse,
    RolloutPromoteRequest,
    RolloutRequest,
    RolloutStatus,
    RolloutStatusRequest,
    RolloutUndoRequest,
)

ROLLED = ("Deployment", "DaemonSet", "StatefulSet")
"""Kinds that have rollouts."""

LOOK_AGAIN = 1.0
"""Seconds after which pods are looked at again, for what they suffer from does not always change the workload."""

_ENDS = (RolloutStatus.COMPLETE, RolloutStatus.FAILED)

log = get_logger(__name__)


class RolloutsServicer(rollouts_service_pb2_grpc.RolloutsServicer):
    """See the module. Errors are PodiumErrors, made gRPC statuses by the server's wrapper."""

    def __init__(self, *, reader: Reader, writer: Writer, authorizer: Authorizer, clock: Clock | None = None) -> None:
        self._reader, self._writer, self._authorizer = reader, writer, authorizer
        self._clock = clock or SystemClock()

    async def Status(self, request: RolloutStatusRequest, context: Any) -> AsyncGenerator[RolloutStatus, None]:
        """How a rollout stands; with `watch`, whenever that changes, until it is complete or has failed."""
        key = self._readable(request.key, context)
        last = self._status(key)
        yield last
        if not request.watch or last.phase in _ENDS:
            return
        changed = asyncio.Event()
        async with TaskScope(on_error=_log_failure) as scope:
            watcher = scope.start(self._watch(key, changed), name="watch a rollout")
            while not watcher.done() and last.phase not in _ENDS:
                await _wait(changed, LOOK_AGAIN)
                status = self._status(key)
                if status != last:
                    last = status
                    yield status

    async def History(self, request: RolloutHistoryRequest, context: Any) -> RolloutHistoryResponse:
        """Who wrote which revision when, and what changed in it."""
        obj = self._workload(self._readable(request.key, context))
        if isinstance(obj, Deployment):
            revisions = history(obj, self._replica_sets(obj), self._contents)
        else:
            revisions = revision_view.history(obj, self._revisions(obj), self._contents)
        if request.revision:
            revisions = [r for r in revisions if r.revision == request.revision]
            if not revisions:
                raise _no_revision(obj, request.revision)
        return RolloutHistoryResponse(revisions=revisions)

    async def Undo(self, request: RolloutUndoRequest, context: Any) -> ObjectResponse:
        """Go back to a revision: its template becomes the newest."""
        key = self._readable(request.key, context)
        workload = self._workload(key)
        _refuse_paused(workload, "roll back")
        target = self._target(workload, request.to_revision)
        template = bare_template(target) if isinstance(target, ReplicaSet) else template_of(target)

        def change(obj: Any) -> None:
            _refuse_paused(obj, "roll back")
            obj.spec.template.CopyFrom(template)
            obj.metadata.annotations.pop(CHANGE_CAUSE, None)
            if cause := target.metadata.annotations.get(CHANGE_CAUSE):
                obj.metadata.annotations[CHANGE_CAUSE] = cause

        if not request.dry_run:
            return await self._change(key, change, context)
        copy = type(workload)()
        copy.CopyFrom(workload)
        change(copy)
        return _answer(await self._writer.update(copy, by=caller(context), dry_run=True))

    async def Pause(self, request: RolloutRequest, context: Any) -> ObjectResponse:
        """Hold a rollout where it is."""
        return await self._change(_pausable(self._readable(request.key, context)), _pausing(True), context)

    async def Resume(self, request: RolloutRequest, context: Any) -> ObjectResponse:
        """Let a paused rollout go on."""
        return await self._change(_pausable(self._readable(request.key, context)), _pausing(False), context)

    async def Restart(self, request: RolloutRequest, context: Any) -> ObjectResponse:
        """Replace every pod, in the way of a rollout."""
        now = self._clock.now().isoformat(timespec="seconds").replace("+00:00", "Z")

        def change(obj: Any) -> None:
            _refuse_paused(obj, "restart")
            obj.spec.template.metadata.annotations[RESTARTED_AT] = now

        return await self._change(self._readable(request.key, context), change, context)

    async def Promote(self, request: RolloutPromoteRequest, context: Any) -> ObjectResponse:
        """Let a rollout that waits go on; `full` past all further steps."""
        key = self._readable(request.key, context)

        def change(obj: Deployment) -> None:
            _refuse_paused(obj, "promote")
            promotion.promote(obj, self._replica_sets(obj), full=request.full, now=self._clock.now())

        return await self._say(key, change, context)

    async def Abort(self, request: RolloutRequest, context: Any) -> ObjectResponse:
        """Return to the last revision that worked."""
        user = caller(context).user

        def change(obj: Deployment) -> None:
            promotion.abort(obj, self._replica_sets(obj), user=user, now=self._clock.now())

        return await self._say(self._readable(request.key, context), change, context)

    async def Retry(self, request: RolloutRequest, context: Any) -> ObjectResponse:
        """Try a template again that was given up."""

        def change(obj: Deployment) -> None:
            promotion.retry(obj, self._replica_sets(obj))

        return await self._say(self._readable(request.key, context), change, context)

    async def _say(self, key: ObjectKey, change: Callable[[Deployment], None], context: Any) -> ObjectResponse:
        """Change a rollout's state, which is in the status. Whoever may change the Deployment may do that."""
        if (kind := _kind(key).name) != "Deployment":
            raise BadRequest(f"a {kind} has no strategy that waits, is aborted or tried again: only a Deployment has")
        by = caller(context)
        self._authorizer.check(by, "update", "Deployment", key.namespace, key.name)
        writer, where = self._writer, (key.namespace, key.name)
        changed = await writer.mutate(Deployment, *where, change, by=by, subresource="status")
        return _answer(changed)

    async def _change(self, key: ObjectKey, change: Callable[[Any], None], context: Any) -> ObjectResponse:
        kind = _kind(key).message
        return _answer(await self._writer.mutate(kind, key.namespace, key.name, change, by=caller(context)))

    # ------------------------------------------------------------ reading

    def _readable(self, key: ObjectKey, context: Any) -> ObjectKey:
        kind = _kind(key).name
        if kind not in ROLLED:
            raise BadRequest(f"a {kind} has no rollouts: must be a {' or a '.join(ROLLED)}")
        self._authorizer.check(caller(context), "get", kind, key.namespace, key.name)
        return key

    def _workload(self, key: ObjectKey) -> Any:
        kind = _kind(key)
        found: Any = self._reader.get(kind.message, key.namespace, key.name)
        if found is None:
            raise NotFound(f'{kind.name} "{key.name}" not found in namespace "{key.namespace}"')
        return found

    def _revisions(self, workload: Any) -> list[ControllerRevision]:
        owned = self._reader.owned_by(ControllerRevision, workload.metadata.uid)
        return [revision for revision in owned if is_controlled_by(revision, workload)]

    def _replica_sets(self, deployment: Deployment) -> list[ReplicaSet]:
        owned = self._reader.owned_by(ReplicaSet, deployment.metadata.uid)
        return [rs for rs in owned if is_controlled_by(rs, deployment)]

    def _status(self, key: ObjectKey) -> RolloutStatus:
        workload = self._workload(key)
        if not isinstance(workload, Deployment):
            pods = self._reader.owned_by(Pod, workload.metadata.uid)
            unhealthy = self._unhealthy(key.namespace, {p.metadata.uid for p in pods})
            return revision_view.rollout_status(workload, self._revisions(workload), pods, unhealthy, self._contents)
        sets = self._replica_sets(workload)
        current = current_of(workload, sets)
        pods = self._reader.owned_by(Pod, current.metadata.uid) if current is not None else []
        unhealthy = self._unhealthy(key.namespace, {p.metadata.uid for p in pods})
        return rollout_status(workload, sets, pods, unhealthy, self._contents)

    def _contents(self, revision: Revision) -> Content:
        return contents_of(revision, self._reader.get)

    def _unhealthy(self, namespace: str, uids: set[str]) -> dict[str, Event]:
        newest: dict[str, Event] = {}
        for event in self._reader.list(Event, namespace) if uids else ():
            uid = event.involved_object.uid
            if event.reason != "Unhealthy" or uid not in uids:
                continue
            known = newest.get(uid)
            if known is None or to_datetime(known.last_timestamp) <= to_datetime(event.last_timestamp):
                newest[uid] = event
        return newest

    def _target(self, workload: Any, revision: int) -> ReplicaSet | ControllerRevision:
        found = (
            self._target_of_deployment(workload, revision)
            if isinstance(workload, Deployment)
            else (revision_view.to_return_to(workload, self._revisions(workload), revision))
        )
        if found is None:
            raise _no_revision(workload, revision)
        return found

    def _target_of_deployment(self, deployment: Deployment, revision: int) -> ReplicaSet | None:
        sets = self._replica_sets(deployment)
        if revision:
            return next((rs for rs in sets if revision_of(rs) == revision), None)
        return previous_of(current_of(deployment, sets), sets)

    async def _watch(self, key: ObjectKey, changed: asyncio.Event) -> None:
        async with self._reader.subscribe(_kind(key).message) as batches:
            async for batch in batches:
                if any(c.new.metadata.name == key.name and c.new.metadata.namespace == key.namespace for c in batch):
                    changed.set()


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
    changed.clear()


def _kind(key: ObjectKey) -> Kind:
    return lookup(key.kind or "Deployment")


def _pausable(key: ObjectKey) -> ObjectKey:
    if (kind := _kind(key).name) != "Deployment":
        raise BadRequest(f"a {kind} cannot be paused: only a Deployment can")
    return key


def _pausing(paused: bool) -> Callable[[Deployment], None]:
    def change(obj: Deployment) -> None:
        obj.spec.paused = paused

    return change


def _refuse_paused(workload: Any, what: str) -> None:
    if isinstance(workload, Deployment) and workload.spec.paused:
        name = workload.metadata.name
        raise Conflict(f'cannot {what} paused deployment "{name}": first run `podium rollout resume deployment/{name}`')


def _no_revision(workload: Any, revision: int) -> NotFound:
    name, kind = workload.metadata.name, kind_of(workload).singular
    if revision:
        return NotFound(f'{kind} "{name}" has no revision {revision}: see `podium rollout history {kind}/{name}`')
    return NotFound(f'{kind} "{name}" has no revision to go back to: this is its first')


def _answer(workload: Message) -> ObjectResponse:
    response = ObjectResponse()
    response.object.Pack(workload)
    return response


def _log_failure(name: str, error: BaseException) -> None:
    log.warning("a rollout's watch failed", task=name, why=str(error))
