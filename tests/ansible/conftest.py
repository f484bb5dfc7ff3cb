"""Three bare hosts and a controller for the whole run; removed afterwards."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import podium
from tests.ansible.hosts import IMAGE, LABEL, NETWORK, ROOT, Controller, Host, remove_all, run

NEXT_VERSION = "99.0.0"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/ansible" in str(item.path):
            item.add_marker(pytest.mark.ansible)


@pytest.fixture(scope="session")
def hosts() -> Iterator[tuple[Host, ...]]:
    """The machines before anything was done to them, without a way in."""
    remove_all()
    run(ROOT / "tools/rig/base-image.sh", timeout=300)
    run(ROOT / "tools/test-images.sh", timeout=300)
    run("docker", "build", "-q", "-t", IMAGE, "-", stdin=(ROOT / "docker/ansible-host.Dockerfile").read_bytes(),
        timeout=600, environment={"DOCKER_BUILDKIT": "0"})  # fmt: skip
    run("docker", "network", "create", "--label", LABEL, NETWORK)
    yield Host("node1"), Host("node2"), Host("node3")
    remove_all()


@pytest.fixture(scope="session")
def controller(hosts: tuple[Host, ...], tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """This machine, and the hosts running: what a person has who follows README."""
    program = os.environ.get("ANSIBLE_PLAYBOOK") or shutil.which("ansible-playbook")
    assert program, "ansible-playbook is missing: run `make test-ansible`, or set ANSIBLE_PLAYBOOK"
    made = Controller(directory=tmp_path_factory.mktemp("controller"), program=Path(program))
    (made.directory / "ansible").symlink_to(ROOT / "ansible")
    public_key = made.make_key()
    for host in hosts:
        host.start(public_key)
    return made


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two wheelhouses, so that hosts need no package index: this tree, and the same as another version."""
    run(ROOT / "tools/rig/wheelhouse.sh", timeout=600)
    folder = tmp_path_factory.mktemp("releases")
    this, following, ansible = folder / "this", folder / "next", folder / "ansible"
    wanted = run(sys.executable, ROOT / "tools/rig/requirements.py", "ansible").split("\n")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "-c", ROOT / "constraints.txt",
        "-w", ansible, *filter(None, wanted), timeout=300)  # fmt: skip
    for wheelhouse in (this, following):
        wheelhouse.mkdir()
        for wheel in [*(ROOT / ".rig/wheelhouse").glob("*.whl"), *ansible.glob("*.whl")]:
            _ = shutil.copy(wheel, wheelhouse)
    for wheel in (ROOT / ".rig/dist").glob("*.whl"):
        shutil.copy(wheel, this)
    _build(folder / "tree", following, NEXT_VERSION)
    return this, following


def _build(tree: Path, to: Path, version: str) -> None:
    """Build a wheel of this tree under another version."""
    tree.mkdir()
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("master", "nodelet", "podium", "ansible"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    text = (ROOT / "pyproject.toml").read_text()
    (tree / "pyproject.toml").write_text(text.replace(f'version = "{podium.__version__}"', f'version = "{version}"', 1))
    text = (ROOT / "podium/__init__.py").read_text()
    (tree / "podium/__init__.py").write_text(text.replace(f'"{podium.__version__}"', f'"{version}"', 1))
    run(sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "--no-build-isolation",
        "-w", to, tree, timeout=300)  # fmt: skip
