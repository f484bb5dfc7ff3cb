"""What `podium cluster` shows: progress, results, and the hosts beside the nodes."""

from __future__ import annotations

import pytest

from podium.cli.commands.hosts import _distinct, _wishes
from podium.cli.output import table
from podium.cli.output.cluster_status import HEADERS, Seen, rows, troubles
from podium.cli.output.hosts import Board, Screen, plain, results
from podium.errors import BadRequest
from podium.provisioning import Event, Happened, HostResult, HostState, Outcome
from podium.provisioning.inventory import Host, parse_host
from podium.v1.core_pb2 import Node


def event(what: Happened, host: str = "a", task: str = "podium: Unpack", message: str = "") -> Event:
    return Event(what=what, host=host, task=task, message=message)


PLAY = Event(what=Happened.PLAY, task="Install")


def test_a_line_a_host_follows_what_it_does() -> None:
    board = Board()
    for told in (
        PLAY,
        event(Happened.STARTED),
        event(Happened.STARTED, "bb"),
        event(Happened.CHANGED),
        event(Happened.SKIPPED, task="Skip"),
        event(Happened.FAILED, "bb", message="no space left"),
        event(Happened.STARTED, task="Next"),
    ):
        board.take(told)
    assert board.lines() == [
        "Install",
        "  a    … Next   (1 done, 1 changed)",
        "  bb   ✗ podium: Unpack: no space left",
    ]


def test_a_failure_that_was_rescued_is_none() -> None:
    board = Board()
    board.take(event(Happened.FAILED, message="no"))
    board.take(event(Happened.OK, task="Rescue"))
    assert "✗" not in "".join(board.lines())


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (PLAY, "Install:"),
        (event(Happened.CHANGED), "a: podium: Unpack: changed"),
        (event(Happened.FAILED, message="no space"), "a: podium: Unpack: failed: no space"),
        (event(Happened.UNREACHABLE, message="no route"), "a: podium: Unpack: unreachable: no route"),
        (event(Happened.TOLD, message="ufw filters"), "a: ufw filters"),
        (event(Happened.OK), ""),
        (event(Happened.STARTED), ""),
        (event(Happened.SKIPPED), ""),
    ],
)
def test_in_a_pipe_one_news_a_line(told: Event, line: str) -> None:
    assert plain(told) == line


def test_a_terminals_lines_are_written_over_and_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podium.cli.output.hosts.is_terminal", lambda: True)
    written: list[str] = []
    screen = Screen(written.append)
    screen.tell(PLAY)
    screen.tell(event(Happened.STARTED, task="x" * 500))
    screen.clear()
    assert len(written) == 3
    screen.tell(event(Happened.TOLD, message="ufw filters"))
    screen.clear()
    assert written[-1] == "a: ufw filters\n", "what a host was told about stays"
    assert written[0].startswith("\r\x1b[2KInstall\n")
    assert written[1].startswith("\x1b[1A")
    assert all(len(line) < 600 and "x" * 200 not in line for line in written)
    assert written[2] == "\x1b[2A\x1b[J"


def outcome(*found: HostResult, message: str = "") -> Outcome:
    ok = not message and all(result.state is HostState.OK for result in found)
    return Outcome(ok=ok, hosts={result.host: result for result in found}, message=message)


def test_results() -> None:
    assert results(
        outcome(
            HostResult(host="a", state=HostState.OK),
            HostResult(host="bb", state=HostState.OK, changed=3),
            HostResult(host="c", state=HostState.UNREACHABLE, task="T", message="no route"),
        )
    ) == ["a    not at fault, nothing changed", "bb   not at fault, 3 changed", "c    unreachable: T: no route"]
    assert results(outcome(HostResult(host="a", state=HostState.OK))) == ["a   ok, nothing changed"]


def node(name: str, *, ready: str = "True", cordoned: bool = False, message: str = "") -> Node:
    made = Node()
    made.metadata.name, made.spec.unschedulable = name, cordoned
    made.status.conditions.add(type="Ready", status=ready, reason="R", message=message)
    made.status.node_info.kubelet_version = "0.1.0"
    return made


HOSTS = [
    Host(name="m", is_master=True, is_node=True, variables={"ansible_host": "192.0.2.1"}),
    Host(name="N1", is_node=True),
    Host(name="n2", is_node=True),
]
REACHED = outcome(
    HostResult(host="m", state=HostState.OK),
    HostResult(host="N1", state=HostState.UNREACHABLE, message="no route"),
    HostResult(host="n2", state=HostState.OK),
)


def test_hosts_beside_nodes() -> None:
    seen = Seen(nodes=[node("m"), node("n1", ready="Unknown", message="silent"), node("x")], master_version="0.2.0")
    shown = rows(HOSTS, REACHED, seen)
    assert shown == [
        ["m", "192.0.2.1", "master,node", "ok", "Ready", "0.2.0 (master), 0.1.0 (node)"],
        ["N1", "N1", "node", "unreachable", "NotReady", "0.1.0"],
        ["n2", "n2", "node", "ok", "missing", "-"],
        ["x", "-", "node", "-", "Ready", "0.1.0"],
    ]
    assert table.render(HEADERS, shown).startswith("NAME   ADDRESS ")
    assert list(troubles(HOSTS, REACHED, seen)) == [
        "N1: no route", "N1: not Ready: silent", "n2: not a node yet: podium cluster add",
    ]  # fmt: skip


def test_a_cluster_that_does_not_answer_is_unknown_and_not_empty() -> None:
    assert [row[4] for row in rows(HOSTS, REACHED, Seen())] == ["unknown"] * 3
    assert list(troubles(HOSTS, REACHED, Seen())) == ["N1: no route"]


def test_a_cordoned_node_is_said_to_be() -> None:
    seen = Seen(nodes=[node("m", cordoned=True)])
    assert rows(HOSTS[:1], REACHED, seen)[0][4] == "Ready,SchedulingDisabled"


def test_a_host_may_be_master_and_node_and_else_is_given_once() -> None:
    assert _distinct([parse_host("m=1.1.1.1"), parse_host("m"), parse_host("n")])[1].address == "1.1.1.1"
    assert _distinct([parse_host("m"), parse_host("m=1.1.1.1")])[0].address == "1.1.1.1"
    for words, error in (
        (("m", "n", "n"), "n is given twice"),
        (("m=1.1.1.1", "n=1.1.1.1"), "1.1.1.1 is given twice"),
        (("m=1.1.1.1", "m=1.1.1.2"), "two addresses"),
    ):
        with pytest.raises(BadRequest, match=error):
            _distinct([parse_host(word) for word in words])


def test_labels_and_taints_of_new_nodes() -> None:
    assert _wishes(["disk=ssd", "a="], ["x=y:NoSchedule"]) == {
        "nodelet_labels": {"disk": "ssd", "a": ""}, "nodelet_taints": ["x=y:NoSchedule"],
    }  # fmt: skip
    assert _wishes([], []) == {}
    for labels, taints in ((["disk"], []), ([], ["x"]), ([], ["x:NoSchedule-"])):
        with pytest.raises(BadRequest):
            _wishes(labels, taints)
