"""What ten thousand services cost a node, beside ten: the nodelet's own rules in real kernels, real packets.

    python -m bench.bench_services [--services 10000] [--rounds 10]       (root)

Two nodes are network namespaces of their own, one with few services of three endpoints each, one with many. In each a
pod sends to services in turn, and a host behind a link has all the endpoints. Measured, in turns in one run:

- `first_packet`: a datagram from a port that was not used before, until it arrives at an endpoint; and `connect`, the
  time until a TCP connection to a service stands. Ten services are asked, of few or of many. `each_packet` and
  `each_connect` ask every one of the many in turn: then nothing of it is in the processor's caches.
- `change`: one service's endpoint is another; from hearing it until the kernel has the rules. A connection that is made
  then must arrive at the new endpoint.
- `load`: all services at once, as when a node joins, names included; `look`: what seeing to the table costs every ten
  seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import itertools
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from nodelet.dns.zone import Zone
from nodelet.network import nft
from nodelet.network.cluster import ClusterNetwork
from nodelet.network.isolation import members_of, pod_part
from nodelet.network.packet_table import PacketTable
from podium import collector
from podium.aio.clock import SystemClock
from podium.v1.networking_pb2 import Endpoint, EndpointPort, EndpointSlice, ServicePort, ServiceSpec
from podium.v1.node_session_pb2 import AddressSet, NetworkRecord, NetworkUpdate, ServiceRoute

FEW, ENDPOINTS, PORT, TARGET = 10, 3, 80, 8080
PROTOCOLS = (("web", "TCP"), ("say", "UDP"))
PODS, POD, NAMESPACE, NODE = "10.64.0.0/12", "10.64.1.2", "bench", "n1"
FRAME = nft.Frame(pod_cidr="10.64.1.0/24", cluster_cidr=PODS, service_cidr="10.96.0.0/12")
LOOK_EVERY = 10.0
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

LINKS = """
mount -t tmpfs none /run/netns
ip netns add pod
ip netns add host
ip link add podvbench type veth peer name eth0 netns pod
ip link add uplink type veth peer name eth0 netns host
ip link set lo up
ip link set podvbench up
ip link set uplink up
ip addr add 10.64.1.1/32 dev podvbench
ip route add 10.64.1.2/32 dev podvbench
ip addr add 192.0.2.1/24 dev uplink
ip route add 10.65.0.0/16 via 192.0.2.2
ip -n pod link set lo up
ip -n pod link set eth0 up
ip -n pod addr add 10.64.1.2/32 dev eth0
ip -n pod route add 10.64.1.1/32 dev eth0
ip -n pod route add default via 10.64.1.1
ip -n host link set lo up
ip -n host link set eth0 up
ip -n host addr add 192.0.2.2/24 dev eth0
ip -n host route add default via 192.0.2.1
ip -n host route add local 10.65.0.0/16 dev lo
sysctl -q -w net.ipv4.ip_forward=1
"""
"""A pod of this node, and a host that answers at every address of 10.65.0.0/16."""


def endpoint(number: int) -> str:
    """The address of one of all endpoints."""
    return f"10.65.{number // 250}.{number % 250 + 1}"


def service_address(number: int) -> str:
    """The address of a service."""
    return f"10.96.{number // 250}.{number % 250 + 1}"


def record(number: int, endpoints: list[str]) -> NetworkRecord:
    """What the master says of a service."""
    ports = [ServicePort(name=name, port=PORT, protocol=protocol) for name, protocol in PROTOCOLS]
    spec = ServiceSpec(cluster_ip=service_address(number), ports=ports)
    found = [Endpoint(addresses=[address], node_name="n2") for address in endpoints]
    answered = [EndpointPort(name=name, port=TARGET, protocol=protocol) for name, protocol in PROTOCOLS]
    slices = [EndpointSlice(ports=answered, endpoints=found)]
    name = f"s{number}"
    route = ServiceRoute(namespace=NAMESPACE, name=name, spec=spec, slices=slices)
    return NetworkRecord(id=f"service/{NAMESPACE}/{name}", service=route)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Sockets that are made now are in a named network namespace."""
    here, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{name}", os.O_RDONLY)
    LIBC.setns(there, CLONE_NEWNET)
    try:
        yield
    finally:
        LIBC.setns(here, CLONE_NEWNET)
        os.close(here)
        os.close(there)


