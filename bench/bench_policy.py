"""What quotas cost, and that they are exact.

    python -m bench.bench_policy

    quota     2,000 creates of pods at once against a quota of 1,000, each a call of its own; then as many over four
              `Batch` streams; then 2,000 more, and the master is killed and started again in their midst. Exactly 1,000
              must be there each time
    price     bulk creates over one `Batch` stream in a namespace without quotas, and in one with a quota of pods, CPU
              and memory, in turns

A master in a process of its own, with everything in the loop, as in `bench_api`. Prints its conditions, and one line of
JSON a case; ends with 1 when more or fewer were admitted.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import uvloop

from bench.bench_api import master, pod
from podium.client import AsyncClient
from podium.client.types import pack
from podium.errors import Forbidden, PodiumError, Unavailable
from podium.v1 import objects_service_pb2 as wire
from podium.v1.core_pb2 import Namespace, Pod
from podium.v1.policy_pb2 import ResourceQuota
from tests.support.master_process import MasterProcess

ASKED, ALLOWED = 2_000, 1_000


async def govern(client: AsyncClient, name: str, **hard: str) -> None:
    """Make a namespace, with a quota if there is something to bound."""
    namespace, quota = Namespace(), ResourceQuota()
    namespace.metadata.name = quota.metadata.namespace = name
    quota.metadata.name = "quota"
    quota.spec.hard.update(hard)
    await client.create(namespace)
    if hard:
        await client.create(quota)


def in_namespace(namespace: str, name: str) -> Pod:
    """A pod of a namespace."""
    made = pod(name)
    made.metadata.namespace = namespace
    return made


async def by_calls(client: AsyncClient, namespace: str) -> Sequence[object]:
    """All creates at once, a call each."""
    pods = [in_namespace(namespace, f"p{i}") for i in range(ASKED)]
    return await asyncio.gather(*(client.create(p) for p in pods), return_exceptions=True)


async def by_streams(client: AsyncClient, namespace: str) -> Sequence[object]:
    """All creates at once, over four streams."""
    pods = [in_namespace(namespace, f"p{i}") for i in range(ASKED)]
    answers = await asyncio.gather(*(client.create_many(pods[lane::4]) for lane in range(4)))
    return [answer for some in answers for answer in some]


async def bench_quota() -> list[dict[str, object]]:
    """See the module."""
    lines: list[dict[str, object]] = []
    async with master() as process:
        async with process.client() as client:
            for way, create in (("calls", by_calls), ("streams", by_streams)):
                lines.append(await _race(client, way, create))
            await govern(client, "killed", pods=str(ALLOWED))
            await _race_and_kill(client, process)
        await process.start()
        async with process.client() as client:
            before = await _there(client, "killed")
            await by_streams(client, "killed")
            lines.append({"case": "quota, killed", "before": before, "admitted": await _there(client, "killed")})
    return lines


async def _race_and_kill(client: AsyncClient, process: MasterProcess) -> None:
    """Kill the master when a quarter of what is allowed has been answered."""
    answered, enough = 0, asyncio.Event()

    async def create(number: int) -> None:
        nonlocal answered
        with suppress(PodiumError):
            await client.create(in_namespace("killed", f"k{number}"))
            answered += 1
            if answered == ALLOWED // 4:
                enough.set()

    async with asyncio.TaskGroup() as racing:
        for number in range(ASKED):
            racing.create_task(create(number))
        await enough.wait()
        await process.end(signal.SIGKILL)


async def _race(
    client: AsyncClient, way: str, create: Callable[[AsyncClient, str], Awaitable[Sequence[object]]]
) -> dict[str, object]:
    await govern(client, way, pods=str(ALLOWED))
    began = time.perf_counter()
    answers = await create(client, way)
    took = time.perf_counter() - began
    refused = sum(isinstance(answer, Forbidden) for answer in answers)
    unanswered = sum(isinstance(answer, Unavailable) for answer in answers)
    return {
        "case": f"quota, {way}",
        "asked": ASKED,
        "admitted": await _there(client, way),
        "refused": refused,
        "unanswered": unanswered,
        "answers_per_second": round(ASKED / took),
    }


async def _there(client: AsyncClient, namespace: str) -> int:
    return len(await client.list(Pod, namespace=namespace))


async def bench_price(count: int = 5_000, rounds: int = 3) -> list[dict[str, object]]:
    """See the module."""
    rates: dict[str, list[float]] = {"free": [], "governed": []}
    async with master() as process, process.client() as client:
        await govern(client, "free")
        await govern(client, "governed", **{"pods": "1M", "requests.cpu": "1M", "requests.memory": "1Pi"})
        for turn in range(rounds):
            for namespace, measured in rates.items():
                requests = [
                    wire.BatchRequest(
                        create=wire.CreateRequest(object=pack(in_namespace(namespace, f"p{turn}-{i}"))),
                        omit_object=True,
                    )
                    for i in range(count)
                ]
                began = time.perf_counter()
                results = await client.batch(requests)
                measured.append(count / (time.perf_counter() - began))
                assert not any(result.code for result in results)
    figures = {f"{name}_per_second": round(max(measured)) for name, measured in rates.items()}
    return [{"case": "quota, price", **figures}]


def main() -> int:
    """Entry point."""
    print(f"python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    exact = True
    for bench in (bench_quota, bench_price):
        for line in uvloop.run(bench()):
            print(json.dumps(line), flush=True)
            exact = exact and line.get("admitted", ALLOWED) == ALLOWED
    return 0 if exact else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PodiumError as error:
        sys.exit(str(error))
