"""`Objects.Batch`: a stream of writes, pipelined.

Requests are read ahead while a group is being written; what has been read by then is the next group, committed
together and answered in one frame. Groups follow one another, so writes of one stream take effect in their order.
Reading ahead is bounded: beyond that the client is held back by the stream's own flow control.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

from google.protobuf.message import Message

from master.access.protocol import Principal
from master.access.writer import StoreWriter
from master.access.writes import ApiWrite
from master.api.requests import batched_in
from master.api.status import to_status
from podium.errors import PodiumError
from podium.v1.objects_service_pb2 import BatchRequest, BatchResponse

# Writes that are answered in one frame.
GROUP = 400
# Frames.
READ_AHEAD = 256

_Result = BatchResponse.Result


async def batches(
    requests: AsyncIterator[BatchRequest], writer: StoreWriter, by: Principal
) -> AsyncIterator[BatchResponse]:
    """Carry out a stream of writes; yields their results in order, many a frame."""
    read: asyncio.Queue[BatchRequest | None] = asyncio.Queue(READ_AHEAD)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_read_all(requests, read), name="batch reader")
        try:
            while frames := await _next_frames(read):
                writes = [write for frame in frames for write in writes_in(frame)]
                for start in range(0, len(writes), GROUP):
                    yield BatchResponse(results=await _write(writes[start : start + GROUP], writer, by))
        finally:
            reading.cancel()


def writes_in(frame: BatchRequest) -> Iterator[BatchRequest]:
    """The writes of a frame, in order. An empty frame is a malformed write, to be answered as such."""
    if frame.WhichOneof("write") or not frame.more:
        yield frame
    for further in frame.more:
        yield from writes_in(further)


async def _read_all(requests: AsyncIterator[BatchRequest], into: asyncio.Queue[BatchRequest | None]) -> None:
    async for request in requests:
        await into.put(request)
    await into.put(None)


async def _next_frames(read: asyncio.Queue[BatchRequest | None]) -> list[BatchRequest]:
    """Some of what has been read, at least one frame; nothing when the stream has ended."""
    frames: list[BatchRequest] = []
    count = 0
    frame = await read.get()
    while frame is not None:
        frames.append(frame)
        count += 1 + len(frame.more)
        if count >= GROUP or read.empty():
            return frames
        frame = read.get_nowait()
    if frames:
        read.put_nowait(None)  # the end is yet to be seen
    return frames


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
