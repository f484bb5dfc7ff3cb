"""Rollouts, served: how one stands, its history, and going back, on hold, on, and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from master.access.protocol import Reader, Writer
from master.api.identity import caller
from master.api.rollout_view import history, rollout_status
from master.auth.authorizer import Authorizer
from podium.aio.clock import Clock, SystemClock
from podium.aio.tasks import TaskScope
from podium.errors import BadRequest, Conflict, NotFound
from podium.objects.kinds import lookup
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
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import Event, Pod
from podium.v1.objects_service_pb2 import ObjectKey, ObjectResponse
from podium.v1.rollouts_service_pb2 import (
    RolloutHistoryRequest,
    RolloutHistoryResponse,
    RolloutRequest,
    RolloutStatus,
    RolloutStatusRequest,
    RolloutUndoRequest,
)

LOOK_AGAIN = 1.0
"""Seconds after which pods are looked at again, for what they suffer from does not always change the Deployment."""

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
        deployment = self._deployment(self._readable(request.key, context))
        revisions = history(deployment, self._replica_sets(deployment))
        if request.revision:
            revisions = [r for r in revisions if r.revision == request.revision]
            if not revisions:
                raise _no_revision(deployment, request.revision)
        return RolloutHistoryResponse(revisions=revisions)

    async def Undo(self, request: RolloutUndoRequest, context: Any) -> ObjectResponse:
        """Go back to a revision: its template becomes the newest."""
        key = self._readable(request.key, context)
        deployment = self._deployment(key)
        _refuse_paused(deployment, "roll back")
        target = self._target(deployment, request.to_revision)

        def change(obj: Deployment) -> None:
            _refuse_paused(obj, "roll back")
            obj.spec.template.CopyFrom(bare_template(target))
            obj.metadata.annotations.pop(CHANGE_CAUSE, None)
            if cause := target.metadata.annotations.get(CHANGE_CAUSE):
                obj.metadata.annotations[CHANGE_CAUSE] = cause

        if not request.dry_run:
            return await self._change(key, change, context)
        copy = Deployment()
        copy.CopyFrom(deployment)
        change(copy)
        return _answer(await self._writer.update(copy, by=caller(context), dry_run=True))

    async def Pause(self, request: RolloutRequest, context: Any) -> ObjectResponse:
        """Hold a rollout where it is."""
        return await self._change(self._readable(request.key, context), _pausing(True), context)

    async def Resume(self, request: RolloutRequest, context: Any) -> ObjectResponse:
        """Let a paused rollout go on."""
        return await self._change(self._readable(request.key, context), _pausing(False), context)

    async def Restart(self, request: RolloutRequest, context: Any) -> ObjectResponse:
        """Replace every pod, in the way of a rollout."""
        now = self._clock.now().isoformat(timespec="seconds").replace("+00:00", "Z")

        def change(obj: Deployment) -> None:
            _refuse_paused(obj, "restart")
            obj.spec.template.metadata.annotations[RESTARTED_AT] = now

        return await self._change(self._readable(request.key, context), change, context)

    async def _change(self, key: ObjectKey, change: Callable[[Deployment], None], context: Any) -> ObjectResponse:
        return _answer(await self._writer.mutate(Deployment, key.namespace, key.name, change, by=caller(context)))

    # ------------------------------------------------------------ reading

    def _readable(self, key: ObjectKey, context: Any) -> ObjectKey:
        if lookup(key.kind or "Deployment").name != "Deployment":
            raise BadRequest(f"a {key.kind} has no rollouts: must be a Deployment")
        self._authorizer.check(caller(context), "get", "Deployment", key.namespace, key.name)
        return key

    def _deployment(self, key: ObjectKey) -> Deployment:
        found = self._reader.get(Deployment, key.namespace, key.name)
        if found is None:
            raise NotFound(f'Deployment "{key.name}" not found in namespace "{key.namespace}"')
        return found

    def _replica_sets(self, deployment: Deployment) -> list[ReplicaSet]:
        owned = self._reader.owned_by(ReplicaSet, deployment.metadata.uid)
        return [rs for rs in owned if is_controlled_by(rs, deployment)]

    def _status(self, key: ObjectKey) -> RolloutStatus:
        deployment = self._deployment(key)
        sets = self._replica_sets(deployment)
        current = current_of(deployment, sets)
        pods = self._reader.owned_by(Pod, current.metadata.uid) if current is not None else []
        return rollout_status(deployment, sets, pods, self._unhealthy(key.namespace, {p.metadata.uid for p in pods}))

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

    def _target(self, deployment: Deployment, revision: int) -> ReplicaSet:
        sets = self._replica_sets(deployment)
        if revision:
            found = next((rs for rs in sets if revision_of(rs) == revision), None)
        else:
            found = previous_of(current_of(deployment, sets), sets)
        if found is None:
            raise _no_revision(deployment, revision)
        return found

    async def _watch(self, key: ObjectKey, changed: asyncio.Event) -> None:
        async with self._reader.subscribe(Deployment) as batches:
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


def _pausing(paused: bool) -> Callable[[Deployment], None]:
    def change(obj: Deployment) -> None:
        obj.spec.paused = paused

    return change


def _refuse_paused(deployment: Deployment, what: str) -> None:
    if deployment.spec.paused:
        name = deployment.metadata.name
        raise Conflict(f'cannot {what} paused deployment "{name}": first run `podium rollout resume deployment/{name}`')


def _no_revision(deployment: Deployment, revision: int) -> NotFound:
    name = deployment.metadata.name
    if revision:
        return NotFound(
            f'deployment "{name}" has no revision {revision}: see `podium rollout history deployment/{name}`'
        )
    return NotFound(f'deployment "{name}" has no revision to go back to: this is its first')


def _answer(deployment: Deployment) -> ObjectResponse:
    response = ObjectResponse()
    response.object.Pack(deployment)
    return response


def _log_failure(name: str, error: BaseException) -> None:
    log.warning("a rollout's watch failed", task=name, why=str(error))
