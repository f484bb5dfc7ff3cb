"""One object at one revision, and one change of it, as everything above the cache sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from master.cache.stamp import stamp
from podium.objects.kinds import BY_NAME, Key


class Item:
    """An object at a revision: its stored bytes, and its message, decoded when first needed.

    The message is shared by all readers and must not be changed. It takes some eight times the memory of the bytes, so
    an item that is seldom read forgets it; who asks nevertheless gets one of their own, which the item does not keep.
    """

    __slots__ = ("_forgets", "_message", "key", "revision", "value")

    def __init__(self, key: Key, value: bytes, revision: int, message: Any = None) -> None:
        self.key = key
        self.value = value
        self.revision = revision
        self._message = message
        self._forgets = False

    @classmethod
    def blank(cls, kind: str, revision: int) -> Item:
        """An object with nothing but a resourceVersion."""
        return cls(Key(kind, "", ""), b"", revision)

    @property
    def message(self) -> Any:
        """The object, with its resourceVersion."""
        message = self._message
        if message is None:
            message = self.decode()
            if not self._forgets:
                self._message = message
        return message

    @property
    def encoded(self) -> bytes:
        """The object's bytes, with its resourceVersion."""
        return self.value + stamp(self.revision)

    def decode(self) -> Message:
        """A message of one's own, which may be changed."""
        return BY_NAME[self.key.kind].message.FromString(self.encoded)

    def forget_message(self) -> None:
        """Drop the decoded form, and keep none from now on."""
        self._message = None
        self._forgets = True


@dataclass(slots=True)
class Event:
    """A committed change. `old` is None when the object is new; when `removed`, `new` is its last state.

    `wire` and `change` keep the event as it goes to watchers and to subscribers: made once, shared by all.
    """

    old: Item | None
    new: Item
    removed: bool
    wire: bytes | None = None
    change: Any = None

    @property
    def revision(self) -> int:
        """The revision at which this happened."""
        return self.new.revision
