"""Answering for addresses of pools on this machine's kernel: ARP, what is reached there, and letting go."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nodelet import watchdog
from nodelet.network.pod_network import LinuxPodNetwork
from nodelet.network.protocol import NetworkFault
from podium.aio.clock import SystemClock
from tests.support.own_network import own_network

pytestmark = [pytest.mark.docker, pytest.mark.skipif(os.getuid() != 0, reason="network namespaces take root")]

DEVICE, OWN, POOL = "podium0", "192.0.2.1", "192.0.2.200"


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, timeout=20, capture_output=True, text=True).stdout


@pytest.fixture
async def neighbour() -> AsyncIterator[subprocess.Popen[str]]:
    """A host on the same link, in a namespace of its own; commands on its standard input are carried out."""
    async with own_network():
        host = _host()
        with host:
            assert host.stdout is not None
            assert (await asyncio.to_thread(host.stdout.readline)).strip() == "ready"
            for words in ("link set lo up", f"link add veth0 type veth peer name eth0 netns {host.pid}",
                          f"addr add {OWN}/24 dev veth0", "link set veth0 up"):  # fmt: skip
                await asyncio.to_thread(_ip, *words.split())
            await _there(host, "ip addr add 192.0.2.9/24 dev eth0; ip link set lo up; ip link set eth0 up")
            yield host
            host.kill()


def _host() -> subprocess.Popen[str]:
    shell = 'echo ready; while read line; do sh -c "$line"; echo "code $?"; done'
    return subprocess.Popen(
        ["unshare", "-n", "sh", "-c", shell], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


async def _there(host: subprocess.Popen[str], command: str) -> int:
    """The exit code of a command on the neighbour."""
    assert host.stdin is not None
    assert host.stdout is not None
    host.stdin.write(f"({command}) >/dev/null 2>&1\n")
    host.stdin.flush()
    async with asyncio.timeout(20):
        return int((await asyncio.to_thread(host.stdout.readline)).removeprefix("code "))


async def _network(directory: Path) -> LinuxPodNetwork:
    made = LinuxPodNetwork(directory=directory, node="n1", address=OWN, clock=SystemClock())
    await made.configure("10.64.3.0/24", "10.64.0.0/12", "10.63.0.0/16", "cluster.local")
    return made


ANSWERED, REFUSED, SILENT = range(3)
_TRY = (
    "import errno, socket, sys; s = socket.socket(); s.settimeout(1.5); code = s.connect_ex((sys.argv[1], 7777)); "
    "sys.exit(0 if not code else 1 if code == errno.ECONNREFUSED else 2)"
)


async def _ask(host: subprocess.Popen[str], address: str) -> int:
    """What a neighbour meets at port 7777 of an address."""
    return await _there(host, f"{sys.executable} -c {shlex.quote(_TRY)} {address}")


async def test_a_neighbour_finds_the_address_and_nothing_else_of_the_host(
    neighbour: subprocess.Popen[str], tmp_path: Path
) -> None:
    network = LinuxPodNetwork(directory=tmp_path, node="n1", address=OWN, clock=SystemClock())
    assert not await network.answer_for([])
    with pytest.raises(NetworkFault, match="no slice"):
        await network.answer_for([POOL])
    network = await _network(tmp_path)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "0.0.0.0", 7777)
    async with server:
        assert await _ask(neighbour, POOL) == SILENT
        assert set(await network.answer_for([POOL])) == {POOL}
        assert not await network.answer_for([POOL]), "it is not new any more"
        assert await _ask(neighbour, POOL) == REFUSED
        assert await _ask(neighbour, OWN) == ANSWERED, "at its own address the host answers all the same"
        await network.configure("10.64.3.0/24", "10.64.0.0/12", "10.63.0.0/16", "cluster.local")
        assert await _ask(neighbour, POOL) == REFUSED, "what is repaired keeps it"
        assert not await network.answer_for([])
        assert await _ask(neighbour, POOL) == SILENT
        assert network.gateway in await asyncio.to_thread(_ip, "addr", "show", DEVICE)


async def test_a_neighbour_that_remembers_another_host_hears_who_has_the_address_now(
    neighbour: subprocess.Popen[str], tmp_path: Path
) -> None:
    network = await _network(tmp_path)
    await _there(neighbour, f"ip neigh replace {POOL} lladdr 02:00:00:00:00:99 nud stale dev eth0")
    await network.answer_for([POOL])
    await network.shout([POOL])
    mac = (await asyncio.to_thread(_ip, "-o", "link", "show", "veth0")).split("link/ether ")[1].split()[0]
    for _ in range(50):
        if await _there(neighbour, f"ip neigh show {POOL} | grep -q {mac}") == 0:
            break
    else:
        raise AssertionError("it still remembers the other one")
    assert await _ask(neighbour, POOL) == REFUSED


async def test_the_watchdog_lets_addresses_go_and_leaves_the_nodes_own(
    neighbour: subprocess.Popen[str], tmp_path: Path
) -> None:
    network = await _network(tmp_path)
    await network.answer_for([POOL])
    assert await asyncio.to_thread(watchdog.withdraw)
    assert await _ask(neighbour, POOL) == SILENT
    assert network.gateway in await asyncio.to_thread(_ip, "addr", "show", DEVICE)
    assert set(await network.answer_for([POOL])) == {POOL}, "a nodelet that acts again finds out"
