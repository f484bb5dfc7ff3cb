"""`python -m master.autoscaler.play`: plays one job with ansible-runner, in a process of its own.

The job comes as one line of JSON on stdin, and stdin stays open for as long as the master wants it done: when it ends,
the master has given up, or is no more, and so the play ends. The answer is one line of JSON on stdout: `failure`, empty
when it went well. A lock on the host's file keeps a play that was left over from a master that died, and the one that
the next master begins, from ever running at once.

A process of its own, because ansible-runner takes threads, signals and 60 MB that a master does without.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from master.autoscaler.ansible_job import Failures

NOT_INSTALLED = "ansible-runner is not installed on the master's host: pip install 'podium[ansible]'"
_TIMED_OUT = "timeout"


def main() -> int:
    """Play what stdin says; returns the exit code, which is 0 whenever there is an answer."""
    job = json.loads(sys.stdin.readline())
    given_up = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(given_up,), daemon=True).start()
    with Path(job["lock"]).open("w") as lock:
        if not _locked(lock.fileno(), given_up):
            return 1
        failure = play(job, given_up)
    sys.stdout.write(json.dumps({"failure": failure}) + "\n")
    sys.stdout.flush()
    return 0


def play(job: dict[str, Any], given_up: threading.Event) -> str:
    """Play a job until it is done or given up; why it failed."""
    try:
        import ansible_runner
    except ImportError:
        return NOT_INSTALLED
    failures = Failures()

    def see(event: dict[str, Any]) -> bool:
        failures.see(event)
        return True

    run = ansible_runner.run(
        private_data_dir=job["directory"],
        playbook=job["playbook"],
        inventory=job["inventory"],
        envvars=job["environment"],
        event_handler=see,
        cancel_callback=given_up.is_set,
        timeout=int(job["seconds"]),
        quiet=True,
    )
    if run.status == "successful":
        return ""
    if run.status == _TIMED_OUT:
        return f"it took longer than {job['seconds']:g} s"
    return failures.last or f"ansible-playbook ended with {run.status}, exit code {run.rc}: {_last_line(run)}"


def _last_line(run: Any) -> str:
    lines = [line.strip() for line in run.stdout.read().splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _wait_for_the_end(given_up: threading.Event) -> None:
    sys.stdin.read()
    given_up.set()


def _locked(descriptor: int, given_up: threading.Event) -> bool:
    """Take the lock of the host; False when that was given up."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if given_up.wait(0.2):
                return False
        else:
            return True


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
