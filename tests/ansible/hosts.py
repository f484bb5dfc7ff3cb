"""Hosts for Ansible: containers that are whole Debian hosts with systemd and SSH, and nothing of Podium or Docker.

They have names and a network of their own, so that they never meet the rig, and all that is made
here carries one label, by which it is found and removed.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "podium/ansible-host:test"
# Another name lets two runs share an engine.
LABEL = os.environ.get("PODIUM_ANSIBLE_TEST", "podium-ansible")
NETWORK = f"{LABEL}-hosts"
PLAY_SECONDS = 900.0

# What a host in a container needs; `--privileged` would ask for more and fails on hardened kernels.
_AS_A_HOST = (
    "--cap-add=ALL", "--cap-drop=SYS_RESOURCE",
    "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined", "--security-opt=systempaths=unconfined",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec",
)  # fmt: skip


def run(
    *command: str | Path,
    check: bool = True,
    timeout: float = 60,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path = ROOT,
) -> str:
    """Run a command and return what it printed; a failure shows everything that it said.

    Raises:
        AssertionError: It failed, and `check`.
    """
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True, timeout=timeout, input=stdin, cwd=directory,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    out = done.stdout.decode(errors="replace")
    if check and done.returncode:
        words = " ".join(map(str, command))
        raise AssertionError(f"{words}: exit {done.returncode}\n{out}\n{done.stderr.decode(errors='replace')}")
    return out


@dataclass(frozen=True, slots=True)
class Host:
    """One host."""

    name: str

    @property
    def container(self) -> str:
        """The host's container on this machine's engine."""
        return f"{LABEL}-{self.name}"

    @property
    def address(self) -> str:
        """The host's address in its network."""
        return run("docker", "inspect", "--format", f'{{{{(index .NetworkSettings.Networks "{NETWORK}").IPAddress}}}}',
                   self.container).strip()  # fmt: skip

    def start(self, public_key: Path) -> None:
        """Power on, and wait until systemd has started everything. The key's owner may log in as `admin`."""
        run("docker", "run", "--detach", "--name", self.container, "--hostname", self.name, "--network", NETWORK,
            "--label", LABEL, *_AS_A_HOST, IMAGE)  # fmt: skip
        self.sh(
            "install -o admin -g admin -m 0600 /dev/stdin /home/admin/.ssh/authorized_keys",
            stdin=public_key.read_bytes(),
        )
        self.sh("timeout 50 sh -c 'until systemctl is-system-running --wait; do sleep 0.1; done'")

    def remove(self) -> None:
        """Take the machine away, with its disks."""
        run("docker", "rm", "--force", "--volumes", self.container)

    def sh(self, command: str, *, check: bool = True, stdin: bytes | None = None, timeout: float = 60) -> str:
        """Run a shell command on the host, as root."""
        return run("docker", "exec", "--interactive", self.container, "sh", "-c", command, check=check, stdin=stdin,
                   timeout=timeout)  # fmt: skip

    def load_image(self, image: str) -> None:
        """Give the host's engine an image of this machine's: no registry is needed to run a pod."""
        saved = subprocess.run(["docker", "save", image], check=True, capture_output=True, timeout=60).stdout
        self.sh("docker load", stdin=saved)


def remove_all() -> None:
    """Remove every host with its volumes, and their network; also those of a run that was killed."""
    for container in run("docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}").split():
        run("docker", "rm", "--force", "--volumes", container)
    for network in run("docker", "network", "ls", "--quiet", "--filter", f"label={LABEL}").split():
        run("docker", "network", "rm", network)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recap:
    """What ansible-playbook says of one host at its end."""

    ok: int
    changed: int
    unreachable: int
    failed: int


_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


def recaps(output: str) -> dict[str, Recap]:
    """The recap at the end of a run, by host."""
    return {
        name: Recap(ok=int(ok), changed=int(changed), unreachable=int(unreachable), failed=int(failed))
        for name, ok, changed, unreachable, failed in _RECAP.findall(output)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """The machine that Ansible runs on: this one.

    Attributes:
        directory: Holds the inventory, the key that opens the hosts, and `ansible`, a link to the playbooks.
        program: ansible-playbook.
    """

    directory: Path
    program: Path

    @property
    def key(self) -> Path:
        """The private key."""
        return self.directory / "key"

    @property
    def admin_config(self) -> Path:
        """Where the administrator's configuration is kept: beside the inventory."""
        return self.directory / "admin.yaml"

    def make_key(self) -> Path:
        """Make a key; returns the public one."""
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        return self.key.with_suffix(".pub")

    def write_inventory(self, inventory: str, hosts: Sequence[Host]) -> None:
        """Make this the inventory, with the addresses of the hosts in place of `NAME_ADDRESS`."""
        for host in hosts:
            inventory = inventory.replace(f"{host.name.upper()}_ADDRESS", host.address)
        (self.directory / "inventory.yml").write_text(inventory)

    def move(self, host: Host, was: str) -> None:
        """The host has another address than the one that the inventory says."""
        path = self.directory / "inventory.yml"
        path.write_text(re.sub(rf"\b{re.escape(was)}(?![\d.])", host.address, path.read_text()))

    def play(self, playbook: str, *more: str, timeout: float = PLAY_SECONDS) -> str:
        """Run the line of README that runs a playbook, with `more` arguments; returns what it printed."""
        _, *arguments = shlex.split(lines_of_readme()[playbook].replace("$PWD", str(self.directory)))
        return self.run_playbook(*arguments, *more, timeout=timeout)

    def run_playbook(
        self, *arguments: str | Path, timeout: float = PLAY_SECONDS, environment: Mapping[str, str] | None = None
    ) -> str:
        """Run ansible-playbook beside the inventory, in an environment of its own; returns what it printed."""
        return run(
            self.program, *arguments,
            timeout=timeout, directory=self.directory,
            environment={
                "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"),
                "ANSIBLE_HOME": str(self.directory / "home"),
                "ANSIBLE_NOCOLOR": "1",
                **(environment or {}),
            },
        )  # fmt: skip


def lines_of_readme() -> dict[str, str]:
    """The lines of README's section on real hosts that run playbooks, by playbook, in order."""
    section = (ROOT / "README.md").read_text().partition("## On real hosts")[2].partition("\n## ")[0]
    lines = [line.partition("#")[0].strip() for line in section.splitlines() if line.startswith("ansible-playbook ")]
    return {re.findall(r"playbooks/(\S+)", line)[0]: line for line in lines}
