"""What a pod is and needs: readiness, availability, resources, quality of service, host ports."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.objects import conditions
from podium.objects.pod import (
    HostPort,
    available_in,
    host_ports,
    is_active,
    is_available,
    is_ready,
    limits,
    qos_class,
    ready_since,
    requests,
)
from podium.v1.core_pb2 import Container, Pod, PodSpec

T0 = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def container(
    cpu: str = "", memory: str = "", *, name: str = "c", sidecar: bool = False, limited: bool = False
) -> Container:
    made = Container(name=name, restart_policy="Always" if sidecar else "")
    for resource, text in (("cpu", cpu), ("memory", memory)):
        if text:
            made.resources.requests[resource] = text
            if limited:
                made.resources.limits[resource] = text
    return made


def spec(*containers: Container, init: tuple[Container, ...] = ()) -> PodSpec:
    return PodSpec(containers=containers, init_containers=init)


def ready_pod(at: datetime.datetime = T0) -> Pod:
    pod = Pod()
    conditions.set_condition(pod.status.conditions, "Ready", "True", now=at)
    return pod


def test_availability_is_readiness_that_lasted() -> None:
    pod = ready_pod()
    assert is_ready(pod)
    assert ready_since(pod) == T0
    assert is_available(pod, 0, T0)
    later = T0 + datetime.timedelta(seconds=4)
    assert available_in(pod, 10, later) == pytest.approx(6)
    assert not is_available(pod, 10, later)
    assert is_available(pod, 10, T0 + datetime.timedelta(seconds=10))
    assert available_in(Pod(), 0, T0) is None
    assert ready_since(Pod()) is None


@pytest.mark.parametrize(("phase", "active"), [("", True), ("Running", True), ("Succeeded", False), ("Failed", False)])
def test_finished_pods_are_not_active(phase: str, active: bool) -> None:
    pod = Pod()
    pod.status.phase = phase
    assert is_active(pod) is active


def test_terminating_pods_are_not_active() -> None:
    pod = Pod()
    pod.metadata.deletion_timestamp.SetInParent()
    assert not is_active(pod)


def test_containers_add_up_in_integers() -> None:
    total = requests(spec(container("100m", "64Mi"), container("0.25", "1500m")))
    assert total == {"cpu": 350, "memory": 64 * 2**20 + 2}
    assert limits(spec(container("1", limited=True), container("1"))) == {"cpu": 1000}


def test_init_containers_count_at_their_greatest() -> None:
    assert requests(spec(container("100m"), init=(container("500m"), container("200m"))))["cpu"] == 500
    assert requests(spec(container("600m"), init=(container("500m"),)))["cpu"] == 600


def test_sidecars_run_beside_what_starts_after_them() -> None:
    early = (container("100m", sidecar=True), container("500m"))
    late = (container("500m"), container("100m", sidecar=True))
    assert requests(spec(container("300m"), init=early))["cpu"] == 600
    assert requests(spec(container("300m"), init=late))["cpu"] == 500
    assert requests(spec(container("900m"), init=late))["cpu"] == 1000


cpus = st.integers(1, 9).map(lambda tenths: f"{tenths}00m")
containers = st.builds(lambda cpu, sidecar: container(cpu, sidecar=sidecar), cpus, st.booleans())


@given(st.lists(st.builds(container, cpus), min_size=1, max_size=3), st.lists(containers, max_size=4))
def test_a_pod_needs_at_least_each_moment_of_its_life(main: list[Container], init: list[Container]) -> None:
    def milli(*some: Container) -> int:
        return requests(spec(*some)).get("cpu", 0)

    total = requests(spec(*main, init=tuple(init)))["cpu"]
    sidecars: list[Container] = []
    moments = []
    for one in init:
        moments.append(milli(*sidecars, one))
        if one.restart_policy:
            sidecars.append(one)
    assert total == max([*moments, milli(*main, *sidecars)])


@pytest.mark.parametrize(
    ("containers", "qos"),
    [
        ([container()], "BestEffort"),
        ([container("1")], "Burstable"),
        ([container("1", "1Gi", limited=True)], "Guaranteed"),
        ([container("1", limited=True)], "Burstable"),
        ([container("1", "1Gi", limited=True), container()], "Burstable"),
        ([container("0")], "BestEffort"),
    ],
)
def test_quality_of_service(containers: list[Container], qos: str) -> None:
    assert qos_class(spec(*containers)) == qos


def test_limits_alone_are_requests_too() -> None:
    only_limits = container("1", "1Gi", limited=True)
    only_limits.resources.requests.clear()
    assert qos_class(spec(only_limits)) == "Guaranteed"


def test_host_ports_of_what_keeps_running() -> None:
    main = container()
    main.ports.add(container_port=80, host_port=8080, protocol="TCP")
    main.ports.add(container_port=81, protocol="TCP")
    once, side = container(name="i"), container(name="s", sidecar=True)
    once.ports.add(container_port=1, host_port=1)
    side.ports.add(container_port=53, host_port=53, protocol="UDP", host_ip="10.0.0.1")
    pod = spec(main, init=(once, side))
    assert host_ports(pod) == [HostPort("TCP", 8080), HostPort("UDP", 53, "10.0.0.1")]
    pod.host_network = True
    assert HostPort("TCP", 81) in host_ports(pod)


@pytest.mark.parametrize(
    ("left", "right", "conflict"),
    [
        (HostPort("TCP", 80), HostPort("TCP", 80), True),
        (HostPort("TCP", 80), HostPort("UDP", 80), False),
        (HostPort("TCP", 80, "10.0.0.1"), HostPort("TCP", 80), True),
        (HostPort("TCP", 80, "10.0.0.1"), HostPort("TCP", 80, "10.0.0.2"), False),
    ],
)
def test_host_port_conflicts(left: HostPort, right: HostPort, conflict: bool) -> None:
    assert left.conflicts(right) is conflict
    assert right.conflicts(left) is conflict
