"""The node-pool autoscaler: standby hosts become nodes when pods wait for them, and are let go when idle.

    pools, nodes, waiting pods ─► plan_pools ─► status of each host (on disk) ─► what follows from it
                                     ▲
              the scheduler's what-if┘

What is done for a host follows from its phase alone: `Provisioning` is set up, `Draining` cordoned and its pods evicted
as budgets let them, `Releasing` let go. The phase is written first. So another master process goes on where this one
stopped, and setting a host up once more changes nothing that is in order already.

All pools are looked at together (one key), every second while there are any, and at once when a host is done with.
"""

from __future__ import annotations

import asyncio
import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message

from master.access.protocol import Change, ChangeType, Delete, EventRecorder, Mutate, Principal, Reader, component
from master.access.writes import ApiWrite, Evict
from master.autoscaler.nodepool_facts import HostPlan, HostView, Packing, PoolTuning, PoolView, Simulator, Surroundings
from master.autoscaler.nodepool_hosts import is_rested, to_be_moved
from master.autoscaler.nodepool_plan import PoolPlan, plan_pools
from master.autoscaler.nodepool_plays import PlayKey, Plays
from master.autoscaler.nodepool_status import pool_status
from master.autoscaler.nodepool_views import daemons, target_of, view_of
from master.autoscaler.provision import Provisioner, ProvisionFailed, Target
from master.reconcile.protocol import After, Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.aio.tasks import TaskScope
from podium.errors import Conflict, NotFound, PodiumError, TooManyRequests
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.nodepool import POOL_LABEL
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Node, Pod
from podium.v1.meta_pb2 import DeleteOptions, Preconditions
from podium.v1.nodepool_pb2 import NodePool, NodePoolStatus
from podium.v1.policy_pb2 import PodDisruptionBudget

EVERY_SECONDS = 1.0
ASK_AGAIN_SECONDS = 10.0
"""A host whose pods could not all go elsewhere is not asked about again before."""
TOKEN_LIFETIME = datetime.timedelta(minutes=15)
DRAINED_FOR = "podium.dev/nodepool-draining"
"""Annotation of a Node that its pool cordoned: a host that is kept after all is opened again, one that a person closed
is not."""

log = get_logger(__name__)

_BY = component("controller:nodepool")
_ALL = Key("NodePool", "", "")


class PoolWriter(Protocol):
    """The part of `master.access.writer` that is needed here; it can evict."""

    async def mutate(
        self, kind: type[NodePool], namespace: str, name: str, change: Callable[[NodePool], None], *, by: Principal,
        subresource: str = "",
    ) -> NodePool: ...  # fmt: skip
    async def write_many(self, writes: Sequence[ApiWrite], *, by: Principal) -> list[Message | PodiumError]: ...


class IssuedToken(Protocol):
    """A join token just made."""

    @property
    def id(self) -> str: ...
    @property
    def text(self) -> str: ...


class Tokens(Protocol):
    """Makes and revokes join tokens (`master.auth.tokens.TokenBook`)."""

    async def create(
        self, *, by: Principal, lifetime: datetime.timedelta | None = None, description: str = ""
    ) -> IssuedToken: ...
    async def revoke(self, token_id: str, *, by: Principal) -> None: ...


@dataclass(frozen=True, slots=True)
class _NothingWaits:
    """The packing of no pods."""

    taken: Sequence[int]
    refused: Mapping[str, Counter[str]] = field(default_factory=dict)
    left: int = 0


