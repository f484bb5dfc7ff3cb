"""Termination messages: files of runs, their sweeping, and the log that speaks where there is none."""

from __future__ import annotations

import datetime
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nodelet.runtime.docker.last_words import LONGEST, LONGEST_OF_LOG, LastWords, with_message
from nodelet.runtime.protocol import ContainerRecord, PodIdentity, RuntimeDown, RuntimeFault, State

NOW = 1_000_000.0


def record(exit_code: int) -> ContainerRecord:
    return ContainerRecord(
        id="c1", pod=PodIdentity(namespace="ns", name="p", uid="u"), name="app", attempt=0, state=State.EXITED,
        image="i", image_id="sha256:1", config_hash="h", exit_code=exit_code,
        created_at=datetime.datetime.fromtimestamp(0, datetime.UTC),
    )  # fmt: skip


class Log:
    """Implements `Logs` with one text, or a fault."""

    def __init__(self, text: bytes = b"", fault: RuntimeFault | None = None) -> None:
        self._text, self._fault = text, fault

    async def logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: datetime.datetime | None, timestamps: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        if self._fault is not None:
            raise self._fault
        yield 1, self._text


def test_what_is_left_is_read_and_cut(tmp_path: Path) -> None:
    words = LastWords(tmp_path / "termination")
    file = words.prepare("podium_app_p_ns_u_0")
    assert file.stat().st_mode & 0o777 == 0o666
    assert words.of(file.name) == ""
    file.write_bytes(b"x" * (LONGEST + 1))
    assert words.prepare(file.name) == file  # a repeated creation keeps what is there
    assert words.of(file.name) == "x" * LONGEST
    file.write_bytes(b"\xff")
    assert words.of(file.name) == "\ufffd"
    assert words.of("another") == ""


def test_only_old_files_without_a_container_are_swept(tmp_path: Path) -> None:
    words = LastWords(tmp_path)
    for name, age in (("kept", 10_000), ("gone", 10_000), ("in-flight", 5)):
        os.utime(words.prepare(name), (NOW - age, NOW - age))
    words.sweep({"kept"}, NOW)
    assert {file.name for file in tmp_path.iterdir()} == {"kept", "in-flight"}


@pytest.mark.parametrize(
    ("exit_code", "left", "log", "message"),
    [
        (1, "said", Log(b"log"), "said"),
        (1, "", Log(b"log"), "log"),
        (1, "", None, ""),
        (0, "", Log(b"log"), ""),
        (1, "", Log(b"a" + b"b" * LONGEST_OF_LOG), "b" * LONGEST_OF_LOG),
        (1, "", Log(fault=RuntimeFault("LogsError", "no such file")), "its log can't be read: no such file"),
    ],
)
async def test_the_log_speaks_after_a_failure_without_words(
    exit_code: int, left: str, log: Log | None, message: str
) -> None:
    assert (await with_message(record(exit_code), left, log)).message == message


async def test_an_engine_that_is_gone_is_no_message() -> None:
    with pytest.raises(RuntimeDown):
        await with_message(record(1), "", Log(fault=RuntimeDown("gone")))
