"""The loop closed: a load that pods share which take time to start is answered in seconds, settled, and left alone."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from master.autoscaler.behavior import History
from master.autoscaler.facts import Figure, Observation, OfPods, PodFacts, Tuning
from master.autoscaler.horizontal import plan_scale
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscalerSpec

TARGET, REQUEST, MOST = 50, 1000, 60
WINDOW = 10
"""Seconds of stabilization on the way down."""


def spec() -> HorizontalPodAutoscalerSpec:
    made = HorizontalPodAutoscalerSpec(min_replicas=1, max_replicas=MOST)
    source = made.metrics.add(type="Resource").resource
    source.name, source.target.type, source.target.average_utilization = "cpu", "Utilization", TARGET
    up, down = made.behavior.scale_up, made.behavior.scale_down
    up.select_policy = down.select_policy = "Max"
    up.policies.add(type="Pods", value=4, period_seconds=15)
    up.policies.add(type="Percent", value=100, period_seconds=15)
    down.stabilization_window_seconds = WINDOW
    down.policies.add(type="Percent", value=100, period_seconds=15)
    return made


class Service:
    """Pods that share a load in thousandths of a core; each is ready some seconds after it was made."""

    def __init__(self, replicas: int, start_seconds: int) -> None:
        self.now, self.start_seconds = 0, start_seconds
        self.made = [-1000] * replicas
        self.history = History().wants(replicas, 0.0)

    def second(self, load: int) -> int:
        """One look of the autoscaler; how many replicas there are then."""
        self.now += 1
        ready = [made for made in self.made if self.now >= made + self.start_seconds]
        share = load // max(1, len(ready))
        pods, figures = [], {}
        for number, made in enumerate(self.made):
            name, up = f"p{number}", self.now >= made + self.start_seconds
            since = float(made + self.start_seconds)
            pods.append(
                PodFacts(name=name, phase="Running", ready=up, started=float(made), ready_changed=since if up else made)
            )
            figures[name] = Figure(share if up else 0, float(self.now), 1.0)
        reading = OfPods(figures=figures, requests=dict.fromkeys(figures, REQUEST))
        count = len(self.made)
        seen = Observation(
            spec=spec(), wanted=count, there=count, pods=tuple(pods), readings=(reading,), now=float(self.now)
        )
        decision = plan_scale(seen, self.history, now=float(self.now), tuning=Tuning())
        self.history = decision.history
        del self.made[decision.replicas :]
        self.made += [self.now] * (decision.replicas - len(self.made))
        return decision.replicas

    def seconds(self, load: int, count: int) -> list[int]:
        return [self.second(load) for _ in range(count)]


def needed(load: int) -> int:
    return min(MOST, max(1, math.ceil(load * 100 / (TARGET * REQUEST))))


loads = st.integers(0, 25_000)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(0, 8), loads)
def test_a_load_is_met_and_then_left_alone(replicas: int, start: int, load: int) -> None:
    service = Service(replicas, start)
    seen = service.seconds(load, 180)
    least, most = needed(round(load / 1.1) - TARGET * REQUEST // 100), needed(round(load / 0.89) + TARGET)
    assert least <= seen[-1] <= max(most, 1)
    assert len(set(seen[-60:])) == 1, "it has settled"
    assert max(seen) <= max(replicas, needed(load) + 1), "it never overshoots"


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 15), st.integers(0, 5))
def test_a_load_that_doubles_is_answered_at_the_next_look(replicas: int, start: int) -> None:
    service = Service(replicas, start)
    load = replicas * TARGET * REQUEST // 100
    assert set(service.seconds(load, 30)) == {replicas}
    assert service.second(2 * load) > replicas
    assert service.seconds(2 * load, 60)[-1] == min(MOST, 2 * replicas)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 15), st.lists(loads, min_size=1, max_size=WINDOW - 1))
def test_a_dip_shorter_than_the_window_takes_nothing_away(replicas: int, dip: list[int]) -> None:
    service = Service(replicas, 0)
    load = replicas * TARGET * REQUEST // 100
    service.seconds(load, 30)
    low = [min(one, load) for one in dip]
    assert all(service.second(one) >= replicas for one in low)
