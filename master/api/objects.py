"""`Objects`: the one generic way to read and write every kind.

Reads are served from the watch cache as stored bytes (`master.api.wire`); writes go through `StoreWriter`. Who calls is
asked of the connection, and may or may not: reads are authorized here, writes where they are decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message
from prometheus_client import Counter

from master.access.protocol import Delete, Principal
from master.access.reader import CacheReader, Item, Selection
from master.access.subresources import check_scalable, scale_of
from master.access.writer import StoreWriter
from master.access.writes import ApiWrite
from master.api import requests, wire
from master.api.batch import batches
from master.api.identity import caller
from master.auth.authorizer import Authorizer
from podium.errors import BadRequest, NotFound, PodiumError, TooSlow
from podium.objects.kinds import named
from podium.objects.selectors import parse_field_selector, parse_selector
from podium.v1 import objects_service_pb2 as messages
from podium.v1.meta_pb2 import DeleteOptions

SERVICE = "podium.v1.Objects"
BOOKMARK_SECONDS = 30.0
# A client that does not take a frame for this long is told to list again when it comes back.
SEND_SECONDS = 30.0
CHUNK = 500

WATCH_EVENTS = Counter("podium_master_watch_events", "Events sent to watchers.", ["kind"])


class ObjectsServicer:
    """See the module. Register it with `add_objects_to_server`: its responses are bytes."""

    def __init__(
        self,
        *,
        reader: CacheReader,
        writer: StoreWriter,
        authorizer: Authorizer,
        identify: Callable[[Any], Principal] = caller,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._authorizer = authorizer
        self._identify = identify

    # ------------------------------------------------------------ reading

    async def Get(self, request: messages.GetRequest, context: Any) -> bytes:
        """One object, or its `scale`."""
        key = requests.key_in(request.key)
        by = self._identify(context)
        self._authorizer.check(by, "get", key.kind, key.namespace, key.name, request.subresource)
        if request.subresource == "scale":
            check_scalable(key)
            return wire.message_response(scale_of(self._reader.item(key).message))
        if request.subresource not in ("", "status"):
            raise BadRequest(f'{key.kind} has no sub-resource "{request.subresource}" that can be read')
        return wire.object_response(self._reader.item(key))

    async def List(self, request: messages.ListRequest, context: Any) -> bytes:
        """Objects of a kind, selected, in order, maybe a page at a time."""
        selection = self._selection("list", request, context)
        page = self._reader.page(selection, limit=request.limit, continue_token=request.continue_token)
        return wire.list_response(page.items, page.revision, page.continue_token, page.remaining)

    async def Watch(self, request: messages.WatchRequest, context: Any) -> None:
        """What changes, from a revision on."""
        selection = self._selection("watch", request, context)
        sent = WATCH_EVENTS.labels(selection.kind)
        if request.resource_version in ("", "0"):
            # No await between the two: the watch continues exactly where the list ends.
            page = self._reader.page(selection)
            watch = self._reader.watch(selection, after=page.revision)
            await self._send_existing(page.items, selection.kind, page.revision, context)
        else:
            watch = self._reader.watch(selection, after=_revision(request.resource_version))
        while True:
            batch = await watch.next(at_most=BOOKMARK_SECONDS)
            if batch.seen:
                await _send(context, wire.batch_response(batch))
                sent.inc(len(batch.seen))
            elif request.allow_bookmarks and batch.revision:
                await _send(context, wire.bookmark_response(selection.kind, batch.revision))

    async def _send_existing(self, items: Sequence[Item], kind: str, revision: int, context: Any) -> None:
        for start in range(0, len(items), CHUNK):
            await _send(context, wire.existing_response(items[start : start + CHUNK]))
        await _send(context, wire.bookmark_response(kind, revision))

    def _selection(
        self, verb: str, request: messages.ListRequest | messages.WatchRequest | messages.DeleteCollectionRequest,
        context: Any,
    ) -> Selection:  # fmt: skip
        kind = named(request.kind)
        labels = parse_selector(request.label_selector)
        fields = parse_field_selector(request.field_selector, kind.name)
        name = fields.required("metadata.name") or ""
        self._authorizer.check(self._identify(context), verb, kind.name, request.namespace, name)
        return Selection(kind=kind.name, namespace=request.namespace, labels=labels, fields=fields)

    # ------------------------------------------------------------ writing

    async def Create(self, request: messages.CreateRequest, context: Any) -> bytes:
        """A new object, or a pod's `binding` or `eviction`."""
        return wire.message_response(await self._write(requests.create_in(request), context))

    async def Update(self, request: messages.UpdateRequest, context: Any) -> bytes:
        """An object, its `status` or its `scale`, replaced."""
        obj: Any = await self._write(requests.update_in(request), context)
        return wire.message_response(scale_of(obj) if request.subresource == "scale" else obj)

    async def Patch(self, request: messages.PatchRequest, context: Any) -> bytes:
        """An object or its `status`, patched."""
        return wire.message_response(await self._write(requests.patch_in(request), context))

    async def Apply(self, request: messages.ApplyRequest, context: Any) -> bytes:
        """Server-side apply."""
        return wire.message_response(await self._write(requests.apply_in(request), context))

    async def Delete(self, request: messages.DeleteRequest, context: Any) -> bytes:
        """An object deleted, or its deletion begun."""
        return wire.message_response(await self._write(requests.delete_in(request), context))

    async def DeleteCollection(self, request: messages.DeleteCollectionRequest, context: Any) -> bytes:
        """Everything that is selected, deleted; answers with the last states."""
        selection = self._selection("deletecollection", request, context)
        by = self._identify(context)
        page = self._reader.page(selection)
        deleted: list[Item] = []
        for start in range(0, len(page.items), CHUNK):
            items = page.items[start : start + CHUNK]
            writes = [Delete(item.key, _same_object(request.options, item), request.dry_run) for item in items]
            outcomes = await self._writer.write_many(writes, by=by)
            for item, outcome in zip(items, outcomes, strict=True):
                if isinstance(outcome, NotFound):
                    continue  # somebody else was faster
                if isinstance(outcome, PodiumError):
                    raise outcome
                deleted.append(item)
        return wire.list_response(deleted, self._reader.revision, "", 0)

    async def Batch(
        self, request_iterator: AsyncIterator[messages.BatchRequest], context: Any
    ) -> AsyncIterator[messages.BatchResponse]:
        """A stream of writes, see `master.api.batch`."""
        by = self._identify(context)
        async for response in batches(request_iterator, self._writer, by):
            yield response

    async def _write(self, write: ApiWrite, context: Any) -> Message:
        written: Message = await self._writer.write(write, by=self._identify(context))
        return written


