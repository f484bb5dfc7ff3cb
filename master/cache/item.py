"""One object at one revision, and one change of it, as everything above the cache sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from master.cache.stamp import stamp
from podium.objects.kinds import BY_NAME, Key


class Item:
    """An object at a revision: its stored bytes, and its message, decoded when first needed.

    The message is shared by all readers and must not be changed. It takes some eight times the memory of the bytes, and
    decoding takes some microseconds: so a message that nobody has asked for in a while is let go (`cool`), and an item
    that is seldom read keeps none (`forget_message`); who asks gets one decoded anew.
    """

    __slots__ = ("_forgets", "_message", "_used", "key", "revision", "value")

    def __init__(self, key: Key, value: bytes, revision: int, message: Any = None) -> None:
        self.key = key
        self.value = value
        self.revision = revision
        self._message = message
        self._forgets = False
        self._used = True

    @classmethod
    def blank(cls, kind: str, revision: int) -> Item:
        """An object with nothing but a resourceVersion."""
        return cls(Key(kind, "", ""), b"", revision)

    @property
    def message(self) -> Any:
        """The object, with its resourceVersion."""
        self._used = True
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

    @property
    def decoded(self) -> Any:
        """The message if it is at hand, or None: to look at it without a claim that it is in use."""
        return self._message

    def cool(self) -> bool:
        """Let the message go unless it was asked for since the last call; whether one was let go."""
        used, self._used = self._used, False
        if used or self._message is None:
            return False
        self._message = None
        return True

    def forget_message(self) -> None:
        """Drop the decoded form, and keep none from now on."""
        self._message = None
        self._forgets = True


@dataclass(slots=True)
class Event:
    """A committed change. `old` is None when the object is new; when `removed`, `new` is its last state.

    `wire` keeps the event as it goes to watchers, and `change`, while it is told, as it goes to subscribers: made once,
    shared by all.
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
