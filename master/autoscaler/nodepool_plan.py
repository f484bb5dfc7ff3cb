"""Which hosts of which pools become nodes, and which are let go. Pure: the scheduler's judgement comes in as functions.

Pools are planned together, in order of name, since they compete for the same pods. For every look:

1. Each host's phase follows what is seen of it (`nodepool_hosts`).
2. Growth: pods that no node takes are packed onto the hosts that are coming already; then onto hosts that are being
   drained, which are kept instead; then onto hosts that stand by. A host that gets a pod is set up. So fifty pods of
   which ten fit a host start five, and pods that wait for a host which is coming start none.
3. Shrinking: only in a pool whose hosts no waiting pod would use. A host that was idle for long enough is drained; one
   that has pods only if all of them could go elsewhere now, and no other such host is being emptied.

A host in use never counts twice: names and addresses that any pool uses are nobody else's, and a name that is a node's
of no pool is not touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from master.autoscaler.nodepool_facts import HostPlan, HostView, Packing, PoolView, Surroundings, Told
from master.autoscaler.nodepool_hosts import (
    enter,
    is_ready_node,
    may_be_tried,
    settle,
    to_be_moved,
)
from master.autoscaler.nodepool_idle import what_keeps
from podium.objects.meta import is_terminating, seconds_since, timestamp
from podium.objects.nodepool import (
    COMING,
    DRAINING,
    FAILED,
    IN_USE,
    PROVISIONING,
    READY,
    STANDBY,
    at_most,
    belongs,
    expected_node,
)
from podium.v1.core_pb2 import Node

_MANY = 1 << 30


@dataclass(slots=True, kw_only=True)
class PoolPlan:
    """What becomes of a pool.

    Attributes:
        hosts: By name, in the pool's order.
        taken: How many waiting pods its hosts would get, those that are coming included.
        refused: Why its next host would take none of the others: pods by reason.
        limit: Why it did not grow although pods wait that it might take; empty when nothing held it up.
        reason: The same as one word.
        grown, shrunk: Hosts that are begun with, and that are to be emptied.
        asked: Hosts about which the scheduler said no: their pods could not all go elsewhere.
        decision: A sentence.
    """

    view: PoolView
    hosts: dict[str, HostPlan]
    taken: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    limit: str = ""
    reason: str = ""
    grown: list[str] = field(default_factory=list)
    shrunk: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    decision: str = ""

    @property
    def told(self) -> list[Told]:
        """Every host's events."""
        return [told for host in self.hosts.values() for told in host.told]

    def count(self, phases: Iterable[str]) -> int:
        """How many hosts are in these phases."""
        return sum(1 for host in self.hosts.values() if host.status.phase in phases)


def plan_pools(views: Sequence[PoolView], around: Surroundings) -> list[PoolPlan]:
    """Decide about all pools."""
    plans = [
        PoolPlan(
            view=view,
            hosts={host.spec.name: settle(view.pool, host, around.now, around.tuning) for host in view.hosts},
        )
        for view in sorted(views, key=lambda view: view.pool.metadata.name)
    ]
    alive = [plan for plan in plans if not is_terminating(plan.view.pool)]
    packing = _grow(alive, around)
    _shrink(alive, around)
    for plan in alive:
        plan.decision = _sentence(plan, packing)
    return plans


# ---------------------------------------------------------------- growth


@dataclass(slots=True)
class _Offers:
    """Hosts for the waiting pods, in order: with the group that each is asked under, and whose it is."""

    nodes: list[tuple[str, Node]] = field(default_factory=list)
    owners: list[tuple[PoolPlan, HostView]] = field(default_factory=list)
    most: dict[str, int] = field(default_factory=dict)

    def add(self, group: str, plan: PoolPlan, host: HostView) -> None:
        statuses = {name: made.status for name, made in plan.hosts.items()}
        self.nodes.append((group, expected_node(plan.view.pool, host.spec, statuses)))
        self.owners.append((plan, host))


def _grow(plans: Sequence[PoolPlan], around: Surroundings) -> Packing:
    used, offers = _Used(plans), _Offers()
    for plan in plans:
        _fill_up(plan, around, used)
        for host in _coming(plan, around):
            offers.add("", plan, host)
    for plan in plans:
        _offer(plan, around, used, offers)
    packing = around.pack(offers.nodes, offers.most)
    for (plan, host), (group, _), taken in zip(offers.owners, offers.nodes, packing.taken, strict=True):
        plan.taken += taken
        if group and taken:
            _take(plan, host, around, f"{taken} waiting pods fit it")
    for plan in plans:
        plan.refused = packing.refused.get(plan.view.pool.metadata.name, Counter())
        _limit(plan, around, used, packing)
    return packing


