"""Makes nodes of hosts with Ansible: the playbooks join.yml and release.yml, and hooks that turn hosts on and off.

    join     start hook ─► SSH answers ─► join.yml
    release  release.yml ─► stop hook            (a host that is off already, and has a stop hook: that alone)

Each play runs in a process of its own (`master.autoscaler.play`), which ends when this one does. What a play said is
kept beside the job, for people: `DATA_DIR/nodepools/HOST.log`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from master.autoscaler.ansible_job import (
    INVENTORY,
    KNOWN_HOSTS,
    START,
    STOP,
    VARIABLES,
    hook_environment,
    hook_variables,
    inventory_of,
    join_variables,
    order_of,
)
from master.autoscaler.provision import ProvisionFailed, Target
from podium.aio.clock import Clock
from podium.files import make_private_directory
from podium.telemetry.log import get_logger

_KNOCK_SECONDS = 1.0
_END_SECONDS = 20.0
_ANSWER_SECONDS = 30.0
_MOST_SAID = 300

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsibleSettings:
    """Where things are.

    Attributes:
        variables: A file of variables for the roles (YAML or JSON); None: none.
        hooks: The folder of hooks.
        work: A folder for jobs, private to the master.
        masters: Where nodes reach the API.
    """

    variables: Path | None
    hooks: Path
    work: Path
    masters: Sequence[str]


class AnsibleProvisioner:
    """Implements `master.autoscaler.provision.Provisioner`."""

    def __init__(self, settings: AnsibleSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock

    async def join(self, target: Target, token: str) -> None:
        """Turn a host on, and make a node of it.

        Raises:
            ProvisionFailed: It could not be done.
        """
        async with _Folder(self._settings.work, target) as folder:
            await self._hook(target, START, folder)
            # A host that nobody turned on is on, or will not be: others can be tried.
            await self._until_ssh_answers(target, target.seconds if target.start else _ANSWER_SECONDS)
            variables = join_variables(token, self._settings.masters)
            await self._play(target, folder, "join", variables)

    async def release(self, target: Target) -> None:
        """Make a bare host of a node, and turn it off.

        Raises:
            ProvisionFailed: It could not be done.
        """
        async with _Folder(self._settings.work, target) as folder:
            if await self._is_there_to_be_released(target):
                await self._play(target, folder, "release", {})
            await self._hook(target, STOP, folder)

    async def _is_there_to_be_released(self, target: Target) -> bool:
        """Whether SSH answers. A host that can be turned off may be off: by a master that ended before it noted that.

        Raises:
            ProvisionFailed: It does not answer, and nothing turns it off.
        """
        try:
            await self._until_ssh_answers(target, _ANSWER_SECONDS)
        except ProvisionFailed as error:
            if not target.stop:
                raise
            log.info("a host is off already, or out of reach: its stop hook has the last word", host=target.name,
                     why=str(error))  # fmt: skip
            return False
        return True

    async def _until_ssh_answers(self, target: Target, seconds: float) -> None:
        """Knock until somebody opens: a host that was just turned on takes its time."""
        why = "it did not answer"
        try:
            async with asyncio.timeout(min(seconds, target.seconds)):
                while True:
                    try:
                        _, writer = await asyncio.open_connection(target.address, target.port)
                    except OSError as error:
                        why = os.strerror(error.errno) if error.errno else str(error)
                    else:
                        writer.close()
                        return
                    await self._clock.sleep(_KNOCK_SECONDS)
        except TimeoutError:
            raise ProvisionFailed(f"SSH did not answer at {target.address}:{target.port} ({why})") from None

    async def _hook(self, target: Target, action: str, folder: Path) -> None:
        name = target.start if action == START else target.stop
        if not name:
            return
        path = self._settings.hooks / name
        if not await asyncio.to_thread(path.is_file):
            raise ProvisionFailed(f"there is no hook {name} in {self._settings.hooks} on the master's host")
        if path.suffix in (".yml", ".yaml"):
            await self._play(target, folder, str(path), hook_variables(target, action))
        else:
            await _run_hook(path, hook_environment(target, action))

    async def _play(self, target: Target, folder: Path, playbook: str, variables: Mapping[str, Any]) -> None:
        await asyncio.to_thread(_lay_out, target, folder, self._settings.variables)
        if failure := await _played(order_of(target, folder, playbook, variables)):
            raise ProvisionFailed(failure)


class _Folder:
    """A job's folder, with the key in it; gone afterwards. What a master that died has left is removed first."""

    def __init__(self, work: Path, target: Target) -> None:
        self._work, self._target, self._path = work, target, work / target.name

    async def __aenter__(self) -> Path:
        await asyncio.to_thread(self._make)
        return self._path

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(shutil.rmtree, self._path, True)

    def _make(self) -> None:
        make_private_directory(self._work)
        shutil.rmtree(self._path, ignore_errors=True)
        make_private_directory(self._path)
        _write_private(self._path / KNOWN_HOSTS, self._target.known_hosts)


def _write_private(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def _lay_out(target: Target, folder: Path, variables: Path | None) -> None:
    """Write the inventory. Raises ProvisionFailed: the operator's variables can't be read."""
    make_private_directory((folder / VARIABLES).parent)
    _write_private(folder / INVENTORY, json.dumps(inventory_of(target, folder)).encode())
    if variables is None:
        return
    try:
        content = variables.read_bytes()
    except OSError as error:
        raise ProvisionFailed(f"{variables} (setting nodepool_variables) can't be read: {error.strerror}") from error
    _write_private(folder / VARIABLES, content)


async def _played(order: bytes) -> str:
    """Play a job in a process of its own; why it failed. Cancelling ends the process, and whatever it started."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "master.autoscaler.play",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None, "it was asked for"
    assert process.stdout is not None, "it was asked for"
    assert process.stderr is not None, "it was asked for"
    try:
        with contextlib.suppress(OSError, RuntimeError):  # it has ended already, as its exit code will say
            process.stdin.write(order)
            await process.stdin.drain()
        said, complaints = await asyncio.gather(process.stdout.read(), process.stderr.read())
        _ = await process.wait()
    finally:
        await _end(process)
    try:
        return str(json.loads(said.splitlines()[-1])["failure"])
    except (IndexError, ValueError, KeyError):
        return f"the play ended with exit code {process.returncode}: {_short(complaints)}"


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its stdin, at which it ends in good order; then end it."""
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is not None:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            _ = await process.wait()
            return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    _ = await process.wait()


async def _run_hook(path: Path, environment: Mapping[str, str]) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            str(path), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True, env={**os.environ, **environment},
        )  # fmt: skip
    except OSError as error:
        raise ProvisionFailed(f"hook {path.name} can't be run: {error.strerror}") from error
    assert process.stdout is not None, "it was asked for"
    try:
        said = await process.stdout.read()
        code = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            _ = await process.wait()
    if code:
        raise ProvisionFailed(f"hook {path.name} ended with exit code {code}: {_short(said)}")


def _short(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1][:_MOST_SAID] if lines else "it said nothing"
