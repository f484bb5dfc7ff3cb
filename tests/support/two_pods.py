"""A node's network with two pods, in namespaces of their own: each answers UDP and TCP at port 9000 with its name."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nodelet.network import nft
from nodelet.network.cluster import ClusterNetwork
from nodelet.network.packet_table import PacketTable
from podium.aio.clock import SystemClock
from podium.aio.tasks import cancel_and_wait
from tests.support.own_network import own_network

HOST = "10.64.3.1"
PODS = {"one": "10.64.3.2", "two": "10.64.3.3"}
NOBODY = "10.64.3.9"
"""Packets for it are lost on their way."""
PORT = 9000

_SERVE = """
import select, socket, sys
name = sys.argv[1].encode()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(('', 9000))
tcp = socket.create_server(('', 9000))
print('ready', flush=True)
while True:
    for each in select.select([udp, tcp], [], [])[0]:
        if each is udp:
            udp.sendto(name, udp.recvfrom(99)[1])
        else:
            connection, _ = tcp.accept(); connection.sendall(name); connection.close()
"""
_GATEWAY_MAC, _POD_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=20, capture_output=True)


@asynccontextmanager
async def two_pods() -> AsyncIterator[None]:
    """Be a node with these pods. Needs root."""
    async with own_network():
        servers: list[subprocess.Popen[str]] = []
        try:
            _ip("link", "set", "lo", "up")
            for name in PODS:
                await _start(name, servers)
            _ip("route", "add", "default", "via", PODS["one"], "dev", "podvone")
            _ip("neigh", "add", NOBODY, "lladdr", _POD_MAC, "dev", "podvone")
            _ip("route", "add", f"{NOBODY}/32", "dev", "podvone")
            yield
        finally:
            for server in servers:
                with server:
                    server.kill()


async def _start(name: str, servers: list[subprocess.Popen[str]]) -> None:
    """Add a process that serves in a network namespace of its own, which ends with it."""
    server = _apart(name)
    servers.append(server)
    await _line_of(server)
    _wire(name, server.pid)
    assert server.stdin is not None
    server.stdin.write("go\n")
    server.stdin.flush()
    await _line_of(server)


def _apart(name: str) -> subprocess.Popen[str]:
    apart = "import sys; print(flush=True); sys.stdin.readline(); exec(sys.argv[2])"
    command = ["unshare", "-n", sys.executable, "-c", apart, name, _SERVE]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _wire(name: str, pid: int) -> None:
    link = f"podv{name}"
    _ip("link", "add", link, "address", _GATEWAY_MAC, "type", "veth", "peer", "name", "eth0", "address", _POD_MAC,
        "netns", str(pid))  # fmt: skip
    _ip("addr", "add", f"{HOST}/32", "dev", link)
    _ip("link", "set", link, "up")
    _ip("route", "add", f"{PODS[name]}/32", "dev", link)
    inside = ("nsenter", f"--net=/proc/{pid}/ns/net", "ip")
    for words in (f"addr add {PODS[name]}/32 dev eth0", "link set eth0 up", f"route add {HOST}/32 dev eth0",
                  f"route add default via {HOST}"):  # fmt: skip
        subprocess.run([*inside, *words.split()], check=True, timeout=20)


async def _line_of(server: subprocess.Popen[str]) -> None:
    """Wait for what it prints next."""
    assert server.stdout is not None
    async with asyncio.timeout(20):
        await asyncio.to_thread(server.stdout.readline)


FRAME = nft.Frame(pod_cidr="10.64.3.0/24", cluster_cidr="10.64.0.0/12", service_cidr="10.63.0.0/16")


@asynccontextmanager
async def running_network(directory: Path) -> AsyncIterator[ClusterNetwork]:
    """What a nodelet on this host knows of the cluster's network, and brings into force."""
    table = PacketTable()
    table.frame_with(FRAME)
    made = ClusterNetwork(
        directory=directory, table=table, node="n1", own_address=HOST, clock=SystemClock(),
        rules_changed=lambda uid: None,
    )  # fmt: skip
    running = asyncio.get_running_loop().create_task(made.run())
    try:
        yield made
    finally:
        await cancel_and_wait(running)
