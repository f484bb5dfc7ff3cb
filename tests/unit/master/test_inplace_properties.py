"""`resize: InPlace` over whatever nodes answer and pods come to: nobody is lost or taken twice, no node is overfull, no
more are disturbed at once than may be, and it ends."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from master.controllers.strategies.steps import DeploymentPlan
from podium.objects.owners import owner_reference
from podium.objects.pod import CPU, is_ready, requests
from podium.objects.resizing import PENDING, REFUSED, asks_for, is_settled, refusal, take_resources
from podium.objects.revisions import hash_of
from podium.objects.template import HASH_LABEL
from podium.v1.core_pb2 import Pod
from tests.support.inplace import World, sizes

EVENTS = st.lists(
    st.tuples(st.sampled_from(["plan", "plan", "grant", "grant", "refuse", "fail", "recover"]), st.integers(0, 3)),
    max_size=30,
)
ROOM = st.sampled_from(["2", "2500m", "3", "4", "6"])
_MILLI = {"2": 2000, "2500m": 2500, "3": 3000, "4": 4000, "6": 6000}


class Life:
    """The world, its planner's steps carried out, and what must hold after each."""

    def __init__(self, *, unavailable: int, cpu: str, rooms: tuple[str, str]) -> None:
        self.world = World(unavailable=unavailable, cpu=cpu)
        self.bound = max(1, unavailable)
        for each, room in zip(self.world.nodes.values(), rooms, strict=True):
            each.status.allocatable["cpu"] = room
        self.rooms = dict(zip(self.world.nodes, (_MILLI[room] for room in rooms), strict=True))
        self.handed: set[str] = set()

    # ------------------------------------------------------------ what happens

    def happen(self, what: str, which: int) -> None:
        """Something happens to the pod number `which`, or the planner has its turn."""
        pod = self.world.pods[which]
        match what:
            case "plan":
                self.step()
            case "grant" if not refusal(pod):
                self.world.grant(pod)
            case "refuse" if not is_settled(pod) and not refusal(pod):
                self.world.refuse(pod)
            case "fail" | "recover":
                pod.status.conditions[0].status = "True" if what == "recover" else "False"
            case _:
                pass  # a node answers what it was asked, and once

    def step(self) -> bool:
        """Carry the next step out; whether there was one."""
        plan = self.world.plan()
        self._resize(plan)
        self._hand_over(plan)
        assert self.world.old.spec.replicas + self.world.new.spec.replicas == len(self.world.pods), "nobody is lost"
        return bool(plan.resizes or plan.moves)

    def _resize(self, plan: DeploymentPlan) -> None:
        asked = [each.pod for each in plan.resizes if each.template == self.world.new.spec.template]
        assert all(is_ready(pod) and REFUSED not in pod.metadata.annotations for pod in asked)
        assert not {pod.metadata.name for pod in asked} & self.handed
        for each in plan.resizes:
            if each.refused:
                each.pod.metadata.annotations[REFUSED] = each.digest
            take_resources(each.pod, each.template)
            if each.refused:
                self._has_it_back(each.pod)
        if asked:
            assert self._disturbed() <= self.bound, "no more at once than may be unavailable"
            for name in {pod.spec.node_name for pod in asked}:
                assert self._taken(name) <= self.rooms[name] or not self._grows(), "no node is promised what it lacks"

    def _has_it_back(self, pod: Pod) -> None:
        kept = [condition for condition in pod.status.conditions if condition.type != PENDING]
        del pod.status.conditions[:]
        pod.status.conditions.extend(kept)
        self.world.grant(pod)

    def _hand_over(self, plan: DeploymentPlan) -> None:
        for move in plan.moves:
            assert is_settled(move.pod), "it has what it is handed over for"
            assert asks_for(move.pod, self.world.new.spec.template)
            assert move.pod.metadata.name not in self.handed, "once"
            self.handed.add(move.pod.metadata.name)
            move.pod.metadata.owner_references[0].CopyFrom(owner_reference(move.target))
            move.pod.metadata.labels[HASH_LABEL] = hash_of(move.target)
        if plan.moves:
            new = sizes(plan)
            for rs in self.world.sets:
                rs.spec.replicas = new.get(rs.metadata.name, rs.spec.replicas)
                assert rs.spec.replicas == sum(1 for _ in self.world.of(rs)), "sizes go with the pods"

    # ------------------------------------------------------------ how it stands

    def _disturbed(self) -> int:
        """Pods that are not ready, or whose nodes have yet to answer."""
        return sum(not is_ready(pod) or not is_settled(pod) for pod in self.world.pods)

    def _taken(self, node: str) -> int:
        return sum(requests(pod.spec)[CPU] for pod in self.world.pods if pod.spec.node_name == node)

    def _grows(self) -> bool:
        had, wants = (requests(rs.spec.template.spec)[CPU] for rs in (self.world.old, self.world.new))
        return wants > had

    def left(self) -> list[Pod]:
        """Pods that stayed as they were."""
        return list(self.world.of(self.world.old))


LIVES = st.builds(
    Life,
    unavailable=st.integers(0, 4),
    cpu=st.sampled_from(["500m", "1200m", "2", "3"]),
    rooms=st.tuples(ROOM, ROOM),
)


@settings(max_examples=150)
@given(LIVES, EVENTS)
def test_whatever_happens_it_ends_with_those_resized_that_could_be(life: Life, events: list[tuple[str, int]]) -> None:
    for what, which in events:
        life.happen(what, which)
    for _ in range(40):  # everything heals, and every node grants what it has not refused
        for pod in life.world.pods:
            pod.status.conditions[0].status = "True"
            if not refusal(pod):
                life.world.grant(pod)
        if not life.step():
            break
    else:
        raise AssertionError("it never comes to rest")
    growth = 0 if not life._grows() else requests(life.world.new.spec.template.spec)[CPU] - 1000
    for pod in life.left():
        node = pod.spec.node_name
        refused = pod.metadata.annotations.get(REFUSED) == hash_of(life.world.new)
        assert refused or life._taken(node) + growth > life.rooms[node], "what stayed was refused, or had no room"
        assert asks_for(pod, life.world.old.spec.template), "and nothing of the new is asked of it any more"


@given(LIVES)
def test_where_nodes_grant_everything_all_with_room_are_resized(life: Life) -> None:
    rounds = 0
    while life.step():
        for pod in life.world.pods:
            life.world.grant(pod)
        rounds += 1
        assert rounds <= 2 * len(life.world.pods)
    assert {pod.metadata.name for pod in life.left()} | life.handed == {"p0", "p1", "p2", "p3"}
    if not life._grows():
        assert not life.left()
