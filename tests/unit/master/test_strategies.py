"""What strategies decide: known cases by table, and what must never happen, by playing whole rollouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master.controllers.analysis import fact_of
from master.controllers.deployment_plan import plan_deployment
from master.controllers.deployment_status import deployment_status
from master.controllers.deployment_story import story
from master.controllers.rollout import Limits, Size, toward
from master.controllers.strategies import analysis, canary
from master.controllers.strategies.analysis import Measurement
from master.controllers.strategies.sets import limits_of
from master.controllers.strategies.steps import CreateSet, DropSet, EditSet
from podium.errors import Conflict
from podium.objects import promotion
from podium.objects.conditions import get_condition
from podium.objects.revisions import ROLE, SUCCEEDED, hash_of, previous_of, revision_of, with_hash
from podium.v1.apps_pb2 import AnalysisMetric, AnalysisStatus, Deployment, ReplicaSet, RolloutAnalysis
from tests.support.workloads import at, deployment, pod, uid

# ---------------------------------------------------------------- a rollout, played


@dataclass
class World:
    """A Deployment and its ReplicaSets; pods become available as far as a test lets them."""

    deployment: Deployment
    sets: list[ReplicaSet] = field(default_factory=list)
    now: float = 0
    told: list[str] = field(default_factory=list)

    def step(self) -> None:
        """One reconciliation: what is planned is done, and the status is written."""
        for step in plan_deployment(self.deployment, self.sets).steps:
            match step:
                case CreateSet(replica_set=made):
                    made.metadata.uid, made.metadata.generation = uid(), 1
                    made.metadata.creation_timestamp.seconds = len(self.sets)
                    self.sets.append(made)
                case EditSet(replica_set=rs):
                    rs.metadata.generation += step.replicas is not None
                    rs.spec.replicas = rs.spec.replicas if step.replicas is None else step.replicas
                    for name, text in step.annotations.items():
                        rs.metadata.annotations[name] = text
                        if not text:
                            del rs.metadata.annotations[name]
                    rs.metadata.labels[ROLE] = rs.metadata.labels.get(ROLE, "") if step.role is None else step.role
                case DropSet(replica_set=rs):
                    self.sets.remove(rs)
        self.observe()

    def observe(self) -> None:
        """The status follows what is there."""
        status, _ = deployment_status(self.deployment, self.sets, now=at(self.now))
        self.told += [reason for _, reason, _ in story(self.deployment, status)]
        self.deployment.status.CopyFrom(status)

    def serve(self, share: Callable[[ReplicaSet, int], int] = lambda _, wanted: wanted) -> None:
        """The pods of every set come to its size; `share` says how many of them are available."""
        for rs in self.sets:
            rs.status.observed_generation = rs.metadata.generation
            rs.status.replicas = rs.spec.replicas
            rs.status.available_replicas = rs.status.ready_replicas = share(rs, rs.spec.replicas)

    def settle(self, turns: int = 40) -> None:
        """Go on until nothing changes; every pod becomes available."""
        for _ in range(turns):
            before = self.deployment.SerializeToString(deterministic=True), self.sizes()
            self.step()
            self.serve()
            self.observe()
            if before == (
                self.deployment.SerializeToString(deterministic=True),
                [rs.spec.replicas for rs in self.sets],
            ):
                return

    def set_image(self, image: str) -> None:
        """The template changes."""
        self.deployment.spec.template.spec.containers[0].image = image
        self.deployment.metadata.generation += 1

    def sizes(self) -> list[int]:
        """Oldest first."""
        return [rs.spec.replicas for rs in self.sets]

    def reason(self) -> str:
        """Of condition Progressing."""
        told = get_condition(self.deployment.status.conditions, "Progressing")
        assert told is not None
        return told.reason


def _world(type_: str, *, replicas: int = 4, surge: int = 1, unavailable: int = 0) -> World:
    made = deployment(replicas=replicas, image="one", surge=surge, unavailable=unavailable)
    made.spec.strategy.type = type_
    if type_ == "BlueGreen":
        made.spec.strategy.ClearField("rolling_update")
        made.spec.strategy.blue_green.auto_promotion = True
        made.spec.strategy.blue_green.scale_down_delay_seconds = 30
    if type_ == "Canary":
        made.spec.strategy.ClearField("rolling_update")
        made.spec.strategy.canary.max_surge.int_value = surge
        made.spec.strategy.canary.max_unavailable.int_value = unavailable
    return World(made)


def _canary(*weights: int, replicas: int = 5) -> World:
    world = _world("Canary", replicas=replicas)
    for weight in weights:
        world.deployment.spec.strategy.canary.steps.add(set_weight=weight)
        world.deployment.spec.strategy.canary.steps.add().pause.SetInParent()
    world.settle()
    return world


# ---------------------------------------------------------------- blue/green


def test_a_first_revision_is_active_at_once() -> None:
    world = _world("BlueGreen")
    world.settle()
    state = world.deployment.status.blue_green
    assert (world.sizes(), state.active_hash, state.preview_hash) == ([4], hash_of(world.sets[0]), "")
    assert world.sets[0].metadata.labels[ROLE] == "active"
    assert world.sets[0].metadata.annotations[SUCCEEDED] == "true"
    assert world.reason() == "NewReplicaSetAvailable"


def test_a_preview_grows_beside_the_active_one_and_takes_over_when_it_is_wholly_there() -> None:
    world = _world("BlueGreen")
    world.settle()
    world.set_image("two")
    for _ in range(3):
        world.step()
    world.serve(lambda rs, wanted: wanted - (revision_of(rs) == 2))
    world.step()
    assert (world.sizes(), world.deployment.status.blue_green.active_revision) == ([4, 4], 1), (
        "one is not available yet"
    )
    world.settle()
    assert (world.sizes(), world.deployment.status.blue_green.active_revision) == ([4, 4], 2)
    assert [rs.metadata.labels[ROLE] for rs in world.sets] == ["previous", "active"]
    assert world.deployment.status.blue_green.previous_hash == hash_of(world.sets[0])
    world.now = 29
    world.settle()
    assert world.sizes() == [4, 4]
    world.now = 31
    world.settle()
    assert world.sizes() == [0, 4]


def test_a_small_preview_grows_to_full_size_before_it_serves() -> None:
    world = _world("BlueGreen")
    spec = world.deployment.spec.strategy.blue_green
    spec.preview_replicas, spec.auto_promotion = 1, False
    world.settle()
    world.set_image("two")
    world.settle()
    assert (world.sizes(), world.reason()) == ([4, 1], "RolloutPaused")
    promotion.promote(world.deployment, world.sets, full=False, now=at(0))
    world.step()
    assert (world.sizes(), world.deployment.status.blue_green.active_revision) == ([4, 4], 1)
    world.settle()
    assert world.deployment.status.blue_green.active_revision == 2


def test_a_preview_that_is_let_wait_is_promoted_after_its_time_and_one_that_fails_meanwhile_waits_anew() -> None:
    world = _world("BlueGreen")
    world.deployment.spec.strategy.blue_green.auto_promotion_seconds = 20
    world.settle()
    world.set_image("two")
    world.settle()
    assert world.reason() == "RolloutPaused"
    world.now = 10
    world.serve(lambda rs, wanted: wanted - (revision_of(rs) == 2))
    world.observe()
    world.now = 15
    world.settle()
    world.now = 25
    world.settle()
    assert world.deployment.status.blue_green.active_revision == 1
    world.now = 36
    world.settle()
    assert world.deployment.status.blue_green.active_revision == 2


def test_an_undo_within_the_keep_window_switches_without_any_new_replica() -> None:
    world = _world("BlueGreen")
    world.settle()
    world.set_image("two")
    world.settle()
    world.set_image("one")
    world.step()
    assert (world.deployment.status.blue_green.active_hash, world.sizes()) == (hash_of(world.sets[0]), [4, 4])


# ---------------------------------------------------------------- canary


@pytest.mark.parametrize(
    ("weight", "desired", "surge", "expected"),
    [
        (0, 10, 1, (0, 10)),
        (20, 10, 1, (2, 8)),
        (25, 10, 1, (3, 7)),  # halves go up
        (1, 10, 1, (1, 9)),  # a weight has at least one replica
        (99, 10, 1, (9, 1)),  # and below 100 the stable revision keeps one
        (100, 10, 1, (10, 0)),
        (50, 1, 1, (1, 1)),  # one replica is not shared
        (50, 1, 0, (0, 1)),
        (100, 1, 0, (1, 0)),
        (30, 0, 1, (0, 0)),
    ],
)
def test_a_weight_is_rounded_to_replicas(weight: int, desired: int, surge: int, expected: tuple[int, int]) -> None:
    assert canary.share(weight, Limits(desired=desired, surge=surge, unavailable=0)) == expected


def test_a_canary_stops_at_each_pause_and_goes_on_when_promoted() -> None:
    world = _canary(20, 60)
    world.set_image("two")
    world.settle()
    state = world.deployment.status.canary
    assert (world.sizes(), state.current_step_index, world.reason()) == ([4, 1], 1, "RolloutPaused")
    state.current_step_index = 2
    with pytest.raises(Conflict, match="waits for pods and not for you"):
        promotion.promote(world.deployment, world.sets, full=False, now=at(0))
    state.current_step_index = 1
    promotion.promote(world.deployment, world.sets, full=False, now=at(0))
    world.settle()
    assert world.sizes() == [2, 3]
    promotion.promote(world.deployment, world.sets, full=True, now=at(0))
    world.settle()
    assert (world.sizes(), world.deployment.status.canary.stable_revision) == ([0, 5], 2)
    assert world.told.count("CanaryStep") >= 3


def test_a_weight_is_reached_when_all_replicas_for_it_are_there() -> None:
    world = _canary(10, 60, replicas=4)
    world.set_image("two")
    seen = set[tuple[int, int]]()

    def check() -> None:
        state = world.deployment.status.canary
        if not state.canary_hash:
            return
        seen.add((state.reached_weight, state.weight))
        new, _ = canary.share(state.reached_weight, limits_of(world.deployment))
        serving = world.sets[-1].status.available_replicas
        assert serving >= new or state.reached_weight == 0, "what was reached is there"

    for _ in range(2):
        for _ in range(20):
            world.step()
            world.serve()
            world.observe()
            check()
        world.deployment.status.canary.current_step_index += 1  # `promote`, out of the pause
    assert seen == {(0, 10), (10, 10), (10, 60), (60, 60)}


def test_another_template_in_the_middle_begins_anew_from_the_stable_one() -> None:
    world = _canary(40)
    world.set_image("two")
    world.settle()
    assert world.sizes() == [3, 2]
    world.set_image("three")
    world.settle()
    assert (world.sizes(), world.deployment.status.canary.current_step_index) == ([3, 0, 2], 1)
    assert world.deployment.status.canary.stable_revision == 1


def test_a_pause_is_over_after_its_duration_and_its_deadline_does_not_count() -> None:
    world = _world("Canary", replicas=5)
    world.deployment.spec.progress_deadline_seconds = 10
    world.deployment.spec.strategy.canary.steps.add(set_weight=20)
    world.deployment.spec.strategy.canary.steps.add().pause.duration = "60s"
    world.settle()
    world.set_image("two")
    world.settle()
    world.now = 59
    world.settle()
    assert (world.sizes(), world.reason()) == ([4, 1], "RolloutPaused")
    world.now = 60
    world.settle()
    assert (world.sizes(), world.reason()) == ([0, 5], "NewReplicaSetAvailable")


def test_paused_holds_a_canary_and_follows_replicas_at_its_weight() -> None:
    world = _canary(20)
    world.set_image("two")
    world.settle()
    world.deployment.spec.paused = True
    world.deployment.spec.replicas = 10
    world.settle()
    assert (world.sizes(), world.deployment.status.canary.current_step_index) == ([8, 2], 1)


def test_a_change_of_strategy_begins_with_what_works_and_runs() -> None:
    world = _world("RollingUpdate")
    world.settle()
    world.deployment.spec.strategy.Clear()
    world.deployment.spec.strategy.type = "Canary"
    world.deployment.spec.strategy.canary.max_surge.int_value = 1
    world.deployment.spec.strategy.canary.steps.add(set_weight=50)
    world.deployment.spec.strategy.canary.steps.add().pause.SetInParent()
    world.set_image("two")
    world.settle()
    assert world.sizes() == [2, 2]
    world.deployment.spec.strategy.type = "BlueGreen"
    world.settle()
    assert world.sizes()[0] == 4


# ---------------------------------------------------------------- rollback


def _fails(world: World) -> None:
    """The second revision's pods never become available, until its deadline has passed."""
    for turn in range(12):
        world.now = turn * 60
        world.step()
        world.serve(lambda rs, wanted: 0 if revision_of(rs) == 2 else wanted)
        world.observe()


