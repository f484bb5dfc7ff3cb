"""What `podium-master` does to a master's folder, besides running one: `backup`, `restore`, `ca`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from master import backup as backups
from master import restore as restores
from master.auth import rotation
from master.auth.ca import CertificateAuthority
from master.settings import PKI_FOLDER, MasterSettings
from podium.aio.clock import SystemClock


def _parser(prog: str, description: str, example: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir", type=Path, default=MasterSettings().data_dir, help="The master's folder.")
    return parser


def backup(prog: str, arguments: Sequence[str]) -> str:
    """Write a backup; returns what to say."""
    parser = _parser(
        prog,
        "Write a backup of a master that runs, or is stopped: its store, sealing keys, CA and settings as one file.\n"
        "Whoever has the file has the cluster: it is made readable by its owner only.",
        f"{prog} /root/podium.backup --settings /etc/podium/master.toml",
    )
    parser.add_argument("file", type=Path, help="The file to write.")
    parser.add_argument("--settings", type=Path, help="The master's settings file, to be kept with it.")
    parsed = parser.parse_args(arguments)
    made = backups.backup(parsed.data_dir, parsed.file, settings=parsed.settings, now=SystemClock().now())
    return f"wrote {parsed.file}: cluster {made.cluster} at revision {made.revision}"


def restore(prog: str, arguments: Sequence[str]) -> str:
    """Restore a backup; returns what to say."""
    parser = _parser(
        prog,
        "Make a backup (of `podium-master backup`, or the store that Cluster.Backup streams) the master in a folder,\n"
        "whose master is stopped.",
        f"{prog} /root/podium.backup --data-dir /var/lib/podium/master",
    )
    parser.add_argument("backup", type=Path, help="The backup.")
    parser.add_argument("--force", action="store_true", help="Replace what is there; it is kept aside.")
    parsed = parser.parse_args(arguments)
    done = asyncio.run(restores.restore(parsed.backup, parsed.data_dir, now=SystemClock().now(), force=parsed.force))
    said = f"restored revision {done.revision} to {parsed.data_dir}"
    return said if done.settings is None else f"{said}; the settings of that master are in {done.settings}"


_STEPS: Mapping[str, Callable[[Path], None]] = {
    "show": lambda folder: None,
    "add": lambda folder: rotation.add(folder, SystemClock().now()),
    "reissue": rotation.reissue,
    "drop": rotation.drop,
}


def ca(prog: str, arguments: Sequence[str]) -> str:
    """Replace the cluster's CA, step by step; returns what to say."""
    parser = _parser(
        prog,
        "Replace the cluster's CA, in three steps. After each, start the master anew, and wait until all nodes trust\n"
        "what it trusts (their annotation podium.dev/trust). Each step may be repeated.\n\n"
        "  show     STAGE and TRUST: how far it is, and what names the CAs that are trusted\n"
        "  add      make the next CA, and trust it, too\n"
        "  reissue  it signs from now on; the old one is trusted still\n"
        "  drop     the old one is trusted no more",
        f"{prog} add && systemctl restart podium-master",
    )
    parser.add_argument("step", choices=list(_STEPS), help="What to do.")
    parsed = parser.parse_args(arguments)
    folder = parsed.data_dir / PKI_FOLDER
    _STEPS[parsed.step](folder)
    stage = rotation.stage_of(folder)
    return f"{stage.value} {CertificateAuthority.open(folder, SystemClock()).digest}"


COMMANDS: Mapping[str, Callable[[str, Sequence[str]], str]] = {"backup": backup, "restore": restore, "ca": ca}
"""By name: takes the program's name and the command's arguments, returns what is to be said. Raises PodiumError."""
