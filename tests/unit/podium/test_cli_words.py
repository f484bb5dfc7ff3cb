"""How the command reads its words: targets, durations, goals, labels, taints, ports, places."""

from __future__ import annotations

import pytest

from podium.cli.commands.cp import Place, parse_place
from podium.cli.commands.labels import parse_changes
from podium.cli.commands.nodes import apply_taint
from podium.cli.commands.port_forward import parse_ports
from podium.cli.commands.wait import parse_goal
from podium.cli.options import seconds
from podium.cli.resources import parse_targets
from podium.errors import BadRequest
from podium.v1.core_pb2 import Node


def _targets(*words: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(t.kind.name, t.names) for t in parse_targets(words)]


def test_targets() -> None:
    assert _targets("po") == [("Pod", ())]
    assert _targets("pod", "a", "b") == [("Pod", ("a", "b"))]
    assert _targets("deploy/web", "po/x") == [("Deployment", ("web",)), ("Pod", ("x",))]
    assert _targets("no,ns") == [("Node", ()), ("Namespace", ())]
    assert [kind for kind, _ in _targets("all")] == ["Pod", "ReplicaSet", "Deployment"]


@pytest.mark.parametrize("words", [(), ("pdo",), ("pod,node", "x"), ("deploy/",), ("deploy/web", "x")])
def test_targets_that_make_no_sense_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(BadRequest):
        parse_targets(words)


@pytest.mark.parametrize(
    ("text", "value"), [("30s", 30), ("1m30s", 90), ("2h", 7200), ("500ms", 0.5), ("15", 15), ("1d", 86400)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "s", "5x", "-1s", "1h-"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(BadRequest, match="duration"):
        seconds(text)


def _node(ready: str) -> Node:
    node = Node()
    node.metadata.name = "node1"
    node.status.conditions.add(type="Ready", status=ready)
    return node


def test_goals() -> None:
    assert parse_goal("condition=Ready")(_node("True"))
    assert not parse_goal("condition=Ready")(_node("Unknown"))
    assert parse_goal("condition=ready=unknown")(_node("Unknown"))
    assert parse_goal("delete")(None)
    assert not parse_goal("create")(None)
    assert parse_goal("jsonpath={.metadata.name}=node1")(_node("True"))
    with pytest.raises(BadRequest, match="goal"):
        parse_goal("ready")


def test_label_changes() -> None:
    assert parse_changes(("a=b", "c-", "d=", "pod", "x")) == {"a": "b", "c": None, "d": ""}


def test_taints() -> None:
    one = apply_taint([], "a=b:NoSchedule")
    assert one == [{"key": "a", "value": "b", "effect": "NoSchedule"}]
    two = apply_taint(one, "a:NoExecute")
    assert [t["effect"] for t in two] == ["NoSchedule", "NoExecute"]
    assert apply_taint(two, "a:NoExecute-") == one
    assert apply_taint(two, "a-") == []
    for bad in ("a=b", "a:Sometimes", ":NoSchedule"):
        with pytest.raises(BadRequest):
            apply_taint([], bad)


@pytest.mark.parametrize(("text", "ports"), [("8080:80", (8080, 80)), ("80", (80, 80)), (":80", (0, 80))])
def test_ports(text: str, ports: tuple[int, int]) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize("text", ["", "x:80", "80:", "70000", "80:0"])
def test_ports_that_are_none(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_ports(text)


def test_places() -> None:
    assert parse_place("web-1:/etc/hosts") == Place("web-1", "/etc/hosts")
    assert parse_place("./a:b") == Place("", "./a:b")
    assert parse_place("/tmp/x") == Place("", "/tmp/x")
    with pytest.raises(BadRequest):
        parse_place("web-1:")
