"""When a pool grows, when it shrinks, and what it makes of failures: tables, and properties over random lives."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master.autoscaler.nodepool_facts import HostView, Played, PoolTuning, PoolView, Surroundings
from master.autoscaler.nodepool_plan import PoolPlan, plan_pools
from master.autoscaler.nodepool_status import pool_status
from podium.objects.conditions import condition_status, get_condition
from podium.objects.meta import timestamp
from podium.objects.nodepool import GROWTH_LIMITED, HOSTS_HEALTHY, POOL_LABEL, SAFE_TO_EVICT, expected_node, status_of
from podium.v1.core_pb2 import Node, Pod
from podium.v1.nodepool_pb2 import NodePool
from podium.v1.policy_pb2 import PodDisruptionBudget
from tests.support.nodepools import node_pool
from tests.support.scheduling import pod

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
TUNING = PoolTuning(settle_seconds=0)
PER_HOST = 4


@dataclass
class FakePacking:
    taken: list[int]
    refused: dict[str, Counter[str]] = field(default_factory=dict)
    left: int = 0


@dataclass
class World:
    """Pools, their nodes and pods, and a scheduler to whom each host is room for `PER_HOST` pods."""

    pools: list[NodePool]
    waiting: int = 0
    refuses: bool = False
    now: datetime.datetime = START
    nodes: dict[str, Node] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)
    playing: set[str] = field(default_factory=set)
    played: dict[str, Played] = field(default_factory=dict)
    credentials: str = ""
    stuck: list[str] = field(default_factory=list)
    budgets: list[PodDisruptionBudget] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    unheard: set[str] = field(default_factory=set)
    """Nodes that the scheduler has not heard of yet."""
    tuning: PoolTuning = TUNING

    def pack(self, nodes: Sequence[tuple[str, Node]], most: Mapping[str, int]) -> FakePacking:
        left, may, taken = self.waiting, dict(most), []
        refused: dict[str, Counter[str]] = {}
        for group, node in nodes:
            if not group and node.metadata.name in self.nodes and node.metadata.name not in self.unheard:
                taken.append(0)  # the scheduler has it
                continue
            if group and self.refuses:
                refused.setdefault(group, Counter({"Insufficient cpu": left}))
            takes = 0 if self.refuses or (group and may.get(group, 0) <= 0) else min(left, PER_HOST)
            if group and takes:
                may[group] -= 1
            left -= takes
            taken.append(takes)
        return FakePacking(taken, refused if left else {}, left)

    def confined(self, node: str, pods: Sequence[Pod]) -> Sequence[str]:
        self.asked.append(node)
        return self.stuck

    def plan(self) -> list[PoolPlan]:
        """Look once, and keep the statuses as the controller does."""
        views = [self._view(pool) for pool in self.pools]
        around = Surroundings(
            budgets=self.budgets, pack=self.pack, confined=self.confined, now=self.now, tuning=self.tuning
        )
        plans = plan_pools(views, around)
        for plan in plans:
            for name, made in plan.hosts.items():
                if made.settled:
                    self.played.pop(name, None)
                if made.delete_node:
                    self.nodes.pop(name, None)
            plan.view.pool.status.CopyFrom(pool_status(plan, self.now))
        return plans

    def _view(self, pool: NodePool) -> PoolView:
        hosts = [
            HostView(
                spec=host,
                node=self.nodes.get(host.name),
                pods=self.pods.get(host.name, []),
                playing=host.name in self.playing,
                played=self.played.get(host.name),
            )
            for host in pool.spec.hosts
        ]
        return PoolView(pool=pool, hosts=hosts, credentials=self.credentials)

    def later(self, seconds: float) -> None:
        self.now += datetime.timedelta(seconds=seconds)

    def join(self, *names: str, ready: bool = True, labelled: bool = True) -> None:
        """Nodes appear."""
        for pool in self.pools:
            for host in pool.spec.hosts:
                if host.name in names:
                    made = expected_node(pool, host, {})
                    if not labelled:
                        del made.metadata.labels[POOL_LABEL]
                    self.nodes[host.name] = made
                    self.set_ready(host.name, ready)

    def set_ready(self, name: str, ready: bool) -> None:
        condition = self.nodes[name].status.conditions[0]
        condition.status = "True" if ready else "Unknown"
        condition.last_transition_time.CopyFrom(timestamp(self.now))

    def phases(self) -> dict[str, str]:
        return {h.name: h.phase for pool in self.pools for h in pool.status.hosts}

    def made_ready(self, *names: str) -> None:
        """These hosts are ready nodes, as the pool has noted."""
        self.join(*names)
        idle = {pool.metadata.name: pool.spec.scale_down.idle_seconds for pool in self.pools}
        for pool in self.pools:
            pool.spec.scale_down.idle_seconds = 3600
        _ = self.plan()
        assert all(self.phases()[name] == "Ready" for name in names)
        for pool in self.pools:
            pool.spec.scale_down.idle_seconds = idle[pool.metadata.name]


def replica(name: str, **more: object) -> Pod:
    return pod(name, cpu="100m", group="rs", phase="Running", **more)  # type: ignore[arg-type]


# ---------------------------------------------------------------- growth


def test_nothing_waits_nothing_grows() -> None:
    world = World([node_pool()])
    [plan] = world.plan()
    assert world.phases() == {"pool-0": "Standby", "pool-1": "Standby", "pool-2": "Standby"}
    assert plan.decision == "is as large as it has to be"


def test_a_host_is_begun_with_in_the_order_of_the_list_and_no_more_than_needed() -> None:
    world = World([node_pool()], waiting=5)
    [plan] = world.plan()
    assert plan.grown == ["pool-0", "pool-1"]
    assert plan.taken == 5
    [plan] = world.plan()
    assert plan.grown == [], "what is coming covers them"
    assert plan.decision == "5 waiting pods get hosts that are on their way"


def test_a_host_that_has_arrived_covers_its_pods_until_the_scheduler_has_heard_of_it() -> None:
    world = World([node_pool()], waiting=3)
    _ = world.plan()
    world.played["pool-0"] = Played()
    world.join("pool-0")
    world.unheard = {"pool-0"}
    for _ in range(3):
        [plan] = world.plan()
        assert plan.grown == []
        assert world.phases() == {"pool-0": "Ready", "pool-1": "Standby", "pool-2": "Standby"}
        world.later(1)
    world.unheard = set()
    [plan] = world.plan()
    assert plan.grown == ["pool-1"], "what waits still does not fit there"


def test_max_is_kept_and_said() -> None:
    world = World([node_pool(most=1)], waiting=9)
    _ = world.plan()
    [plan] = world.plan()
    assert sorted(world.phases().values()) == ["Provisioning", "Standby", "Standby"]
    limited = get_condition(plan.view.pool.status.conditions, GROWTH_LIMITED)
    assert limited is not None
    assert (limited.status, limited.reason) == ("True", "AtMaximum")
    assert limited.message == "1 hosts are in use, and max is 1"


def test_min_is_filled_with_nothing_waiting() -> None:
    world = World([node_pool(least=2)])
    [plan] = world.plan()
    assert plan.grown == ["pool-0", "pool-1"]


def test_pods_that_do_not_fit_start_no_host_and_the_reason_is_told() -> None:
    world = World([node_pool()], waiting=3, refuses=True)
    [plan] = world.plan()
    assert plan.grown == []
    assert plan.decision == "does not grow: waiting pods do not fit an empty host of it: 3 Insufficient cpu"


def test_credentials_that_are_wrong_hold_it_up() -> None:
    world = World([node_pool()], waiting=3, credentials="secret podium-system/ssh does not exist")
    [plan] = world.plan()
    assert plan.grown == []
    assert plan.reason == "CredentialsInvalid"
    assert condition_status(plan.view.pool.status.conditions, "CredentialsValid") == "False"


def test_a_host_of_two_pools_is_used_by_one() -> None:
    shared = node_pool("b", hosts=["shared"])
    other = node_pool("a", hosts=["other"])
    other.spec.hosts[0].address = shared.spec.hosts[0].address  # another name for the same machine
    world = World([shared, other], waiting=8)
    _ = world.plan()
    assert world.phases() == {"other": "Provisioning", "shared": "Standby"}
    limited = get_condition(shared.status.conditions, GROWTH_LIMITED)
    assert limited is not None
    assert limited.message == "host shared: pool a uses it"


def test_a_node_of_the_same_name_that_is_not_the_pools_is_left_alone() -> None:
    world = World([node_pool(hosts=1)], waiting=1)
    world.join("pool-0", labelled=False)
    [plan] = world.plan()
    assert plan.grown == []
    assert "a node of this name is not the pool's" in plan.decision


def test_a_node_of_the_pool_counts_however_it_came() -> None:
    world = World([node_pool()])
    world.made_ready("pool-1")
    assert world.phases()["pool-1"] == "Ready"


# ---------------------------------------------------------------- failures


def test_a_host_that_fails_rests_and_another_is_tried() -> None:
    world = World([node_pool()], waiting=1)
    _ = world.plan()
    world.played["pool-0"] = Played("UNREACHABLE: no route to host")
    [plan] = world.plan()
    assert world.phases() == {"pool-0": "Failed", "pool-1": "Provisioning", "pool-2": "Standby"}
    assert [t.reason for t in plan.told] == ["HostFailed", "HostProvisioning"]
    assert condition_status(plan.view.pool.status.conditions, HOSTS_HEALTHY) == "False"


def test_rests_double_and_end() -> None:
    world = World([node_pool(hosts=1)], waiting=1)
    rests = []
    for _ in range(9):
        _ = world.plan()
        assert world.phases() == {"pool-0": "Provisioning"}
        world.played["pool-0"] = Played("no")
        _ = world.plan()
        status = status_of(world.pools[0], "pool-0")
        assert status.phase == "Failed"
        rest = status.retry_after.seconds - int(world.now.timestamp())
        rests.append(rest)
        world.later(rest - 1)
        _ = world.plan()
        assert world.phases() == {"pool-0": "Failed"}
        world.later(1)
    assert rests == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]


def test_success_forgets_failures() -> None:
    world = World([node_pool(hosts=1)], waiting=1)
    _ = world.plan()
    world.played["pool-0"] = Played("no")
    _ = world.plan()
    world.later(30)
    _ = world.plan()
    world.played["pool-0"] = Played()
    _ = world.plan()
    assert world.phases() == {"pool-0": "Joined"}
    assert status_of(world.pools[0], "pool-0").failures == 1
    world.join("pool-0")
    world.waiting = 0
    _ = world.plan()
    assert world.phases() == {"pool-0": "Ready"}
    assert status_of(world.pools[0], "pool-0").failures == 0


def test_a_host_whose_node_never_is_ready_fails() -> None:
    world = World([node_pool(hosts=1)], waiting=1)
    _ = world.plan()
    world.played["pool-0"] = Played()
    _ = world.plan()
    world.later(TUNING.join_seconds + 1)
    _ = world.plan()
    status = status_of(world.pools[0], "pool-0")
    assert (status.phase, status.message) == ("Failed", "its node was not Ready within 120 s")


def test_a_node_that_falls_silent_makes_room_for_another_host_and_may_come_back() -> None:
    world = World([node_pool(hosts=2, most=1)])
    world.made_ready("pool-0")
    world.set_ready("pool-0", False)
    world.waiting = 1
    _ = world.plan()
    assert world.phases() == {"pool-0": "Ready", "pool-1": "Standby"}, "it may only have stumbled"
    world.later(TUNING.unready_seconds + 1)
    _ = world.plan()
    assert world.phases() == {"pool-0": "Failed", "pool-1": "Provisioning"}
    world.set_ready("pool-0", True)
    _ = world.plan()
    assert world.phases()["pool-0"] == "Ready"


def test_capacity_is_what_was_seen_last() -> None:
    pool = node_pool(hosts=2)
    world = World([pool])
    world.join("pool-0")
    world.nodes["pool-0"].status.allocatable["cpu"] = "2"
    _ = world.plan()
    statuses = {h.name: h for h in pool.status.hosts}
    assert expected_node(pool, pool.spec.hosts[0], statuses).status.allocatable["cpu"] == "2"
    assert expected_node(pool, pool.spec.hosts[1], statuses).status.allocatable["cpu"] == "2", "hosts like it"
    pool.spec.hosts[1].capacity.update({"cpu": "64", "memory": "1Gi", "pods": "10"})
    assert expected_node(pool, pool.spec.hosts[1], statuses).status.allocatable["cpu"] == "64", "its own hint"


# ---------------------------------------------------------------- letting go


def test_an_idle_host_is_drained_released_and_stands_by() -> None:
    world = World([node_pool(hosts=1, idle=60)])
    world.made_ready("pool-0")
    world.later(59)
    _ = world.plan()
    assert world.phases() == {"pool-0": "Ready"}
    world.later(1)
    _ = world.plan()
    assert world.phases() == {"pool-0": "Draining"}
    _ = world.plan()
    assert world.phases() == {"pool-0": "Draining"}, "it is not cordoned yet"
    world.nodes["pool-0"].spec.unschedulable = True
    _ = world.plan()
    assert world.phases() == {"pool-0": "Releasing"}
    world.played["pool-0"] = Played()
    [plan] = world.plan()
    assert plan.hosts["pool-0"].delete_node
    assert world.phases() == {"pool-0": "Standby"}


def test_a_host_that_has_just_become_ready_is_given_time_to_get_its_pods() -> None:
    world = World([node_pool(hosts=1, idle=0)], tuning=PoolTuning(settle_seconds=5))
    world.join("pool-0")
    _ = world.plan()
    world.later(4)
    _ = world.plan()
    assert world.phases() == {"pool-0": "Ready"}
    world.later(1)
    _ = world.plan()
    assert world.phases() == {"pool-0": "Draining"}


def test_never_below_min() -> None:
    world = World([node_pool(hosts=3, least=1, idle=0)])
    world.made_ready("pool-0", "pool-1", "pool-2")
    _ = world.plan()
    assert sorted(world.phases().values()) == ["Draining", "Draining", "Ready"]
    assert world.phases()["pool-0"] == "Ready", "the last of the list goes first"


def test_a_host_that_is_drained_is_kept_when_pods_need_it() -> None:
    world = World([node_pool(hosts=2, idle=0)])
    world.made_ready("pool-0")
    _ = world.plan()
    assert world.phases()["pool-0"] == "Draining"
    world.waiting = 2
    [plan] = world.plan()
    assert world.phases() == {"pool-0": "Ready", "pool-1": "Standby"}
    assert [t.reason for t in plan.told] == ["HostKept"]


KEPT = {
    "busy": ({"cpu": "2"}, "its pods request 50 % of its cpu"),
    "alone": ({"group": ""}, "has no controller"),
    "unsafe": ({"safe": "false"}, "not safe to evict"),
    "data": ({"volume": "empty_dir"}, "has data on the host, in volume data"),
    "path": ({"volume": "host_path"}, "has data on the host, in volume data"),
}


@pytest.mark.parametrize(("change", "why"), KEPT.values(), ids=KEPT)
def test_what_keeps_a_host(change: Mapping[str, str], why: str) -> None:
    world = World([node_pool(hosts=1, idle=0)])
    world.join("pool-0")
    made = pod("p", cpu=change.get("cpu", "100m"), group=change.get("group", "rs"), phase="Running")
    if "safe" in change:
        made.metadata.annotations[SAFE_TO_EVICT] = change["safe"]
    if "volume" in change:
        getattr(made.spec.volumes.add(name="data"), change["volume"]).SetInParent()
    world.pods["pool-0"] = [made]
    for _ in range(3):
        world.later(5)
        _ = world.plan()
    assert world.phases() == {"pool-0": "Ready"}
    assert why in status_of(world.pools[0], "pool-0").message


def test_a_budget_that_lets_no_pod_go_keeps_a_host() -> None:
    world = World([node_pool(hosts=1, idle=0)])
    budget = PodDisruptionBudget()
    budget.metadata.namespace, budget.metadata.name = "default", "all"
    budget.spec.selector.match_labels["app"] = "a"
    world.budgets = [budget]
    world.join("pool-0")
    world.pods["pool-0"] = [replica("p", app="a")]
    _ = world.plan()
    assert status_of(world.pools[0], "pool-0").message == "budget default/all lets no pod go"
    budget.status.disruptions_allowed = 1
    _ = world.plan()
    assert world.phases() == {"pool-0": "Draining"}


def test_pods_that_could_not_go_elsewhere_keep_their_host() -> None:
    world = World([node_pool(hosts=1, idle=0)], stuck=["default/p"])
    world.join("pool-0")
    world.pods["pool-0"] = [replica("p")]
    [plan] = world.plan()
    assert plan.asked == ["pool-0"]
    assert status_of(world.pools[0], "pool-0").message == "no other node takes pod default/p"


def test_one_host_with_pods_is_emptied_at_a_time() -> None:
    world = World([node_pool(hosts=3, idle=0)])
    world.join("pool-0", "pool-1", "pool-2")
    for name in world.nodes:
        world.pods[name] = [replica(f"p-{name}")]
    for _ in range(3):
        _ = world.plan()
        assert Counter(world.phases().values())["Draining"] == 1
    assert world.asked == ["pool-2"]


def test_zero_percent_keeps_every_host_that_has_a_pod() -> None:
    world = World([node_pool(hosts=1, idle=0, percent=0)])
    world.join("pool-0")
    world.pods["pool-0"] = [replica("p")]
    _ = world.plan()
    assert world.phases() == {"pool-0": "Ready"}


def test_nothing_is_let_go_while_pods_wait_for_the_pool() -> None:
    world = World([node_pool(hosts=3, idle=0)], waiting=1)
    world.join("pool-0")
    [plan] = world.plan()
    assert (plan.grown, plan.shrunk) == (["pool-1"], [])


def test_scale_down_can_be_disabled() -> None:
    pool = node_pool(hosts=1, idle=0)
    pool.spec.scale_down.disabled = True
    world = World([pool])
    world.made_ready("pool-0")
    _ = world.plan()
    assert world.phases() == {"pool-0": "Ready"}


def test_a_drain_that_takes_too_long_is_given_up() -> None:
    world = World([node_pool(hosts=1, idle=0)])
    world.join("pool-0")
    world.pods["pool-0"] = [replica("p")]
    _ = world.plan()
    assert world.phases() == {"pool-0": "Draining"}
    world.pools[0].spec.scale_down.idle_seconds = 600
    world.later(TUNING.drain_seconds + 1)
    [plan] = world.plan()
    assert world.phases() == {"pool-0": "Ready"}
    assert [t.reason for t in plan.told] == ["HostNotDrained"]


def test_a_host_that_cannot_be_let_go_does_not_wedge() -> None:
    world = World([node_pool(hosts=1, idle=0)])
    world.made_ready("pool-0")
    _ = world.plan()
    world.nodes["pool-0"].spec.unschedulable = True
    _ = world.plan()
    for _ in range(2):
        world.played["pool-0"] = Played("no route to host")
        _ = world.plan()
        assert world.phases() == {"pool-0": "Releasing"}
    world.played["pool-0"] = Played("no route to host")
    [plan] = world.plan()
    assert plan.hosts["pool-0"].delete_node
    assert world.phases() == {"pool-0": "Failed"}


# ---------------------------------------------------------------- properties

EVENTS = st.lists(
    st.tuples(st.sampled_from(["wait", "serve", "fail", "done", "lose", "time", "idle", "restart"]), st.integers(0, 9)),
    max_size=60,
)


@given(events=EVENTS, least=st.integers(0, 2), most=st.integers(2, 5), idle=st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_whatever_happens(events: list[tuple[str, int]], least: int, most: int, idle: int) -> None:
    """Never over max by growing, never below min by shrinking, never twice at once; and it comes to rest."""
    world = World([node_pool("a", hosts=4, least=least, most=most, idle=idle), node_pool("b", hosts=2, idle=idle)])
    for event, number in events:
        _happen(world, event, number)
        _look(world)
    world.waiting = 0
    for _ in range(25):
        _settle(world)
        _look(world)
        world.later(max(idle, 30) + 1)
    before = world.phases()
    assert all(phase in ("Ready", "Standby", "Failed") for phase in before.values()), before
    assert Counter(p for n, p in before.items() if n.startswith("a"))["Ready"] == least
    for _ in range(5):
        world.later(7)
        _settle(world)
        _look(world)
        assert world.phases() == before, "no oscillation under a constant load"


def _happen(world: World, event: str, number: int) -> None:
    playing = sorted(world.playing)
    match event:
        case "wait":
            world.waiting = number
        case "serve":
            world.waiting = 0
        case "fail" | "done" if playing:
            _end(world, playing[number % len(playing)], "it failed" if event == "fail" else "")
        case "lose" if world.nodes:
            name = sorted(world.nodes)[number % len(world.nodes)]
            world.set_ready(name, not any(c.status == "True" for c in world.nodes[name].status.conditions))
        case "restart":
            world.playing, world.played = set(), {}
    world.later(number * (10 if event == "time" else 1))


def _end(world: World, name: str, failure: str) -> None:
    world.playing.discard(name)
    phase = world.phases()[name]
    if phase == "Provisioning" and not failure:
        world.join(name)
    world.played[name] = Played(failure)


def _settle(world: World) -> None:
    """All goes well from now on."""
    for name in sorted(world.playing):
        _end(world, name, "")
    for name in world.nodes:
        if world.nodes[name].status.conditions[0].status != "True":
            world.set_ready(name, True)


def _look(world: World) -> None:
    """Plan, check, and do what the controller does."""
    plans = world.plan()
    for plan in plans:
        pool = plan.view.pool
        if plan.grown:
            assert plan.count({"Provisioning", "Joined", "Ready", "Draining", "Releasing"}) <= (
                pool.spec.max if pool.spec.HasField("max") else len(pool.spec.hosts)
            )
        if plan.shrunk:
            assert plan.count({"Ready", "Provisioning", "Joined"}) >= pool.spec.min
        assert not (plan.grown and plan.shrunk)
        assert not set(plan.grown) & world.playing
        for name, made in plan.hosts.items():
            if made.status.phase in ("Provisioning", "Releasing") and name not in world.playing | world.played.keys():
                world.playing.add(name)
            if made.status.phase == "Draining":
                world.nodes[name].spec.unschedulable = True
            elif made.status.phase == "Ready" and name in world.nodes:
                world.nodes[name].spec.unschedulable = False


def test_the_plan_is_the_same_twice() -> None:
    """Level-triggered: looking again without a change changes nothing."""
    world = World([node_pool()], waiting=3)
    first = world.plan()
    statuses = [made.status for made in first[0].hosts.values()]
    again = world.plan()
    assert [made.status for made in again[0].hosts.values()] == statuses
