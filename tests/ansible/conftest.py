"""Two bare hosts and a controller for the whole run; removed afterwards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ansible.hosts import IMAGE, LABEL, NETWORK, ROOT, Controller, Host, remove_all, run, with_addresses

INVENTORY = """\
podium:
  vars:
    ansible_user: admin
    ansible_become: true
    ansible_ssh_private_key_file: {key}
    ansible_ssh_common_args: -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null
    podium_wheelhouse: {wheelhouse}
  children:
    podium_masters:
      hosts:
        alpha: {{ansible_host: ALPHA_ADDRESS}}
    podium_nodes:
      hosts:
        alpha: {{}}
        beta:
          ansible_host: BETA_ADDRESS
          nodelet_labels: {{topology.kubernetes.io/zone: b}}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/ansible" in str(item.path):
            item.add_marker(pytest.mark.ansible)


@pytest.fixture(scope="session")
def hosts() -> Iterator[tuple[Host, ...]]:
    """The machines before anything was done to them, without a way in."""
    remove_all()
    run(ROOT / "tools/rig/base-image.sh", timeout=300)
    run("docker", "build", "-q", "-t", IMAGE, "-", stdin=(ROOT / "docker/ansible-host.Dockerfile").read_bytes(),
        timeout=600, environment={"DOCKER_BUILDKIT": "0"})  # fmt: skip
    run("docker", "network", "create", "--label", LABEL, NETWORK)
    yield Host("alpha"), Host("beta")
    remove_all()


@pytest.fixture(scope="session")
def controller(hosts: tuple[Host, ...], tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """This machine with an inventory of the hosts, which run, and a wheelhouse: they need no package index."""
    program = os.environ.get("ANSIBLE_PLAYBOOK") or shutil.which("ansible-playbook")
    assert program, "ansible-playbook is missing: run `make test-ansible`, or set ANSIBLE_PLAYBOOK"
    made = Controller(directory=tmp_path_factory.mktemp("controller"), program=Path(program))
    public_key = made.make_key()
    for host in hosts:
        host.start(public_key)
    inventory = INVENTORY.format(key=made.key, wheelhouse=_wheelhouse(made.directory))
    (made.directory / "inventory.yml").write_text(with_addresses(inventory, hosts))
    return made


def _wheelhouse(directory: Path) -> Path:
    """What `pip wheel` makes of this tree, of the wheels that the rig uses too."""
    run(ROOT / "tools/rig/wheelhouse.sh", timeout=600)
    wheelhouse = directory / "wheelhouse"
    wheelhouse.mkdir()
    for wheel in [*(ROOT / ".rig/wheelhouse").glob("*.whl"), *(ROOT / ".rig/dist").glob("*.whl")]:
        shutil.copy(wheel, wheelhouse)
    return wheelhouse
