"""When the watchdog kills, what it asks of the engine, and that there is one of it."""

from __future__ import annotations

import os
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from nodelet.state.lease_file import LeaseFile
from nodelet.watchdog import LOCK, Engine, Watch, alone, is_due

LEASE = {"kill_at": 100.0, "boot": "b"}


@pytest.mark.parametrize(
    ("lease", "now", "due"),
    [
        (LEASE, 99.0, False),
        (LEASE, 100.9, False),
        (LEASE, 101.0, True),
        (LEASE | {"boot": "earlier"}, 500.0, False),
        (None, 500.0, False),
        ({"boot": "b"}, 500.0, False),
        ({"boot": "b", "kill_at": "soon"}, 500.0, False),
    ],
)
def test_only_a_lease_of_this_boot_that_is_over_kills(lease: dict[str, Any] | None, now: float, due: bool) -> None:
    assert is_due(lease, now, "b") is due


class _Docker(BaseHTTPRequestHandler):
    asked: list[str]

    def _answer(self) -> None:
        self.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        body = b'[{"Id": "c1"}, {"Id": "c2"}]' if self.command == "GET" else b""
        self.send_response(200 if body else 204)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def address_string(self) -> str:
        return "here"

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    path, asked = str(tmp_path / "docker.sock"), list[str]()
    handler = type("Handler", (_Docker,), {"asked": asked})
    with socketserver.UnixStreamServer(path, handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield path, asked
        server.shutdown()
        thread.join()


def test_what_must_not_run_twice_is_killed(docker: tuple[str, list[str]]) -> None:
    path, asked = docker
    watch = Watch(Engine(path), lambda: True)
    assert watch.look(LEASE, now=99, boot="b") == 0
    assert asked == []
    assert watch.look(LEASE, now=102, boot="b") == 2
    assert asked == ["GET /containers/json", "POST /containers/c1/kill", "POST /containers/c2/kill"]


def test_addresses_of_pools_are_let_go_once_and_again_when_that_fails_or_the_lease_was_renewed(tmp_path: Path) -> None:
    answers = [False, True, True]
    tried: list[bool] = []

    def withdraw() -> bool:
        tried.append(answers[len(tried)])
        return tried[-1]

    watch = Watch(Engine(str(tmp_path / "none")), withdraw)
    for now, times in ((99, 0), (102, 1), (103, 2), (104, 2)):
        watch.look(LEASE, now=now, boot="b")
        assert len(tried) == times, now
    renewed = {"kill_at": 200.0, "boot": "b"}
    watch.look(renewed, now=105, boot="b")
    watch.look(renewed, now=202, boot="b")
    assert len(tried) == 3


def test_an_engine_that_does_not_answer_is_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Watch(Engine(str(tmp_path / "none")), lambda: True).look(LEASE, now=102, boot="b") == 0
    assert "can't be told" in capsys.readouterr().err


def test_a_lease_is_written_in_place(tmp_path: Path) -> None:
    file = LeaseFile(tmp_path)
    assert file.read() is None
    file.write({"until": 1, "peers": ["a"] * 40})
    size, inode = file.path.stat().st_size, file.path.stat().st_ino
    file.write({"until": 2})
    assert file.read() == {"until": 2}
    assert (file.path.stat().st_size, file.path.stat().st_ino) == (size, inode)
    with pytest.raises(ValueError, match="does not fit"):
        file.write({"peers": ["x" * 100] * 1000})
    file.path.write_bytes(b'{"until": ')
    assert file.read() is None


def test_a_new_watchdog_takes_the_place_of_the_old(tmp_path: Path) -> None:
    old = subprocess.Popen([sys.executable, "-m", "nodelet.watchdog", str(tmp_path), "/nowhere"])
    try:
        until_written(tmp_path / LOCK, old.pid)
        with alone(tmp_path):
            assert old.wait(timeout=10) == 0
            assert int((tmp_path / LOCK).read_text()) == os.getpid()
    finally:
        if old.poll() is None:
            old.send_signal(signal.SIGKILL)
            old.wait(timeout=10)


def until_written(file: Path, pid: int) -> None:
    waiting = threading.Event()
    for _ in range(500):
        if file.exists() and file.read_text() == str(pid):
            return
        waiting.wait(0.02)
    raise AssertionError("the watchdog did not start")


def test_a_watchdog_ends_with_its_directory(tmp_path: Path) -> None:
    directory = tmp_path / "nodelet"
    directory.mkdir()
    dog = subprocess.Popen([sys.executable, "-m", "nodelet.watchdog", str(directory), "/nowhere"])
    try:
        until_written(directory / LOCK, dog.pid)
        shutil.rmtree(directory)
        assert dog.wait(timeout=10) == 0
    finally:
        if dog.poll() is None:
            dog.kill()
            dog.wait(timeout=10)
