"""How fast objects are written, and how soon watchers hear of it.

    python -m bench.bench_api [store] [create] [bulk] [watch] [restart]      (all, when none is named)

    store     transactions of one put, durable, straight into the SQLite store: 64 writers; groups of 500
    create    unary creates of pods, durable, 64 in flight
    bulk      creates of pods over one `Batch` stream
    watch     100 watchers of all pods, in a process of their own, while 1,000 pods a second are created: from the
              answer to a create, which is its commit told to the writer, until a watcher has the event; "after_send"
              is from before the create is sent, and so more than from its commit
    restart   a master with 10,000 pods is killed, and started again: from the start of its process until it serves

But for `store`, everything is in the loop: a master in a process of its own (SQLite with synchronous=FULL, mutual TLS,
controllers and scheduler running), and this process as its client on the same machine.

Prints its conditions, and one line of JSON a case; `python -m bench api` compares them with their goals.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from bench.watchers import LAST
from master.store.protocol import ABSENT, Put
from master.store.sqlite import SqliteStore
from podium.client.types import pack
from podium.errors import PodiumError
from podium.objects.kinds import Key
from podium.v1 import objects_service_pb2 as wire
from podium.v1.core_pb2 import Node, Pod
from podium.v1.meta_pb2 import ObjectMeta
from tests.support.master_process import MasterProcess

NODE = "bench-node"
TICK = 1 / os.sysconf("SC_CLK_TCK")


def pod(name: str) -> Pod:
    """A pod such as people write; placed already, so that only the API is measured and not what follows."""
    made = Pod()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.spec.node_name = NODE
    made.spec.tolerations.add(operator="Exists")
    made.metadata.labels.update({"app": "web", "tier": "front"})
    container = made.spec.containers.add(name="web", image="nginx:1.14.2")
    container.ports.add(container_port=80)
    container.resources.requests.update({"cpu": "100m", "memory": "64Mi"})
    container.env.add(name="GREETING", value="hello")
    return made


@asynccontextmanager
async def master() -> AsyncIterator[MasterProcess]:
    """A master in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="podium-bench-") as folder:
        process = MasterProcess(Path(folder))
        await process.start()
        async with process.client() as client:
            await client.create(Node(metadata=ObjectMeta(name=NODE)))
        try:
            yield process
        finally:
            await process.end()


async def bench_store() -> dict[str, float]:
    """See the module."""
    value = os.urandom(1_000)
    with tempfile.TemporaryDirectory(prefix="podium-bench-") as folder:
        store = await SqliteStore.open(Path(folder) / "podium.db")

        async def write(lane: int, count: int) -> None:
            for i in range(count):
                await store.commit([Put(Key("Pod", "d", f"{lane}-{i}"), value, ABSENT)])

        alone = await timed(500, lambda: write(0, 500))
        together = await timed(64 * 300, lambda: gather(64, lambda lane: write(lane + 1, 300)))

        async def grouped() -> None:
            for group in range(60):
                puts = [[Put(Key("Pod", "d", f"g{group}-{i}"), value, ABSENT)] for i in range(500)]
                await store.commit_each(puts)

        groups = await timed(30_000, grouped)
        await store.close()
    return {"per_second": together, "one_writer_per_second": alone, "groups_of_500_per_second": groups}


