"""How many questions about the cluster's names one node answers, over real sockets, with ten thousand services.

    apt-get install dnsperf; python -m bench.bench_dns [--services 10000] [--seconds 8] [--rounds 3]

The nodelet's server runs in a process of its own, its zone filled as the master would, and `dnsperf` asks it from
another. `dns_again`: every service's name in turn, while twenty times a second a service's pods are others.
`dns_first`: questions of which none was asked before: A, AAAA, SRV, and names that a resolver makes up by its search
list.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.bench_services import ENDPOINTS, NAMESPACE, endpoint, record
from nodelet.dns.server import DnsServer
from nodelet.dns.upstream import Upstream
from nodelet.dns.zone import Zone
from podium.aio.clock import SystemClock
from podium.v1.node_session_pb2 import ServiceRoute

HERE, PORT, DOMAIN = "127.0.0.1", 5354, "cluster.local"
CHANGES_EVERY = 0.05
CLIENTS, OUTSTANDING = "8", "100"


def route(number: int, shift: int = 0) -> ServiceRoute:
    """What the master says of a service; each tenth is headless."""
    first = number * ENDPOINTS + shift
    made = record(number, [endpoint(first + k) for k in range(ENDPOINTS)]).service
    if number % 10 == 0:
        made.spec.cluster_ip = "None"
    return made


async def serve(services: int) -> None:
    """The node's server, until standard input ends; says how much processor time it took when it is asked."""
    server = DnsServer(zone=_filled(services), upstream=Upstream(clock=SystemClock()))
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.run(HERE, PORT))
        changing = tasks.create_task(_change(server, services))
        while await asyncio.to_thread(sys.stdin.readline):
            used = resource.getrusage(resource.RUSAGE_SELF)
            print(used.ru_utime + used.ru_stime, flush=True)
        serving.cancel()
        changing.cancel()


def _filled(services: int) -> Zone:
    zone = Zone(DOMAIN)
    for number in range(services):
        zone.put(f"{NAMESPACE}/s{number}", route(number))
    return zone


async def _change(server: DnsServer, services: int) -> None:
    for turn in itertools.count():
        number = turn * 10 % services
        server.put(f"{NAMESPACE}/s{number}", route(number, shift=turn % 2))
        await asyncio.sleep(CHANGES_EVERY)


@contextlib.contextmanager
def _served(services: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bench.bench_dns", "--serve", "--services", str(services)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.communicate(timeout=30)


def _processor(process: subprocess.Popen[str]) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("processor\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def _ask(process: subprocess.Popen[str], file: Path, *words: str) -> dict[str, float]:
    """What dnsperf finds, and the processor time that the server took a question, in microseconds."""
    before = _processor(process)
    command = ["dnsperf", "-s", HERE, "-p", str(PORT), "-d", str(file), "-c", CLIENTS, "-q", OUTSTANDING, *words]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    asked, answered = _number(r"Queries sent:\s+(\d+)", said), _number(r"Queries completed:\s+(\d+)", said)
    took = _processor(process) - before
    return {
        "per_s": _number(r"Queries per second:\s+([\d.]+)", said),
        "lost": asked - answered,
        "latency_ms": _number(r"Average Latency \(s\):\s+([\d.]+)", said) * 1e3,
        "processor_us": took / answered * 1e6,
    }


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"dnsperf said nothing of {pattern!r}:\n{text}")
    return float(found[1])


def measure(services: int, seconds: int, rounds: int) -> None:
    """Rounds of both kinds; the median of each figure."""
    names = [f"s{number}.{NAMESPACE}.svc.{DOMAIN}" for number in range(services)]
    first = [line for name in names for line in (f"{name} AAAA", f"_web._tcp.{name} SRV", f"{name}.svc.{DOMAIN} A")]
    again, news = list[dict[str, float]](), list[dict[str, float]]()
    with tempfile.TemporaryDirectory() as folder:
        asked, unasked = Path(folder, "asked"), Path(folder, "unasked")
        asked.write_text("".join(f"{name} A\n" for name in names))
        unasked.write_text("".join(f"{line}\n" for line in first))
        for _ in range(rounds):
            with _served(services) as process:
                _ask(process, asked, "-n", "1")
                again.append(_ask(process, asked, "-l", str(seconds)))
                news.append(_ask(process, unasked, "-n", "1"))
    for case, found in (("dns_again", again), ("dns_first", news)):
        figures = {key: round(statistics.median(one[key] for one in found), 2) for key in found[0]}
        print(json.dumps({"case": case, "services": services, **figures}), flush=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.services))
    elif shutil.which("dnsperf") is None:
        parser.error("dnsperf is missing; install the package dnsperf")
    else:
        measure(args.services, args.seconds, args.rounds)


if __name__ == "__main__":
    main()
