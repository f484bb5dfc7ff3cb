"""A file system that does not answer."""

from __future__ import annotations

import threading

import pytest

from nodelet.volumes.protocol import VolumeFault
from nodelet.volumes.threads import Threads
from tests.support.waiting import until


async def test_work_is_done_and_its_errors_come_through() -> None:
    threads = Threads()
    assert await threads.run("a", int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await threads.run("a", int, "x")
    assert await threads.run("a", int, "8") == 8


async def test_what_hangs_is_given_up_and_holds_one_thread_only() -> None:
    threads, answer, entered = Threads(patience=0.05), threading.Event(), threading.Semaphore(0)

    def hang() -> bool:
        entered.release()
        return answer.wait(10)

    try:
        with pytest.raises(VolumeFault, match="not done within"):
            await threads.run("a", hang)
        for _ in range(20):
            with pytest.raises(VolumeFault, match="an earlier attempt has not come to its end"):
                await threads.run("a", hang)
        assert await threads.run("b", int, "7") == 7
    finally:
        answer.set()
    assert entered.acquire(blocking=False)
    assert not entered.acquire(blocking=False)
    await until(lambda: "a" not in threads._running)
    assert await threads.run("a", int, "9") == 9