class _Used:
    """Names and addresses of hosts that some pool uses."""

    def __init__(self, plans: Iterable[PoolPlan]) -> None:
        self._by: dict[object, str] = {}
        for plan in plans:
            for host in _in_phase(plan, IN_USE):
                self.note(plan, host)

    def note(self, plan: PoolPlan, host: HostView) -> None:
        """A pool uses a host."""
        for mark in _marks(host):
            self._by.setdefault(mark, plan.view.pool.metadata.name)

    def other(self, plan: PoolPlan, host: HostView) -> str:
        """Which other pool uses a host; empty: none."""
        users = {self._by[mark] for mark in _marks(host) if mark in self._by}
        return next(iter(sorted(users - {plan.view.pool.metadata.name})), "")


def _marks(host: HostView) -> tuple[object, ...]:
    return host.spec.name, (host.spec.address.lower(), host.spec.port)


def _in_phase(plan: PoolPlan, phases: Iterable[str]) -> list[HostView]:
    return [host for host in plan.view.hosts if plan.hosts[host.spec.name].status.phase in phases]


def _coming(plan: PoolPlan, around: Surroundings) -> list[HostView]:
    """Hosts on their way, and those that have just arrived: the scheduler may not have heard of them yet."""
    arrived = [
        host
        for host in _in_phase(plan, {READY})
        if seconds_since(plan.hosts[host.spec.name].status.since, around.now) < around.tuning.unready_seconds
    ]
    return _in_phase(plan, COMING) + arrived


def _candidates(plan: PoolPlan, around: Surroundings, used: _Used) -> list[HostView]:
    """Hosts that may be begun with; those that never failed first."""
    if plan.view.credentials:
        return []
    tried = [
        host
        for host in plan.view.hosts
        if may_be_tried(plan.hosts[host.spec.name].status, around.now)
        and not _obstacle(plan.view, host)
        and not used.other(plan, host)
        and not host.playing
    ]
    return sorted(tried, key=lambda host: plan.hosts[host.spec.name].status.failures)


def _obstacle(view: PoolView, host: HostView) -> str:
    """Why a host that stands by is not to be touched; empty: it may be."""
    if host.node is not None and not belongs(view.pool, host.node):
        return f"host {host.spec.name}: a node of this name is not the pool's"
    return ""


def _room(plan: PoolPlan, around: Surroundings) -> int:
    """How many more hosts may be begun with now."""
    free = at_most(plan.view.pool) - plan.count(IN_USE)
    return max(0, min(free, around.tuning.at_once - plan.count({PROVISIONING})))


def _fill_up(plan: PoolPlan, around: Surroundings, used: _Used) -> None:
    """Begin with what `min` asks for."""
    missing = plan.view.pool.spec.min - plan.count(IN_USE)
    for host in _candidates(plan, around, used)[: max(0, min(missing, _room(plan, around)))]:
        _take(plan, host, around, f"the pool has at least {plan.view.pool.spec.min}")
        used.note(plan, host)


def _offer(plan: PoolPlan, around: Surroundings, used: _Used, offers: _Offers) -> None:
    name = plan.view.pool.metadata.name
    kept = f"{name} (draining)"
    offers.most[kept] = _MANY
    for host in _in_phase(plan, {DRAINING}):
        offers.add(kept, plan, host)
    offers.most[name] = _room(plan, around)
    if offers.most[name]:
        for host in _candidates(plan, around, used):
            offers.add(name, plan, host)
            used.note(plan, host)


def _take(plan: PoolPlan, host: HostView, around: Surroundings, because: str) -> None:
    made = plan.hosts[host.spec.name]
    if made.status.phase == DRAINING:
        enter(made.status, READY, around.now)
        made.told.append(Told("HostKept", f"host {host.spec.name} is not drained after all: {because}"))
        return
    enter(made.status, PROVISIONING, around.now, because)
    made.told.append(Told("HostProvisioning", f"host {host.spec.name} becomes a node: {because}"))
    plan.grown.append(host.spec.name)


def _limit(plan: PoolPlan, around: Surroundings, used: _Used, packing: Packing) -> None:
    """Say what holds growth up, if pods wait that nothing is coming for."""
    pool, short = plan.view.pool, plan.view.pool.spec.min - plan.count(IN_USE)
    if not packing.left and short <= 0:
        return
    if plan.view.credentials:
        plan.reason, plan.limit = "CredentialsInvalid", plan.view.credentials
    elif plan.count(IN_USE) >= at_most(pool):
        plan.reason, plan.limit = "AtMaximum", f"{plan.count(IN_USE)} hosts are in use, and max is {at_most(pool)}"
    elif plan.refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in plan.refused.most_common(5))
        plan.reason, plan.limit = "PodsDoNotFit", f"waiting pods do not fit an empty host of it: {reasons}"
    elif not _candidates(plan, around, used):
        plan.reason, plan.limit = "NoHostLeft", _why_none(plan, used)


