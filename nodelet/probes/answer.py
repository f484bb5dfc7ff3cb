"""What one probe attempt came to."""

from __future__ import annotations

from dataclasses import dataclass

BODY_LIMIT = 10 * 1024
"""Bytes of an answer that are read, and may be shown in events; more would let a pod fill the nodelet's memory."""
_SHOWN = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`message` is for events and `podium describe`: the probe's own words, as far as it had any."""

    healthy: bool
    message: str = ""


def shown(text: bytes | str) -> str:
    """An answer's text, readable and short enough for an event."""
    plain = text.decode(errors="replace") if isinstance(text, bytes) else text
    return plain.strip()[:_SHOWN]