@pytest.mark.parametrize("type_", ["RollingUpdate", "BlueGreen", "Canary"])
def test_a_rollout_past_its_deadline_is_held_back_and_its_forerunner_runs(type_: str) -> None:
    world = _world(type_)
    world.deployment.spec.strategy.rollback.on_failure = "Automatic"
    world.deployment.spec.progress_deadline_seconds = 100
    if type_ == "Canary":
        world.deployment.spec.strategy.canary.steps.add(set_weight=50)
    world.settle()
    world.set_image("two")
    _fails(world)
    world.settle()
    aborted = world.deployment.status.aborted
    assert (world.sizes(), aborted.reason, aborted.returned_to_revision) == ([4, 0], "ProgressDeadlineExceeded", 1)
    rolled_back = get_condition(world.deployment.status.conditions, "RolledBack")
    assert rolled_back is not None
    assert rolled_back.status == "True"
    assert world.told.count("RolledBack") == 1, "it does not flap"
    assert previous_of(world.sets[0], world.sets) is world.sets[1], "there is no other"
    promotion.retry(world.deployment, world.sets)
    world.settle()
    assert with_hash(hash_of(world.sets[1]), world.sets) is not None
    assert (world.sizes()[1], world.deployment.status.HasField("aborted")) == (4, False)


