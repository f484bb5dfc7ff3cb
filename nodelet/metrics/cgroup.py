"""What control groups say about containers: parsers, which are pure, and a thin reader for v1 and v2.

A container's group is found from `/proc/PID/cgroup` of its pod's sandbox, the one place that is right for every driver
and every nesting: the engine makes a pod's groups side by side, so the container's is the sandbox's with the other id
in its last part (`/docker/ID`, `/system.slice/docker-ID.scope`). Paths are kept by container id, for an id never moves;
from then on a reading costs a few small files and no question to the engine.

Each controller is looked up by itself: on hosts with both versions mounted, the one that has the controller counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from nodelet.metrics.traffic import Traffic, parse_io_stat, parse_service_bytes, read_processes

_Number = TypeVar("_Number", int, float)

CPU, MEMORY, PIDS, DISK = "cpuacct", "memory", "pids", "blkio"
QUOTA = "cpu"
UNLIMITED = 1 << 62
"""Version 1 writes "no limit" as a number near 2^63."""

_V2 = ""
_INIT_SCOPE = "init.scope"
"""Where systemd puts itself."""
_CONTROLLERS = (CPU, QUOTA, MEMORY, PIDS, DISK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One group at one moment.

    CPU time taken so far in ns, working set in bytes, OOM kills so far, processes, disk traffic so far.
    """

    cpu_ns: int
    memory: int
    oom_kills: int
    pids: int
    disk: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a group may take, the limits of its ancestors included: cores and bytes; None where there is none."""

    cpu: float | None = None
    memory: int | None = None
    pids: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mounted hierarchy: which part of it (`root`) is seen where."""

    root: str
    path: Path
    v2: bool


# ---------------------------------------------------------------- parsers, pure


def parse_membership(text: str) -> dict[str, str]:
    """`/proc/PID/cgroup`: the group's path by controller; that of version 2 under the empty name."""
    paths = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def parse_mounts(text: str) -> dict[str, Mount]:
    """`/proc/self/mountinfo`: the hierarchy that has each controller; version 1 before 2, later mounts over earlier."""
    first: dict[str, Mount] = {}
    second: dict[str, Mount] = {}
    for line in text.splitlines():
        about, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        root, path = about.split(" ")[3:5]
        if kind == "cgroup2":
            second = dict.fromkeys(_CONTROLLERS, Mount(root=root, path=Path(path), v2=True))
        elif kind == "cgroup":
            mount = Mount(root=root, path=Path(path), v2=False)
            first |= {name: mount for name in options.split(",") if name in _CONTROLLERS}
    return second | first


def locate(mount: Mount, membership: Mapping[str, str], controller: str) -> Path | None:
    """The group's directory; None when this mount doesn't show it."""
    path = membership.get(_V2 if mount.v2 else controller)
    if path is None:
        return None
    parts, root = _parts(path), _parts(mount.root)
    if parts[: len(root)] != root:
        return None
    return mount.path.joinpath(*parts[len(root) :])


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def sibling(path: Path, sandbox_id: str, container_id: str) -> Path | None:
    """The container's group, from the sandbox's; None when that one isn't named after the sandbox."""
    return path.with_name(path.name.replace(sandbox_id, container_id)) if sandbox_id in path.name else None


def parse_flat(text: str) -> dict[str, int]:
    """Lines of `KEY NUMBER`, as in `memory.stat` and `cpu.stat`."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def parse_limit(text: str) -> int | None:
    """`memory.max`, `memory.limit_in_bytes`, `pids.max`; None when there is no limit."""
    text = text.strip()
    return int(text) if text.isdigit() and int(text) < UNLIMITED else None


def parse_quota(quota: str, period: str) -> float | None:
    """Cores from a quota (`max` or negative: none) and its period."""
    return int(quota) / int(period) if quota.isdigit() and int(period) else None


def working_set(usage: int, inactive_file: int) -> int:
    """Memory that can't be had back without harm, as Kubernetes counts it."""
    return max(0, usage - inactive_file)


# ---------------------------------------------------------------- the reader; blocks, belongs in a thread


