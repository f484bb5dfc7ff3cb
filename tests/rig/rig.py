"""The rig as tests drive it: the `podium` command, the client library, and hosts that can be killed, cut and healed."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "podium-rig"
CONFIG = ROOT / ".rig" / "admin.yaml"
PODIUM = ROOT / ".venv" / "bin" / "podium"
T = TypeVar("T")


def run(
    *command: str | Path, check: bool = True, timeout: float = 60, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command; a failure shows everything that it said."""
    environment = {**os.environ, "PODIUM_CONFIG": str(CONFIG), "COMPOSE_PROJECT_NAME": PROJECT}
    done = subprocess.run(
        [str(c) for c in command],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        input=stdin,
        cwd=ROOT,
    )
    if check:
        assert done.returncode == 0, (
            f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return done


def podium(*words: str, check: bool = True, timeout: float = 60, stdin: str | None = None) -> str:
    """What a `podium` command prints on standard output."""
    return run(PODIUM, *words, check=check, timeout=timeout, stdin=stdin).stdout


def until(condition: Callable[[], T | None], *, seconds: float, what: str | Callable[[], object]) -> T:
    """The condition's first true value, looked at often; fails with `what` (or what it says then) when it never comes.

    Raises:
        AssertionError: Not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds:g}s: {what() if callable(what) else what}"
        pause.wait(0.1)


@dataclass(frozen=True, slots=True)
class Host:
    """One host of the rig: a container that is a whole host."""

    name: str

    @property
    def container(self) -> str:
        """The id of the host's container on this machine's engine."""
        found = run("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}",
                    "--filter", f"label=com.docker.compose.service={self.name}").stdout.split()  # fmt: skip
        assert len(found) == 1, f"{self.name}: {found}"
        return found[0]

    def sh(self, command: str, *, check: bool = True, timeout: float = 60) -> str:
        """Run a shell command on the host."""
        return run("docker", "exec", self.container, "sh", "-c", command, check=check, timeout=timeout).stdout

    def kill(self) -> None:
        """Power off: nothing on the host gets a chance to say good-bye."""
        run("docker", "kill", self.container)

    def start(self) -> None:
        """Power on again."""
        run("docker", "start", self.container)

    def cut(self) -> None:
        """Unplug the network; everything on the host goes on running."""
        run("docker", "network", "disconnect", f"{PROJECT}_hosts", self.container)

    def heal(self) -> None:
        """Plug the network in again, with the address it had."""
        run("docker", "network", "connect", "--ip", ADDRESSES[self.name], f"{PROJECT}_hosts", self.container)

    def engine(self, *words: str, check: bool = True) -> str:
        """A command of the host's own Docker Engine."""
        return run("docker", "exec", self.container, "docker", *words, check=check).stdout

    @contextmanager
    def hung(self, process: int, *, seconds: float) -> Iterator[None]:
        """A process of the host hangs for so long; leaving waits for its end. Few milliseconds more, on a busy machine
        too: one shell on the host stops it and lets it go on."""
        script = f"kill -STOP {process}; echo; sleep {seconds}; kill -CONT {process}"
        shell = subprocess.Popen(["docker", "exec", self.container, "sh", "-c", script], stdout=subprocess.PIPE)
        with shell:
            assert shell.stdout is not None
            assert shell.stdout.readline(), "it was stopped"
            yield
        assert shell.returncode == 0

    def started(self) -> dict[str, str]:
        """When each running container of the host was started, by id."""
        ids = self.engine("ps", "-q", "--no-trunc").split()
        if not ids:
            return {}
        return {c["Id"]: c["State"]["StartedAt"] for c in json.loads(self.engine("inspect", *ids))}

    def pid_of(self, program: str) -> int:
        """The process id of a program on the host, 0 when it does not run."""
        # In brackets, so that the shell that looks is not what it finds.
        found = self.sh(f"pgrep -o -f '[{program[0]}]{program[1:]}' || true").split()
        return int(found[0]) if found else 0


ADDRESSES = {"master": "172.29.90.10", "node1": "172.29.90.21", "node2": "172.29.90.22", "node3": "172.29.90.23"}
NODES = tuple(Host(name) for name in ("node1", "node2", "node3"))
MASTER = Host("master")
