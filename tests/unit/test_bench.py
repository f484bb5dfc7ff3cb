"""The runner of benchmarks: what it keeps, what it judges, what it says of programs that fail."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from bench import results
from bench.__main__ import ON_RIG, PROGRAMS, Outcome, run, summary, table
from bench.goals import GOALS, MET, MISSED, UNMEASURED, Goal, rows

ROOT = Path(__file__).parents[2]
EVERY = PROGRAMS | ON_RIG
UNDER = {"cpus": 2}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `bench_of_test` that a benchmark's process can import."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "bench_of_test.py"


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (Goal("x", "<", 2), 1.9, MET), (Goal("x", "<", 2), 2, MISSED),
        (Goal("x", "≤", 2), 2, MET), (Goal("x", "≤", 2), 2.01, MISSED),
        (Goal("x", "≥", 2), 2, MET), (Goal("x", "≥", 2), 1, MISSED),
        (Goal("x", "=", 0), 0, MET), (Goal("x", "=", 0), 1, MISSED),
        (Goal("y", "<", 2), 1, UNMEASURED), (Goal("x", "<", 2), "a", UNMEASURED), (Goal("x", "<", 2), True, UNMEASURED),
    ],
)  # fmt: skip
def test_a_goal_is_met_missed_or_not_measured(goal: Goal, value: object, verdict: str) -> None:
    assert goal.judge({"x": value}) == verdict


def test_a_case_that_has_a_goal_and_was_not_printed_is_in_the_table() -> None:
    found = rows("cli", [{"case": "cli_help", "median_ms": 80}])
    assert [(row.case, [verdict for verdict, _ in row.verdicts]) for row in found] == [
        ("cli_help", [MET]),
        ("cli_get_pods", [UNMEASURED]),
    ]


def test_a_table_says_what_was_missed_and_what_failed() -> None:
    outcomes = {
        "failover": Outcome([{"case": "failover", "worst_s": 11.5}]),
        "cli": Outcome([], "ended with 3"),
    }
    assert re.search(r"^failover +worst_s 11.5\n +MISSED: worst_s ≤ 10$", table(outcomes), flags=re.MULTILINE)
    assert summary(outcomes).splitlines() == [
        "MISSED: failover: failover: worst_s ≤ 10",
        "NOT MEASURED: cli: cli_help: median_ms ≤ 120",
        "NOT MEASURED: cli: cli_get_pods: median_ms ≤ 350",
        "FAILED: cli: ended with 3",
    ]
    assert summary({"failover": Outcome([{"case": "failover", "worst_s": 6}])}) == "Every goal was met."


def test_a_program_is_run_and_what_it_prints_as_json_is_kept(program: Path) -> None:
    program.write_text("import json\nprint('# 2 cores')\nprint(json.dumps({'case': 'one', 'x': 1}))\n")
    assert run(["bench_of_test"]) == Outcome([{"case": "one", "x": 1}])


def test_a_program_that_fails_is_said_to_and_keeps_what_it_printed(program: Path) -> None:
    program.write_text('print(\'{"case": "one"}\', flush=True)\nraise SystemExit(3)\n')
    assert run(["bench_of_test"]) == Outcome([{"case": "one"}], "ended with 3")


def test_a_program_that_prints_no_figure_has_failed(program: Path) -> None:
    program.write_text("print('nothing to measure')\n")
    assert run(["bench_of_test"]).failure == "printed no figure"


def test_a_program_that_never_ends_is_ended_with_what_it_started(program: Path) -> None:
    program.write_text(
        "import subprocess\nprint('{\"case\": \"one\"}', flush=True)\nsubprocess.run(['sleep', '1000'])\n"
    )
    assert run(["bench_of_test"], seconds=2) == Outcome([{"case": "one"}], "had not ended after 2 s")


def test_results_of_programs_that_were_not_run_stay(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    results.merge(file, "api", [{"case": "create", "per_second": 1}], UNDER)
    results.merge(file, "cli", [{"case": "cli_help", "median_ms": 80}], UNDER)
    results.merge(file, "api", [{"case": "create", "per_second": 2}], UNDER)
    assert results.read(file) == {
        "api": {"conditions": UNDER, "figures": [{"case": "create", "per_second": 2}]},
        "cli": {"conditions": UNDER, "figures": [{"case": "cli_help", "median_ms": 80}]},
    }
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"results": {"api": []}})])
def test_a_results_file_of_another_form_is_replaced(tmp_path: Path, content: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(content)
    results.merge(file, "api", [], UNDER)
    assert list(results.read(file)) == ["api"]


def test_every_goal_is_of_a_program_that_is_run() -> None:
    assert GOALS.keys() <= EVERY.keys()


@pytest.mark.parametrize("module", sorted({command[0] for command in EVERY.values()}))
def test_every_program_is_there(module: str) -> None:
    assert importlib.util.find_spec(module) is not None


def test_every_figure_of_the_documentation_names_a_program_that_measures_it() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert lines
    for line in lines:
        _, goal, _, last = (cell.strip() for cell in line.strip("| ").split(" | "))
        by = re.findall(r"`([^`]+)`", last)
        assert by, f"no program is named: {line}"
        for named in by:
            there = (ROOT / named).exists() if named.startswith("tests/") else named in EVERY
            assert there, f"{named} measures nothing: {line}"
        judged = any(named in GOALS or named.startswith("tests/") for named in by)
        assert judged or goal == "–", f"nothing judges its goal: {line}"