def _at_most(number: int) -> Callable[[ReplicaSet, int], int]:
    return lambda _, wanted: min(wanted, number)


@pytest.mark.parametrize("type_", ["RollingUpdate", "BlueGreen", "Canary"])
def test_a_scale_up_that_finds_no_room_is_no_rollout_that_fails(type_: str) -> None:
    world = _world(type_)
    world.deployment.spec.strategy.rollback.on_failure = "Automatic"
    world.deployment.spec.progress_deadline_seconds = 100
    world.settle()
    world.set_image("two")
    world.settle()
    world.now = 60
    world.settle()
    world.deployment.spec.replicas = 8
    for turn in range(1, 8):
        world.now = 60 + turn * 60
        world.step()
        world.serve(_at_most(4 + (turn > 1)))  # one more comes, and then no other
        world.observe()
    assert (world.sizes(), world.reason()) == ([0, 8], "NewReplicaSetAvailable")
    assert not world.deployment.status.HasField("aborted")


def test_an_abort_goes_on_while_paused() -> None:
    world = _world("RollingUpdate")
    world.settle()
    world.set_image("two")
    for _ in range(4):
        world.step()
        world.serve()
    world.deployment.spec.paused = True
    world.settle()
    assert world.sizes()[0] < 4
    promotion.abort(world.deployment, world.sets, user="ada", now=at(0))
    world.settle()
    assert (world.sizes(), world.reason()) == ([4, 0], "RolloutAborted")


