"""A whole master in this process: real store, real TLS, on free loopback ports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from master.app import Master, running
from master.settings import MasterSettings
from podium.aio.clock import SystemClock


def master_settings(folder: Path, **changes: Any) -> MasterSettings:
    """Settings of a master that keeps to `folder` and to loopback."""
    settings = MasterSettings(
        data_dir=folder, listen=("127.0.0.1:0",), join_listen=("127.0.0.1:0",), http_listen="", stop_grace=0.2
    )
    return replace(settings, **changes)


@asynccontextmanager
async def running_master(folder: Path, **changes: Any) -> AsyncIterator[Master]:
    """A master, for as long as the block lasts; `changes` are settings."""
    async with running(master_settings(folder, **changes), clock=SystemClock()) as master:
        yield master
