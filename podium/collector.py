"""Python's garbage collector, in processes that live long and hold much."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """For loading, which makes objects by the hundred thousand and no garbage: looking for some takes as long again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def forget_start() -> None:
    """What was loaded until now lives as long as the process: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
