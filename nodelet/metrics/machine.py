"""Facts and figures of this machine from /proc and /etc: parsers, and readers that block (call them in a thread).

A host may itself be a container (as in the test rig). Then /proc is that of the machine around it: its boot id does not
change when the container restarts, so `boot_id` mixes in when PID 1 started; and its memory and processors may be more
than PID 1's control group allows, so the lower of both counts.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import shlex
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from nodelet.metrics.cgroup import Limits

PROC = Path("/proc")
GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_FIRST_TICKS = 100
"""A machine's own PID 1 starts within a second of its boot; one of a container can't."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What does not change while the machine runs. Memory in bytes; `cores` may be a fraction under a quota."""

    boot_id: str
    hostname: str
    kernel: str
    os_image: str
    architecture: str
    cores: float
    memory: int
    pids: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is taken of the machine now: CPU time so far in ns, memory and its total in bytes, tasks."""

    cpu_ns: int
    memory: int
    memory_available: int
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """Bytes and inodes in all, and those left to whoever isn't root."""

    total: int = 0
    available: int = 0
    inodes: int = 0
    inodes_available: int = 0


# ---------------------------------------------------------------- parsers, pure


def parse_meminfo(text: str) -> dict[str, int]:
    """`/proc/meminfo` in bytes, by name."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name: int(amount.split()[0]) * (1024 if amount.endswith("kB") else 1) for name, amount in pairs}


def parse_cpu_ns(stat: str, ticks_per_second: int) -> int:
    """Time that all processors together were busy, from `/proc/stat`. Guests are within user; waiting is idle."""
    user, nice, system, _idle, _waiting, interrupts, soft = (int(word) for word in stat.split(None, 8)[1:8])
    return (user + nice + system + interrupts + soft) * (1_000_000_000 // ticks_per_second)


def parse_os_name(os_release: str) -> str:
    """The name for people from `/etc/os-release`."""
    for line in os_release.splitlines():
        key, _, quoted = line.partition("=")
        if key == "PRETTY_NAME":
            return " ".join(shlex.split(quoted))
    return "Linux"


def parse_start_ticks(stat: str) -> int:
    """When a process started, in ticks since the boot, from `/proc/PID/stat`; its name may hold anything."""
    return int(stat.rpartition(")")[2].split()[19])


def parse_tasks(loadavg: str) -> int:
    """Tasks that exist now, from `/proc/loadavg`."""
    return int(loadavg.split()[3].partition("/")[2])


def parse_upper_dir(mountinfo: str) -> str:
    """The writable layer of a container's root, from `/proc/PID/mountinfo`; empty when it isn't an overlay."""
    for line in mountinfo.splitlines():
        about, _, source = line.partition(" - ")
        if about.split(" ")[4] == "/" and source.startswith("overlay "):
            options = dict(option.partition("=")[::2] for option in source.split(" ", 2)[2].split(","))
            return options.get("upperdir", "")
    return ""


def mixed_boot_id(kernel: str, init_start_ticks: int) -> str:
    """The kernel's boot id; in a container, one that also changes when the container starts anew."""
    return kernel if init_start_ticks < _FIRST_TICKS else str(uuid.uuid5(uuid.UUID(kernel), str(init_start_ticks)))


# ---------------------------------------------------------------- readers; they block


def read_boot_id(proc: Path = PROC) -> str:
    """See the module."""
    kernel = (proc / "sys/kernel/random/boot_id").read_text().strip()
    return mixed_boot_id(kernel, parse_start_ticks((proc / "1/stat").read_text()))


def read_machine(limits: Limits, proc: Path = PROC) -> Machine:
    """The machine, within the limits of the group it is in."""
    memory = parse_meminfo((proc / "meminfo").read_text())["MemTotal"]
    pids = min(int((proc / "sys/kernel" / name).read_text()) for name in ("pid_max", "threads-max"))
    return Machine(
        boot_id=read_boot_id(proc),
        hostname=socket.gethostname().lower(),
        kernel=platform.release(),
        os_image=_os_image(),
        architecture=GO_ARCHITECTURES.get(platform.machine(), platform.machine()),
        cores=min(os.cpu_count() or 1, limits.cpu or math.inf),
        memory=min(memory, limits.memory or memory),
        pids=min(pids, limits.pids or pids),
    )


def _os_image() -> str:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        with contextlib.suppress(OSError):
            return parse_os_name(Path(path).read_text())
    return "Linux"


def read_load(proc: Path = PROC) -> Load:
    """The whole machine's load."""
    memory = parse_meminfo((proc / "meminfo").read_text())
    return Load(
        cpu_ns=parse_cpu_ns((proc / "stat").read_text(), os.sysconf("SC_CLK_TCK")),
        memory=memory["MemTotal"] - memory["MemAvailable"],
        memory_available=memory["MemAvailable"],
        tasks=parse_tasks((proc / "loadavg").read_text()),
    )


def read_filesystem(path: Path) -> Filesystem:
    """The file system that a path is on; nothing when there is no such path."""
    try:
        stat = os.statvfs(path)
    except OSError:
        return Filesystem()
    return Filesystem(
        total=stat.f_blocks * stat.f_frsize,
        available=stat.f_bavail * stat.f_frsize,
        inodes=stat.f_files,
        inodes_available=stat.f_favail,
    )
