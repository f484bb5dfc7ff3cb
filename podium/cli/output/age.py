"""Times as people read them: `5s`, `3m20s`, `2d4h`."""

from __future__ import annotations

import datetime

from google.protobuf.timestamp_pb2 import Timestamp


def duration(seconds: float) -> str:
    """A duration in kubectl's short form."""
    whole = max(int(seconds), 0)
    if whole < 120:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d"


def age(since: Timestamp, now: datetime.datetime) -> str:
    """How long ago; `<unknown>` when never set."""
    if not since.seconds:
        return "<unknown>"
    return duration(now.timestamp() - since.seconds)
