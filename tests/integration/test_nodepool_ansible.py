"""The Ansible provisioner without Ansible's doing: what it is told, hooks, knocking, and what is left behind."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from master.autoscaler.ansible import AnsibleProvisioner, AnsibleSettings
from master.autoscaler.ansible_job import inventory_of, join_variables, order_of
from master.autoscaler.provision import ProvisionFailed, Target
from podium.aio.clock import SystemClock
from tests.support.waiting import until

SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----\nnot one\n"


def target(
    *, address: str = "127.0.0.1", port: int = 9, user: str = "admin", seconds: float = 20.0, **hooks: str
) -> Target:
    return Target(
        pool="batch",
        name="b1",
        address="127.0.0.1",
        port=port,
        user=user,
        labels={"disk": "ssd"},
        taints=["tier=batch:NoSchedule"],
        private_key=SECRET,
        known_hosts=b"127.0.0.1 ssh-ed25519 AAAA",
        seconds=seconds,
        **hooks,
    )


def provisioner(folder: Path, *, variables: Path | None = None) -> AnsibleProvisioner:
    hooks = folder / "hooks"
    hooks.mkdir(exist_ok=True)
    settings = AnsibleSettings(variables=variables, hooks=hooks, work=folder / "work", masters=["10.0.0.1:7443"])
    return AnsibleProvisioner(settings, SystemClock())


def hook(folder: Path, name: str, script: str) -> None:
    path = folder / "hooks" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_inventory_reaches_one_host_and_trusts_only_its_known_key(tmp_path: Path) -> None:
    inventory = inventory_of(target(), tmp_path)
    host = inventory["all"]["children"]["podium_nodes"]["hosts"]["b1"]
    assert (host["ansible_host"], host["ansible_port"], host["ansible_user"]) == ("127.0.0.1", 9, "admin")
    assert host["ansible_become"] is True
    assert "StrictHostKeyChecking=yes" in host["ansible_ssh_args"]
    assert f'UserKnownHostsFile="{tmp_path}/known_hosts"' in host["ansible_ssh_args"]
    assert host["nodelet_labels"] == {"disk": "ssd"}
    assert host["nodelet_taints"] == ["tier=batch:NoSchedule"]


def test_root_does_not_become_root(tmp_path: Path) -> None:
    inventory = inventory_of(target(user="root"), tmp_path)
    assert inventory["all"]["children"]["podium_nodes"]["hosts"]["b1"]["ansible_become"] is False


def test_secrets_are_in_the_order_and_nowhere_else(tmp_path: Path) -> None:
    order = json.loads(order_of(target(), tmp_path / "b1", "join", join_variables("TOKEN", ["m:7443"])))
    assert order["variables"] == {"podium_join_token": "TOKEN", "podium_master_address": ["m:7443"]}
    assert base64.b64decode(order["key"]) == SECRET
    assert order["lock"] == str(tmp_path / "b1.lock")
    assert "TOKEN" not in json.dumps(inventory_of(target(), tmp_path))
    assert "not one" not in repr(target())


async def test_a_host_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProvisionFailed, match=r"SSH did not answer at 127\.0\.0\.1:9 \(.*refused.*\)"):
        await provisioner(tmp_path).join(target(seconds=0.3), "TOKEN")
    assert list((tmp_path / "work").glob("*/")) == [], "nothing of the job is left"


async def test_hooks_are_told_of_the_host_and_what_they_say_is_told(tmp_path: Path) -> None:
    made = provisioner(tmp_path)
    hook(tmp_path, "wake", 'echo "$PODIUM_ACTION $PODIUM_POOL $PODIUM_HOST $PODIUM_ADDRESS:$PODIUM_PORT"; exit 3')
    with pytest.raises(ProvisionFailed, match=r"hook wake ended with exit code 3: start batch b1 127\.0\.0\.1:9"):
        await made.join(target(start="wake"), "TOKEN")


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be played, in order; Ansible itself is left out."""
    plays: list[str] = []

    async def played(order: bytes) -> str:
        plays.append(json.loads(order)["playbook"])
        return ""

    monkeypatch.setattr("master.autoscaler.ansible._played", played)
    return plays


@asynccontextmanager
async def somebody_listens() -> AsyncIterator[int]:
    """A port that answers, as SSH's."""
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_host_is_woken_before_it_joins_and_put_to_sleep_after_it_is_released(
    tmp_path: Path, answered: list[str]
) -> None:
    made, seen = provisioner(tmp_path), tmp_path / "seen"
    for name in ("wake", "sleep"):
        hook(tmp_path, name, f'echo "$PODIUM_ACTION $PODIUM_HOST $PODIUM_USER" >> {seen}')
    async with somebody_listens() as port:
        host = target(port=port, start="wake", stop="sleep")
        await made.join(host, "TOKEN")
        assert (seen.read_text().splitlines(), answered) == (["start b1 admin"], ["join"])
        await made.release(host)
    assert seen.read_text().splitlines() == ["start b1 admin", "stop b1 admin"]
    assert answered == ["join", "release"]


