"""What Ansible is told of a host. Pure, but for what is read by the caller.

A job is a folder of its own with the inventory, the variables and the key in it, private to the master; it goes when
the job is done. The join token is in the file of extra variables, never on a command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from master.autoscaler.provision import Target

KEY, KNOWN_HOSTS, GROUP = "ssh_key", "known_hosts", "podium_nodes"
START, STOP = "start", "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A playbook and the one host that it is played for.

    Attributes:
        directory: The job's folder.
        playbook: Where it is.
        inventory: As Ansible's YAML form has it.
        variables: Extra variables.
        environment: Further environment of ansible-playbook.
        seconds: How long it may take.
    """

    directory: Path
    playbook: Path
    inventory: Mapping[str, Any]
    variables: Mapping[str, Any] = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 600.0


def inventory_of(target: Target, directory: Path) -> dict[str, Any]:
    """An inventory of one host, whose key is in `directory`."""
    host = {
        "ansible_host": target.address,
        "ansible_port": target.port,
        "ansible_user": target.user,
        "ansible_become": target.user != "root",
        "ansible_ssh_private_key_file": str(directory / KEY),
        "ansible_ssh_common_args": (
            f"-o UserKnownHostsFile={directory / KNOWN_HOSTS} -o GlobalKnownHostsFile=/dev/null "
            "-o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
        ),
        "nodelet_name": target.name,
        "nodelet_labels": dict(target.labels),
        "nodelet_taints": list(target.taints),
    }
    return {"all": {"children": {GROUP: {"hosts": {target.name: host}}}}}


def join_variables(token: str, masters: Sequence[str]) -> dict[str, Any]:
    """What join.yml wants to know besides."""
    return {"podium_join_token": token, "podium_master_address": list(masters)}


def hook_environment(target: Target, action: str) -> dict[str, str]:
    """What a hook that is a program is told."""
    return {
        "PODIUM_ACTION": action,
        "PODIUM_POOL": target.pool,
        "PODIUM_HOST": target.name,
        "PODIUM_ADDRESS": target.address,
        "PODIUM_PORT": str(target.port),
        "PODIUM_USER": target.user,
    }


def hook_variables(target: Target, action: str) -> dict[str, Any]:
    """What a hook that is a playbook is told; its inventory is the host's."""
    return {"podium_action": action, "podium_pool": target.pool, "podium_host": target.name}


class Failures:
    """Follows the events of a run: the failure that ended it, in one line."""

    def __init__(self) -> None:
        self.last = ""

    def see(self, event: Mapping[str, Any]) -> None:
        """An event of ansible-runner."""
        kind, data = event.get("event"), event.get("event_data") or {}
        if kind not in ("runner_on_failed", "runner_on_unreachable", "runner_item_on_failed"):
            return
        if data.get("ignore_errors"):
            return
        result = data.get("res") or {}
        said = result.get("msg") or result.get("stderr") or result.get("module_stderr") or "no reason given"
        if kind == "runner_item_on_failed" or (said == "One or more items failed" and self.last):
            said = said if kind == "runner_item_on_failed" else self.last.partition(": ")[2]
        word = "unreachable" if kind == "runner_on_unreachable" else data.get("task") or "a task"
        self.last = f"{word}: {' '.join(str(said).split())}"