def test_never_is_the_default_and_leaves_a_rollout_where_it_is() -> None:
    world = _world("RollingUpdate")
    world.deployment.spec.progress_deadline_seconds = 100
    world.settle()
    world.set_image("two")
    _fails(world)
    assert (world.sizes(), world.reason()) == ([4, 1], "ProgressDeadlineExceeded")
    assert not world.deployment.status.HasField("aborted")


def test_a_first_revision_that_fails_has_nothing_to_return_to() -> None:
    world = _world("RollingUpdate")
    world.deployment.spec.strategy.rollback.on_failure = "Automatic"
    world.deployment.spec.progress_deadline_seconds = 100
    for turn in range(5):
        world.now = turn * 60
        world.step()
        world.serve(lambda rs, wanted: 0)
        world.observe()
    assert world.reason() == "ProgressDeadlineExceeded"
    assert not world.deployment.status.HasField("aborted")


def test_what_cannot_be_said_to_a_rollout_is_refused_with_what_can() -> None:
    world = _canary(20)
    with pytest.raises(Conflict, match="nothing to promote"):
        promotion.promote(world.deployment, world.sets, full=False, now=at(0))
    with pytest.raises(Conflict, match="rollout undo"):
        promotion.abort(world.deployment, world.sets, user="ada", now=at(0))
    with pytest.raises(Conflict, match="nothing to try again"):
        promotion.retry(world.deployment, world.sets)
    world.set_image("two")
    world.settle()
    promotion.abort(world.deployment, world.sets, user="ada", now=at(0))
    world.settle()
    assert (world.sizes(), world.reason()) == ([5, 0], "RolloutAborted")
    with pytest.raises(Conflict, match="rollout retry"):
        promotion.promote(world.deployment, world.sets, full=False, now=at(0))


