"""Who answers a service: endpoints and slices from pods; which services a pod concerns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.controllers.endpoints import Membership
from master.controllers.endpoints_plan import MOST, plan_slices, slices_of
from podium.objects.kinds import key_of
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import IntOrString
from podium.v1.networking_pb2 import EndpointSlice, Service


def _service(name: str = "web", selector: dict[str, str] | None = None, target: IntOrString | None = None) -> Service:
    made = Service()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, "default", f"uid-{name}"
    made.spec.selector.update({"app": "web"} if selector is None else selector)
    made.spec.cluster_ip = "10.63.0.9"
    made.spec.ports.add(name="http", port=80, protocol="TCP", target_port=target or IntOrString(int_value=8080))
    return made


def _pod(name: str, *, ip: str = "10.64.1.2", ready: bool = True, ending: bool = False, phase: str = "Running",
         labels: dict[str, str] | None = None, port: int = 8080) -> Pod:  # fmt: skip
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, "default", f"uid-{name}"
    made.metadata.labels.update({"app": "web"} if labels is None else labels)
    made.spec.node_name = "n1"
    container = made.spec.containers.add(name="web")
    container.ports.add(name="http", container_port=port, protocol="TCP")
    made.status.pod_ip, made.status.phase = ip, phase
    made.status.conditions.add(type="Ready", status="True" if ready else "False")
    if ending:
        made.metadata.deletion_timestamp.seconds = 1
    return made


def _only(service: Service, *pods: Pod) -> EndpointSlice:
    (found,) = slices_of(service, pods)
    return found


@pytest.mark.parametrize(
    ("pod", "early", "expected"),
    [
        (_pod("a"), False, (True, True, False)),
        (_pod("a", ready=False), False, (False, False, False)),
        (_pod("a", ready=False), True, (True, True, False)),
        (_pod("a", ending=True), False, (False, True, True)),
        (_pod("a", ending=True, ready=False), False, (False, False, True)),
    ],
)
def test_conditions_follow_the_pod(pod: Pod, early: bool, expected: tuple[bool, bool, bool]) -> None:
    service = _service()
    service.spec.publish_not_ready_addresses = early
    (endpoint,) = _only(service, pod).endpoints
    conditions = endpoint.conditions
    assert (conditions.ready, conditions.serving, conditions.terminating) == expected
    assert (list(endpoint.addresses), endpoint.node_name, endpoint.target_ref.name) == (["10.64.1.2"], "n1", "a")


@pytest.mark.parametrize("pod", [_pod("a", ip=""), _pod("a", phase="Succeeded"), _pod("a", phase="Failed")])
def test_who_is_over_or_has_no_address_is_no_endpoint(pod: Pod) -> None:
    assert not _only(_service(), pod).endpoints


def test_a_named_target_is_looked_up_in_each_pod() -> None:
    named = _service(target=IntOrString(str_value="http"))
    slices = list(slices_of(named, [_pod("a", port=8080), _pod("b", port=9090, ip="10.64.1.3")]))
    assert sorted(s.ports[0].port for s in slices) == [8080, 9090]
    assert not list(slices_of(_service(target=IntOrString(str_value="admin")), [_pod("a")])), "no such port in the pod"


def test_what_is_spoken_is_copied_and_names_no_other_slice() -> None:
    service = _service()
    before = _only(service, _pod("a"))
    service.spec.ports[0].app_protocol = "http"
    after = _only(service, _pod("a"))
    assert [port.app_protocol for port in after.ports] == ["http"]
    assert after.metadata.name == before.metadata.name


def test_a_stateful_pod_has_its_name() -> None:
    pod = _pod("db-0")
    pod.spec.hostname, pod.spec.subdomain = "db-0", "web"
    (endpoint,) = _only(_service(), pod).endpoints
    assert endpoint.hostname == "db-0"


def test_many_pods_make_several_slices_and_the_same_ones_again() -> None:
    pods = [_pod(f"p{n:04}", ip=f"10.64.{n // 250}.{n % 250 + 2}") for n in range(MOST + 1)]
    slices = list(slices_of(_service(), pods))
    assert sorted(len(s.endpoints) for s in slices) == [1, MOST]
    assert plan_slices(_service(), reversed(pods), slices) == plan_slices(_service(), [], [_only(_service())])


def test_a_plan_changes_what_differs() -> None:
    service = _service()
    present = list(slices_of(service, [_pod("a")]))
    plan = plan_slices(service, [_pod("a"), _pod("b", ip="10.64.1.3")], present)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)
    other = EndpointSlice()
    other.metadata.name, other.metadata.namespace = "web-old", "default"
    plan = plan_slices(service, [_pod("a")], [*present, other])
    assert plan.delete == [key_of(other)]


# ---------------------------------------------------------------- which services a pod concerns


def _naively(service: Service, pod: Pod) -> bool:
    selector = dict(service.spec.selector)
    return bool(selector) and selector.items() <= dict(pod.metadata.labels).items()


SELECTORS = st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=2)
STEPS = st.one_of(
    st.tuples(st.just("service"), st.sampled_from("ab"), SELECTORS, st.booleans()),
    st.tuples(st.just("pod"), st.sampled_from("pqr"), SELECTORS, st.booleans()),
)


@given(st.lists(STEPS, max_size=30))
def test_membership_is_what_selectors_say(steps: list[tuple[str, str, dict[str, str], bool]]) -> None:
    membership, services, pods = Membership(), dict[str, Service](), dict[str, Pod]()
    for what, name, labels, gone in steps:
        if what == "service":
            service = _service(name, labels)
            if gone:
                membership.service_gone(key_of(service))
                services.pop(name, None)
            else:
                services[name] = service
                membership.service_changed(service, pods.values)
        else:
            old, pod = pods.get(name), _pod(name, labels=labels)
            if gone and old is None:
                continue
            told = membership.pod_changed(old, pod if not gone else pods[name], gone=gone)
            touched = [p for p in (old, None if gone else pod) if p is not None]
            assert told == {
                key_of(s) for s in services.values()
                if any(_naively(s, p) for p in touched)
            }  # fmt: skip
            if gone:
                del pods[name]
            else:
                pods[name] = pod
    for service in services.values():
        selected = {
            key_of(p) for p in pods.values()
            if _naively(service, p)
        }  # fmt: skip
        assert set(membership.pods(key_of(service))) == selected
