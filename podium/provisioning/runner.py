"""Plays a playbook: ansible-runner in a thread of its own, its events in the event loop, its end as an `Outcome`.

The SSH key and the variables, which may be secrets, are in no command line: they lie in the run's own folder
(`workplace`), which goes with the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.errors import BadRequest, NotFound
from podium.provisioning.events import Event, Outcome, Tally
from podium.provisioning.playbooks import tree
from podium.provisioning.workplace import MARK, workplace

TIMEOUT_SECONDS = 1800.0
STOP_SECONDS = 15.0
"""How long a run that is cancelled may take to end its processes."""
_LOOK_SECONDS = 1
_INSTALL = "install it with: pip install 'podium[ansible]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What is to be played."""

    playbook: Path
    inventory: Path | Mapping[str, Any]
    extra: Mapping[str, Any]
    limit: Sequence[str]
    key: bytes | None = field(repr=False)
    known_hosts: Path | None
    timeout: float


async def play(
    playbook: Path,
    inventory: Path | Mapping[str, Any],
    *,
    tell: Callable[[Event], None] = lambda event: None,
    extra: Mapping[str, Any] | None = None,
    limit: Sequence[str] = (),
    key: bytes | None = None,
    known_hosts: Path | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Outcome:
    """Run a playbook to its end. Cancelling ends it and its processes; what it did on hosts stays.

    A host's key is taken for its own when it is first seen (`StrictHostKeyChecking=accept-new`), and must not change.

    Args:
        playbook: The file; `podium.provisioning.playbook(name)` finds Podium's own.
        inventory: An inventory file, or what one in YAML would hold (`{"all": {"children": ...}}`).
        tell: Called in the event loop with each event, in order; must not block.
        extra: Variables that win over all others. They may be secrets.
        limit: Hosts, groups or patterns to keep to; all when empty.
        key: The private key (PEM) to reach hosts with; it wins over the inventory's. Without one, what SSH has.
        known_hosts: Where keys of hosts are kept; without it, where SSH keeps them.
        timeout: Seconds; the run is ended after that, and its outcome says so.

    Raises:
        NotFound: Ansible, a playbook or an inventory is missing; says what to install.
        BadRequest: `limit` holds something that is no pattern of hosts.
    """
    order = _Order(
        playbook=playbook, inventory=inventory, extra=extra or {}, limit=limit, key=key, known_hosts=known_hosts,
        timeout=timeout,
    )  # fmt: skip
    _check(order)
    loop, stop = asyncio.get_running_loop(), threading.Event()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ansible")

    def heard(event: Event) -> None:
        loop.call_soon_threadsafe(tell, event)

    try:
        running = loop.run_in_executor(pool, _run, order, heard, stop.is_set)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            done, _ = await asyncio.wait({running}, timeout=STOP_SECONDS)
            for ended in done:
                _ = ended.exception()  # nobody waits for it any more
            raise
    finally:
        pool.shutdown(wait=False)


def _check(order: _Order) -> None:
    for path in (order.playbook, order.inventory):
        if isinstance(path, Path) and not path.exists():
            raise NotFound(f"{path} does not exist")
    for pattern in order.limit:
        if not pattern or pattern.startswith(("-", "@")) or any(c.isspace() or c in ",'\"" for c in pattern):
            raise BadRequest(f'"{pattern}" is no name of a host or group')


def _program() -> str:
    """The folder of ansible-playbook: beside this Python, or wherever PATH says."""
    beside = Path(sys.executable).parent
    found = shutil.which("ansible-playbook", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise NotFound(f"ansible-playbook is missing; {_INSTALL}")
    return str(Path(found).parent)


def _run(order: _Order, tell: Callable[[Event], None], stopped: Callable[[], bool]) -> Outcome:
    """Blocks until the playbook has come to its end."""
    try:
        import ansible_runner  # nobody but this pays for it
    except ImportError as error:
        raise NotFound(f"ansible-runner is missing ({error}); {_INSTALL}") from error
    programs, tally = _program(), Tally()

    def heard(raw: Mapping[str, Any]) -> bool:
        if (event := tally.take(raw)) is not None:
            tell(event)
        return False  # it need not write the event to a file

    with workplace() as folder:
        ran = ansible_runner.run(
            private_data_dir=str(folder),
            project_dir=str(order.playbook.resolve().parent),
            playbook=str(order.playbook.resolve()),
            inventory=_inventory(order),
            extravars=_variables(order, folder),
            limit=",".join(order.limit) or None,
            envvars=_environment(order, folder, programs),
            settings={
                "job_timeout": max(1, int(order.timeout)),
                "pexpect_timeout": _LOOK_SECONDS,
                "suppress_output_file": True,
                "suppress_ansible_output": True,
            },
            event_handler=heard,
            cancel_callback=stopped,
            quiet=True,
        )
        for raw in unread(Path(ran.config.artifact_dir)):
            heard(raw)
    return tally.outcome(code=int(ran.rc or 0), cut_off=_cut_off(str(ran.status), order.timeout))


def unread(artifacts: Path) -> list[Mapping[str, Any]]:
    """Events that Ansible left and ansible-runner has not read, in order.

    It stops reading when it sees that the program has ended, and what came between its last look and that end stays in
    the terminal (pexpect, "truncated output just before child exits"). Each event is a file until it was read.
    """
    found = [json.loads(path.read_bytes()) for path in (artifacts / "job_events").glob("*-partial.json")]
    return sorted(found, key=lambda raw: str(raw.get("created", "")))


def _cut_off(status: str, timeout: float) -> str:
    return {"timeout": f"not done within {timeout:g} s", "canceled": "cancelled"}.get(status, "")


def _inventory(order: _Order) -> Any:
    if isinstance(order.inventory, Path):
        return str(order.inventory.resolve())
    return dict(order.inventory)


def _variables(order: _Order, folder: Path) -> dict[str, Any]:
    """The extra variables, and where the key is: it is never in a command line."""
    variables = dict(order.extra)
    if order.key is not None:
        path = folder / "key"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(order.key.rstrip(b"\n") + b"\n")
        variables["ansible_ssh_private_key_file"] = str(path)
    return variables


def _environment(order: _Order, folder: Path, programs: str) -> dict[str, str]:
    ssh = ["ControlMaster=auto", "ControlPersist=30s", "StrictHostKeyChecking=accept-new"]
    if order.known_hosts is not None:
        ssh.append(f'UserKnownHostsFile="{order.known_hosts}"')
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        MARK: str(folder),
        "ANSIBLE_CONFIG": str(tree() / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "home"),
        # Below the user's home by default, whatever ANSIBLE_HOME says: too long a path for a socket where that is deep.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        "ANSIBLE_SSH_ARGS": " ".join(f"-o {option}" for option in ssh),
        # ansible-runner turns it off where nothing is said.
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