# ---------------------------------------------------------------- analysis


def _metric(**fields: object) -> RolloutAnalysis:
    return RolloutAnalysis(metrics=[AnalysisMetric(name="m", interval="10s", **fields)])  # type: ignore[arg-type]


def _measured(spec: RolloutAnalysis, values: Sequence[float | None]) -> AnalysisStatus:
    status = analysis.begin(at(0))
    for index, value in enumerate(values):
        status = analysis.record(
            spec, status, Measurement(metric="m", value=value, error="" if value else "no data"), at(index)
        )
    return status


@pytest.mark.parametrize(
    ("fields", "values", "phase"),
    [
        ({"success_condition": ">= 0.9", "count": 2}, [0.95], "Running"),
        ({"success_condition": ">= 0.9", "count": 2}, [0.95, 0.9], "Passed"),
        ({"success_condition": ">= 0.9", "count": 2}, [0.5], "Failed"),
        ({"success_condition": ">= 0.9", "count": 3, "failure_limit": 1}, [0.5, 1.0, 1.0], "Passed"),
        ({"success_condition": ">= 0.9", "count": 3, "failure_limit": 1}, [0.5, 1.0, 0.5], "Failed"),
        ({"failure_condition": "> 5", "count": 1}, [5.0], "Passed"),
        ({"failure_condition": "> 5", "count": 1}, [5.1], "Failed"),
        ({"success_condition": ">= 0.9", "failure_condition": "< 0.5", "count": 1}, [0.7], "Running"),
        ({"success_condition": ">= 0.9", "count": 1, "inconclusive_limit": 1}, [None], "Running"),
        ({"success_condition": ">= 0.9", "count": 1, "inconclusive_limit": 1}, [None, float("nan")], "Failed"),
        ({"success_condition": ">= 0.9", "count": 2, "inconclusive_limit": 1}, [None, 1.0, None, 1.0], "Passed"),
        ({"success_condition": ">= 0.9"}, [1.0] * 20, "Running"),  # without a count it goes on
    ],
)
def test_measurements_make_a_verdict(fields: dict[str, object], values: list[float | None], phase: str) -> None:
    assert _measured(_metric(**fields), values).phase == phase


def test_the_next_measurement_is_due_after_the_delay_and_then_each_interval() -> None:
    spec = _metric(success_condition="> 0", initial_delay="5s")
    status = analysis.begin(at(0))
    assert analysis.due(spec, status, at(2)) == ([], 3)
    assert analysis.due(spec, status, at(5)) == ([spec.metrics[0]], None)
    status = analysis.record(spec, status, Measurement(metric="m", value=1), at(6))
    assert analysis.due(spec, status, at(10)) == ([], 6)


def test_each_analysis_step_measures_for_itself() -> None:
    world = _world("Canary")
    for _ in range(2):
        world.deployment.spec.strategy.canary.steps.add().analysis.CopyFrom(_metric(success_condition="> 0", count=1))
    world.settle()
    world.set_image("two")
    world.settle()
    state = world.deployment.status.canary
    assert (state.current_step_index, state.analysis.phase) == (0, "Running")
    spec = world.deployment.spec.strategy.canary.steps[0].analysis
    state.analysis.CopyFrom(analysis.record(spec, state.analysis, Measurement(metric="m", value=1), at(1)))
    world.settle()
    state = world.deployment.status.canary
    assert (state.current_step_index, state.analysis.phase, len(state.analysis.metrics)) == (1, "Running", 0)


def test_facts_of_pods() -> None:
    broken = pod("a", phase="Running", restarts=3)
    broken.status.container_statuses[0].state.waiting.reason = "CrashLoopBackOff"
    pods = [broken, pod("b", ready=True), pod("c", ready=True, terminating=True)]
    assert [fact_of(fact, pods) for fact in ("Restarts", "BackOff", "NotReady")] == [3, 1, 1]


# ---------------------------------------------------------------- properties

_sizes = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=4)


