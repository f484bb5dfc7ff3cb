"""`podium cluster`, on hosts of its own: made, looked at, grown, upgraded, shrunk; and what it says when it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from podium.provisioning import inventory
from tests.ansible.hosts import ROOT, Host, run

PODIUM = Path(sys.executable).parent / "podium"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where somebody sits who has hosts, a key to them and a wheelhouse."""

    folder: Path
    wheelhouse: Path

    def cluster(self, *words: str, code: int = 0) -> tuple[str, str]:
        """Run `podium cluster WORDS`; what it wrote to standard output and to standard error."""
        done = subprocess.run(
            [str(PODIUM), "cluster", *words], cwd=self.folder, capture_output=True, text=True, timeout=900,
            env={**os.environ, "HOME": str(self.folder), "PODIUM_CONFIG": str(self.folder / "none")},
        )  # fmt: skip
        assert done.returncode == code, f"podium cluster {' '.join(words)}: {done}"
        return done.stdout, done.stderr

    def podium(self, *words: str) -> str:
        """Run another command on the cluster."""
        return run(PODIUM, *words, environment={"PODIUM_CONFIG": str(self.folder / "admin.yaml")})

    @property
    def nodes(self) -> set[str]:
        """The names of the nodes in the inventory."""
        text = (self.folder / "podium-cluster.yml").read_text()
        return {host.name for host in inventory.hosts(text) if host.is_node}


@pytest.fixture
def machines(hosts: tuple[Host, ...]) -> Iterator[tuple[Host, Host]]:
    """Two further hosts, which run; `hosts` made the image and the network, and removes everything."""
    made = Host("gamma"), Host("delta")
    yield made
    for host in made:
        run("docker", "rm", "--force", "--volumes", host.container, check=False)


@pytest.fixture
def desk(machines: tuple[Host, Host], tmp_path: Path) -> Desk:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    for host in machines:
        host.start(tmp_path / "key.pub")
    wheelhouse = tmp_path / "wheelhouse"
    wheelhouse.mkdir()
    run(ROOT / "tools/rig/wheelhouse.sh", timeout=600)
    for wheel in [*(ROOT / ".rig/wheelhouse").glob("*.whl"), *(ROOT / ".rig/dist").glob("*.whl")]:
        shutil.copy(wheel, wheelhouse)
    return Desk(folder=tmp_path, wheelhouse=wheelhouse)


@pytest.mark.timeout(1800)
def test_a_clusters_life_without_a_word_of_ansible(machines: tuple[Host, Host], desk: Desk) -> None:
    gamma, delta = machines
    _a_host_that_lets_nobody_in(gamma, desk)
    _made(gamma, desk)
    _grown(delta, desk)
    _upgraded(desk)
    _shrunk(delta, desk)


def _a_host_that_lets_nobody_in(gamma: Host, desk: Desk) -> None:
    out, err = desk.cluster(
        "init", "--master", f"gamma={gamma.address}", "--node", "gamma", "--user", "nobody-here", "--key", "key",
        "--wheelhouse", str(desk.wheelhouse), code=1,
    )  # fmt: skip
    assert "gamma   unreachable" in out
    (line,) = [line for line in err.splitlines() if line.startswith("error: gamma: ")]
    assert "Permission denied" in line
    assert "go on with: podium cluster init" in err
    (desk.folder / "podium-cluster.yml").unlink()


def _made(gamma: Host, desk: Desk) -> None:
    words = ("init", "--master", f"gamma={gamma.address}", "--node", "gamma", "--user", "admin", "--key", "key")
    out, _ = desk.cluster(*words, "--wheelhouse", str(desk.wheelhouse))
    assert "Install:" in out.splitlines(), "no progress was told"
    assert any(line.startswith("gamma: podium: ") and line.endswith(": changed") for line in out.splitlines())
    assert f"export PODIUM_CONFIG={desk.folder / 'admin.yaml'}" in out
    assert "gamma" in desk.podium("get", "nodes")
    out, _ = desk.cluster("init")
    assert "gamma   ok, nothing changed" in out
    _, err = desk.cluster(*words, code=1)
    assert "podium-cluster.yml exists" in err


def _grown(delta: Host, desk: Desk) -> None:
    out, _ = desk.cluster("add", f"delta={delta.address}", "--label", "disk=ssd", "--taint", "dedicated=db:NoSchedule")
    assert "delta   ok, " in out
    assert desk.nodes == {"gamma", "delta"}
    assert desk.podium("get", "nodes", "-l", "disk=ssd", "-o", "name").split() == ["node/delta"]
    out, err = desk.cluster("status")
    assert err == ""
    table = [line.split() for line in out.splitlines()]
    assert [row[0] for row in table] == ["NAME", "gamma", "delta"]
    assert table[1][2:5] == ["master,node", "ok", "Ready"]
    assert table[2][1:5] == [delta.address, "node", "ok", "Ready"]


def _upgraded(desk: Desk) -> None:
    """To the same programs in another wheelhouse, which is a release of its own."""
    newer = desk.folder / "newer"
    shutil.copytree(desk.wheelhouse, newer)
    wheel = next(newer.glob("podium-*.whl"))
    wheel.rename(wheel.with_name(wheel.name.replace("-py3-", "-1-py3-")))  # another build of the same version
    out, _ = desk.cluster("upgrade", "--wheelhouse", str(newer))
    assert "gamma   ok, " in out
    assert "delta   ok, " in out
    assert str(newer) in (desk.folder / "podium-cluster.yml").read_text()
    out, _ = desk.cluster("status")
    assert out.count("Ready") == 2
    assert "SchedulingDisabled" not in out


def _shrunk(delta: Host, desk: Desk) -> None:
    delta.sh("systemctl stop podium-nodelet")
    desk.podium("wait", "--for=condition=Ready=Unknown", "node/delta", "--timeout=30s")
    out, err = desk.cluster("status", code=1)
    assert "NotReady" in out
    assert "error: delta: not Ready" in err
    delta.sh("systemctl start podium-nodelet")
    desk.cluster("remove", "delta")
    assert desk.nodes == {"gamma"}
    assert desk.podium("get", "nodes", "-o", "name").split() == ["node/gamma"]
    assert not delta.sh("ls -d /opt/podium /etc/podium 2>/dev/null || true").strip()
    _, err = desk.cluster("remove", "delta", code=1)
    assert "delta is not in podium_nodes" in err
