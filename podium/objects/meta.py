"""Names, identities and times of objects."""

from __future__ import annotations

import datetime
import os
import secrets
from collections.abc import Iterator
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes: random names spell nothing."""
_SUFFIX_LENGTH = 5
_LONGEST_GENERATED = 63
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def timestamp(moment: datetime.datetime) -> Timestamp:
    """A moment, with its time zone set, as a protobuf timestamp cut to whole seconds (Kubernetes' resolution)."""
    since = moment - _EPOCH  # exact, where a float of seconds rounds far from today
    return Timestamp(seconds=since.days * 86_400 + since.seconds)


def micro_timestamp(moment: datetime.datetime) -> Timestamp:
    """A moment as a protobuf timestamp in microseconds, as Leases keep it."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def to_datetime(stamp: Timestamp) -> datetime.datetime:
    """A protobuf timestamp as a moment in UTC."""
    return datetime.datetime.fromtimestamp(stamp.seconds, datetime.UTC) + datetime.timedelta(
        microseconds=stamp.nanos // 1000
    )


def seconds_since(stamp: Timestamp, now: datetime.datetime) -> float:
    """Seconds from `stamp` to `now`; negative when `stamp` is later."""
    return now.timestamp() - (stamp.seconds + stamp.nanos / 1e9)


class _Entropy:
    """Random bytes as hexadecimal digits, taken from the kernel many at a time: a system call costs more than a uid."""

    _TAKEN_AT_ONCE = 16 * 256

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Give nothing more of what was taken."""
        self._digits: Iterator[str] = iter(())

    def sixteen_bytes(self) -> str:
        """32 digits that were never given before; threads get different ones."""
        found = next(self._digits, None)
        if found is None:
            digits = os.urandom(self._TAKEN_AT_ONCE).hex()
            self._digits = iter([digits[at : at + 32] for at in range(0, len(digits), 32)])
            found = next(self._digits)
        return found


_entropy = _Entropy()
# A child that goes on with its parent's bytes would give out the same identities.
os.register_at_fork(after_in_child=_entropy.forget)


def new_uid() -> str:
    """A fresh identity for an object."""
    digits = _entropy.sixteen_bytes()  # put together as str(uuid.uuid4()), which takes four times as long
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def random_suffix(length: int = _SUFFIX_LENGTH) -> str:
    """Random characters that are safe in a name."""
    return "".join(secrets.choice(_NAME_ALPHABET) for _ in range(length))


def generate_name(prefix: str) -> str:
    """`metadata.generateName` completed: cut so that the whole is a DNS label of at most 63 characters."""
    return prefix[: _LONGEST_GENERATED - _SUFFIX_LENGTH] + random_suffix()


def is_terminating(obj: Any) -> bool:
    """Whether deletion of the object was asked for."""
    return bool(obj.metadata.HasField("deletion_timestamp"))


def qualified_name(obj: Any) -> str:
    """`namespace/name`, or only the name of a cluster-scoped object: for logs and messages."""
    meta = obj.metadata
    return f"{meta.namespace}/{meta.name}" if meta.namespace else str(meta.name)
