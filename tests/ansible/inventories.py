"""Inventories as README's reader writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.ansible.hosts import Controller


def inventory(
    controller: Controller, wheelhouse: Path, *, master: str = "node1", nodes: Sequence[str],
    nodelet: Mapping[str, Any] | None = None, more: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """An inventory as README's reader writes it. Leases are long, as these hosts share one machine with its tests."""
    settings = {
        "ansible_user": "admin", "ansible_become": True, "ansible_ssh_private_key_file": str(controller.key),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
        "podium_wheelhouse": str(wheelhouse), "master_settings": {"lease": "30s"},
        "nodelet_settings": dict(nodelet or {}), **(more or {}),
    }  # fmt: skip
    hosts = {name: {"ansible_host": f"{name.upper()}_ADDRESS"} for name in {master, *nodes}}
    labelled = {name: {"nodelet_labels": {"topology.kubernetes.io/zone": name}, **hosts[name]} for name in nodes}
    groups = {"podium_masters": {"hosts": {master: hosts[master]}}, "podium_nodes": {"hosts": labelled}}
    return yaml.safe_dump({"podium": {"vars": settings, "children": groups}})