class NodePoolController:
    """See the module. The only key is all pools."""

    name = "nodepool"
    workers = 1

    def __init__(
        self,
        *,
        reader: Reader,
        writer: PoolWriter,
        events: EventRecorder,
        clock: Clock,
        simulator: Simulator,
        provisioner: Provisioner,
        tokens: Tokens,
        tuning: PoolTuning | None = None,
    ) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._simulator, self._provisioner, self._tokens = simulator, provisioner, tokens
        self._tuning = tuning or PoolTuning()
        self._plays = Plays()
        self._asked: dict[str, float] = {}
        self._held: dict[PlayKey, str] = {}
        self.triggers = (Trigger(NodePool, _keys_of_pool), Trigger(Node, _keys_of_node))

    async def watch(self, wake: Callable[[Key], None]) -> None:
        """Own what is being done with hosts, and look again whenever some of it ends."""
        async with TaskScope(on_error=_log_failure) as scope:
            self._plays.open(scope, lambda: wake(_ALL))
            wake(_ALL)
            await asyncio.get_running_loop().create_future()

    async def reconcile(self, key: Key) -> Outcome:
        """Look at all pools."""
        pools = self._reader.list(NodePool)
        known = {PlayKey(p.metadata.uid, host.name) for p in pools for host in p.spec.hosts}
        self._plays.keep_only(known)
        self._held = {key: why for key, why in self._held.items() if key in known}
        if not pools:
            return Done("there are no node pools")
        plans = plan_pools(
            [view_of(self._reader, pool, self._plays, self._held) for pool in pools], self._surroundings()
        )
        for plan in plans:
            await self._carry_out(plan)
        return After(EVERY_SECONDS, "; ".join(f"{p.view.pool.metadata.name} {p.decision}" for p in plans))

    def _surroundings(self) -> Surroundings:
        now = self._clock.monotonic()
        self._asked = {host: at for host, at in self._asked.items() if now - at < ASK_AGAIN_SECONDS}
        return Surroundings(
            budgets=self._reader.list(PodDisruptionBudget),
            pack=self._pack,
            confined=self._simulator.confined,
            now=self._clock.now(),
            tuning=self._tuning,
            resting=frozenset(self._asked),
        )

    def _pack(self, nodes: Sequence[tuple[str, Node]], most: Mapping[str, int]) -> Packing:
        if not self._simulator.waiting():
            return _NothingWaits([0] * len(nodes))
        return self._simulator.pack(nodes, most, daemons(self._reader))

    # ------------------------------------------------------------ what follows

    async def _carry_out(self, plan: PoolPlan) -> None:
        """First nodes that are let go, for nothing leads to them afterwards; then the phases; then what follows."""
        pool = plan.view.pool
        self._asked |= dict.fromkeys(plan.asked, self._clock.monotonic())
        await self._write([_deletion(host.node) for host in self._deleted(plan) if host.node is not None])
        if not await self._note(pool, pool_status(plan, self._clock.now())):
            return
        for told in plan.told:
            (self._events.warning if told.warning else self._events.normal)(pool, told.reason, told.message)
        for host in plan.view.hosts:
            made = plan.hosts[host.spec.name]
            if made.settled:
                self._plays.forget(PlayKey(pool.metadata.uid, host.spec.name))
            await self._follow(plan.view, host, made)

    def _deleted(self, plan: PoolPlan) -> Iterable[HostView]:
        return (host for host in plan.view.hosts if plan.hosts[host.spec.name].delete_node)

    async def _note(self, pool: NodePool, status: NodePoolStatus) -> bool:
        """Write the status, if it is news; whether the pool is still there."""
        if status == pool.status:
            return True
        uid = pool.metadata.uid

        def change(obj: NodePool) -> None:
            if obj.metadata.uid != uid:
                raise Conflict(f"node pool {obj.metadata.name} is another by now")
            obj.status.CopyFrom(status)

        try:
            _ = await self._writer.mutate(NodePool, "", pool.metadata.name, change, by=_BY, subresource="status")
        except NotFound:
            return False
        return True

    async def _follow(self, view: PoolView, host: HostView, made: HostPlan) -> None:
        """Do what a host's phase asks for."""
        if is_terminating(view.pool):
            return
        match made.status.phase:
            case "Provisioning":
                self._play(view, host, "join")
            case "Releasing" if is_rested(made.status, self._clock.now()):
                self._play(view, host, "release")
            case "Draining":
                await self._drain(view, host, made)
            case "Ready" if host.node is not None and DRAINED_FOR in host.node.metadata.annotations:
                await self._write([Mutate(key_of(host.node), _open)])
            case _:
                return

    def _play(self, view: PoolView, host: HostView, action: str) -> None:
        if view.credentials:
            return
        target = target_of(self._reader, view.pool, host.spec)
        body = self._join(target) if action == "join" else self._release(target)
        self._plays.begin(PlayKey(view.pool.metadata.uid, host.spec.name), action, body)

    async def _join(self, target: Target) -> None:
        """Set a host up with a token of its own, which is void afterwards."""
        log.info("setting a host up", host=target.name, pool=target.pool)
        description = f"node pool {target.pool}, host {target.name}"
        token = await self._tokens.create(by=_BY, lifetime=TOKEN_LIFETIME, description=description)
        try:
            async with asyncio.timeout(target.seconds):
                await self._provisioner.join(target, token.text)
        except TimeoutError:
            raise ProvisionFailed(f"it was not set up within {target.seconds:g} s") from None
        finally:
            await asyncio.shield(self._revoke(token.id))

    async def _revoke(self, token: str) -> None:
        try:
            await self._tokens.revoke(token, by=_BY)
        except PodiumError as error:
            log.warning("could not revoke a join token; it ends by itself", token=token, why=error.message)

    async def _release(self, target: Target) -> None:
        log.info("letting a host go", host=target.name, pool=target.pool)
        try:
            async with asyncio.timeout(target.seconds):
                await self._provisioner.release(target)
        except TimeoutError:
            raise ProvisionFailed(f"it was not let go within {target.seconds:g} s") from None

    async def _drain(self, view: PoolView, host: HostView, made: HostPlan) -> None:
        """Close a node; then, on what is there by now, ask for each pod's eviction."""
        if host.node is None:
            return
        if not host.node.spec.unschedulable or DRAINED_FOR not in host.node.metadata.annotations:
            await self._write([Mutate(key_of(host.node), _close(view.pool.metadata.name))])
        pods = [p for p in to_be_moved(self._reader.pods_on(host.spec.name)) if not is_terminating(p)]
        refusals = [r for r in await self._write([_eviction(p) for p in pods]) if isinstance(r, TooManyRequests)]
        self._held[PlayKey(view.pool.metadata.uid, host.spec.name)] = refusals[0].message if refusals else ""

    async def _write(self, writes: Sequence[ApiWrite]) -> list[Message | PodiumError]:
        """Write; what is gone, changed or held by a budget is looked at again anyway.

        Raises:
            PodiumError: Another refusal.
        """
        results = await self._writer.write_many(writes, by=_BY) if writes else []
        for result in results:
            if isinstance(result, PodiumError) and not isinstance(result, NotFound | Conflict | TooManyRequests):
                raise result
        return results


