"""Settings: which source wins, how values are written, and what a mistake is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from podium.settings import Duration, SettingsError, load, option, parse_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    listen: tuple[str, ...] = option(("a:1",), doc="Where.")
    lease: Duration = option(4.0, doc="How long.")
    workers: int = option(2, doc="How many.")
    data_dir: Path = option(Path("/data"), doc="Which folder.")
    format: Literal["json", "text"] = option("text", doc="Which form.")
    quiet: bool = option(False, doc="Say less.")
    labels: Mapping[str, str] = option({}, doc="Pairs.")
    token: Path | None = option(None, doc="A file.")


def example(*argv: str, **env: str) -> Example:
    return load(Example, argv, env_prefix="EX", environ=env)


def test_defaults() -> None:
    assert example() == Example()


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('workers = 3\nlease = "5s"\ndata-dir = "/from/file"\n')
    got = example("--workers", "9", EX_CONFIG=str(file), EX_WORKERS="7", EX_LEASE="6")
    assert got == Example(workers=9, lease=6.0, data_dir=Path("/from/file"))


def test_every_type_from_flags() -> None:
    got = example(
        "--listen", "a:1", "--listen", "b:2", "--lease", "1h30m", "--format", "json", "--quiet",
        "--labels", "zone=a,disk=ssd", "--token", "/t",
    )  # fmt: skip
    assert got == Example(
        listen=("a:1", "b:2"), lease=5400.0, format="json", quiet=True,
        labels={"zone": "a", "disk": "ssd"}, token=Path("/t"),
    )  # fmt: skip


def test_every_type_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('listen = ["x:1", "y:2"]\nlease = 2\nquiet = true\n[labels]\nzone = "a"\n')
    got = example("--config", str(file))
    assert got == Example(listen=("x:1", "y:2"), lease=2.0, quiet=True, labels={"zone": "a"})


def test_a_list_in_the_environment_is_comma_separated() -> None:
    assert example(EX_LISTEN="a:1, b:2").listen == ("a:1", "b:2")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (
            {"EX_WORKERS": "many"},
            "setting workers (from environment variable EX_WORKERS): 'many' is not a whole number",
        ),
        ({"EX_FORMAT": "xml"}, "one of json, text"),
        ({"EX_LEASE": "soon"}, "a duration such as 300ms"),
        ({"EX_WROKERS": "2"}, 'environment variable EX_WROKERS; did you mean "workers"?'),
        ({"EX_LABELS": "a"}, "pairs such as a=1"),
    ],
)
def test_a_mistake_names_the_setting_its_source_and_what_is_accepted(env: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        example(**env)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text", ["workers = true", "workers = 1.5", 'workers = "2"', "wokers = 1", "listen = 'a'", "="]
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=str(file)):
        example("--config", str(file))


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(SettingsError, match="cannot read /nowhere: No such file"):
        example("--config", "/nowhere")


def test_help_lists_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example("--help")
    shown = capsys.readouterr().out
    assert "--lease VALUE" in shown
    assert "How long. [default: 4.0s]" in shown
    assert "--no-quiet" in shown


@pytest.mark.parametrize(
    ("text", "seconds"), [("300ms", 0.3), ("1.5h", 5400), ("1h30m", 5400), ("2", 2), ("1d", 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)
