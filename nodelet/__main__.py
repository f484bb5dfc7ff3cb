"""`podium-nodelet [run] [SETTINGS]`, `podium-nodelet drain-host [--now] [SETTINGS]`, `podium-nodelet version`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Protocol, TypeVar

import uvloop

import podium
from nodelet import app, memory
from nodelet.drain_host import drain_host
from nodelet.settings import NodeletSettings, check
from podium import settings
from podium.aio.clock import Clock, SystemClock
from podium.errors import PodiumError
from podium.telemetry import log

PROG = "podium-nodelet"
USAGE_ERROR = 2

T = TypeVar("T", covariant=True)


class Body(Protocol[T]):
    """What runs until a signal comes."""

    async def __call__(self, settings: NodeletSettings, *, clock: Clock, stopping: asyncio.Event) -> T: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "run"
    try:
        match command:
            case "run":
                return _run(arguments)
            case "drain-host":
                return _drain_host(arguments)
            case "version":
                sys.stdout.write(f"{PROG} {podium.__version__}\n")
                return 0
    except (settings.SettingsError, PodiumError) as error:
        sys.stderr.write(f"{PROG}: {error}\n")
        return USAGE_ERROR if isinstance(error, settings.SettingsError) else 1
    sys.stderr.write(f'{PROG}: unknown command "{command}": run, drain-host or version\n')
    return USAGE_ERROR


def _run(arguments: Sequence[str]) -> int:
    loaded = settings.load(
        NodeletSettings,
        arguments,
        env_prefix="PODIUM_NODELET",
        prog=f"{PROG} run",
        description="Make this host a node. Stopping it leaves the pods running.",
    )
    check(loaded)
    log.configure(loaded.log_level, loaded.log_format)
    memory.share_arenas()
    if loaded.runtime == "docker":
        match uvloop.run(_until_signalled(loaded, app.enrol)):
            case app.Enrolment.STOPPED:
                return 0
            case app.Enrolment.JOINED:
                # Begin again with an identity on disk: what joining needed (a tenth of the memory) stays behind.
                os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very program
    uvloop.run(_until_signalled(loaded, app.serve))
    return 0


def _drain_host(arguments: list[str]) -> int:
    now = "--now" in arguments
    loaded = settings.load(
        NodeletSettings,
        [argument for argument in arguments if argument != "--now"],
        env_prefix="PODIUM_NODELET",
        prog=f"{PROG} drain-host",
        description="End the pods of this host, critical ones last, and return when they have ended, if the host is "
        "shutting down; with --now in any case. Example: podium-nodelet drain-host --config /etc/podium/nodelet.toml",
    )
    asyncio.run(drain_host(loaded, now=now))
    return 0


async def _until_signalled(loaded: NodeletSettings, body: Body[T]) -> T:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return await body(loaded, clock=SystemClock(), stopping=stopping)


if __name__ == "__main__":
    sys.exit(main())
