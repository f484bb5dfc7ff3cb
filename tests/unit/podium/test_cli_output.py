"""What the command prints: ages, tables, pod words, JSONPath."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.cli.output.age import duration
from podium.cli.output.fields import explain_field
from podium.cli.output.jsonpath import evaluate, select
from podium.cli.output.order import sort_objects
from podium.cli.output.pods import phase_word, restarts
from podium.cli.output.table import GrowingTable, render
from podium.errors import BadRequest
from podium.v1.core_pb2 import Container, ContainerState, ContainerStatus, Pod

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (130, "2m10s"), (600, "10m"), (3 * 3600, "3h"),
        (3 * 3600 + 120, "3h2m"), (47 * 3600, "47h"), (50 * 3600, "2d2h"), (30 * 86400, "30d"),
    ],
)  # fmt: skip
def test_durations_are_short(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_tables_align_and_have_no_trailing_space() -> None:
    text = render(["NAME", "AGE"], [["web", "5s"], ["database", "10m"]])
    assert text == "NAME       AGE\nweb        5s\ndatabase   10m"
    assert render(["NAME"], [["web"]], no_headers=True) == "web"


def _pod(*states: ContainerState, ready: bool = False) -> Pod:
    pod = Pod()
    pod.spec.node_name = "node1"
    pod.status.phase = "Running"
    for index, state in enumerate(states):
        pod.spec.containers.append(Container(name=f"c{index}"))
        pod.status.container_statuses.append(ContainerStatus(name=f"c{index}", state=state, ready=ready))
    return pod


def _waiting(reason: str) -> ContainerState:
    state = ContainerState()
    state.waiting.reason = reason
    return state


def _ended(code: int, reason: str = "", signal: int = 0) -> ContainerState:
    state = ContainerState()
    state.terminated.exit_code, state.terminated.reason, state.terminated.signal = code, reason, signal
    return state


def _running() -> ContainerState:
    state = ContainerState()
    state.running.started_at.GetCurrentTime()
    return state


@pytest.mark.parametrize(
    ("pod", "word"),
    [
        (_pod(_running(), ready=True), "Running"),
        (_pod(_waiting("CrashLoopBackOff")), "CrashLoopBackOff"),
        (_pod(_ended(0, "Completed")), "Completed"),
        (_pod(_ended(3)), "ExitCode:3"),
        (_pod(_ended(137, signal=9)), "Signal:9"),
        (_pod(_ended(137, "OOMKilled")), "OOMKilled"),
    ],
)
def test_one_word_tells_how_a_pod_is(pod: Pod, word: str) -> None:
    assert phase_word(pod) == word


def test_a_pod_that_is_being_deleted_is_terminating() -> None:
    pod = _pod(_running(), ready=True)
    pod.metadata.deletion_timestamp.seconds = 1
    assert phase_word(pod) == "Terminating"


def test_init_containers_are_counted_while_they_run() -> None:
    pod = _pod(_waiting("PodInitializing"))
    pod.status.phase = "Pending"
    for name in ("a", "b"):
        pod.spec.init_containers.append(Container(name=name))
    pod.status.init_container_statuses.append(ContainerStatus(name="a", state=_ended(0)))
    pod.status.init_container_statuses.append(ContainerStatus(name="b", state=_running()))
    assert phase_word(pod) == "Init:1/2"
    pod.status.init_container_statuses[1].state.CopyFrom(_ended(1, "Error"))
    assert phase_word(pod) == "Init:Error"


def test_restarts_say_how_long_ago() -> None:
    pod = _pod(_running())
    assert restarts(pod, NOW) == "0"
    pod.status.container_statuses[0].restart_count = 4
    pod.status.container_statuses[0].last_state.terminated.finished_at.seconds = int(NOW.timestamp()) - 30
    assert restarts(pod, NOW) == "4 (30s ago)"


DATA = {
    "items": [
        {"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}}, "n": 1, "ok": True},
        {"metadata": {"name": "b"}, "n": 5, "conditions": [{"type": "Ready", "status": "True"}]},
    ]
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.items[*].metadata.name}", "a b"),
        (".items[0].metadata.name", "a"),
        ("{.items[-1].n}", "5"),
        ("{.items[0:1].n}", "1"),
        ("{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "x"),
        ("{.items[0].metadata.labels['app.kubernetes.io/name']}", "x"),
        ('{range .items[*]}{.metadata.name}={.n}{"\\n"}{end}', "a=1\nb=5\n"),
        ("{.items[?(@.n>2)].metadata.name}", "b"),
        ('{.items[?(@.metadata.name=="a")].n}', "1"),
        ("{.items[?(@.conditions)].metadata.name}", "b"),
        ('{.items[1].conditions[?(@.type=="Ready")].status}', "True"),
        ("{..name}", "a b"),
        ("{.items[0].ok}", "true"),
        ("{.nothing.here}", ""),
        ("n={.items[0].n};", "n=1;"),
        ("{.items[0].metadata.labels}", '{"app.kubernetes.io/name":"x"}'),
    ],
)
def test_jsonpath(template: str, text: str) -> None:
    assert evaluate(template, DATA) == text


@pytest.mark.parametrize("template", ["{.items[}", "{range .items[*]}{.n}", "{end}", "{.a", "{.items[?(]}"])
def test_a_broken_jsonpath_is_refused(template: str) -> None:
    with pytest.raises(BadRequest, match="jsonpath"):
        evaluate(template, DATA)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), st.integers(), min_size=1))
def test_every_field_can_be_selected(data: dict[str, int]) -> None:
    for key, value in data.items():
        assert select(f".{key}", data) == [value]


def test_fields_explain_themselves() -> None:
    text = explain_field("deploy.spec.strategy")
    assert "Deployment.spec.strategy <DeploymentStrategy>" in text
    assert "one of Recreate, RollingUpdate" in text
    with pytest.raises(BadRequest, match='did you mean "replicas"'):
        explain_field("deploy.spec.replica")


def test_a_growing_table_keeps_its_columns() -> None:
    table = GrowingTable(["NAME", "READY"])
    assert table.add([["web-1", "1/1"]]) == ["NAME    READY", "web-1   1/1"]
    assert table.add([["a", "0/1"]]) == ["a       0/1"]
    assert table.add([["database", "1/1"]]) == ["database   1/1"]
    assert table.add([["a", "0/1"]]) == ["a          0/1"]


def _named(name: str, cpu: str = "") -> Pod:
    pod = Pod()
    pod.metadata.name = name
    pod.spec.containers.append(Container(name="c"))
    if cpu:
        pod.spec.containers[0].resources.requests["cpu"] = cpu
    return pod


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("", "cab"),
        (".metadata.name", "abc"),
        ("{.metadata.name}", "abc"),
        (".spec.containers[0].resources.requests.cpu", "bac"),
    ],
)
def test_objects_are_sorted_by_what_a_path_reads(path: str, order: str) -> None:
    pods = [_named("c", "1"), _named("a", "500m"), _named("b")]
    assert "".join(p.metadata.name for p in sort_objects(pods, path)) == order  # type: ignore[attr-defined]


def test_sorting_by_what_has_no_order_is_refused() -> None:
    with pytest.raises(BadRequest, match="single value"):
        sort_objects([_named("a")], ".spec.containers")
