"""What Ansible is told of a host, and hooks as well. Pure.

A job's folder is private to the master, and goes when the job is done. The key and the join token reach the play
through its standard input, never through a command line.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from master.autoscaler.provision import Target

KNOWN_HOSTS, INVENTORY, VARIABLES = "known_hosts", "inventory/hosts.json", "inventory/group_vars/all.yml"
GROUP = "podium_nodes"
START, STOP = "start", "stop"


def inventory_of(target: Target, directory: Path) -> dict[str, Any]:
    """An inventory of one host, whose public key is in `directory`."""
    options = (
        "ControlMaster=auto", "ControlPersist=30s", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes",
        f'UserKnownHostsFile="{directory / KNOWN_HOSTS}"', "GlobalKnownHostsFile=/dev/null",
    )  # fmt: skip
    host = {
        "ansible_host": target.address,
        "ansible_port": target.port,
        "ansible_user": target.user,
        "ansible_become": target.user != "root",
        "ansible_ssh_args": " ".join(f"-o {option}" for option in options),
        "ansible_remote_tmp": "~/.ansible/tmp",
        "nodelet_name": target.name,
        "nodelet_labels": dict(target.labels),
        "nodelet_taints": list(target.taints),
    }
    # What is done here instead of there, too, has a place of its own: the master's user has no home.
    here = {"ansible_remote_tmp": str(directory / "tmp")}
    return {"all": {"vars": here, "children": {GROUP: {"hosts": {target.name: host}}}}}


def join_variables(token: str, masters: Sequence[str]) -> dict[str, Any]:
    """What join.yml wants to know besides."""
    return {"podium_join_token": token, "podium_master_address": list(masters)}


def order_of(target: Target, directory: Path, playbook: str, variables: Mapping[str, Any]) -> bytes:
    """A play as the process that plays it is told, on one line.

    Args:
        target: The host.
        directory: The job's folder.
        playbook: Podium's own by its name (`join`), or the path of another.
        variables: Extra variables.
    """
    order = {
        "playbook": playbook,
        "inventory": str(directory / INVENTORY),
        "variables": dict(variables),
        "key": base64.b64encode(target.private_key).decode(),
        "seconds": target.seconds,
        "lock": str(directory.parent / f"{target.name}.lock"),
        "log": str(directory.parent / f"{target.name}.log"),
    }
    return json.dumps(order).encode() + b"\n"


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
