"""`Objects.Batch`: a stream of writes, pipelined.

Requests are read ahead while a group is being written; what has been read by then is the next group, committed
together and answered in one frame. Groups follow one another, so writes of one stream take effect in their order.
Reading ahead is bounded: beyond that the client is held back by the stream's own flow control.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from google.protobuf.message import Message

from master.access.protocol import Principal
from master.access.writer import StoreWriter
from master.access.writes import ApiWrite
from master.api.requests import batched_in
from master.api.status import to_status
from podium.errors import PodiumError
from podium.v1.objects_service_pb2 import BatchRequest, BatchResponse

GROUP = 500
READ_AHEAD = 2 * GROUP

_Result = BatchResponse.Result


async def batches(
    requests: AsyncIterator[BatchRequest], writer: StoreWriter, by: Principal
) -> AsyncIterator[BatchResponse]:
    """Carry out a stream of writes; yields their results in order, many a frame."""
    read: asyncio.Queue[BatchRequest | None] = asyncio.Queue(READ_AHEAD)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_read_all(requests, read), name="batch reader")
        try:
            while group := await _next_group(read):
                yield BatchResponse(results=await _write(group, writer, by))
        finally:
            reading.cancel()


async def _read_all(requests: AsyncIterator[BatchRequest], into: asyncio.Queue[BatchRequest | None]) -> None:
    async for request in requests:
        await into.put(request)
    await into.put(None)


async def _next_group(read: asyncio.Queue[BatchRequest | None]) -> list[BatchRequest]:
    """What has been read, at least one; nothing when the stream has ended."""
    group: list[BatchRequest] = []
    request = await read.get()
    while request is not None:
        group.append(request)
        if len(group) == GROUP or read.empty():
            return group
        request = read.get_nowait()
    if group:
        read.put_nowait(None)  # the end is yet to be seen
    return group


async def _write(group: Sequence[BatchRequest], writer: StoreWriter, by: Principal) -> list[_Result]:
    results: list[_Result | None] = [None] * len(group)
    writes: dict[int, ApiWrite] = {}
    for index, request in enumerate(group):
        try:
            writes[index] = batched_in(request)
        except PodiumError as error:
            results[index] = _refused(error)
    outcomes = await writer.write_many(list(writes.values()), by=by)
    for index, outcome in zip(writes, outcomes, strict=True):
        results[index] = _refused(outcome) if isinstance(outcome, PodiumError) else _written(group[index], outcome)
    return [result for result in results if result is not None]


def _written(request: BatchRequest, obj: Message) -> _Result:
    metadata = obj.metadata  # type: ignore[attr-defined]  # every kind has it
    result = _Result(name=metadata.name, resource_version=metadata.resource_version)
    if not request.omit_object:
        result.object.Pack(obj)
    return result


def _refused(error: PodiumError) -> _Result:
    status = to_status(error)
    return _Result(code=status.code, message=status.message, details=status.details)
