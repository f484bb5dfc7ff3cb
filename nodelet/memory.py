"""What the C library keeps of memory that was given back.

Each thread may get an arena of its own, in which pages stay that one long-lived object holds; a nodelet has dozens of
threads that ask the engine things for a moment.
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
_libc = ctypes.CDLL(None)


def share_arenas() -> None:
    """Have all threads allocate in one arena. To be called before there are threads. Not every C library has arenas."""
    if hasattr(_libc, "mallopt"):
        _ = _libc.mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give free pages back to the kernel."""
    if hasattr(_libc, "malloc_trim"):
        _ = _libc.malloc_trim(0)
