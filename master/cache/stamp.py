"""Stamping: giving stored bytes their resourceVersion without decoding them.

Stored bytes never hold a resourceVersion, which is known only once they are committed. Every kind has its ObjectMeta as
field 1, and protobuf merges repeated occurrences of a message field: so appending `metadata { resource_version }` to
the bytes of an object sets it.
"""

from __future__ import annotations

_METADATA = 0x0A  # field 1, length-delimited
_RESOURCE_VERSION = 0x2A  # field 5 of ObjectMeta, length-delimited


def stamp(revision: int) -> bytes:
    """The bytes to append to a stored object so that it carries this resourceVersion."""
    text = str(revision).encode()
    size = len(text)  # at most 20 digits, so every length fits one byte
    return bytes((_METADATA, size + 2, _RESOURCE_VERSION, size)) + text
