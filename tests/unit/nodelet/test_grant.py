"""Whether a running pod may have what it asks for now; and what its status says of that."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

from nodelet.pods.blueprint import blueprint
from nodelet.pods.grant import Refusal, grant, is_resized
from nodelet.pods.observed import Fault, Observed
from nodelet.pods.status import pod_status
from podium.v1.core_pb2 import Container, Pod, PodStatus
from tests.support.kept_pods import NODE, container, make_pod
from tests.unit.nodelet.test_plan import NOW, run, seen

WALL = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ROOM = {"cpu": "4", "memory": "1Gi"}
TAKEN = {"cpu": 1000, "memory": 512 << 20}


def app(cpu: str, memory: str = "128Mi") -> Container:
    made = container("app")
    made.resources.requests.update({"cpu": cpu, "memory": memory})
    return made


def told(pod: Pod, what: Observed, before: PodStatus) -> PodStatus:
    return pod_status(blueprint(pod), what, before, now=NOW, wall=WALL, node=NODE)


def of_running(of: Container, has: Container | None = None, *, before: PodStatus | None = None,
               **fields: object) -> PodStatus:  # fmt: skip
    """The status of a pod with this container, which runs with the share of another one (or its own)."""
    made = run(of)
    share = blueprint(make_pod(has or of)).units[0].allowance
    made = dataclasses.replace(made, record=dataclasses.replace(made.record, allowance=share))
    return told(make_pod(of), dataclasses.replace(seen(made), **fields), before or PodStatus())  # type: ignore[arg-type]


def requested(pod: Pod) -> dict[str, str]:
    return dict(pod.spec.containers[0].resources.requests)


@pytest.mark.parametrize(
    ("wanted", "refusal"),
    [
        (app("1"), None),
        (app("2"), None),
        (app("3"), None),
        (app("3500m"), "Deferred"),
        (app("4500m"), "Infeasible"),
        (app("1", "512Mi"), None),
        (app("1", "513Mi"), "Deferred"),
        (app("4500m", "513Mi"), "Infeasible"),
        (app("500m", "64Mi"), None),
    ],
)
def test_more_is_granted_where_there_is_room(wanted: Container, refusal: str | None) -> None:
    before = of_running(app("1"))
    made = grant(make_pod(wanted), before, TAKEN, ROOM)
    assert (made.refusal.reason if made.refusal else None) == refusal
    assert requested(made.pod) == dict((app("1") if refusal else wanted).resources.requests)


def test_less_is_granted_though_the_node_is_overfull() -> None:
    made = grant(make_pod(app("500m")), of_running(app("1")), {"cpu": 9000}, ROOM)
    assert made.refusal is None


def test_what_was_never_granted_is_not_judged() -> None:
    pod = make_pod(app("9"))
    assert not is_resized(pod, PodStatus())
    assert grant(pod, PodStatus(), TAKEN, ROOM).pod is pod


def test_a_refused_resize_is_told_and_what_was_granted_stays() -> None:
    before = of_running(app("1"))
    refusal = Refusal("Deferred", "no room")
    status = of_running(app("1"), before=before, refusal=refusal)
    (pending,) = [c for c in status.conditions if c.type == "PodResizePending"]
    assert (pending.status, pending.reason, pending.message) == ("True", "Deferred", "no room")
    assert status.container_statuses[0].allocated_resources["cpu"] == "1"
    assert is_resized(make_pod(app("2")), status)
    after = of_running(app("2"), before=status)
    assert not [c for c in after.conditions if c.type.startswith("PodResize")]


def test_a_resize_under_way_shows_what_the_container_still_has() -> None:
    before = of_running(app("1"))
    fault = Fault(reason="Error", message="it uses more", count=1, retry_at=NOW + 1)
    status = of_running(app("2"), app("1"), before=before, faults={"resize/app0": fault})
    (condition,) = [c for c in status.conditions if c.type.startswith("PodResize")]
    assert (condition.type, condition.reason, condition.message) == ("PodResizeInProgress", "Error", "it uses more")
    (of,) = status.container_statuses
    assert (of.allocated_resources["cpu"], of.resources.requests["cpu"]) == ("2", "1")
    assert not is_resized(make_pod(app("1")), before)
    done = of_running(app("2"), before=status)
    assert done.container_statuses[0].resources.requests["cpu"] == "2"
    assert not [c for c in done.conditions if c.type.startswith("PodResize")]


def test_a_pod_without_resources_says_nothing_of_them() -> None:
    assert not of_running(container("app")).container_statuses[0].HasField("resources")
