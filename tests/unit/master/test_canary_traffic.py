"""What a canary asks of services, and what their endpoints say of it."""

from __future__ import annotations

import pytest

from master.controllers.endpoints_plan import slices_of
from master.controllers.traffic_plan import splits_of
from podium.objects.canary_split import CanarySplit, canary_split
from podium.v1.apps_pb2 import Deployment
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import Service, TrafficSplit


def _split(least: int, most: int) -> CanarySplit:
    return CanarySplit("web", "new", least, most)


@pytest.mark.parametrize(
    ("least", "most", "new", "others", "percent"),
    [
        (10, 10, 1, 3, 10),
        (90, 90, 1, 3, 90),
        (0, 0, 1, 3, 0),
        (10, 10, 0, 4, None),
        (10, 10, 4, 0, None),
        (25, 25, 1, 3, None),
        (10, 50, 1, 3, None),
        (10, 20, 1, 3, 20),
        (30, 100, 1, 3, 30),
        (0, 100, 2, 1, None),
    ],
)
def test_a_weight_is_exact_and_on_the_way_to_it_replicas_are_followed(
    least: int, most: int, new: int, others: int, percent: int | None
) -> None:
    assert _split(least, most).percent(new, others) == percent


def test_only_a_canary_that_is_under_way_splits() -> None:
    made = Deployment()
    made.metadata.name = "web"
    made.status.canary.stable_hash = "old"
    assert canary_split(made) is None
    made.status.canary.canary_hash = "new"
    made.status.canary.weight, made.status.canary.reached_weight = 20, 60
    assert canary_split(made) == CanarySplit("web", "new", 20, 60), "a weight may also become less"


def _pod(name: str, digest: str, *, ready: bool = True, ending: bool = False) -> Pod:
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, "default", f"uid-{name}"
    made.metadata.labels.update({"app": "web", "pod-template-hash": digest})
    made.status.pod_ip, made.status.phase = "10.64.1.2", "Running"
    made.status.conditions.add(type="Ready", status="True" if ready else "False")
    if ending:
        made.metadata.deletion_timestamp.seconds = 1
    return made


def test_endpoints_that_take_connections_say_how_they_share() -> None:
    pods = [
        _pod("a", "old"), _pod("b", "old"), _pod("c", "new"), _pod("d", "new", ready=False),
        _pod("e", "old", ending=True), _pod("x", "else"),
    ]  # fmt: skip
    asked = {"old": _split(10, 10), "new": _split(10, 10)}
    splits = splits_of(pods, lambda pod: asked.get(pod.metadata.labels["pod-template-hash"]))
    of = {name: TrafficSplit(deployment="web", canary=name == "c", weight=10) for name in "abc"}
    assert splits == {f"uid-{name}": split for name, split in of.items()}

    service = Service()
    service.metadata.name, service.metadata.namespace = "web", "default"
    service.spec.ports.add(port=80)
    (made,) = slices_of(service, pods, splits)
    said = {e.target_ref.name: e.split for e in made.endpoints if e.HasField("split")}
    assert said == of


def test_revisions_older_than_the_stable_one_share_with_it() -> None:
    pods = [_pod("a", "old"), _pod("b", "older"), _pod("c", "new")]
    splits = splits_of(pods, lambda pod: _split(5, 5))
    assert [splits[f"uid-{name}"].canary for name in "abc"] == [False, False, True]


def test_canaries_of_two_deployments_do_not_mix() -> None:
    pods = [_pod("a", "old"), _pod("b", "new"), _pod("c", "old"), _pod("d", "newer")]
    asked = {"a": _split(10, 10), "b": _split(10, 10)}
    other = CanarySplit("api", "newer", 40, 40)
    splits = splits_of(pods, lambda pod: asked.get(pod.metadata.name, other))
    assert [(s.deployment, s.canary, s.weight) for _, s in sorted(splits.items())] == [
        ("web", False, 10), ("web", True, 10), ("api", False, 40), ("api", True, 40),
    ]  # fmt: skip
