"""What Ansible says, in Podium's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podium.errors import BadRequest, NotFound
from podium.provisioning import Event, Happened, HostState, play, playbook
from podium.provisioning.events import Tally, translate
from podium.provisioning.messages import LONGEST, complaint, of_result
from podium.provisioning.runner import unread


def raw(event: str, **data: Any) -> dict[str, Any]:
    return {"event": event, "stdout": "", "event_data": data}


def failed(host: str, message: str, **data: Any) -> dict[str, Any]:
    return raw("runner_on_failed", host=host, task="Install", res={"msg": message}, **data)


def stats(**of_host: dict[str, int]) -> dict[str, Any]:
    return raw("playbook_on_stats", **of_host)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"msg": "two is\n  wrong"}, "two is wrong"),
        ({"msg": "\x1b[31mred\x1b[0m"}, "red"),
        ({"msg": "non-zero return code", "rc": 2, "stderr": "first\nE: no space\n"}, "exit code 2: E: no space"),
        ({"msg": "non-zero return code", "rc": 1, "stdout": "said so", "stderr": ""}, "exit code 1: said so"),
        ({"msg": "MODULE FAILURE\nSee stdout", "rc": 1, "module_stderr": "Traceback\nKeyError: 'x'"},
         "exit code 1: KeyError: 'x'"),
        ({"msg": "One or more items failed", "results": [{"msg": "fine"}, {"failed": True, "msg": "two"}]}, "two"),
        ({"censored": "the output has been hidden"}, "the task failed; what it said is hidden, as it may hold secrets"),
        ({"msg": "Error executing command.", "rc": 2, "cmd": ["/x/podium", "--secret"]},
         "could not run /x/podium: No such file or directory"),
        ({"msg": "Error executing command.", "rc": 13, "cmd": "/x/podium --secret"},
         "could not run /x/podium: Permission denied"),
        ({"msg": "Task failed: 'x' is undefined"}, "'x' is undefined"),
        ({}, "the task failed and did not say why"),
        ({"msg": None, "rc": 0}, "the task failed and did not say why"),
        ({"msg": "non-zero return code"}, "non-zero return code"),
    ],
)  # fmt: skip
def test_a_failure_in_one_line(result: dict[str, Any], message: str) -> None:
    assert of_result(result) == message


def test_a_long_message_is_cut() -> None:
    assert of_result({"msg": "x" * 1000}) == "x" * (LONGEST - 1) + "…"


def test_what_ansible_itself_complains_of() -> None:
    lines = ["", "[WARNING]: old", "\x1b[0;31m[ERROR]: couldn't resolve module/action 'foo'.\x1b[0m", "ERROR! more"]
    assert complaint(lines) == "couldn't resolve module/action 'foo'."
    assert complaint(["all is well"]) == ""


@pytest.mark.parametrize(
    ("told", "event"),
    [
        (raw("playbook_on_play_start", play="Install"), Event(what=Happened.PLAY, task="Install")),
        (raw("playbook_on_task_start", task="Unpack", role="podium"), Event(what=Happened.TASK, task="podium: Unpack")),
        (raw("playbook_on_handler_task_start", task="docker : Restart", role="docker"),
         Event(what=Happened.TASK, task="docker: Restart")),
        (raw("runner_on_start", host="a", task="T"), Event(what=Happened.STARTED, host="a", task="T")),
        (raw("runner_on_ok", host="a", task="T", res={}), Event(what=Happened.OK, host="a", task="T")),
        (raw("runner_on_ok", host="a", task="T", res={"changed": 1}), Event(what=Happened.CHANGED, host="a", task="T")),
        (raw("runner_on_ok", host="a", task="T", task_action="ansible.builtin.debug", res={"msg": "so\nit is"}),
         Event(what=Happened.TOLD, host="a", task="T", message="so it is")),
        (failed("a", "no"), Event(what=Happened.FAILED, host="a", task="Install", message="no")),
        (failed("a", "no", ignore_errors=True), Event(what=Happened.IGNORED, host="a", task="Install", message="no")),
        (raw("runner_on_unreachable", host="a", task="T", res={"msg": "no route", "unreachable": True}),
         Event(what=Happened.UNREACHABLE, host="a", task="T", message="no route")),
        (raw("runner_item_on_ok", host="a"), None),
        ({"event": "verbose", "stdout": "hello"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_events_of_ansible_runner(told: dict[str, Any], event: Event | None) -> None:
    assert translate(told) == event


def test_the_end_says_who_failed_and_the_last_failure_why() -> None:
    tally = Tally()
    for told in (
        raw("runner_on_ok", host="a", task="T", res={"changed": True}),
        failed("a", "rescued"),
        failed("b", "the cause"),
        failed("b", "what the rescue found"),
        raw("runner_on_unreachable", host="c", task="T", res={"msg": "no route"}),
        stats(failures={"b": 1}, dark={"c": 1}, rescued={"a": 1}),
    ):
        _ = tally.take(told)
    outcome = tally.outcome(code=2)
    assert not outcome.ok
    assert {name: host.state for name, host in outcome.hosts.items()} == {
        "a": HostState.OK, "b": HostState.FAILED, "c": HostState.UNREACHABLE,
    }  # fmt: skip
    assert outcome.hosts["a"].message == ""
    assert outcome.changed == 1
    assert outcome.sentence == "b: Install: what the rescue found (and 1 more)"


def test_all_is_well() -> None:
    tally = Tally()
    for told in (raw("runner_on_ok", host="a", task="T", res={}), stats(ok={"a": 1})):
        _ = tally.take(told)
    outcome = tally.outcome(code=0)
    assert outcome.ok
    assert outcome.sentence == "done"
    assert outcome.failed == []


def test_a_playbook_that_cannot_begin() -> None:
    tally = Tally()
    _ = tally.take({"event": "verbose", "stdout": "ERROR! no such role"})
    assert tally.outcome(code=4).sentence == "no such role"
    assert Tally().outcome(code=127).sentence == "ansible-playbook ended with exit code 127"


def test_nobody_to_speak_to_is_no_success() -> None:
    outcome = Tally().outcome(code=0)
    assert not outcome.ok
    assert "the inventory has none" in outcome.sentence


def test_a_run_that_was_cut_off_has_no_host_that_came_to_its_end() -> None:
    tally = Tally()
    _ = tally.take(raw("runner_on_ok", host="a", task="T", res={}))
    _ = tally.take(raw("runner_on_unreachable", host="b", task="T", res={"msg": "no route"}))
    outcome = tally.outcome(code=254, cut_off="not done within 5 s")
    assert outcome.sentence == "not done within 5 s"
    assert outcome.hosts["a"].sentence == "a: not done within 5 s"
    assert outcome.hosts["b"].sentence == "b: T: no route"


def test_an_unknown_playbook_is_refused_with_those_there_are() -> None:
    with pytest.raises(NotFound, match=r'no playbook "grwo"; there are .*join.*site'):
        playbook("grwo")


@pytest.mark.parametrize("pattern", ["", "-e x=1", "@file", "a,b", "a b"])
async def test_a_limit_is_a_pattern_of_hosts(pattern: str) -> None:
    with pytest.raises(BadRequest, match="is no name of a host or group"):
        await play(playbook("site"), {}, limit=[pattern])


def test_events_that_were_left_unread_are_found_in_order(tmp_path: Path) -> None:
    events = tmp_path / "job_events"
    events.mkdir()
    for name, created, event in (
        ("b", "2", "runner_on_ok"),
        ("c", "3", "playbook_on_stats"),
        ("a", "1", "runner_on_start"),
    ):
        (events / f"{name}-partial.json").write_text(json.dumps({"event": event, "created": created}))
    (events / "1-d.json").write_text(json.dumps({"event": "verbose", "created": "0"}))
    assert [raw["event"] for raw in unread(tmp_path)] == ["runner_on_start", "runner_on_ok", "playbook_on_stats"]
    assert unread(tmp_path / "none") == []