class Groups:
    """Reads groups below the mounts of a process. Blocks; what has gone in the meantime reads as None."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._mounts = parse_mounts((proc / "self/mountinfo").read_text())
        self._paths: dict[str, dict[str, Path]] = {}

    def of_process(self, pid: str) -> dict[str, Path]:
        """Directories of a process' group by controller; those that can't be seen are left out."""
        try:
            membership = parse_membership((self._proc / pid / "cgroup").read_text())
        except (FileNotFoundError, ProcessLookupError):
            return {}
        found = {name: locate(mount, membership, name) for name, mount in self._mounts.items()}
        return {name: path for name, path in found.items() if path is not None}

    def of_container(self, container_id: str, sandbox_id: str, sandbox_pid: str) -> dict[str, Path]:
        """Directories of a container's group by controller; empty while the sandbox can't be found."""
        known = self._paths.get(container_id)
        if known is None:
            beside = self.of_process(sandbox_pid)
            found = {name: sibling(path, sandbox_id, container_id) for name, path in beside.items()}
            known = {name: path for name, path in found.items() if path is not None}
            if known:
                self._paths[container_id] = known
        return known

    def forget_except(self, container_ids: Iterable[str]) -> None:
        """Drop the paths of all other containers."""
        kept = set(container_ids)
        self._paths = {id_: paths for id_, paths in self._paths.items() if id_ in kept}

    def read(self, group: Mapping[str, Path]) -> Reading | None:
        """The group's figures now."""
        try:
            memory, oom_kills = self._memory(group[MEMORY])
            return Reading(
                cpu_ns=self._cpu(group[CPU]),
                memory=memory,
                oom_kills=oom_kills,
                pids=self._pids(group),
                disk=self._disk(group),
            )
        except (KeyError, OSError, ValueError):
            return None  # it ended while it was read, or the host doesn't account for this

    def _cpu(self, path: Path) -> int:
        if self._mounts[CPU].v2:
            return parse_flat((path / "cpu.stat").read_text())["usage_usec"] * 1000
        return int((path / "cpuacct.usage").read_text())

    def _memory(self, path: Path) -> tuple[int, int]:
        stat = parse_flat((path / "memory.stat").read_text())
        if self._mounts[MEMORY].v2:
            kills = parse_flat((path / "memory.events").read_text()).get("oom_kill", 0)
            return working_set(int((path / "memory.current").read_text()), stat["inactive_file"]), kills
        kills = parse_flat((path / "memory.oom_control").read_text()).get("oom_kill", 0)
        return working_set(int((path / "memory.usage_in_bytes").read_text()), stat["total_inactive_file"]), kills

    def _pids(self, group: Mapping[str, Path]) -> int:
        return int((group[PIDS] / "pids.current").read_text()) if PIDS in group else 0

    def _disk(self, group: Mapping[str, Path]) -> Traffic:
        if DISK not in group:
            return Traffic()
        with contextlib.suppress(FileNotFoundError):  # the controller is not delegated to this group
            if self._mounts[DISK].v2:
                return parse_io_stat((group[DISK] / "io.stat").read_text())
            counted = parse_service_bytes((group[DISK] / "blkio.throttle.io_service_bytes").read_text())
            if counted is not None:
                return counted
            return read_processes((group[DISK] / "cgroup.procs").read_text().split(), self._proc)
        return Traffic()

    # ------------------------------------------------------------ limits

    def own(self) -> dict[str, Path]:
        """The group of the host itself: that of PID 1, which is the root's unless the host is a container."""
        group = self.of_process("1")
        return {name: path.parent if path.name == _INIT_SCOPE else path for name, path in group.items()}

    def is_container(self, group: Mapping[str, Path]) -> bool:
        """Whether this is a container's group, not the root, for both processors and memory."""
        return all(name in group and self._below_root(name, group[name]) for name in (CPU, MEMORY))

    def _below_root(self, controller: str, path: Path) -> bool:
        mount = self._mounts[controller]
        # In a namespace of its own a container's group looks like the root; but a real root can't be limited.
        return path != mount.path or (mount.v2 and (path / "memory.max").exists())

    def limits(self, group: Mapping[str, Path]) -> Limits:
        """The tightest limits of the group and its ancestors, as far as they are seen."""
        return Limits(
            cpu=self._tightest(QUOTA, group, self._quota),
            memory=self._tightest(MEMORY, group, self._memory_limit),
            pids=self._tightest(PIDS, group, lambda path: parse_limit((path / "pids.max").read_text())),
        )

    def _tightest(
        self, controller: str, group: Mapping[str, Path], read: Callable[[Path], _Number | None]
    ) -> _Number | None:
        if controller not in group:
            return None
        top, found = self._mounts[controller].path, []
        for path in (group[controller], *group[controller].parents):
            with contextlib.suppress(FileNotFoundError):  # the root has no limits, and no files of them
                found.append(read(path))
            if path == top:
                break
        return min((limit for limit in found if limit is not None), default=None)

    def _quota(self, path: Path) -> float | None:
        if self._mounts[QUOTA].v2:
            return parse_quota(*(path / "cpu.max").read_text().split())
        quota, period = (path / "cpu.cfs_quota_us").read_text(), (path / "cpu.cfs_period_us").read_text()
        return parse_quota(quota.strip(), period.strip())

    def _memory_limit(self, path: Path) -> int | None:
        name = "memory.max" if self._mounts[MEMORY].v2 else "memory.limit_in_bytes"
        return parse_limit((path / name).read_text())
