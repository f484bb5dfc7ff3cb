"""Responses of `Objects`, written straight from stored bytes.

An object is never decoded to be sent: its bytes go into the response as they are stored, stamped with their revision.
What is written here is exactly the messages of `objects_service.proto`; a test parses it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from google.protobuf.message import Message

from master.access.protocol import ChangeType
from master.access.reader import Item, Seen, WatchBatch
from podium.objects.kinds import KINDS, TYPE_URL_PREFIX
from podium.v1.objects_service_pb2 import WatchEvent

# Tags: field number << 3 | 2 (length-delimited) or 0 (varint).
_ITEM = _OBJECT = _EVENTS = b"\x0a"  # field 1 of ListResponse, ObjectResponse, WatchResponse
_RESOURCE_VERSION = b"\x12"  # field 2 of ListResponse and WatchResponse
_CONTINUE = b"\x1a"  # field 3 of ListResponse
_REMAINING = b"\x20"  # field 4 of ListResponse
_TYPE_URL, _VALUE = b"\x0a", b"\x12"  # of Any
_EVENT_TYPE, _EVENT_OBJECT = b"\x08", b"\x12"  # of WatchEvent


def varint(number: int) -> bytes:
    """A non-negative integer in protobuf's variable-length form."""
    if number < 0x80:
        return bytes((number,))
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def delimited(tag: bytes, payload: bytes) -> bytes:
    """A length-delimited field."""
    return tag + varint(len(payload)) + payload


_TYPE_OF_KIND = {kind.name: delimited(_TYPE_URL, kind.type_url.encode()) for kind in KINDS}
_EVENT_TYPES = {
    change: _EVENT_TYPE + varint(WatchEvent.Type.Value(change.value))
    for change in (ChangeType.ADDED, ChangeType.MODIFIED, ChangeType.DELETED)
}
_BOOKMARK = _EVENT_TYPE + varint(WatchEvent.BOOKMARK)


def _packed(kind: str, value: bytes) -> bytes:
    return _TYPE_OF_KIND[kind] + delimited(_VALUE, value)


@cache
def _type_of(full_name: str) -> bytes:
    return delimited(_TYPE_URL, (TYPE_URL_PREFIX + full_name).encode())


def object_response(item: Item) -> bytes:
    """An ObjectResponse with a stored object."""
    return delimited(_OBJECT, _packed(item.key.kind, item.encoded))


def message_response(message: Message) -> bytes:
    """An ObjectResponse with any message."""
    return delimited(_OBJECT, _type_of(message.DESCRIPTOR.full_name) + delimited(_VALUE, message.SerializeToString()))


def list_response(items: Iterable[Item], revision: int, continue_token: str, remaining: int) -> bytes:
    """A ListResponse."""
    parts = [delimited(_ITEM, _packed(item.key.kind, item.encoded)) for item in items]
    parts.append(delimited(_RESOURCE_VERSION, str(revision).encode()))
    if continue_token:
        parts.append(delimited(_CONTINUE, continue_token.encode()))
    if remaining:
        parts.append(_REMAINING + varint(remaining))
    return b"".join(parts)


def existing_response(items: Iterable[Item]) -> bytes:
    """A WatchResponse of objects that exist, as ADDED; it does not say how far the watch is."""
    added = _EVENT_TYPES[ChangeType.ADDED]
    return b"".join([_event(added, item) for item in items])


def batch_response(batch: WatchBatch) -> bytes:
    """A WatchResponse of changes; encoded once for all watchers that get this batch."""
    if batch.wire is None:
        events = [_seen(seen) for seen in batch.seen]
        batch.wire = b"".join((*events, delimited(_RESOURCE_VERSION, str(batch.revision).encode())))
    return batch.wire


def bookmark_response(kind: str, revision: int) -> bytes:
    """A WatchResponse of a bookmark: an object of the kind with nothing but its resourceVersion."""
    event = _event(_BOOKMARK, Item.blank(kind, revision))
    return event + delimited(_RESOURCE_VERSION, str(revision).encode())


def _seen(seen: Seen) -> bytes:
    """A change as one entry of `WatchResponse.events`; encoded once for all who see it in the same way."""
    if not seen.natural:
        return _event(_EVENT_TYPES[seen.type], seen.item)
    if seen.event.wire is None:
        seen.event.wire = _event(_EVENT_TYPES[seen.type], seen.item)
    return seen.event.wire


def _event(type_field: bytes, item: Item) -> bytes:
    return delimited(_EVENTS, type_field + delimited(_EVENT_OBJECT, _packed(item.key.kind, item.encoded)))