@given(_sizes, st.integers(0, 12), st.integers(0, 4), st.integers(0, 4))
def test_toward_never_grows_beyond_the_surge_nor_takes_what_must_stay_available(
    rows: list[tuple[int, int, int]], desired: int, surge: int, unavailable: int
) -> None:
    limits = Limits(desired=desired, surge=surge, unavailable=min(unavailable, desired))
    sets = [Size(name=str(i), wanted=w, available=min(a, w)) for i, (w, a, _) in enumerate(rows)]
    goals = {str(i): goal for i, (_, _, goal) in enumerate(rows)}
    after = {s.name: s.wanted for s in sets} | toward(sets, goals, limits)
    assert sum(after.values()) <= max(limits.most, sum(s.wanted for s in sets))
    kept = sum(min(s.available, after[s.name]) for s in sets)
    assert kept >= min(limits.least_available, sum(s.available for s in sets))
    for s in sets:
        assert min(s.wanted, goals[s.name]) <= after[s.name] <= max(s.wanted, goals[s.name]), "never past its goal"


_turns = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 1.0]), st.booleans()), min_size=5, max_size=40)


def _lucky(luck: float) -> Callable[[ReplicaSet, int], int]:
    return lambda rs, wanted: min(wanted, max(rs.status.available_replicas, round(luck * wanted)))


def _play(world: World, turns: Sequence[tuple[float, bool]], check: Callable[[], None]) -> None:
    """Pods become available as chance has it (and never go back), and the controller runs or does not."""
    for luck, runs in turns:
        if runs:
            world.step()
            check()
        world.serve(_lucky(luck))
        world.now += 1


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), _turns), min_size=1, max_size=5),
)
def test_blue_green_always_serves_in_full_and_never_exceeds_twice_the_replicas(
    replicas: int, preview: int, changes: list[tuple[str, list[tuple[float, bool]]]]
) -> None:
    world = _world("BlueGreen", replicas=replicas)
    world.deployment.spec.strategy.blue_green.preview_replicas = preview
    world.settle()

    def check() -> None:
        active = with_hash(world.deployment.status.blue_green.active_hash, world.sets)
        assert active is not None
        assert active.status.available_replicas >= replicas <= active.spec.replicas
        assert sum(world.sizes()) <= 2 * replicas

    for image, turns in changes:
        world.set_image(image)
        _play(world, turns, check)
    world.settle()
    assert world.reason() == "NewReplicaSetAvailable"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(0, 100), max_size=4), st.integers(0, 2), st.integers(0, 2), _turns)
def test_a_canary_keeps_its_limits_and_its_weight_only_grows(
    replicas: int, weights: list[int], surge: int, unavailable: int, turns: list[tuple[float, bool]]
) -> None:
    world = _world("Canary", replicas=replicas, surge=surge, unavailable=max(unavailable, 1 - surge))
    for weight in sorted(weights):
        world.deployment.spec.strategy.canary.steps.add(set_weight=weight)
    world.settle()
    world.set_image("two")
    limits = limits_of(world.deployment)
    seen = [(0, 0)]

    def check() -> None:
        assert sum(world.sizes()) <= limits.most
        assert sum(min(rs.status.available_replicas, rs.spec.replicas) for rs in world.sets) >= limits.least_available
        new = world.sizes()[1] if len(world.sets) > 1 else 0
        state = world.deployment.status.canary
        weight = state.weight if state.canary_hash else 100 * (state.stable_revision == 2)
        assert weight >= seen[-1][0]
        assert new >= seen[-1][1]
        seen.append((weight, new))

    _play(world, turns, check)
    world.settle()
    assert (world.sizes()[-1], world.reason()) == (replicas, "NewReplicaSetAvailable")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["RollingUpdate", "BlueGreen", "Canary"]), st.integers(1, 6), st.integers(0, 6), _turns)
def test_an_abort_at_any_moment_brings_back_what_worked(
    type_: str, replicas: int, moment: int, turns: list[tuple[float, bool]]
) -> None:
    world = _world(type_, replicas=replicas)
    world.settle()
    world.set_image("two")
    _play(world, turns[:moment], lambda: None)
    least = limits_of(world.deployment).least_available
    try:
        promotion.abort(world.deployment, world.sets, user="ada", now=at(world.now))
    except Conflict:
        return  # not begun, or done already

    def check() -> None:
        assert sum(min(rs.status.available_replicas, rs.spec.replicas) for rs in world.sets) >= least

    _play(world, turns[moment:], check)
    world.now += 100
    world.settle()
    assert world.sizes() == [replicas, 0]
    assert "Promoted" not in world.told
