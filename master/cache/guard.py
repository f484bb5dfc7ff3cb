"""The mutation detector: finds readers that changed an object which all share.

A cached object is its bytes, decoded. One that no longer equals its bytes was changed in memory, by a caller who should
have copied it: a bug that otherwise shows only later, and elsewhere.
"""

from __future__ import annotations

from master.cache.item import Item


def verify(item: Item) -> None:
    """Compare an object with its bytes.

    Raises:
        AssertionError: They differ; shows both.
    """
    found = item.decoded
    if found is None:
        return
    stored = item.decode()
    assert found == stored, (
        f"{item.key} was changed in the cache by a reader; copy before changing\n"
        f"--- as stored\n{stored}\n--- as found\n{found}"
    )
