"""Watchers of all pods, in a process of their own: `python -m bench.watchers CONFIG COUNT`.

Prints `ready` when all of them watch, and, when each has seen the pod that is called `LAST`, one line of JSON: pairs of
a pod's name and of the moment (of the system's monotonic clock) at which a watcher had the frame that tells of it.

So that this process is no bottleneck, a frame is only decoded in the end, and only one in `STRIDE` of each watcher is.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from podium.client import AsyncClient
from podium.client.config import load
from podium.v1 import objects_service_pb2 as wire
from podium.v1.core_pb2 import Pod

LAST = "the-last-pod"
STRIDE = 10
METHOD = "/podium.v1.Objects/Watch"

Sample = tuple[float, bytes]


class Watchers:
    """All watchers, and the frames that they keep."""

    def __init__(self, client: AsyncClient, count: int) -> None:
        self._channel = client.connection.stubs().channel
        self._ready = asyncio.Barrier(count + 1)
        self._count = count
        self.samples: list[Sample] = []

    async def run(self) -> None:
        """Watch until the last pod."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._follow(number))
            await self._ready.wait()
            print("ready", flush=True)

    async def _follow(self, number: int) -> None:
        watch = self._channel.unary_stream(
            METHOD, request_serializer=wire.WatchRequest.SerializeToString, response_deserializer=bytes
        )
        frames = watch(wire.WatchRequest(kind="Pod")).__aiter__()
        await anext(frames)  # the bookmark after the empty list
        await self._ready.wait()
        last, seen = LAST.encode(), number
        async for frame in frames:
            seen += 1
            if seen % STRIDE == 0:
                self.samples.append((time.monotonic(), frame))
            if last in frame:
                return


def heard(sample: Sample) -> list[tuple[str, float]]:
    """Which pods a frame tells of, and when it came."""
    moment, frame = sample
    events = wire.WatchResponse.FromString(frame).events
    return [(Pod.FromString(event.object.value).metadata.name, moment) for event in events]


async def main(config: Path, count: int) -> None:
    """See the module."""
    async with AsyncClient(load(config).context()) as client:
        watchers = Watchers(client, count)
        await watchers.run()
    print(json.dumps([pair for sample in watchers.samples for pair in heard(sample)]), flush=True)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
