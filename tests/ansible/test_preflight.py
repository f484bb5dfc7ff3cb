"""Hosts that will not do are refused before anything is changed on any, and told why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ansible.hosts import Controller, Host, recaps
from tests.ansible.inventories import inventory

PREFLIGHT = """
- hosts: podium_masters:podium_nodes
  any_errors_fatal: true
  gather_subset: ["!all", "!min", "distribution", "pkg_mgr", "python", "service_mgr", "platform"]
  roles: [{role: preflight}]
"""
FIREWALL = "/etc/ufw/ufw.conf"


def _look(controller: Controller, variables: Mapping[str, object] | None = None, *, zone: str = "UTC") -> str:
    return controller.run_playbook(
        "-i", "inventory.yml", "preflight.yml", "-e", json.dumps(variables or {}), environment={"TZ": zone}
    )


@contextmanager
def _listening(host: Host, address: str, port: int) -> Iterator[None]:
    """A program of somebody else."""
    program = f"import socket, time; taken = socket.create_server(('{address}', {port})); time.sleep(600)"
    _ = host.sh(f'systemd-run --quiet --collect --unit=taker python3 -c "{program}"')
    try:
        _ = host.sh(f"timeout 20 sh -c 'until ss -Hltn | grep -q :{port}; do sleep 0.1; done'")
        yield
    finally:
        _ = host.sh("systemctl stop taker")


@pytest.mark.timeout(600)
def test_hosts_are_looked_at_before_anything_is_changed(
    hosts: tuple[Host, ...], controller: Controller, tmp_path: Path
) -> None:
    first, second, _ = hosts
    controller.write_inventory(inventory(controller, tmp_path, nodes=["node1", "node2"]), hosts)
    (controller.directory / "preflight.yml").write_text(PREFLIGHT)
    _will_do(controller, second)
    refused: dict[str, dict[str, object]] = {
        r"the clock is -?\d s from the controller's": {"preflight_clock_skew_seconds": -1},
        r"MiB free; 99999999 are needed \(preflight_free_mib\)": {"preflight_free_mib": 99999999},
        r"Debian 12[.0-9]* is not supported: Debian 99 or Ubuntu 24.04, or newer, is needed": {
            "preflight_distributions": {"Debian": "99", "Ubuntu": "24.04"}
        },
        r"Debian 12[.0-9]* is not supported: Ubuntu 24.04, or newer,": {"preflight_distributions": {"Ubuntu": "24.04"}},
        r"Python 3[.0-9]+ is too old: Podium needs 3\.99": {"preflight_python": "3.99"},
    }
    for why, variables in refused.items():
        with pytest.raises(AssertionError, match=why):
            _look(controller, variables)
    _ports(controller, first, second)


def _will_do(controller: Controller, second: Host) -> None:
    """Also to a controller far from UTC; a firewall that is somebody else's is told of."""
    _ = second.sh(f"mkdir -p /etc/ufw && echo ENABLED=yes >{FIREWALL}")
    try:
        output = _look(controller, zone="Asia/Kolkata")
    finally:
        _ = second.sh(f"rm -r {FIREWALL} /etc/ufw")
    assert {name: (r.changed, r.failed) for name, r in recaps(output).items()} == {"node1": (0, 0), "node2": (0, 0)}
    (told,) = [line for line in output.splitlines() if "filters what comes in to this host" in line]
    assert "ufw filters" in told
    assert "TCP 7445 from nodes" in told
    assert "7443" not in told, "node2 is no master"


def _ports(controller: Controller, first: Host, second: Host) -> None:
    """At one of the host's addresses, which is not 127.0.0.1; and DNS, which is in the way at all addresses only."""
    with _listening(second, second.address, 7445), pytest.raises(AssertionError, match=_taken(7445)):
        _look(controller)
    with _listening(first, first.address, 7443), pytest.raises(AssertionError, match=_taken(7443)):
        _look(controller)
    with _listening(second, "0.0.0.0", 53), pytest.raises(AssertionError, match="port 53 is taken at every address"):
        _look(controller)
    with _listening(second, "127.0.0.53", 53):
        _ = _look(controller)


def _taken(port: int) -> str:
    return rf"port {port} is taken by another program: tcp .*python3"