async def test_a_stop_hook_that_fails_is_told(tmp_path: Path, answered: list[str]) -> None:
    made = provisioner(tmp_path)
    hook(tmp_path, "sleep", "echo the power supply does not answer; exit 4")
    async with somebody_listens() as port:
        with pytest.raises(ProvisionFailed, match=r"hook sleep ended with exit code 4: the power supply does not"):
            await made.release(target(port=port, stop="sleep"))
    assert answered == ["release"]


async def test_a_host_that_a_dead_master_turned_off_is_released_by_its_stop_hook(
    tmp_path: Path, answered: list[str]
) -> None:
    made, seen = provisioner(tmp_path), tmp_path / "seen"
    hook(tmp_path, "sleep", f"echo $PODIUM_ACTION >> {seen}")
    await made.release(target(seconds=0.3, stop="sleep"))
    assert (seen.read_text(), answered) == ("stop\n", [])
    with pytest.raises(ProvisionFailed, match="SSH did not answer"):
        await made.release(target(seconds=0.3))


async def test_a_hook_that_is_a_playbook_is_played_with_the_host_as_its_inventory(tmp_path: Path) -> None:
    """By Ansible itself: the tasks run here, so no host is needed."""
    made, seen = provisioner(tmp_path), tmp_path / "seen"
    line = "{{ inventory_hostname }} {{ ansible_host }} {{ podium_action }} {{ podium_pool }} {{ podium_host }}"
    task = {"ansible.builtin.copy": {"content": line, "dest": str(seen)}, "delegate_to": "localhost", "become": False}
    refusal = {"ansible.builtin.fail": {"msg": "no such socket"}, "delegate_to": "localhost", "become": False}
    for name, tasks in {"wake.yml": [task], "broken.yaml": [refusal]}.items():
        playbook = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
        (tmp_path / "hooks" / name).write_text(json.dumps(playbook))
    with pytest.raises(ProvisionFailed, match="no such socket"):
        await made.join(target(seconds=60, start="broken.yaml"), "TOKEN")
    async with somebody_listens() as port:  # which is no SSH: what follows the hook fails
        with pytest.raises(ProvisionFailed, match=r"(?i)failed to connect to the host via ssh|closed|reset"):
            await made.join(target(port=port, seconds=60, start="wake.yml"), "TOKEN")
    assert seen.read_text() == "b1 127.0.0.1 start batch b1"


async def test_a_hook_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProvisionFailed, match="there is no hook wake in"):
        await provisioner(tmp_path).join(target(start="wake"), "TOKEN")


async def test_a_hook_that_hangs_ends_with_its_host(tmp_path: Path) -> None:
    made, mark = provisioner(tmp_path), tmp_path / "pid"
    hook(tmp_path, "wake", f"echo $$ > {mark}; exec sleep 1000")
    task = asyncio.get_running_loop().create_task(made.join(target(start="wake"), "TOKEN"))
    await until(lambda: mark.exists() and mark.read_text().strip())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()


async def test_files_of_a_job_are_private(tmp_path: Path) -> None:
    made, seen = provisioner(tmp_path), tmp_path / "seen"
    hook(tmp_path, "wake", f"stat -c '%a %n' {tmp_path}/work/b1 {tmp_path}/work/b1/known_hosts > {seen}; exit 1")
    with pytest.raises(ProvisionFailed):
        await made.join(target(start="wake"), "TOKEN")
    assert [line.split()[0] for line in seen.read_text().splitlines()] == ["700", "600"]
    assert stat.S_IMODE((tmp_path / "work").stat().st_mode) == 0o700


async def test_variables_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(ProvisionFailed, match=r"missing\.yml \(setting nodepool_variables\) can't be read"):
            await provisioner(tmp_path, variables=tmp_path / "missing.yml").join(target(port=port), "TOKEN")


async def test_a_host_that_hangs_up_fails_with_what_ssh_says(tmp_path: Path) -> None:
    """A whole play in its own process, against somebody who does not speak SSH."""
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(ProvisionFailed, match=r"(?i)failed to connect to the host via ssh|closed|reset"):
            await provisioner(tmp_path).join(target(port=port, seconds=60), "TOKEN")
    log = (tmp_path / "work" / "b1.log").read_text()
    assert "unreachable" in log
    assert "TOKEN" not in log
    assert list((tmp_path / "work").glob("*/")) == []