async def bench_create(count: int = 8_000, lanes: int = 64) -> dict[str, float]:
    """See the module."""
    async with master() as process, process.client() as client:
        took: list[float] = []

        async def create(lane: int) -> None:
            for i in range(count // lanes):
                began = time.perf_counter()
                await client.create(pod(f"p{lane}-{i}"))
                took.append(time.perf_counter() - began)

        before, own = cpu_seconds(process), time.process_time()
        rate = await timed(count, lambda: gather(lanes, create))
        cpu, own = cpu_seconds(process) - before, time.process_time() - own
    return {
        "per_second": rate,
        "master_cpu_us_each": round(cpu / count * 1e6),
        "client_cpu_us_each": round(own / count * 1e6),
        "in_flight": lanes,
        "p50_ms": quantile(took, 0.5),
        "p99_ms": quantile(took, 0.99),
    }


async def bench_bulk(count: int = 40_000) -> dict[str, float]:
    """See the module."""
    async with master() as process, process.client() as client:
        requests = [request_to_create(f"p{i}") for i in range(count)]
        failures: list[str] = []

        async def send() -> None:
            results = await client.batch(requests)
            failures.extend(result.message for result in results if result.code)

        before = cpu_seconds(process)
        rate = await timed(count, send)
        cpu = cpu_seconds(process) - before
        assert not failures, failures[0]
    return {"per_second": rate, "master_cpu_us_each": round(cpu / count * 1e6)}


async def bench_watch(watchers: int = 100, rate: int = 1_000, seconds: int = 10) -> dict[str, float]:
    """See the module."""
    total = rate * seconds
    sent: dict[str, float] = {}
    answered: dict[str, float] = {}
    async with master() as process, process.client() as client:

        async def send(names: list[str]) -> None:
            sent.update(dict.fromkeys(names, time.monotonic()))
            await client.batch([request_to_create(name) for name in names])
            answered.update(dict.fromkeys(names, time.monotonic()))

        following = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.watchers", str(process.folder / "admin.yaml"), str(watchers),
            stdout=asyncio.subprocess.PIPE, limit=2**28,
        )  # fmt: skip
        assert following.stdout is not None
        assert await asyncio.wait_for(following.stdout.readline(), 30) == b"ready\n"
        began, before = time.monotonic(), cpu_seconds(process)
        async with asyncio.TaskGroup() as sending:
            for start in range(0, total, 10):
                await asyncio.sleep(began + start / rate - time.monotonic())
                sending.create_task(send([f"p{i}" for i in range(start, start + 10)]))
        took = time.monotonic() - began
        cores = (cpu_seconds(process) - before) / took
        await client.create(pod(LAST))
        heard = json.loads(await asyncio.wait_for(following.stdout.readline(), 60))
        await following.wait()
    after_answer = [moment - answered[name] for name, moment in heard if name in answered]
    after_send = [moment - sent[name] for name, moment in heard if name in sent]
    return {
        "p99_ms": quantile(after_answer, 0.99),
        "p50_ms": quantile(after_answer, 0.5),
        "max_ms": quantile(after_answer, 1),
        "after_send_p99_ms": quantile(after_send, 0.99),
        "after_send_p50_ms": quantile(after_send, 0.5),
        "master_cores": round(cores, 2),
        "watchers": watchers,
        "events_per_second": round(total / took),
        "samples": len(after_answer),
    }


def request_to_create(name: str) -> wire.BatchRequest:
    """One write of a batch."""
    return wire.BatchRequest(create=wire.CreateRequest(object=pack(pod(name))), omit_object=True)


async def bench_restart(count: int = 10_000) -> dict[str, float]:
    """See the module."""
    async with master() as process:
        async with process.client() as client:
            outcomes = await client.create_many([pod(f"p{i}") for i in range(count)])
            assert not any(isinstance(outcome, PodiumError) for outcome in outcomes)
        await process.end(signal.SIGKILL)
        began = time.perf_counter()
        await process.start()
        took = time.perf_counter() - began
        async with process.client() as client:
            assert len(await client.list(Pod)) == count
        memory = resident_mb(process)
    return {"seconds": round(took, 2), "pods": count, "resident_mb": round(memory)}


async def timed(count: int, work: Callable[[], Awaitable[None]]) -> float:
    """How many a second."""
    began = time.perf_counter()
    await work()
    return round(count / (time.perf_counter() - began))


async def gather(lanes: int, work: Callable[[int], Awaitable[None]]) -> None:
    """Run `work` for each lane at once."""
    await asyncio.gather(*(work(lane) for lane in range(lanes)))


def cpu_seconds(process: MasterProcess) -> float:
    """Processor time that a master has used, in user and system mode."""
    fields = (_proc(process) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def resident_mb(process: MasterProcess) -> float:
    """Memory that a master holds."""
    return int((_proc(process) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _proc(process: MasterProcess) -> Path:
    assert process.process is not None
    return Path("/proc") / str(process.process.pid)


def quantile(values: list[float], at: float) -> float:
    """A quantile of seconds, in milliseconds."""
    return round(sorted(values)[int(at * (len(values) - 1))] * 1e3, 2)


CASES: dict[str, Callable[[], Coroutine[Any, Any, dict[str, float]]]] = {
    "store": bench_store,
    "create": bench_create,
    "bulk": bench_bulk,
    "watch": bench_watch,
    "restart": bench_restart,
}


def main() -> None:
    """Run the cases that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", help="one of " + ", ".join(CASES))
    named = parser.parse_args().cases or list(CASES)
    print(f"# {os.cpu_count()} cores, Python {platform.python_version()}, {platform.platform()}", flush=True)
    for case in named:
        figures = uvloop.run(CASES[case]())
        print(json.dumps({"case": case, **figures}), flush=True)


if __name__ == "__main__":
    main()
