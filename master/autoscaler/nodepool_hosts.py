"""A host of a pool, from one phase to the next, by what is seen. Pure.

    Standby ──► Provisioning ──► Joined ──► Ready ──► Draining ──► Releasing ──► Standby
                     │              │         │  ▲       │             │
                     └──► Failed ◄──┴─────────┘  └───────┘             └──► Failed      (and Failed ──► Provisioning)

The phase is all that is remembered, and is on disk before anything is done for it: whoever finds a host in
`Provisioning` sets it up, in `Draining` empties it, in `Releasing` lets it go. Each of these may be done twice.
The arrows that need a decision over many hosts (out of Standby, out of Failed, out of Ready, back from Draining) are
`master.autoscaler.nodepool_plan`'s.
"""

from __future__ import annotations

import datetime

from master.autoscaler.nodepool_facts import HostPlan, HostView, PoolTuning, Told
from podium.aio.backoff import Backoff
from podium.objects import nodepool
from podium.objects.conditions import is_true
from podium.objects.meta import seconds_since, timestamp
from podium.objects.nodepool import DRAINING, FAILED, JOINED, PROVISIONING, READY, RELEASING, STANDBY, belongs
from podium.objects.owners import controller_of
from podium.objects.pod import READY as NODE_READY
from podium.objects.pod import is_terminal
from podium.v1.core_pb2 import Node, Pod
from podium.v1.nodepool_pb2 import NodePool, NodePoolHostStatus

_LONGEST_MESSAGE = 512


def settle(pool: NodePool, view: HostView, now: datetime.datetime, tuning: PoolTuning) -> HostPlan:
    """What the host's phase is by now, without deciding anything new."""
    plan = HostPlan(status=NodePoolHostStatus())
    plan.status.CopyFrom(nodepool.status_of(pool, view.spec.name))
    plan.status.phase = plan.status.phase or STANDBY
    _note_offer(pool, view, plan.status)
    _STEPS[plan.status.phase](pool, view, plan, now, tuning)
    return plan


def enter(status: NodePoolHostStatus, phase: str, now: datetime.datetime, message: str = "") -> None:
    """The host is in another phase from now on."""
    status.phase, status.message = phase, message[:_LONGEST_MESSAGE]
    status.since.CopyFrom(timestamp(now))
    for gone in ("retry_after", "idle_since"):
        status.ClearField(gone)


def may_be_tried(status: NodePoolHostStatus, now: datetime.datetime) -> bool:
    """Whether the host stands by, or has rested enough."""
    return status.phase == STANDBY or (status.phase == FAILED and is_rested(status, now))


def is_rested(status: NodePoolHostStatus, now: datetime.datetime) -> bool:
    """Whether the last failure is long enough ago."""
    return not status.HasField("retry_after") or seconds_since(status.retry_after, now) >= 0


def is_node(pool: NodePool, view: HostView) -> bool:
    """Whether the host is a node of this pool."""
    return view.node is not None and belongs(pool, view.node)


def is_ready_node(pool: NodePool, view: HostView) -> bool:
    """Whether it is one that takes pods."""
    return is_node(pool, view) and view.node is not None and _is_ready(view.node)


def to_be_moved(pods: list[Pod]) -> list[Pod]:
    """Pods that a drained node must not have; a DaemonSet's would come back at once, and stay."""
    return [pod for pod in pods if not is_terminal(pod) and not _is_daemon(pod)]


def _is_daemon(pod: Pod) -> bool:
    owner = controller_of(pod)
    return owner is not None and owner.kind == "DaemonSet"


def _is_ready(node: Node) -> bool:
    return is_true(node.status.conditions, NODE_READY)


def _note_offer(pool: NodePool, view: HostView, status: NodePoolHostStatus) -> None:
    if view.node is not None and is_ready_node(pool, view) and dict(status.allocatable) != _offer(view.node):
        status.allocatable.clear()
        status.allocatable.update(_offer(view.node))


def _offer(node: Node) -> dict[str, str]:
    return dict(node.status.allocatable)


# ---------------------------------------------------------------- phases


def _standby(pool: NodePool, view: HostView, plan: HostPlan, now: datetime.datetime, tuning: PoolTuning) -> None:
    """A node of the pool that is there counts, however it came."""
    if is_node(pool, view):
        enter(plan.status, READY, now)


