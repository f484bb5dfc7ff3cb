"""What is written by hand is what protobuf reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from master.access.protocol import ChangeType
from master.access.reader import Item, Seen, WatchBatch
from master.api import wire
from master.cache.item import Event
from podium.objects.kinds import KINDS, Key
from podium.v1 import objects_service_pb2 as messages
from podium.v1.core_pb2 import Pod

_items = st.builds(
    lambda kind, name, revision, fill: Item(Key(kind.name, "d", name), _value(kind, name, fill), revision),
    st.sampled_from(KINDS),
    st.text(max_size=20),
    st.integers(1, 2**62),
    st.sampled_from([0, 1, 100, 20_000]),
)


def _value(kind: object, name: str, fill: int) -> bytes:
    obj = kind.message()  # type: ignore[attr-defined]
    obj.metadata.name = name
    obj.metadata.annotations["fill"] = "x" * fill
    value: bytes = obj.SerializeToString(deterministic=True)
    return value


@given(st.integers(0, 2**63 - 1))
def test_varints(number: int) -> None:
    response = messages.ListResponse.FromString(b"\x20" + wire.varint(number))
    assert response.remaining_item_count == number


@given(_items)
def test_an_object(item: Item) -> None:
    response = messages.ObjectResponse.FromString(wire.object_response(item))
    obj = type(item.message)()
    assert response.object.Unpack(obj)
    assert obj == item.message
    assert obj.metadata.resource_version == str(item.revision)
    again = messages.ObjectResponse.FromString(wire.message_response(item.message))
    assert again.object.type_url == response.object.type_url
    assert again.object.Unpack(obj)
    assert obj == item.message


@given(st.lists(_items, max_size=5), st.text(max_size=50), st.integers(0, 10**6))
def test_a_list(items: list[Item], token: str, remaining: int) -> None:
    response = messages.ListResponse.FromString(wire.list_response(items, 77, token, remaining))
    assert [type(i.message).FromString(packed.value) for i, packed in zip(items, response.items, strict=True)] == [
        item.message for item in items
    ]
    assert (response.resource_version, response.continue_token) == ("77", token)
    assert response.remaining_item_count == remaining


@given(_items, st.sampled_from(list(ChangeType)), st.booleans())
def test_a_watch(item: Item, change: ChangeType, natural: bool) -> None:
    event = Event(None, item, removed=False)
    batch = WatchBatch([Seen(change, item, event, natural)], 99, 0, 1)
    frame = wire.batch_response(batch)
    assert wire.batch_response(batch) is frame
    response = messages.WatchResponse.FromString(frame)
    [sent] = response.events
    assert messages.WatchEvent.Type.Name(sent.type) == change.value
    assert type(item.message).FromString(sent.object.value) == item.message
    assert response.resource_version == "99"
    assert (event.wire is not None) == natural


def test_a_bookmark_and_what_exists() -> None:
    response = messages.WatchResponse.FromString(wire.bookmark_response("Pod", 12))
    [bookmark] = response.events
    assert bookmark.type == messages.WatchEvent.BOOKMARK
    assert Pod.FromString(bookmark.object.value).metadata.resource_version == "12"
    assert response.resource_version == "12"
    existing = messages.WatchResponse.FromString(wire.existing_response([Item(Key("Pod", "d", "a"), b"", 3)]))
    assert [e.type for e in existing.events] == [messages.WatchEvent.ADDED]
    assert existing.resource_version == ""