def _close(pool: str) -> Callable[[Node], None]:
    def change(node: Node) -> None:
        node.spec.unschedulable = True
        node.metadata.annotations[DRAINED_FOR] = pool

    return change


def _open(node: Node) -> None:
    node.spec.unschedulable = False
    node.metadata.annotations.pop(DRAINED_FOR, None)


def _eviction(pod: Pod) -> Evict:
    options = DeleteOptions(preconditions=Preconditions(uid=pod.metadata.uid))
    return Evict(namespace=pod.metadata.namespace, name=pod.metadata.name, options=options)


def _deletion(node: Node) -> Delete:
    return Delete(key_of(node), DeleteOptions(preconditions=Preconditions(uid=node.metadata.uid)))


def _keys_of_pool(change: Change[NodePool]) -> Iterable[Key]:
    """Any change but of the status, which is written here."""
    if change.type is ChangeType.MODIFIED and change.old is not None and change.old.spec == change.new.spec:
        return (_ALL,) if is_terminating(change.new) else ()
    return (_ALL,)


def _keys_of_node(change: Change[Node]) -> Iterable[Key]:
    return (_ALL,) if POOL_LABEL in change.new.metadata.labels else ()


def _log_failure(name: str, error: BaseException) -> None:
    log.error("task failed", task=name, error=error)
