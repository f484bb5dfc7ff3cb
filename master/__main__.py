"""`podium-master [run] [SETTINGS]`, `podium-master restore BACKUP --data-dir DIR`, `podium-master version`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

import podium
from master import app, restore
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
            case "restore":
                return _restore(arguments)
            case "version":
                sys.stdout.write(f"{PROG} {podium.__version__}\n")
                return 0
    except (settings.SettingsError, PodiumError) as error:
        sys.stderr.write(f"{PROG}: {error}\n")
        return USAGE_ERROR if isinstance(error, settings.SettingsError) else 1
    sys.stderr.write(f'{PROG}: unknown command "{command}": run, restore or version\n')
    return USAGE_ERROR


def _run(arguments: Sequence[str]) -> int:
    loaded = settings.load(
        MasterSettings,
        arguments,
        env_prefix="PODIUM_MASTER",
        prog=f"{PROG} run",
        description="Run a master. Other commands: restore BACKUP --data-dir DIR, version.",
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


def _restore(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"{PROG} restore",
        description="Put a backup (as Cluster.Backup streams it) in place of the store of a master that is stopped.",
    )
    parser.add_argument("backup", type=Path, help="The backup.")
    parser.add_argument("--data-dir", type=Path, default=MasterSettings().data_dir, help="The master's folder.")
    parser.add_argument("--force", action="store_true", help="Replace a store that is there; it is kept aside.")
    parsed = parser.parse_args(arguments)
    revision = asyncio.run(restore.restore(parsed.backup, parsed.data_dir, force=parsed.force))
    sys.stdout.write(f"restored revision {revision} to {parsed.data_dir}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
