"""`podium-master [run] [SETTINGS]`, and what is done to the folder of a master: see `master.commands`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence

import uvloop

import podium
from master import app
from master.commands import COMMANDS
from master.settings import MasterSettings, check
from podium import settings
from podium.aio.clock import SystemClock
from podium.errors import PodiumError
from podium.telemetry import log

PROG = "podium-master"
USAGE_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "run"
    try:
        match command:
            case "run":
                return _run(arguments)
            case "version":
                sys.stdout.write(f"{PROG} {podium.__version__}\n")
                return 0
            case _ if command in COMMANDS:
                sys.stdout.write(COMMANDS[command](f"{PROG} {command}", arguments) + "\n")
                return 0
    except (settings.SettingsError, PodiumError) as error:
        sys.stderr.write(f"{PROG}: {error}\n")
        return USAGE_ERROR if isinstance(error, settings.SettingsError) else 1
    known = ", ".join(["run", *COMMANDS])
    sys.stderr.write(f'{PROG}: unknown command "{command}": {known} or version\n')
    return USAGE_ERROR


def _run(arguments: Sequence[str]) -> int:
    loaded = settings.load(
        MasterSettings,
        arguments,
        env_prefix="PODIUM_MASTER",
        prog=f"{PROG} run",
        description=f"Run a master. Other commands ({PROG} COMMAND --help): {', '.join(COMMANDS)}, version.",
    )
    check(loaded)
    log.configure(loaded.log_level, loaded.log_format)
    uvloop.run(_until_signalled(loaded))
    return 0


async def _until_signalled(loaded: MasterSettings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await app.serve(loaded, clock=SystemClock(), stopping=stopping)


if __name__ == "__main__":
    sys.exit(main())
