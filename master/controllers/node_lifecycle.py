"""Node lifecycle: a node that is silent, or unwell, loses its pods to other nodes; one that returns is welcome again.

    silent beyond the lease ─► Ready=Unknown · taints unreachable:NoSchedule, unreachable:NoExecute · pods Ready=False
    says Ready=False        ─► taint not-ready:NoSchedule; after a grace not-ready:NoExecute
    says NodeShutdown       ─► the same without a grace; pods are evicted, by budgets; critical ones are the node's
    under pressure, cordoned─► the NoSchedule taint of that condition
    heard again             ─► the taints go; the node itself says how it is

Pods leave for NoExecute taints when their tolerations say so (by default a second after the taint came); they are
deleted through the API, and replaced at once, since a pod that is being deleted no longer counts. The object of a pod
on a silent node stays, terminating, until the node is back to confirm it or its Node object is deleted. Only a pod that
must not run twice goes earlier: when the node, which can't say so, has stopped it (`podium.objects.fencing`).

Who is silent and who must not be given up is decided over all nodes at once by `fleet`; a node that is held, or waits
its turn, gets no NoExecute taint. What is to be done about one node is `plan_node`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from master.access.protocol import Change, ChangeType, Delete, EventRecorder, Mutate, Reader, component
from master.access.writes import ApiWrite, ApiWriter, Evict
from master.controllers.fleet import NOBODY, Fleet, FleetSettings, assess, is_silent
from master.controllers.liveness import Liveness
from master.reconcile.protocol import After, Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.errors import Conflict, NotFound, PodiumError, TooManyRequests
from podium.objects.conditions import FALSE, TRUE, UNKNOWN, condition_status, get_condition, set_condition
from podium.objects.fencing import ACQUAINTED, FencingTimes, is_exclusive, may_be_excused
from podium.objects.kinds import Key, key_of
from podium.objects.meta import seconds_since, timestamp
from podium.objects.pod import (
    CONTAINERS_READY,
    DISRUPTION_TARGET,
    READY,
    is_critical,
    is_ready,
    is_terminal,
    is_terminating,
)
from podium.objects.taints import (
    DISK_PRESSURE,
    MEMORY_PRESSURE,
    NETWORK_UNAVAILABLE,
    NO_EXECUTE,
    NO_SCHEDULE,
    NODE_SHUTDOWN,
    NOT_READY,
    PID_PRESSURE,
    UNREACHABLE,
    UNSCHEDULABLE,
    leaves_at,
)
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Node, Pod, Taint
from podium.v1.meta_pb2 import DeleteOptions, Preconditions

log = get_logger(__name__)

NODE_LOST = "NodeLost"
STATUS_UNKNOWN = "NodeStatusUnknown"

_PRESSURE = {
    "MemoryPressure": MEMORY_PRESSURE,
    "DiskPressure": DISK_PRESSURE,
    "PIDPressure": PID_PRESSURE,
    "NetworkUnavailable": NETWORK_UNAVAILABLE,
}
_OURS = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_PRESSURE.values()})

_BY = component("controller:node-lifecycle")
_FLEET = Key("Node", "", "")


# ---------------------------------------------------------------- decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """What to do about one node.

    Attributes:
        unknown: Its conditions become Unknown.
        taints: What `spec.taints` must be.
        evict: Pods to delete.
        lost: Pods to mark as not ready.
        found: Pods that were marked so, and are on a node that is heard again.
        release: Pods that are being deleted and must not run twice, on a node that has stopped them by now.
        recheck: Seconds until something of this changes by itself.
        because: A sentence.
    """

    unknown: bool
    taints: Sequence[Taint]
    evict: Sequence[Pod]
    lost: Sequence[Pod]
    found: Sequence[Pod]
    release: Sequence[Pod]
    recheck: float | None
    because: str


def plan_node(
    node: Node,
    pods: Iterable[Pod],
    *,
    lapsed: bool,
    held: bool,
    now: datetime.datetime,
    settings: FleetSettings,
    fenced_in: float | None = None,
) -> NodePlan:
    """Decide about one node and the pods bound to it.

    Args:
        node: The node.
        pods: Those bound to it.
        lapsed: Whether it is silent for longer than the lease.
        held: Whether it is not given up, or not yet.
        now: Wall time.
        settings: When a node is given up.
        fenced_in: Seconds until a silent node has certainly stopped what must not run twice (`podium.objects.fencing`);
            None: it is not silent, or it may believe that it is held.
    """
    grace = _grace_left(node, now, settings)
    taints = _taints(node, lapsed=lapsed, held=held, unwell=grace == 0, now=now)
    alive = [pod for pod in pods if not is_terminal(pod)]
    leaving = {id(p): leaves_at(p.spec.tolerations, taints) for p in alive if not is_terminating(p)}
    if _is_shutting_down(node):
        # Critical pods serve the others till these have ended; the node itself ends them then.
        leaving = {id(p): leaving.get(id(p)) for p in alive if not is_critical(p)}
    moment = now.timestamp()
    evict = [p for p in alive if (at := leaving.get(id(p))) is not None and at <= moment]
    waits = [1.0] if evict and _is_shutting_down(node) else []
    waits += [at - moment for at in leaving.values() if at is not None and at > moment]
    if grace:
        waits.append(grace)
    exclusive = [p for p in alive if is_terminating(p) and is_exclusive(p)] if lapsed and not held else []
    if fenced_in and (exclusive or any(is_exclusive(p) for p in evict)):
        waits.append(fenced_in)
    return NodePlan(
        unknown=lapsed and condition_status(node.status.conditions, READY) != UNKNOWN,
        taints=taints,
        evict=evict,
        lost=[p for p in alive if is_ready(p)] if lapsed else [],
        found=[p for p in alive if _is_marked_lost(p)] if not lapsed else [],
        release=exclusive if fenced_in == 0 else (),
        recheck=min(waits, default=None),
        because=_sentence(lapsed, held, len(evict)),
    )


def _sentence(lapsed: bool, held: bool, evicted: int) -> str:
    if lapsed and held:
        return "is silent with many other nodes: its pods stay for now"
    if lapsed:
        return f"is silent: {evicted} pods leave"
    return f"is heard: {evicted} pods leave" if evicted else "is heard"


def _grace_left(node: Node, now: datetime.datetime, settings: FleetSettings) -> float | None:
    """Seconds for which a node that says it is not ready keeps its pods; None when it does not say so."""
    ready = get_condition(node.status.conditions, READY)
    if ready is None or ready.status != FALSE:
        return None
    if ready.reason == NODE_SHUTDOWN:
        return 0.0
    return max(0.0, settings.not_ready_grace - seconds_since(ready.last_transition_time, now))


def _is_shutting_down(node: Node) -> bool:
    """Whether the node says that its host shuts down."""
    ready = get_condition(node.status.conditions, READY)
    return ready is not None and ready.status == FALSE and ready.reason == NODE_SHUTDOWN


def _taints(node: Node, *, lapsed: bool, held: bool, unwell: bool, now: datetime.datetime) -> list[Taint]:
    wanted: list[tuple[str, str]] = []
    ready = condition_status(node.status.conditions, READY)
    if lapsed:
        wanted.append((UNREACHABLE, NO_SCHEDULE))
        if not held:
            wanted.append((UNREACHABLE, NO_EXECUTE))
    elif ready != TRUE:
        wanted.append((NOT_READY, NO_SCHEDULE))
        if unwell:
            wanted.append((NOT_READY, NO_EXECUTE))
    if node.spec.unschedulable:
        wanted.append((UNSCHEDULABLE, NO_SCHEDULE))
    wanted += [(key, NO_SCHEDULE) for type_, key in _PRESSURE.items() if _is(node, type_)]
    kept = {(t.key, t.effect): t for t in node.spec.taints}
    foreign = [t for t in node.spec.taints if t.key not in _OURS]
    return foreign + [kept.get(w) or _taint(*w, now) for w in wanted]


def _is(node: Node, condition: str) -> bool:
    return condition_status(node.status.conditions, condition) == TRUE


def _taint(key: str, effect: str, now: datetime.datetime) -> Taint:
    return Taint(key=key, effect=effect, time_added=timestamp(now))


def _is_marked_lost(pod: Pod) -> bool:
    ready = get_condition(pod.status.conditions, READY)
    return ready is not None and ready.reason == NODE_LOST


# ---------------------------------------------------------------- effects


class NodeLifecycleController:
    """See the module. The key with an empty name stands for all nodes together."""

    name = "node-lifecycle"
    workers = 4

    def __init__(
        self,
        *,
        reader: Reader,
        writer: ApiWriter,
        events: EventRecorder,
        clock: Clock,
        liveness: Liveness,
        settings: FleetSettings | None = None,
    ) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._liveness, self._settings = liveness, settings or FleetSettings()
        self._started = clock.monotonic()
        self._fleet = NOBODY
        self._wake: Callable[[Key], None] = lambda key: None
        self._touchy: set[str] = set()
        self._held_at: dict[str, float] = {}
        self.triggers = (Trigger(Node, self._keys_of_node), Trigger(Pod, self._keys_of_pod))

    async def watch(self, wake: Callable[[Key], None]) -> None:
        """Look at the fleet whenever a session begins or ends."""
        self._wake = wake
        wake(_FLEET)
        count = 0
        while True:
            count = await self._liveness.changed(count)
            wake(_FLEET)

    async def reconcile(self, key: Key) -> Outcome:
        """Assess all nodes, or bring one node and its pods in line with the assessment."""
        return self._assess() if key == _FLEET else await self._reconcile_node(key)

    def _assess(self) -> Outcome:
        before = self._fleet
        heard = {n.metadata.name: self._liveness.last_heard(n.metadata.name) for n in self._reader.list(Node)}
        now = self._clock.monotonic()
        fleet = self._fleet = assess(heard, started=self._started, now=now, before=before, settings=self._settings)
        self._held_at = {n: at for n, at in self._held_at.items() if n in fleet.lapsed} | dict.fromkeys(fleet.held, now)
        for name in (before.lapsed ^ fleet.lapsed) | (before.waiting ^ fleet.waiting):
            self._wake(Key("Node", "", name))
        self._tell_holds(before, fleet, len(heard))
        if (queue := len(fleet.waiting - fleet.held)) and before.waiting == before.held:
            log.warning("many nodes fell silent: they are given up a few at a time", waiting=queue, nodes=len(heard))
        sentence = f"{len(fleet.lapsed)} of {len(heard)} nodes are silent, {len(fleet.held)} of them held, {queue} wait"
        return After(fleet.recheck, sentence) if fleet.recheck is not None else Done("there are no nodes")

    def _tell_holds(self, before: Fleet, fleet: Fleet, total: int) -> None:
        new = sorted(fleet.held - before.held)
        if new:
            log.warning(
                "nodes fell silent together: held for a partition, their pods are not replaced",
                silent=len(fleet.lapsed), held=len(fleet.held), nodes=total,
            )  # fmt: skip
        message = (
            f"{len(fleet.held)} of {total} nodes fell silent together, as in a partition: their pods are not replaced; "
            "delete the Node objects of hosts that are really gone"
        )
        for name in new:
            if (node := self._reader.get(Node, "", name)) is not None:
                self._events.warning(node, "EvictionHeld", message)

    async def _reconcile_node(self, key: Key) -> Outcome:
        node = self._reader.get(Node, "", key.name)
        if node is None:
            self._touchy.discard(key.name)
            return Done("is gone")
        if self._is_outdated(key.name):
            _ = self._assess()
        fleet = self._fleet
        plan = plan_node(
            node,
            self._reader.pods_on(key.name),
            lapsed=key.name in fleet.lapsed,
            held=key.name in fleet.waiting,
            now=self._clock.now(),
            settings=self._settings,
            fenced_in=self._fenced_in(key.name),
        )
        self._note_touchy(key.name, plan)
        await self._write_node(node, plan)
        await self._write_pods(node, plan)
        return Done(plan.because) if plan.recheck is None else After(plan.recheck, plan.because)

    def _is_outdated(self, name: str) -> bool:
        """Whether the assessment is wrong about a node by now; acting on it would undo what the node just said."""
        last = self._liveness.last_heard(name)
        if last is None:
            return False
        return is_silent(last, self._clock.monotonic(), self._settings) != (name in self._fleet.lapsed)

    def _fenced_in(self, name: str) -> float | None:
        """Seconds until the node has stopped what must not run twice, counted from its silence or the end of a hold."""
        if name not in self._fleet.lapsed or name in self._fleet.held:
            return None
        last = self._liveness.last_heard(name)
        if self._may_be_excused(self._started if last is None else last):
            return None
        silent_since = self._started + self._settings.patience if last is None else last
        since = max(silent_since, self._held_at.get(name, silent_since))
        return max(0.0, since + FencingTimes(self._settings.lease).release - self._clock.monotonic())

    def _may_be_excused(self, silent_since: float) -> bool:
        """Whether a node that is silent since then may go on, because the nodes that it knows fell silent with it."""
        now, wall = self._clock.monotonic(), self._clock.now()
        silent = known = 0
        for node in self._reader.list(Node):
            last = self._liveness.last_heard(node.metadata.name)
            last = self._started if last is None else last
            lost = now - last >= self._settings.lease / 2
            silent += lost and abs(last - silent_since) <= self._settings.together
            known += seconds_since(node.metadata.creation_timestamp, wall) >= now - silent_since + ACQUAINTED
        return may_be_excused(silent, known)

    def _note_touchy(self, name: str, plan: NodePlan) -> None:
        if any(t.effect == NO_EXECUTE for t in plan.taints) or plan.lost or plan.unknown:
            self._touchy.add(name)
        elif name not in self._fleet.lapsed:
            self._touchy.discard(name)

    async def _write_node(self, node: Node, plan: NodePlan) -> None:
        name, now = node.metadata.name, self._clock.now()
        if plan.unknown:
            self._events.warning(node, "NodeNotReady", f"Node {name} is silent for {self._settings.lease:g} s")
            await self._writer.mutate(Node, "", name, lambda n: _make_unknown(n, now), by=_BY, subresource="status")
        if list(node.spec.taints) != list(plan.taints):
            if _is_shutting_down(node) and not any(t.effect == NO_EXECUTE for t in node.spec.taints):
                self._events.normal(node, NODE_SHUTDOWN, f"Node {name} is shutting down: its pods leave")
            await self._writer.mutate(Node, "", name, lambda n: _set_taints(n, plan.taints), by=_BY)

    async def _write_pods(self, node: Node, plan: NodePlan) -> None:
        now, name = self._clock.now(), node.metadata.name
        writes: list[ApiWrite] = []
        if _is_shutting_down(node):
            writes += [_by_budget(pod) for pod in plan.evict]
        else:
            writes += [Mutate(key_of(p), _disrupted(p, name, now), "status") for p in plan.evict]
            writes += [_eviction(pod) for pod in plan.evict]
        writes += [_release(pod) for pod in plan.release]
        writes += [Mutate(key_of(p), _losing(p, name, now), "status") for p in plan.lost]
        writes += [Mutate(key_of(p), _finding(p, now), "status") for p in plan.found]
        for pod in plan.evict:
            self._events.normal(pod, "TaintManagerEviction", f"Deleting pod: node {name} must be left")
        for pod in plan.release:
            message = f"Node {name} is silent for so long that it has stopped this pod: it may run elsewhere"
            self._events.warning(pod, "FencedPodReleased", message)
        if not writes:
            return
        for result in await self._writer.write_many(writes, by=_BY):
            if isinstance(result, PodiumError) and not isinstance(result, NotFound | Conflict | TooManyRequests):
                raise result

    def _keys_of_node(self, change: Change[Node]) -> Iterable[Key]:
        key = key_of(change.new)
        return (key,) if change.type is ChangeType.MODIFIED else (_FLEET, key)

    def _keys_of_pod(self, change: Change[Pod]) -> Iterable[Key]:
        """Pods matter by themselves only where they may have to leave, or when they come to such a node."""
        name = change.new.spec.node_name
        if name not in self._touchy or change.type is ChangeType.DELETED:
            return ()
        node = self._reader.get(Node, "", name)
        return (Key("Node", "", name),) if node is None or _is_at_stake(change.new, node) else ()


def _is_at_stake(pod: Pod, node: Node) -> bool:
    """Whether there may be something to do about a pod on such a node. Else it is no reason to look at all of them."""
    if is_terminating(pod) or is_ready(pod) or _is_marked_lost(pod):
        return True
    return leaves_at(pod.spec.tolerations, node.spec.taints) is not None


def _make_unknown(node: Node, now: datetime.datetime) -> None:
    message = "Nothing was heard from the nodelet."
    for type_ in (READY, *_PRESSURE):
        if type_ == READY or get_condition(node.status.conditions, type_) is not None:
            set_condition(node.status.conditions, type_, UNKNOWN, now=now, reason=STATUS_UNKNOWN, message=message)


def _set_taints(node: Node, taints: Sequence[Taint]) -> None:
    """Ours from the plan, everybody else's as they are by now."""
    ours = [t for t in taints if t.key in _OURS]
    foreign = [t for t in node.spec.taints if t.key not in _OURS]
    del node.spec.taints[:]
    node.spec.taints.extend([*foreign, *ours])


