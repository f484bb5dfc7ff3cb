"""What Podium's rules cost a packet from pod to pod across two nodes, beside the same way without any rules, in turns.

    python -m bench.bench_path [--rounds 40]       (root; nothing else is needed)

Each way is four network namespaces in a row, joined by veth pairs and routes as the nodelet makes them: a pod, its
node, another node, the other pod. On one way both nodes have the nodelet's packet table; the other is plain routing.
Both ends of a connection are in one thread here, so what is measured is the kernel's work on the way and no scheduling:
the figures hold on a busy machine, too. `round_trip`: a byte there and one back on a connection that stands; `stream`:
how fast 64 KiB pieces pass; `connection`: begun, used for one byte each way, and ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from bench.bench_services import FRAME, NAMESPACE, PODS, PORT, TARGET, endpoint, inside, record, service_address
from nodelet.network import nft
from nodelet.network.isolation import members_of, pod_part, set_part
from nodelet.network.packet_table import PacketTable
from nodelet.network.services import service_part

CLIENT, SERVER = "10.64.1.2", "10.64.2.2"
SERVICES = 10
PIECE, PIECES = 65536, 64
WAY = """
ip netns add {w}pod
ip netns add {w}one
ip netns add {w}two
ip netns add {w}server
ip link add podva netns {w}one type veth peer name eth0 netns {w}pod
ip link add podvb netns {w}two type veth peer name eth0 netns {w}server
ip link add link0 netns {w}one type veth peer name link0 netns {w}two
ip -n {w}one addr add 192.0.2.1/24 dev link0
ip -n {w}two addr add 192.0.2.2/24 dev link0
ip -n {w}pod addr add 10.64.1.2/32 dev eth0
ip -n {w}server addr add 10.64.2.2/32 dev eth0
ip -n {w}one addr add 10.64.1.1/32 dev podva
ip -n {w}two addr add 10.64.2.1/32 dev podvb
ip -n {w}one link set podva up
ip -n {w}two link set podvb up
ip -n {w}one link set link0 up
ip -n {w}two link set link0 up
ip -n {w}pod link set eth0 up
ip -n {w}server link set eth0 up
ip -n {w}one route add 10.64.1.2/32 dev podva
ip -n {w}two route add 10.64.2.2/32 dev podvb
ip -n {w}one route add 10.64.2.0/24 via 192.0.2.2
ip -n {w}two route add 10.64.1.0/24 via 192.0.2.1
ip -n {w}pod route add 10.64.1.1/32 dev eth0
ip -n {w}server route add 10.64.2.1/32 dev eth0
ip -n {w}pod route add default via 10.64.1.1
ip -n {w}server route add default via 10.64.2.1
ip netns exec {w}one sysctl -q -w net.ipv4.ip_forward=1
ip netns exec {w}two sysctl -q -w net.ipv4.ip_forward=1
"""


def _make(way: str) -> socket.socket:
    """Four namespaces in a row; the socket at which the last one answers."""
    for line in WAY.format(w=way).strip().splitlines():
        subprocess.run(line.split(), check=True, timeout=20)
    with inside(f"{way}server"):
        return socket.create_server(("", TARGET), backlog=128)


async def _rules(node: str, pod: str, table: PacketTable) -> None:
    """A node's table: a pod of the namespace, its members, and services that lead to the server."""
    table.frame_with(nft.Frame(pod_cidr=f"{pod.rpartition('.')[0]}.0/24", cluster_cidr=PODS,
                               service_cidr=FRAME.service_cidr))  # fmt: skip
    table.say("pod/bench", pod_part(pod, NAMESPACE, (), PODS))
    table.say("members", set_part(members_of(NAMESPACE), (CLIENT, SERVER)))
    for number in range(SERVICES):
        known = record(number, [SERVER] if number == 0 else [endpoint(number)])
        table.say(known.id, service_part(known.service, node))
    await table.tell()


class Route(NamedTuple):
    """A way to ask the server."""

    name: str
    way: str
    address: str
    port: int

    def connect(self, listening: socket.socket) -> tuple[socket.socket, socket.socket]:
        """A connection: the asking and the answering end."""
        with inside(f"{self.way}pod"):
            client = socket.socket()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(5)
        client.connect((self.address, self.port))
        served = listening.accept()[0]
        served.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, served


def _there_and_back(client: socket.socket, served: socket.socket) -> None:
    client.send(b"x")
    served.recv(1)
    served.send(b"y")
    client.recv(1)


def round_trip(route: Route, listening: socket.socket) -> float:
    """Microseconds, of many over one connection."""
    client, served = route.connect(listening)
    taken = []
    with client, served:
        for _ in range(400):
            begin = time.perf_counter()
            _there_and_back(client, served)
            taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1e6


def stream(route: Route, listening: socket.socket) -> float:
    """Gbit/s over one connection, sent and received by one processor."""
    client, served = route.connect(listening)
    piece, taken = b"x" * PIECE, []
    with client, served:
        for _ in range(PIECES):
            begin = time.perf_counter()
            client.sendall(piece)
            left = PIECE
            while left:
                left -= len(served.recv(left))
            taken.append(time.perf_counter() - begin)
    return PIECE * 8 / statistics.median(taken) / 1e9


def connection(route: Route, listening: socket.socket) -> float:
    """Microseconds, of many one after the other."""
    taken = []
    for _ in range(40):
        begin = time.perf_counter()
        client, served = route.connect(listening)
        _there_and_back(client, served)
        # Whoever ends first keeps the port for a minute: reset, so that ports do not run out.
        served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        served.close()
        client.close()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1e6


MEASURES: dict[str, tuple[str, Callable[[Route, socket.socket], float]]] = {
    "round_trip": ("us", round_trip), "connection": ("us", connection), "stream": ("gbit_s", stream),
}  # fmt: skip


async def measure(rounds: int) -> None:
    """All routes in turns."""
    listening = {way: _make(way) for way in ("ruled-", "plain-")}
    for node, pod in (("one", CLIENT), ("two", SERVER)):
        with inside(f"ruled-{node}"):
            await _rules(node, pod, PacketTable())
    routes = (
        Route("service", "ruled-", service_address(0), PORT), Route("pod", "ruled-", SERVER, TARGET),
        Route("plain", "plain-", SERVER, TARGET),
    )  # fmt: skip
    found: dict[str, dict[str, list[float]]] = {what: {r.name: [] for r in routes} for what in MEASURES}
    for turn in range(rounds):
        for what, (_, measured) in MEASURES.items():
            for route in routes if turn % 2 == 0 else reversed(routes):
                found[what][route.name].append(measured(route, listening[route.way]))
    for what, (unit, _) in MEASURES.items():
        medians = {name: statistics.median(values) for name, values in found[what].items()}
        less, more = ("service", "plain") if unit == "gbit_s" else ("plain", "service")
        figures = {f"{name}_{unit}": round(value, 2) for name, value in medians.items()}
        speed = round(medians[less] / medians[more], 3)
        print(json.dumps({"case": f"path_{what}", "rounds": rounds, **figures, "speed_to_plain": speed}), flush=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run/netns"], check=True, timeout=20)
        asyncio.run(measure(args.rounds))
    else:
        here = ["unshare", "--net", "--mount", sys.executable, "-m", "bench.bench_path", "--here"]
        os.execvp("unshare", [*here, "--rounds", str(args.rounds)])  # its namespaces go with it


if __name__ == "__main__":
    main()
