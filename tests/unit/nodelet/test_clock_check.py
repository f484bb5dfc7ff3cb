"""A clock that is off is told of; and a folder that can't be written."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from nodelet.metrics.state_disk import EVERY_SECONDS, StateDisk
from nodelet.metrics.status import RuntimeState, conditions
from nodelet.session.clock_check import ClockCheck
from tests.support.clock import VirtualClock


async def _beat(check: ClockCheck, clock: VirtualClock, ahead: float, *, way: float = 0.2) -> None:
    """A heartbeat and its answer, `way` seconds for both; this host's clock is `ahead` of the master's."""
    check.sent(1)
    await clock.advance(way)
    master = clock.now().timestamp() - way / 2 - ahead
    check.answered(1, int(master * 1000))


@pytest.mark.parametrize(
    ("ahead", "status", "words"),
    [
        (0, "False", "within 5 s"),
        (4.5, "False", "within 5 s"),
        (42, "True", "42 s ahead of"),
        (-9, "True", "9 s behind"),
    ],
)
async def test_clocks_are_compared(ahead: float, status: str, words: str) -> None:
    clock = VirtualClock()
    check = ClockCheck(clock)
    await _beat(check, clock, ahead)
    condition = check.condition()
    assert condition.status == status
    assert words in condition.message


async def test_it_is_told_once_and_taken_back_when_it_is_well_again() -> None:
    clock, told = VirtualClock(), [0]
    check = ClockCheck(clock)

    def count() -> None:
        told[0] += 1

    check.changed = count
    for ahead, changes in ((60, 1), (60, 1), (4, 1), (1, 2), (1, 2)):
        await _beat(check, clock, ahead)
        assert told[0] == changes, ahead


async def test_slow_answers_and_masters_that_do_not_say_prove_nothing() -> None:
    clock = VirtualClock()
    check = ClockCheck(clock)
    await _beat(check, clock, 60, way=5)
    check.sent(2)
    check.answered(2, 0)
    check.answered(3, 1)
    assert check.condition().status == "False"


# ---------------------------------------------------------------- the folder


async def test_a_folder_that_can_be_written_is_looked_at_now_and_then(tmp_path: Path) -> None:
    clock = VirtualClock()
    disk = StateDisk(tmp_path, clock)
    assert await disk.fault() == ""
    (tmp_path / ".probe").unlink()
    assert await disk.fault() == ""
    assert not (tmp_path / ".probe").exists(), "not again at once"
    await clock.advance(EVERY_SECONDS)
    assert await disk.fault() == ""
    assert (tmp_path / ".probe").exists()


async def test_a_folder_that_is_lost_is_told_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    disk = StateDisk(folder, VirtualClock())
    assert await disk.fault() == "No such file or directory"
    folder.mkdir()
    assert await disk.fault() == ""


async def test_a_full_disk_is_not_a_lost_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert await StateDisk(tmp_path, VirtualClock()).fault() == ""


async def test_a_disk_that_hangs_holds_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released, begun = threading.Event(), [0]

    def hang(handle: int) -> None:
        begun[0] += 1
        released.wait(10)

    monkeypatch.setattr(os, "fsync", hang)
    monkeypatch.setattr("nodelet.metrics.state_disk.ANSWER_SECONDS", 0.1)
    disk = StateDisk(tmp_path, VirtualClock())
    try:
        assert "does not answer" in await disk.fault()
        assert "does not answer" in await disk.fault()
        assert begun[0] == 1
    finally:
        released.set()
    monkeypatch.setattr("nodelet.metrics.state_disk.ANSWER_SECONDS", 5.0)
    assert await disk.fault() == ""


def test_a_node_that_lost_its_folder_is_not_ready() -> None:
    ready = conditions((), RuntimeState(), "Read-only file system")[-1]
    assert (ready.type, ready.status, ready.reason) == ("Ready", "False", "StateDiskLost")
    assert ready.message == "the nodelet's folder can't be written: Read-only file system"
