"""How the command reads its words: targets, durations, goals, labels, taints, ports, places."""

from __future__ import annotations

import datetime
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.cli.commands.cp import Place, parse_place, unpack
from podium.cli.commands.edit import difference
from podium.cli.commands.labels import parse_changes
from podium.cli.commands.logs import parse_start
from podium.cli.commands.nodes import apply_taint
from podium.cli.commands.port_forward import parse_ports
from podium.cli.commands.wait import parse_goal
from podium.cli.options import seconds
from podium.cli.resources import parse_targets
from podium.errors import BadRequest
from podium.objects.patch import merge_patch
from podium.v1.core_pb2 import Node

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def _targets(*words: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(t.kind.name, t.names) for t in parse_targets(words)]


def test_targets() -> None:
    assert _targets("po") == [("Pod", ())]
    assert _targets("pod", "a", "b") == [("Pod", ("a", "b"))]
    assert _targets("deploy/web", "po/x") == [("Deployment", ("web",)), ("Pod", ("x",))]
    assert _targets("no,ns") == [("Node", ()), ("Namespace", ())]
    assert {"Pod", "ReplicationController", "ReplicaSet", "Deployment", "DaemonSet", "StatefulSet"} <= {
        kind for kind, _ in _targets("all")
    }


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


@pytest.mark.parametrize(
    ("since", "since_time", "start"),
    [
        ("", "", None),
        ("1h", "", NOW - datetime.timedelta(hours=1)),
        ("", "2026-01-01T01:00:00+01:00", NOW),
        ("", "2026-01-01T00:00:00", NOW),
    ],
)
def test_when_logs_start(since: str, since_time: str, start: datetime.datetime | None) -> None:
    assert parse_start(since, since_time, NOW) == start


@pytest.mark.parametrize(("since", "since_time"), [("1h", "2026-01-01T00:00:00Z"), ("soon", ""), ("", "today")])
def test_starts_of_logs_that_make_no_sense(since: str, since_time: str) -> None:
    with pytest.raises(BadRequest):
        parse_start(since, since_time, NOW)


_JSON = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=10,
)
_DOCUMENTS = st.dictionaries(st.text(max_size=2), _JSON, max_size=4)


@given(before=_DOCUMENTS, after=_DOCUMENTS)
def test_an_edit_becomes_the_patch_that_makes_it(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merge_patch(before, difference(before, after)) == after


@given(document=_DOCUMENTS)
def test_no_edit_is_no_patch(document: dict[str, Any]) -> None:
    assert difference(document, document) == {}


def _tar(*names: str) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name.rstrip("/"))
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.mode = 0o755
            tar.addfile(member)
    packed.seek(0)
    return packed


@pytest.mark.parametrize(
    ("remote", "local", "expected"),
    [
        ("/srv/site", "here", {"here/site", "here/site/a", "here/site/sub", "here/site/sub/b"}),
        ("/srv/site/", "here", {"here/site", "here/site/a", "here/site/sub", "here/site/sub/b"}),
        ("/srv/site", "here/new", {"here/new", "here/new/a", "here/new/sub", "here/new/sub/b"}),
        ("/srv/site/.", "here", {"here/a", "here/sub", "here/sub/b"}),
    ],
)
def test_where_a_copied_directory_lands(tmp_path: Path, remote: str, local: str, expected: set[str]) -> None:
    (tmp_path / "here").mkdir()
    unpack(_tar("site/", "site/a", "site/sub/", "site/sub/b"), remote, tmp_path / local)
    assert {str(p.relative_to(tmp_path)) for p in (tmp_path / "here").rglob("*")} == expected


def test_nothing_lands_outside_of_the_target(tmp_path: Path) -> None:
    with pytest.raises(tarfile.TarError):
        unpack(_tar("site/", "site/../../../escaped"), "/srv/site", tmp_path / "new")
