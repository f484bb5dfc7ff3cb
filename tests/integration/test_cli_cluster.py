"""`podium cluster` as a command: its files, its refusals, hosts that are not there, and a live master's nodes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from podium.provisioning import inventory
from tests.support.command import Podium
from tests.support.command_world import World, command_world

pytestmark = pytest.mark.asyncio(loop_scope="module")
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
FILE = "podium-cluster.yml"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with command_world(tmp_path_factory.mktemp("cli-cluster")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def podium(world: World) -> Podium:
    return await world.podium()


def write(podium: Podium, masters: list[str], nodes: list[str]) -> None:
    groups = {
        inventory.MASTERS: {"hosts": dict.fromkeys(masters, LOCAL)},
        inventory.NODES: {"hosts": dict.fromkeys(nodes, LOCAL)},
    }
    (podium.folder / FILE).write_text(json.dumps({"podium": {"vars": {"a": 1}, "children": groups}}))


async def test_what_is_missing_is_named_with_its_fix(podium: Podium) -> None:
    assert "`podium cluster init` makes one" in (await podium("cluster", "status", code=1)).err
    assert "`podium cluster init --master HOST" in (await podium("cluster", "init", code=1)).err
    assert "the key nokey does not exist" in (await podium("cluster", "init", "--master=m", "--key=nokey", code=1)).err
    gone = await podium("cluster", "init", "--master=m", f"--wheelhouse={podium.folder}", code=1)
    assert "pip wheel -w" in gone.err
    assert "go with --master" in (await podium("cluster", "init", "--node=n", code=1)).err
    assert "NAME=ADDRESS" in (await podium("cluster", "init", "--master=a_b", code=1)).err
    assert not (podium.folder / FILE).exists()


async def test_a_host_that_is_not_reached_is_one_line_and_the_way_on(podium: Podium) -> None:
    words = ("cluster", "init", "--master=m=127.0.0.1", "--node=m", "--user=nobody-here")
    ran = await podium(*words, "--timeout=50s", code=1, environment={"HOME": str(podium.folder)})
    (line,) = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: m: ")
    assert "via ssh" in line
    assert "Does `ssh` reach it" in ran.err
    assert ran.err.splitlines()[-1] == "Mend that, and go on with: podium cluster init"
    (host,) = inventory.hosts((podium.folder / FILE).read_text())
    assert (host.is_master, host.is_node, host.address) == (True, True, "127.0.0.1")
    assert "exists" in (await podium(*words, code=1)).err


async def test_hosts_beside_nodes(podium: Podium) -> None:
    write(podium, ["node1"], ["node1", "node2", "node3"])
    ran = await podium("cluster", "status")
    assert ran.err == ""
    found = [line.split() for line in ran.lines]
    assert [row[0] for row in found] == ["NAME", "node1", "node2", "node3"]
    assert found[1][2:5] == ["master,node", "ok", "Ready"]
    write(podium, ["node1"], ["node1", "node2", "node4"])
    ran = await podium("cluster", "status", code=1)
    assert "error: node4: not a node yet: podium cluster add" in ran.err
    assert any(line.split()[:4] == ["node3", "-", "node", "-"] for line in ran.lines)


async def test_a_master_that_does_not_answer(podium: Podium) -> None:
    write(podium, ["node1"], ["node2"])
    (podium.folder / "admin.yaml").write_text("clusters: {}")
    ran = await podium("cluster", "status", code=1)
    assert "the master was not asked" in ran.err
    assert ran.out.count("unknown") == 1
    assert " ok " in ran.out


async def test_an_interrupt_ends_the_play_and_its_connections(podium: Podium) -> None:
    reached, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        while await reader.read(1024):
            pass
        gone.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1")
    async with server:
        silent_host = {"ansible_host": "127.0.0.1", "ansible_port": server.sockets[0].getsockname()[1]}
        groups = {inventory.MASTERS: {"hosts": {"m": silent_host}}}
        (podium.folder / FILE).write_text(json.dumps({"podium": {"vars": {"a": 1}, "children": groups}}))
        async with podium.running("cluster", "init") as running, asyncio.timeout(50):
            await reached.wait()
            ran = await running.end()
            await gone.wait()
    assert ran.code == 130
    assert "Traceback" not in ran.err


async def test_remove_begins_nothing_that_it_cannot_finish(podium: Podium) -> None:
    write(podium, ["node1"], ["node2"])
    before = (podium.folder / FILE).read_text()
    assert "node9 is not in podium_nodes" in (await podium("cluster", "remove", "node9", code=1)).err
    assert "one a line" in (await podium("cluster", "remove", "node2", code=1)).err
    assert (podium.folder / FILE).read_text() == before


async def test_add_refuses_what_contradicts_the_inventory(podium: Podium) -> None:
    write(podium, ["node1"], ["node2"])
    before = (podium.folder / FILE).read_text()
    other = await podium("cluster", "add", "node2=192.0.2.9", code=1)
    assert f"node2 is in {FILE} with the address node2" in other.err
    assert "`podium label node`" in (await podium("cluster", "add", "node2", "--label=a=b", code=1)).err
    assert "are for hosts that are added" in (await podium("cluster", "add", "--label=a=b", code=1)).err
    assert '"disk" is not KEY=VALUE' in (await podium("cluster", "add", "n", "--label=disk", code=1)).err
    assert (podium.folder / FILE).read_text() == before


async def test_help_shows_examples(podium: Podium) -> None:
    for name in ("init", "add", "upgrade", "remove", "status"):
        assert f"podium cluster {name}" in (await podium("cluster", name, "--help")).out
    assert "cluster " in (await podium("--help")).out
    assert Path(FILE).name in (await podium("cluster", "init", "--help")).out.replace("\n", "").replace(" ", "")