def _why_none(plan: PoolPlan, used: _Used) -> str:
    found = []
    for host in plan.view.hosts:
        status = plan.hosts[host.spec.name].status
        if other := used.other(plan, host):
            found.append(f"host {host.spec.name}: pool {other} uses it")
        elif status.phase == FAILED:
            found.append(f"host {host.spec.name} rests: {status.message}")
        elif status.phase == STANDBY and (why := _obstacle(plan.view, host)):
            found.append(why)
    return "; ".join(found) or "every host is in use"


# ---------------------------------------------------------------- shrinking


def _shrink(plans: Sequence[PoolPlan], around: Surroundings) -> None:
    emptying = any(to_be_moved(list(host.pods)) for plan in plans for host in _in_phase(plan, {DRAINING}))
    for plan in plans:
        _note_idle(plan, around)
    for plan in plans:
        spec = plan.view.pool.spec
        if spec.scale_down.disabled or plan.taken or plan.grown:
            continue
        spare = plan.count({READY}) + plan.count(COMING) - spec.min
        for host in _idle_longest_first(plan, around):
            if spare <= 0:
                break
            if to_be_moved(list(host.pods)):
                if emptying or plan.asked or not _all_movable(plan, host, around):
                    continue
                emptying = True
            _let_go(plan, host, around)
            spare -= 1


def _note_idle(plan: PoolPlan, around: Surroundings) -> None:
    """Keep `idleSince`, and what keeps a host, of each ready one."""
    spec = plan.view.pool.spec.scale_down
    for host in _in_phase(plan, {READY}):
        status = plan.hosts[host.spec.name].status
        if host.node is None or not is_ready_node(plan.view.pool, host):
            status.ClearField("idle_since")
            status.message = "its node is not Ready"
            continue
        status.message = what_keeps(host.node, host.pods, spec.utilization_percent, around.budgets)
        if status.message:
            status.ClearField("idle_since")
        elif seconds_since(status.since, around.now) < around.tuning.settle_seconds:
            continue
        elif not status.HasField("idle_since"):
            status.idle_since.CopyFrom(timestamp(around.now))


def _idle_longest_first(plan: PoolPlan, around: Surroundings) -> list[HostView]:
    long_enough = plan.view.pool.spec.scale_down.idle_seconds
    idle = [
        host
        for host in _in_phase(plan, {READY})
        if (status := plan.hosts[host.spec.name].status).HasField("idle_since")
        and seconds_since(status.idle_since, around.now) >= long_enough
        and host.spec.name not in around.resting
    ]
    # Of equals the last of the list goes first: the first is taken first.
    idle.reverse()
    return sorted(
        idle, key=lambda h: (bool(to_be_moved(list(h.pods))), plan.hosts[h.spec.name].status.idle_since.seconds)
    )


def _all_movable(plan: PoolPlan, host: HostView, around: Surroundings) -> bool:
    stuck = around.confined(host.spec.name, to_be_moved(list(host.pods)))
    if stuck:
        plan.asked.append(host.spec.name)
        more = f" and {len(stuck) - 1} more" if len(stuck) > 1 else ""
        plan.hosts[host.spec.name].status.message = f"no other node takes pod {stuck[0]}{more}"
    return not stuck


def _let_go(plan: PoolPlan, host: HostView, around: Surroundings) -> None:
    made = plan.hosts[host.spec.name]
    idle = seconds_since(made.status.idle_since, around.now)
    enter(made.status, DRAINING, around.now)
    made.told.append(Told("HostDraining", f"host {host.spec.name} was idle for {idle:.0f} s: it is drained"))
    plan.shrunk.append(host.spec.name)


# ---------------------------------------------------------------- words


def _sentence(plan: PoolPlan, packing: Packing) -> str:
    words = []
    if plan.grown:
        words.append(f"grows by {', '.join(plan.grown)}")
    if plan.shrunk:
        words.append(f"lets {', '.join(plan.shrunk)} go")
    if plan.limit:
        words.append(f"does not grow: {plan.limit}")
    elif plan.taken and not plan.grown:
        words.append(f"{plan.taken} waiting pods get hosts that are on their way")
    return "; ".join(words) or ("is as large as it has to be" if not packing.left else "no waiting pod needs it")
