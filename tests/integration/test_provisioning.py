"""Ansible really run, against this machine and without SSH; and playbooks found where a wheel puts them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from podium.errors import NotFound
from podium.provisioning import Event, Happened, HostState, play
from podium.provisioning.playbooks import tree
from podium.provisioning.workplace import workplace
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nof-this-test\n-----END OPENSSH PRIVATE KEY-----"


def inventory(*hosts: str) -> dict[str, Any]:
    return {"all": {"hosts": {host: dict(LOCAL) for host in hosts}}}


def write(path: Path, *tasks: dict[str, Any]) -> Path:
    path.write_text(json.dumps([{"name": "P", "hosts": "all", "gather_facts": False, "tasks": list(tasks)}]))
    return path


def command(name: str, *words: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "ansible.builtin.command": {"argv": list(words)}, **more}


def runs(pid: str) -> bool:
    """Whether a process does anything still: one that ended may wait for somebody to ask how."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def files(folder: Path) -> set[str]:
    """Every file below a folder, also where links lead."""
    found = (Path(where, name) for where, _, names in os.walk(folder, followlinks=True) for name in names)
    return {str(path.relative_to(folder)) for path in found}


async def test_each_host_comes_out_by_itself_and_says_why(tmp_path: Path) -> None:
    events: list[Event] = []
    book = write(
        tmp_path / "book.yml",
        command("Say", "echo", "{{ word }}"),
        {"name": "Tell", "ansible.builtin.debug": {"msg": "{{ inventory_hostname }} has a firewall"}},
        {
            "name": "Judge",
            "ansible.builtin.assert": {"that": "inventory_hostname != 'two'", "fail_msg": "two is\nwrong"},
        },
    )
    outcome = await play(book, inventory("one", "two"), extra={"word": "hello"}, tell=events.append)
    assert not outcome.ok
    assert outcome.hosts["one"].state is HostState.OK
    assert outcome.hosts["one"].changed == 1
    assert outcome.sentence == "two: Judge: two is wrong"
    assert Event(what=Happened.CHANGED, host="one", task="Say") in events
    assert Event(what=Happened.TOLD, host="one", task="Tell", message="one has a firewall") in events
    assert Event(what=Happened.FAILED, host="two", task="Judge", message="two is wrong") in events
    assert [event.task for event in events if event.what is Happened.TASK] == ["Say", "Tell", "Judge"]


async def test_the_key_is_in_a_private_file_only_and_goes_with_the_run(tmp_path: Path) -> None:
    look = """
import os, pathlib, sys
path, secret = pathlib.Path(sys.argv[1]), sys.argv[2]
assert path.read_bytes().startswith(b"-----BEGIN"), "no key"
assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit() and int(entry.name) != os.getpid():
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        assert b"of-this-test" not in words
        if b"ansible-playbook" in words:
            assert secret.encode() not in words
print(path.parent)
"""
    (tmp_path / "look.py").write_text(look)
    told = tmp_path / "told"
    book = write(
        tmp_path / "book.yml",
        command("Look", sys.executable, str(tmp_path / "look.py"), "{{ ansible_ssh_private_key_file }}", "{{ secret }}",
                register="found"),
        {"name": "Tell", "ansible.builtin.copy": {"content": "{{ found.stdout }}", "dest": str(told), "mode": "0600"}},
    )  # fmt: skip
    outcome = await play(book, inventory("one"), key=KEY, extra={"secret": "s3cr3t-variable"})
    assert outcome.ok, outcome.sentence
    assert not Path(told.read_text()).exists()


async def test_cancelling_ends_every_process_of_the_run(tmp_path: Path) -> None:
    begun = tmp_path / "pid"
    book = write(tmp_path / "book.yml", command("Sleep", "sh", "-c", f"echo $$ > {begun}; exec sleep 600"))
    running = asyncio.get_running_loop().create_task(play(book, inventory("one")))
    pid = await until(lambda: begun.read_text().strip() if begun.exists() else "", seconds=60)
    assert runs(pid)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not runs(pid), what="a process outlived its run")


async def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    book = write(tmp_path / "book.yml", command("Sleep", "sleep", "600"))
    outcome = await play(book, inventory("one"), timeout=1)
    assert not outcome.ok
    assert outcome.sentence == "not done within 1 s"


async def test_a_playbook_that_is_none_says_so_in_one_line(tmp_path: Path) -> None:
    book = write(tmp_path / "book.yml", {"name": "X", "no_such_module": {}})
    outcome = await play(book, inventory("one"))
    assert "no_such_module" in outcome.sentence
    assert "\n" not in outcome.sentence


async def test_a_missing_inventory_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.yml does not exist"):
        await play(write(tmp_path / "book.yml"), tmp_path / "nowhere.yml")


async def test_podiums_own_playbooks_are_taken_by_ansible() -> None:
    """Refused by its own look at the inventory, so that nothing is touched: the roles are found."""
    from podium.provisioning import playbook

    hosts = {"podium_nodes": {"hosts": {"one": dict(LOCAL)}}}
    outcome = await play(playbook("join"), {"all": {"children": hosts}})
    assert "podium_join_token" in outcome.sentence


def test_what_a_killed_run_left_behind_is_removed_by_the_next() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    with workplace() as folder:
        left = folder.with_name(f"podium-play-{dead.pid}-left")
        left.mkdir(mode=0o700)
        (left / "key").write_bytes(KEY)
        with workplace() as another:
            assert another != folder
            assert folder.exists(), "its process lives"
    assert not left.exists()
    assert not folder.exists()


def test_a_wheel_holds_the_playbooks_and_finds_them(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True, timeout=100,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    packed = site / "podium/provisioning/ansible"
    for part in ("playbooks", "roles", "inventory"):
        assert files(packed / part) == files(tree() / part)
    assert (packed / "ansible.cfg").is_file()
    asked = "from podium.provisioning import playbook; print(playbook('site'))"
    found = subprocess.run(
        [sys.executable, "-c", asked], cwd=tmp_path, env={"PYTHONPATH": str(site)}, check=True, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert Path(found.stdout.strip()) == packed / "playbooks/site.yml"


def test_nothing_of_ansible_is_loaded_by_the_command() -> None:
    asked = "import sys, podium.provisioning, podium.cli.main; print([m for m in sys.modules if 'ansible' in m])"
    found = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "[]"