def _same_object(options: DeleteOptions, item: Item) -> DeleteOptions:
    """The options, for exactly the object that was listed."""
    exact = DeleteOptions()
    exact.CopyFrom(options)
    exact.preconditions.uid = item.message.metadata.uid
    return exact


def _revision(text: str) -> int:
    if not text.isdecimal():
        raise BadRequest(f'resourceVersion "{text}" is not one that this server gave')
    return int(text)


async def _send(context: Any, frame: bytes) -> None:
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await context.write(frame)
    except TimeoutError:
        raise TooSlow(
            f"this watch has not been read for {SEND_SECONDS:.0f} s; list again and watch from there"
        ) from None


def add_objects_to_server(servicer: ObjectsServicer, server: Any) -> None:
    """As the generated `add_ObjectsServicer_to_server`, for responses that are bytes already."""
    unary = grpc.unary_unary_rpc_method_handler
    decode = {
        "Get": messages.GetRequest.FromString,
        "List": messages.ListRequest.FromString,
        "Create": messages.CreateRequest.FromString,
        "Update": messages.UpdateRequest.FromString,
        "Patch": messages.PatchRequest.FromString,
        "Apply": messages.ApplyRequest.FromString,
        "Delete": messages.DeleteRequest.FromString,
        "DeleteCollection": messages.DeleteCollectionRequest.FromString,
    }
    handlers: dict[str, Any] = {name: unary(getattr(servicer, name), read, None) for name, read in decode.items()}
    handlers["Watch"] = grpc.unary_stream_rpc_method_handler(servicer.Watch, messages.WatchRequest.FromString, None)
    handlers["Batch"] = grpc.stream_stream_rpc_method_handler(
        servicer.Batch, messages.BatchRequest.FromString, messages.BatchResponse.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)