class World:
    """One node, its pod, and the host with the endpoints."""

    def __init__(self, services: int, directory: Path) -> None:
        for line in LINKS.strip().splitlines():
            subprocess.run(line.split(), check=True, timeout=20)
        self.services, self._next = services, itertools.cycle(range(services))
        self._ten = itertools.cycle(range(0, services, max(1, services // FEW)))
        # Whoever comes from a port that was used a moment ago may still be led where it was led then.
        self._unused = itertools.count(1024)
        self._applied = asyncio.Event()
        self._table = PacketTable(self._apply)
        self._table.frame_with(FRAME)
        self._zone = Zone("cluster.local")
        self._network = ClusterNetwork(
            directory=directory, table=self._table, node=NODE, own_address="192.0.2.1", clock=SystemClock(),
            rules_changed=lambda uid: None,
        )  # fmt: skip
        self._network.on_service(self._name)
        self._running = asyncio.create_task(self._network.run())
        with inside("host"):
            self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._datagrams.bind(("", TARGET))
            self._datagrams.settimeout(2)
            self._listening = socket.create_server(("", TARGET), backlog=1024)
            self._listening.settimeout(2)

    async def load(self) -> dict[str, float]:
        """All services at once, into a kernel that has none."""
        own = range(self.services * ENDPOINTS)
        members = AddressSet(addresses=[endpoint(n) for n in own])
        records = [record(n, [endpoint(n * ENDPOINTS + k) for k in range(ENDPOINTS)]) for n in range(self.services)]
        records.append(NetworkRecord(id=members_of(NAMESPACE), addresses=members))
        update = NetworkUpdate(snapshot=True, records=records)
        self._table.say("pod/bench", pod_part(POD, NAMESPACE, (), PODS))
        before, begin = _megabytes(), time.perf_counter()
        heard, held = await self._take(update)
        return {"hear_ms": (heard - begin) * 1e3, "hold_ms": (held - heard) * 1e3, "memory_mb": _megabytes() - before}

    async def _take(self, update: NetworkUpdate) -> tuple[float, float]:
        """When an update was heard, and when the kernel had the rules."""
        self._applied.clear()
        self._network.take(update)
        heard = time.perf_counter()
        await self._applied.wait()
        return heard, time.perf_counter()

    async def _apply(self, text: str) -> None:
        await nft.apply(text)
        self._applied.set()

    def _name(self, key: str) -> None:
        self._zone.put(key, self._network.service(key))

    async def end(self) -> None:
        """Stop what runs."""
        self._running.cancel()
        await asyncio.wait([self._running])

    async def packets(self, count: int) -> dict[str, list[float]]:
        """Microseconds of first packets and connections, through ten services and through each in turn."""
        made: dict[str, list[float]] = {}
        for _ in range(count):
            for which, number in (("first", next(self._ten)), ("each", next(self._next))):
                made.setdefault(f"{which}_packet", []).append(self._datagram(service_address(number), PORT))
                made.setdefault(f"{which}_connect", []).append(self._connection(service_address(number), PORT)[0])
        return made

    async def change(self, count: int) -> dict[str, list[float]]:
        """Milliseconds of one endpoint's change, of services in turn, and of processor time, nft's included."""
        taken, cost = list[float](), list[float]()
        await asyncio.to_thread(_forget_flows)  # those to endpoints that go are looked at afterwards: not measured here
        for _ in range(count):
            number = next(self._next)
            kept = [endpoint(number * ENDPOINTS + k) for k in range(ENDPOINTS)]
            another = endpoint((number * ENDPOINTS + ENDPOINTS) % (self.services * ENDPOINTS))
            for told in ([another], kept):
                update = NetworkUpdate(records=[record(number, told)])
                used, begin = _processor(), time.perf_counter()
                _, held = await self._take(update)
                taken.append((held - begin) * 1e3)
                cost.append((_processor() - used) * 1e3)
                arrived = self._connection(service_address(number), PORT, next(self._unused))[1]
                if arrived not in told:
                    raise SystemExit(f"service {number} leads to {arrived}, not to one of {told}")
        return {"change": taken, "change_cost": cost}

    async def look(self, count: int) -> dict[str, list[float]]:
        """Milliseconds of processor time of seeing to the table, this process's and nft's."""
        taken: list[float] = []
        for _ in range(count):
            before = _processor()
            await self._table.look()
            taken.append((_processor() - before) * 1e3)
        return {"look": taken}

    def _datagram(self, address: str, port: int) -> float:
        with inside("pod"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            begin = time.perf_counter()
            sending.sendto(b"first", (address, port))
            _, sender = self._datagrams.recvfrom(64)
            taken = (time.perf_counter() - begin) * 1e6
            self._datagrams.sendto(b"answer", sender)
            return taken

    def _connection(self, address: str, port: int, source: int = 0) -> tuple[float, str]:
        """Microseconds until it stands, and the address at which it arrived."""
        with inside("pod"), socket.socket() as client:
            client.settimeout(2)
            client.bind((POD, source))
            begin = time.perf_counter()
            client.connect((address, port))
            taken = (time.perf_counter() - begin) * 1e6
            with self._listening.accept()[0] as served:
                # Whoever ends first keeps the port for a minute: reset, so that ports do not run out.
                served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return taken, str(served.getsockname()[0])


def _forget_flows() -> None:
    with NFCTSocket() as tracking:
        tracking.flush()


def _megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def _processor() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


async def live(services: int) -> None:
    """A world that does what it is told on standard input, and says what came of it."""
    collector.forget_start()
    with tempfile.TemporaryDirectory() as directory:
        world = World(services, Path(directory))
        print(json.dumps(await world.load()), flush=True)
        asked = {"packets": world.packets, "change": world.change, "look": world.look}
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, count = line.split()
            print(json.dumps(await asked[what](int(count))), flush=True)
        await world.end()


class Child:
    """A world in a process and in namespaces of its own."""

    def __init__(self, services: int) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", "--mount", sys.executable, "-m", "bench.bench_services", "--world", str(services)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.load: dict[str, float] = json.loads(self._answer())
        self.figures: dict[str, list[float]] = {}

    def ask(self, what: str, count: int) -> None:
        """Measure something so many times more."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what} {count}\n")
        self._process.stdin.flush()
        figures: dict[str, list[float]] = json.loads(self._answer())
        for name, values in figures.items():
            self.figures.setdefault(name, []).extend(values)

    def end(self) -> None:
        """Its namespaces go with it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a world ended early")
        return line


def measure(services: int, rounds: int) -> None:
    """Both worlds in turns, so that whatever else the machine does falls on both."""
    few, many = Child(FEW), Child(services)
    try:
        for _ in range(rounds):
            for what, count in (("packets", 300), ("change", 5), ("look", 1)):
                few.ask(what, count)
                many.ask(what, count)
    finally:
        few.end()
        many.end()
    for name in ("first_packet", "first_connect", "each_packet", "each_connect"):
        less, more = statistics.median(few.figures[name]), statistics.median(many.figures[name])
        _say(name, services, few_us=less, many_us=more, ratio=more / less)
    changes = many.figures["change"]
    costs = [statistics.median(world.figures["change_cost"]) for world in (few, many)]
    late = statistics.quantiles(changes, n=100, method="inclusive")[98]
    _say("endpoint_change", services, few_median_ms=statistics.median(few.figures["change"]),
         many_median_ms=statistics.median(changes), many_p99_ms=late,
         few_processor_ms=costs[0], many_processor_ms=costs[1])  # fmt: skip
    _say("services_load", services, **many.load)
    looking = statistics.median(many.figures["look"])
    _say("services_look", services, processor_ms=looking, share_of_a_core=looking / 1e3 / LOOK_EVERY)


def _say(case: str, services: int, **figures: float) -> None:
    print(json.dumps({"case": case, "services": services, **{k: round(v, 4) for k, v in figures.items()}}), flush=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--world", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.world:
        asyncio.run(live(args.world))
    else:
        measure(args.services, args.rounds)


if __name__ == "__main__":
    main()
