"""Each plugin by table: who may go where, what is said to the others, and who goes first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from master.scheduler.explain import diagnose, verdicts
from master.scheduler.plugins.image_locality import ImageLocality
from master.scheduler.shape import measure
from podium.v1.core_pb2 import (
    Node,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PreferredSchedulingTerm,
    Taint,
    Toleration,
)
from tests.support.scheduling import bound, engine, node, pod, see, turns


def admitted(wanted: Pod, *nodes: Node | Pod) -> set[str]:
    """The nodes that take this pod."""
    made = engine(*nodes)
    shape = made.shapes.shape(wanted)
    return {made.cluster.name(int(row)) for row in np.flatnonzero(made.profile.room(shape, made.cluster))}


def said(wanted: Pod, *nodes: Node | Pod) -> str:
    """The sentence that this pod is refused with."""
    made = engine(*nodes)
    return str(diagnose(made.profile, made.shapes.shape(wanted), made.cluster))


def required(*terms: NodeSelectorTerm) -> Pod:
    made = pod()
    affinity = made.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution
    affinity.node_selector_terms.extend(terms)
    return made


def term(key: str, operator: str, *values: str) -> NodeSelectorTerm:
    return NodeSelectorTerm(match_expressions=[NodeSelectorRequirement(key=key, operator=operator, values=values)])


def name_term(operator: str, *values: str) -> NodeSelectorTerm:
    return NodeSelectorTerm(
        match_fields=[NodeSelectorRequirement(key="metadata.name", operator=operator, values=values)]
    )


# ---------------------------------------------------------------- resources


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (pod(cpu="4"), ""),
        (pod(cpu="4001m"), "Insufficient cpu"),
        (pod(memory="8Gi"), ""),
        (pod(memory="8193Mi"), "Insufficient memory"),
        (pod(extra={"podium.dev/gpu": "1"}), "Insufficient podium.dev/gpu"),
        (pod(cpu="5", memory="9Gi"), "Insufficient cpu, 1 Insufficient memory"),
    ],
)
def test_requests_must_fit_what_is_allocatable(wanted: Pod, reason: str) -> None:
    assert admitted(wanted, node()) == (set() if reason else {"n1"})
    if reason:
        assert said(wanted, node()) == f"0/1 nodes are available: 1 {reason}."


def test_pods_are_a_resource() -> None:
    full = pod("a", on="n1")
    assert said(pod(), node(pods="1"), full) == "0/1 nodes are available: 1 Too many pods."


def test_an_init_container_counts_when_it_needs_more_than_the_rest() -> None:
    wanted = pod(cpu="1")
    wanted.spec.init_containers.add(name="i", image="x").resources.requests["cpu"] = "3"
    sidecar = wanted.spec.init_containers.add(name="s", image="x", restart_policy="Always")
    sidecar.resources.requests["cpu"] = "500m"
    assert dict(measure(wanted).requests) == {"cpu": 3000, "pods": 1}


def test_pods_that_are_over_use_nothing_and_terminating_ones_do() -> None:
    done, leaving = pod("a", cpu="4", on="n1", phase="Succeeded"), pod("b", cpu="4", on="n2")
    leaving.metadata.deletion_timestamp.seconds = 1
    assert admitted(pod(cpu="1"), node("n1"), node("n2"), done, leaving) == {"n1"}


def test_the_emptier_node_is_preferred() -> None:
    made = engine(node("n1"), node("n2"), pod("a", cpu="2", memory="4Gi", on="n1"), pod("b", cpu="1"))
    assert bound(turns(made)) == {"b": "n2"}


def test_the_evener_node_is_preferred_among_equally_full_ones() -> None:
    lopsided, even = pod("a", cpu="3", memory="2Gi", on="n1"), pod("b", cpu="2", memory="4Gi", on="n2")
    made = engine(node("n1"), node("n2"), lopsided, even, pod("c", cpu="100m", memory="200Mi"))
    assert bound(turns(made)) == {"c": "n2"}


# ---------------------------------------------------------------- taints

HARD = Taint(key="team", value="db", effect="NoSchedule")
EXECUTE = Taint(key="team", value="db", effect="NoExecute")
SOFT = Taint(key="team", value="db", effect="PreferNoSchedule")


@pytest.mark.parametrize(
    ("taint", "toleration", "admits"),
    [
        (HARD, None, False),
        (EXECUTE, None, False),
        (SOFT, None, True),
        (HARD, Toleration(key="team", operator="Equal", value="db", effect="NoSchedule"), True),
        (HARD, Toleration(key="team", value="db"), True),
        (HARD, Toleration(key="team", operator="Equal", value="web"), False),
        (HARD, Toleration(key="team", operator="Exists"), True),
        (HARD, Toleration(operator="Exists"), True),
        (HARD, Toleration(operator="Exists", effect="NoExecute"), False),
        (EXECUTE, Toleration(key="team", operator="Exists", effect="NoExecute", toleration_seconds=1), True),
        (HARD, Toleration(key="other", operator="Exists"), False),
    ],
)
def test_a_taint_keeps_away_what_does_not_tolerate_it(
    taint: Taint, toleration: Toleration | None, admits: bool
) -> None:
    wanted = pod(tolerations=[toleration] if toleration is not None else [])
    assert admitted(wanted, node(taints=[taint])) == ({"n1"} if admits else set())


def test_a_taint_is_named_in_kubernetes_words() -> None:
    assert said(pod(), node(taints=[HARD])) == "0/1 nodes are available: 1 node(s) had untolerated taint {team: db}."


def test_a_node_with_two_taints_is_counted_once() -> None:
    other = Taint(key="gpu", effect="NoSchedule")
    assert said(pod(), node(taints=[HARD, other])).count("1 node(s)") == 1


def test_a_soft_taint_only_discourages() -> None:
    made = engine(node("n1", taints=[SOFT]), node("n2"), pod("a", cpu="1", on="n2"), pod("b"))
    assert bound(turns(made)) == {"b": "n2"}


@pytest.mark.parametrize(
    ("unfit", "reason"),
    [
        (node(ready="False"), "node(s) had untolerated taint {node.kubernetes.io/not-ready: }"),
        (node(ready=""), "node(s) had untolerated taint {node.kubernetes.io/not-ready: }"),
        (node(ready="Unknown"), "node(s) had untolerated taint {node.kubernetes.io/unreachable: }"),
        (node(cordoned=True), "node(s) were unschedulable"),
    ],
)
def test_a_node_that_is_not_ready_or_cordoned_is_tainted_at_once(unfit: Node, reason: str) -> None:
    assert said(pod(), unfit) == f"0/1 nodes are available: 1 {reason}."


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (pod(selector={"zone": "a"}), {"n1"}),
        (pod(selector={"zone": "c"}), set()),
        (pod(selector={"zone": "a", "disk": "ssd"}), set()),
        (required(term("zone", "In", "a", "b")), {"n1", "n2"}),
        (required(term("zone", "NotIn", "a")), {"n2", "n3"}),
        (required(term("zone", "Exists")), {"n1", "n2"}),
        (required(term("zone", "DoesNotExist")), {"n3"}),
        (required(term("nowhere", "NotIn", "a")), {"n1", "n2", "n3"}),
        (required(term("nowhere", "Exists")), set()),
        (required(term("cores", "Gt", "8")), {"n2"}),
        (required(term("cores", "Lt", "9")), {"n1"}),
        (required(term("zone", "Gt", "1")), set()),
        (required(term("zone", "In", "a"), term("disk", "In", "ssd")), {"n1", "n2"}),
        (required(name_term("In", "n3", "n9")), {"n3"}),
        (required(name_term("NotIn", "n3")), {"n1", "n2"}),
        (required(NodeSelectorTerm()), set()),
        (required(), set()),
    ],
)
def test_labels_select_nodes(wanted: Pod, expected: set[str]) -> None:
    nodes = (
        node("n1", labels={"zone": "a", "cores": "8"}),
        node("n2", labels={"zone": "b", "disk": "ssd", "cores": "16"}),
        node("n3"),
    )
    assert admitted(wanted, *nodes) == expected


def test_expressions_of_one_term_must_all_hold() -> None:
    both = term("zone", "In", "a")
    both.match_expressions.append(NodeSelectorRequirement(key="disk", operator="Exists"))
    nodes = node("n1", labels={"zone": "a"}), node("n2", labels={"zone": "a", "disk": "ssd"})
    assert admitted(required(both), *nodes) == {"n2"}


def test_an_unmatched_selector_is_named_in_kubernetes_words() -> None:
    reason = "node(s) didn't match Pod's node affinity/selector"
    assert said(pod(selector={"zone": "a"}), node()) == f"0/1 nodes are available: 1 {reason}."


def test_preferred_terms_attract_by_weight() -> None:
    wanted = pod("a")
    for weight, zone in ((1, "a"), (50, "b")):
        wanted.spec.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.append(
            PreferredSchedulingTerm(weight=weight, preference=term("zone", "In", zone))
        )
    made = engine(node("n1", labels={"zone": "a"}), node("n2", labels={"zone": "b"}), node("n3"), wanted)
    assert bound(turns(made)) == {"a": "n2"}


def test_a_changed_label_is_seen() -> None:
    made = engine(node("n1"), node("n1", labels={"zone": "a"}), pod("a", selector={"zone": "a"}))
    assert bound(turns(made)) == {"a": "n1"}
    made = engine(node("n1", labels={"zone": "a"}), node("n1"), pod("a", selector={"zone": "a"}))
    assert bound(turns(made)) == {}


# ---------------------------------------------------------------- ports


@pytest.mark.parametrize(
    ("wanted", "admits"),
    [
        (pod(host_port=80), False),
        (pod(host_port=81), True),
        (pod(host_port=80, protocol="UDP"), True),
        (pod(host_port=80, host_ip="10.0.0.1"), False),
        (pod(host_port=443, host_ip="10.0.0.1"), False),
        (pod(host_port=443, host_ip="10.0.0.2"), True),
        (pod(host_port=443, host_ip="0.0.0.0"), False),
    ],
)
def test_host_ports_conflict_by_protocol_number_and_address(wanted: Pod, admits: bool) -> None:
    there = pod("a", on="n1", host_port=80), pod("b", on="n1", host_port=443, host_ip="10.0.0.1")
    assert admitted(wanted, node(), *there) == ({"n1"} if admits else set())


def test_a_node_takes_one_pod_of_a_host_port_in_a_batch() -> None:
    made = engine(node("n1"), node("n2"), *(pod(f"p{i}", host_port=80) for i in range(3)))
    assert sorted(bound(turns(made)).values()) == ["n1", "n2"]


def test_a_taken_port_is_named_in_kubernetes_words() -> None:
    reason = "node(s) didn't have free ports for the requested pod ports"
    taken = pod("a", on="n1", host_port=80)
    assert said(pod(host_port=80), node(), taken) == f"0/1 nodes are available: 1 {reason}."


# ---------------------------------------------------------------- images

GIB = 1024 * 1024 * 1024


def image_scores(images: list[Mapping[str, int]], *wanted: str) -> list[float]:
    made = engine(*(node(f"n{i}", images=there) for i, there in enumerate(images)))
    asking = pod()
    del asking.spec.containers[:]
    for index, image in enumerate(wanted):
        asking.spec.containers.add(name=f"c{index}", image=image)
    plugin = ImageLocality()
    need = plugin.sign(asking, measure(asking))
    return [round(float(s), 1) for s in plugin.score(need, made.cluster, made.cluster.rows(), 1)[:, 0]]


@pytest.mark.parametrize(
    ("images", "wanted", "expected"),
    [
        ([{"app:1": GIB}, {"app:1": GIB}], ["app:1"], [100, 100]),
        ([{"app:1": GIB}, {}], ["app:1"], [50.1, 0]),
        ([{"app:1": GIB}, {}], ["app:2"], [0, 0]),
        ([{"app:1": GIB // 64}], ["app:1"], [0]),
        ([{"busybox:latest": GIB}], ["docker.io/library/busybox"], [100]),
        ([{"team/app@sha256:0123": GIB}], ["docker.io/team/app@sha256:0123"], [100]),
        ([{"app:1": GIB}], ["app:1", "other:1"], [50.6]),
        ([{"app:1": GIB}], ["app:1", "app:1"], [100]),
    ],
)
def test_a_node_that_has_the_images_is_better(
    images: list[Mapping[str, int]], wanted: list[str], expected: list[float]
) -> None:
    assert image_scores(images, *wanted) == expected


def test_an_image_that_is_removed_attracts_no_longer() -> None:
    made = engine(node("n1", images={"busybox:latest": GIB}), node("n2"))
    see(made, node("n1"))
    assert made.cluster.images == {}
    see(made, node("n2", images={"busybox:latest": GIB}), pod("a"))
    assert bound(turns(made)) == {"a": "n2"}
    made.node_gone("n2")
    assert made.cluster.images == {}


# ---------------------------------------------------------------- node name, spread, explain


def test_a_named_node_is_the_only_one() -> None:
    assert admitted(pod(on="n2"), node("n1"), node("n2")) == {"n2"}
    assert "didn't match the requested node name" in said(pod(on="n9"), node("n1"))


def test_replicas_are_spread_even_over_unevenly_loaded_nodes() -> None:
    load = pod("load", cpu="2", memory="2Gi", on="n1")
    replicas = (pod(f"r{i}", cpu="100m", group="web") for i in range(6))
    made = engine(node("n1"), node("n2"), node("n3"), load, *replicas)
    placed = list(bound(turns(made)).values())
    assert {name: placed.count(name) for name in placed} == {"n1": 2, "n2": 2, "n3": 2}


def test_node_by_node_every_reason_is_listed() -> None:
    made = engine(node("n1", taints=[HARD]), node("n2", cpu="1"), node("n3"))
    shape = made.shapes.shape(pod(cpu="2", selector={"kubernetes.io/hostname": "n3"}))
    first, second, third = verdicts(made.profile, shape, made.cluster)
    assert list(first.reasons) == [
        "node(s) had untolerated taint {team: db}",
        "node(s) didn't match Pod's node affinity/selector",
    ]
    assert list(second.reasons) == ["node(s) didn't match Pod's node affinity/selector", "Insufficient cpu"]
    assert third.fits
    assert 0 < third.score <= 100


def test_without_nodes_that_is_said() -> None:
    assert said(pod()) == "no nodes available to schedule pods"
