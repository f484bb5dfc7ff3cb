"""Names, identities and times of objects."""

from __future__ import annotations

import datetime
import os
import secrets
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes: random names spell nothing."""
_SUFFIX_LENGTH = 5
_LONGEST_GENERATED = 63


def timestamp(moment: datetime.datetime) -> Timestamp:
    """A moment, with its time zone set, as a protobuf timestamp cut to whole seconds (Kubernetes' resolution)."""
    return Timestamp(seconds=int(moment.timestamp()))


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


def new_uid() -> str:
    """A fresh identity for an object."""
    digits = os.urandom(16).hex()  # as str(uuid.uuid4()), which takes four times as long
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