def _disrupted(seen: Pod, node: str, now: datetime.datetime) -> Callable[[Pod], None]:
    message = f"Taint manager: deleting due to NoExecute taint on node {node}"

    def change(pod: Pod) -> None:
        if pod.metadata.uid == seen.metadata.uid:
            set_condition(
                pod.status.conditions,
                DISRUPTION_TARGET,
                TRUE,
                now=now,
                reason="DeletionByTaintManager",
                message=message,
            )

    return change


def _eviction(pod: Pod) -> Delete:
    return Delete(key_of(pod), DeleteOptions(preconditions=Preconditions(uid=pod.metadata.uid)))


def _by_budget(pod: Pod) -> Evict:
    options = DeleteOptions(preconditions=Preconditions(uid=pod.metadata.uid))
    return Evict(namespace=pod.metadata.namespace, name=pod.metadata.name, options=options)


def _release(pod: Pod) -> Delete:
    options = DeleteOptions(grace_period_seconds=0, preconditions=Preconditions(uid=pod.metadata.uid))
    return Delete(key_of(pod), options)


def _losing(seen: Pod, node: str, now: datetime.datetime) -> Callable[[Pod], None]:
    def change(pod: Pod) -> None:
        if pod.metadata.uid == seen.metadata.uid and is_ready(pod):
            message = f"Nothing was heard from node {node}."
            set_condition(pod.status.conditions, READY, FALSE, now=now, reason=NODE_LOST, message=message)

    return change


def _finding(seen: Pod, now: datetime.datetime) -> Callable[[Pod], None]:
    """The nodelet repeats only what changed for it; that its containers stayed ready is still in the status."""

    def change(pod: Pod) -> None:
        if pod.metadata.uid == seen.metadata.uid and _is_marked_lost(pod):
            ready = condition_status(pod.status.conditions, CONTAINERS_READY)
            set_condition(pod.status.conditions, READY, TRUE if ready == TRUE else FALSE, now=now)

    return change
