"""Bytes over the network and to disks so far: parsers, which are pure, and thin readers that block.

A pod's network is its sandbox's: `/proc/PID/net/dev` shows the devices of that process' network namespace. A pod on the
host's own network has none of its own to count. Of the host's devices those count that stand for themselves: not
loopback, not what is plugged into a bridge or bond, and not the bridges, or every byte of a pod would count thrice.

Disk traffic is that of block devices, whoever asked for it: by control group for containers, `/proc/diskstats` for the
host. What the page cache answers is in neither. Newer kernels count nothing in version 1's groups unless something is
throttled; there the group's processes are asked, each of which has counted for itself and for those it waited for.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys")
_SECTOR = 512
MAX_PROCESSES = 64
"""Of a group of more, what they read and wrote is not told: it would cost too much to ask them all."""
_LOOPBACK = "lo"
_MADE_UP = ("loop", "ram", "zram", "dm-", "md")
"""Block devices that stand on others, or on memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes so far: received or read, and sent or written."""

    taken: int = 0
    given: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(taken=self.taken + other.taken, given=self.given + other.given)


def total(parts: Iterable[Traffic]) -> Traffic:
    """All together."""
    return sum(parts, Traffic())


# ---------------------------------------------------------------- parsers, pure


def parse_net_dev(text: str) -> dict[str, Traffic]:
    """`/proc/net/dev` by device."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, figures = line.partition(":")
        words = figures.split()
        found[name.strip()] = Traffic(taken=int(words[0]), given=int(words[8]))
    return found


def parse_io_stat(text: str) -> Traffic:
    """`io.stat` of version 2: lines of `MAJOR:MINOR rbytes=… wbytes=… …`."""
    taken = given = 0
    for word in text.split():
        name, _, figure = word.partition("=")
        if name == "rbytes":
            taken += int(figure)
        elif name == "wbytes":
            given += int(figure)
    return Traffic(taken=taken, given=given)


def parse_service_bytes(text: str) -> Traffic | None:
    """`blkio.throttle.io_service_bytes` of version 1: lines of `MAJOR:MINOR Read NUMBER`, and a sum.

    None when there is the sum only: nothing is counted.
    """
    if text.startswith("Total"):
        return None
    by = {"Read": 0, "Write": 0}
    for line in text.splitlines():
        _, _, figure = line.partition(" ")
        operation, _, amount = figure.partition(" ")
        if operation in by:
            by[operation] += int(amount)
    return Traffic(taken=by["Read"], given=by["Write"])


def parse_process_io(text: str) -> Traffic:
    """`/proc/PID/io`: what a process made be read from, and written to, disks."""
    figures = dict(line.split(": ") for line in text.splitlines())
    return Traffic(taken=int(figures["read_bytes"]), given=int(figures["write_bytes"]))


def parse_diskstats(text: str, whole: Collection[str]) -> Traffic:
    """`/proc/diskstats`, of these devices."""
    rows = (line.split() for line in text.splitlines())
    return total(
        Traffic(taken=int(row[5]) * _SECTOR, given=int(row[9]) * _SECTOR) for row in rows if row and row[2] in whole
    )


# ---------------------------------------------------------------- readers; they block


class Networks:
    """Traffic of the host and of pods' sandboxes."""

    def __init__(self, proc: Path, sys: Path = SYS) -> None:
        self._proc, self._sys = proc, sys
        self._own = ""
        with contextlib.suppress(OSError):
            self._own = _namespace(proc / "self")
        self._shared: dict[str, bool] = {}

    def host(self) -> Traffic:
        """Through the host's own devices."""
        devices = parse_net_dev((self._proc / "net/dev").read_text())
        return total(traffic for name, traffic in devices.items() if self._stands_for_itself(name))

    def pod(self, sandbox_id: str, pid: str) -> Traffic | None:
        """Of a pod's own network; None when it has none, or has ended."""
        try:
            if self._shares(sandbox_id, pid):
                return None
            devices = parse_net_dev((self._proc / pid / "net/dev").read_text())
        except (OSError, ValueError, IndexError):
            return None
        return total(traffic for name, traffic in devices.items() if name != _LOOPBACK)

    def forget_except(self, sandbox_ids: Collection[str]) -> None:
        """Drop what is known of all other sandboxes."""
        self._shared = {id_: shared for id_, shared in self._shared.items() if id_ in sandbox_ids}

    def _shares(self, sandbox_id: str, pid: str) -> bool:
        """Whether the sandbox is on the host's network; that never changes."""
        known = self._shared.get(sandbox_id)
        if known is None:
            known = self._shared[sandbox_id] = _namespace(self._proc / pid) == self._own
        return known

    def _stands_for_itself(self, name: str) -> bool:
        device = self._sys / "class/net" / name
        return name != _LOOPBACK and not (device / "master").exists() and not (device / "bridge").exists()


def whole_disks(sys: Path = SYS) -> frozenset[str]:
    """Block devices that are neither part of another nor built on others."""
    with contextlib.suppress(OSError):
        return frozenset(path.name for path in (sys / "block").iterdir() if not path.name.startswith(_MADE_UP))
    return frozenset()


def read_processes(pids: Collection[str], proc: Path) -> Traffic:
    """Of these processes together; one that has ended is in its parent's figures."""
    if len(pids) > MAX_PROCESSES:
        return Traffic()
    found = Traffic()
    for pid in pids:
        with contextlib.suppress(OSError, KeyError, ValueError):
            found += parse_process_io((proc / pid / "io").read_text())
    return found


def read_disks(disks: Collection[str], proc: Path) -> Traffic:
    """Traffic of the host's disks; none where the kernel does not tell."""
    with contextlib.suppress(OSError):
        return parse_diskstats((proc / "diskstats").read_text(), disks)
    return Traffic()


def _namespace(process: Path) -> str:
    """Which network namespace a process is in; Raises: OSError."""
    return os.readlink(process / "ns/net")