def _provisioning(pool: NodePool, view: HostView, plan: HostPlan, now: datetime.datetime, tuning: PoolTuning) -> None:
    if view.played is None:
        return
    plan.settled = True
    if view.played.failure:
        _fail(plan, view.played.failure, now, tuning)
    else:
        enter(plan.status, JOINED, now, "set up; its node is not Ready yet")
        _joined(pool, view, plan, now, tuning)


def _joined(pool: NodePool, view: HostView, plan: HostPlan, now: datetime.datetime, tuning: PoolTuning) -> None:
    if is_ready_node(pool, view):
        enter(plan.status, READY, now)
        plan.status.failures = 0
        plan.told.append(Told("HostReady", f"host {view.spec.name} is a ready node"))
    elif view.node is not None and not belongs(pool, view.node):
        _fail(plan, f"its node is not labelled {nodepool.POOL_LABEL}={pool.metadata.name}", now, tuning)
    elif seconds_since(plan.status.since, now) > tuning.join_seconds:
        _fail(plan, f"its node was not Ready within {tuning.join_seconds:g} s", now, tuning)


def _ready(pool: NodePool, view: HostView, plan: HostPlan, now: datetime.datetime, tuning: PoolTuning) -> None:
    if not is_node(pool, view) or view.node is None:
        enter(plan.status, STANDBY, now)
        plan.told.append(Told("HostLeft", f"host {view.spec.name} is no node of the pool any more"))
        return
    unready = _unready_seconds(view.node, now)
    if unready > tuning.unready_seconds:
        _fail(plan, f"its node has not been Ready for {tuning.unready_seconds:g} s", now, tuning)


def _unready_seconds(node: Node, now: datetime.datetime) -> float:
    for condition in node.status.conditions:
        if condition.type == NODE_READY and condition.status != "True":
            return seconds_since(condition.last_transition_time, now)
    return 0.0


def _draining(pool: NodePool, view: HostView, plan: HostPlan, now: datetime.datetime, tuning: PoolTuning) -> None:
    if not is_node(pool, view) or view.node is None:
        enter(plan.status, STANDBY, now)
    elif view.node.spec.unschedulable and not to_be_moved(list(view.pods)):
        enter(plan.status, RELEASING, now)
    elif seconds_since(plan.status.since, now) > tuning.drain_seconds:
        enter(plan.status, READY, now)
        left = len(to_be_moved(list(view.pods)))
        because = f"; {view.held}" if view.held else ""
        sentence = f"host {view.spec.name} is kept: {left} pods did not leave in {tuning.drain_seconds:g} s{because}"
        plan.told.append(Told("HostNotDrained", sentence, warning=True))
    else:
        plan.status.message = view.held[:_LONGEST_MESSAGE]


def _releasing(pool: NodePool, view: HostView, plan: HostPlan, now: datetime.datetime, tuning: PoolTuning) -> None:
    if view.played is None:
        return
    plan.settled = True
    if not view.played.failure:
        plan.delete_node = is_node(pool, view)
        enter(plan.status, STANDBY, now)
        plan.status.failures = 0
        plan.told.append(Told("HostReleased", f"host {view.spec.name} was let go"))
    elif plan.status.failures + 1 >= tuning.release_attempts:
        plan.delete_node = is_node(pool, view)
        _fail(plan, f"could not be let go: {view.played.failure}", now, tuning)
    else:
        since = plan.status.since
        _fail(plan, f"could not be let go: {view.played.failure}", now, tuning)
        plan.status.phase = RELEASING
        plan.status.since.CopyFrom(since)


def _failed(pool: NodePool, view: HostView, plan: HostPlan, now: datetime.datetime, tuning: PoolTuning) -> None:
    """What comes right by itself is right."""
    if is_ready_node(pool, view):
        enter(plan.status, READY, now)
        plan.told.append(Told("HostReady", f"host {view.spec.name} is a ready node after all"))


def _fail(plan: HostPlan, why: str, now: datetime.datetime, tuning: PoolTuning) -> None:
    failures = plan.status.failures + 1
    rest = Backoff(initial=tuning.first_backoff, maximum=tuning.longest_backoff).delay(failures)
    enter(plan.status, FAILED, now, why)
    plan.status.failures = failures
    plan.status.retry_after.CopyFrom(timestamp(now + datetime.timedelta(seconds=max(rest, 1.0))))
    plan.told.append(Told("HostFailed", f"host {plan.status.name}: {why}; it rests for {rest:g} s", warning=True))


_STEPS = {
    STANDBY: _standby,
    PROVISIONING: _provisioning,
    JOINED: _joined,
    READY: _ready,
    DRAINING: _draining,
    RELEASING: _releasing,
    FAILED: _failed,
}
