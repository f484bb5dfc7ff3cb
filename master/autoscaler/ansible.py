"""Makes nodes of hosts with Ansible: the playbooks join.yml and release.yml, and hooks that turn hosts on and off.

    join     start hook ─► SSH answers ─► join.yml
    release  release.yml ─► stop hook

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
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from master.autoscaler.ansible_job import (
    KEY,
    KNOWN_HOSTS,
    START,
    STOP,
    Job,
    hook_environment,
    hook_variables,
    inventory_of,
    join_variables,
)
from master.autoscaler.provision import ProvisionFailed, Target
from podium.aio.clock import Clock
from podium.files import make_private_directory
from podium.telemetry.log import get_logger

_KNOCK_SECONDS = 1.0
_END_SECONDS = 10.0
_RELEASE_KNOCKS_SECONDS = 30.0
_MOST_SAID = 300
INVENTORY = "inventory/hosts.json"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsibleSettings:
    """Where things are.

    Attributes:
        playbooks: The folder of join.yml and release.yml.
        variables: A file of variables for the roles (YAML or JSON); None: none.
        hooks: The folder of hooks.
        work: A folder for jobs, private to the master.
        masters: Where nodes reach the API.
    """

    playbooks: Path
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
            await self._until_ssh_answers(target, target.seconds)
            variables = join_variables(token, self._settings.masters)
            await self._play(target, folder, self._settings.playbooks / "join.yml", variables)

    async def release(self, target: Target) -> None:
        """Make a bare host of a node, and turn it off.

        Raises:
            ProvisionFailed: It could not be done.
        """
        async with _Folder(self._settings.work, target) as folder:
            await self._until_ssh_answers(target, _RELEASE_KNOCKS_SECONDS)
            await self._play(target, folder, self._settings.playbooks / "release.yml", {})
            await self._hook(target, STOP, folder)

    async def _until_ssh_answers(self, target: Target, seconds: float) -> None:
        """Knock until somebody opens: a host that was just turned on takes its time."""
        why = "it did not answer"
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        _, writer = await asyncio.open_connection(target.address, target.port)
                    except OSError as error:
                        why = error.strerror or str(error)
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
            await self._play(target, folder, path, hook_variables(target, action))
        else:
            await _run_hook(path, hook_environment(target, action))

    async def _play(self, target: Target, folder: Path, playbook: Path, variables: Mapping[str, Any]) -> None:
        if not await asyncio.to_thread(playbook.is_file):
            raise ProvisionFailed(f"there is no playbook {playbook} on the master's host (setting nodepool_playbooks)")
        control = tempfile.mkdtemp(prefix="podium-ssh-")  # the path of a socket must be short
        job = Job(
            directory=folder,
            playbook=playbook,
            inventory=inventory_of(target, folder),
            variables=variables,
            environment=_environment(folder, control),
            seconds=target.seconds,
        )
        try:
            await asyncio.to_thread(_lay_out, job, self._settings.variables)
            failure = await _played(job, self._settings.work / f"{target.name}.lock")
        finally:
            await asyncio.to_thread(self._clear_up, folder, control, target.name)
        if failure:
            raise ProvisionFailed(failure)

    def _clear_up(self, folder: Path, control: str, host: str) -> None:
        """Keep what was said, and nothing that is secret."""
        said = sorted((folder / "artifacts").glob("*/stdout"), key=lambda path: path.stat().st_mtime)
        if said:
            shutil.copyfile(said[-1], self._settings.work / f"{host}.log")
        for name in ("artifacts", "env", "inventory"):
            shutil.rmtree(folder / name, ignore_errors=True)
        shutil.rmtree(control, ignore_errors=True)


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
        key = self._target.private_key.rstrip(b"\n") + b"\n"
        for name, content in ((KEY, key), (KNOWN_HOSTS, self._target.known_hosts)):
            _write_private(self._path / name, content)


def _write_private(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def _lay_out(job: Job, variables: Path | None) -> None:
    """Write what the play reads. Raises ProvisionFailed: the operator's variables can't be read."""
    for name in ("env", "inventory", "inventory/group_vars"):
        make_private_directory(job.directory / name)
    _write_private(job.directory / "env" / "extravars", json.dumps(dict(job.variables)).encode())
    _write_private(job.directory / INVENTORY, json.dumps(job.inventory).encode())
    if variables is None:
        return
    try:
        content = variables.read_bytes()
    except OSError as error:
        raise ProvisionFailed(f"{variables} (setting nodepool_variables) can't be read: {error.strerror}") from error
    _write_private(job.directory / "inventory/group_vars/all.yml", content)


def _environment(folder: Path, control: str) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": control,
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_NOCOLOR": "1",
    }


async def _played(job: Job, lock: Path) -> str:
    """Play a job in a process of its own; why it failed. Cancelling ends the process, and whatever it started."""
    order = {
        "directory": str(job.directory),
        "playbook": str(job.playbook),
        "inventory": str(job.directory / INVENTORY),
        "environment": dict(job.environment),
        "seconds": job.seconds,
        "lock": str(lock),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "master.autoscaler.play",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"},
    )  # fmt: skip
    assert process.stdin is not None, "it was asked for"
    assert process.stdout is not None, "it was asked for"
    assert process.stderr is not None, "it was asked for"
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
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
