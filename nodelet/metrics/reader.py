"""Reads the host and all its containers at once. Everything here blocks: one visit to a thread makes one sample.

On a real host the node's figures are the machine's. When the host is itself a container, they are those of its control
group, plus those of pods whose groups the engine made beside it rather than below it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nodelet.metrics.cgroup import MEMORY, Groups, Reading
from nodelet.metrics.machine import PROC, Filesystem, Machine, parse_upper_dir, read_filesystem, read_load, read_machine
from nodelet.metrics.traffic import SYS, Networks, read_disks, total, whole_disks
from nodelet.metrics.usage import ContainerSample, NodeSample, PodTraffic, Sample, Target

MAX_FILES = 200_000
"""Files of a container that are counted; one with more has made its point."""
_BLOCK = 512


class HostReader:
    """See the module. `disk` is the engine's folder, where images, layers and logs are."""

    def __init__(self, *, disk: Path, proc: Path = PROC, sys: Path = SYS) -> None:
        self._disk, self._proc = disk, proc
        self._networks, self._disks = Networks(proc, sys), whole_disks(sys)
        self._groups = Groups(proc)
        self._own = self._groups.own()
        self._contained = self._groups.is_container(self._own)
        self._limits = self._groups.limits(self._own)
        self.machine: Machine = read_machine(self._limits, proc)

    def read(self, at: float, targets: Iterable[Target], phases: Mapping[str, int]) -> Sample:
        """Everything now. Containers that ended meanwhile are left out.

        Raises:
            OSError, KeyError, ValueError: /proc is not as it should be.
        """
        containers, sandboxes = {}, {}
        for target in targets:
            sandboxes[target.sandbox_id] = target
            group = self._group(target)
            reading = self._groups.read(group)
            if reading is not None:
                apart = self._contained and not group[MEMORY].is_relative_to(self._own[MEMORY])
                containers[target.id] = ContainerSample(target=target, reading=reading, apart=apart)
        self._groups.forget_except(containers)
        node = self._node([sample.reading for sample in containers.values() if sample.apart])
        networks = self._pod_networks(sandboxes)
        return Sample(
            at=at,
            node=node,
            disk=self.filesystem(),
            containers=containers,
            networks=networks,
            phases=dict(phases),
        )

    def _pod_networks(self, sandboxes: Mapping[str, Target]) -> dict[str, PodTraffic]:
        found = {}
        for id_, target in sandboxes.items():
            traffic = self._networks.pod(id_, target.sandbox_pid)
            if traffic is not None:
                found[target.pod.uid] = PodTraffic(pod=target.pod, sandbox_id=id_, traffic=traffic)
        self._networks.forget_except(sandboxes)
        return found

    def filesystem(self) -> Filesystem:
        """The one that images are on."""
        return read_filesystem(self._disk)

    def _group(self, target: Target) -> dict[str, Path]:
        return self._groups.of_container(target.id, target.sandbox_id, target.sandbox_pid)

    def _node(self, beside: Sequence[Reading]) -> NodeSample:
        load, network = read_load(self._proc), self._networks.host()
        own = self._groups.read(self._own) if self._contained else None
        if own is None:
            return NodeSample(
                cpu_ns=load.cpu_ns,
                memory=load.memory,
                memory_available=load.memory_available,
                tasks=load.tasks,
                network=network,
                disk=read_disks(self._disks, self._proc),
            )
        memory = own.memory + sum(reading.memory for reading in beside)
        # What the host was given counts, even where the kernel would let pods beside it have more.
        left = load.memory_available if self._limits.memory is None else max(0, self._limits.memory - memory)
        return NodeSample(
            cpu_ns=own.cpu_ns,
            memory=memory,
            memory_available=min(load.memory_available, left),
            tasks=load.tasks if self._limits.pids is None else own.pids + sum(reading.pids for reading in beside),
            network=network,
            disk=total([own.disk, *(reading.disk for reading in beside)]),
        )

    # ------------------------------------------------------------ disk, only when it is short: this walks folders

    def disk_use(self, targets: Iterable[Target]) -> dict[str, int]:
        """Bytes on disk by container id: what it has written into its own layer, and its logs."""
        return {target.id: self._layer(target) + _tree(self._disk / "containers" / target.id) for target in targets}

    def _layer(self, target: Target) -> int:
        try:
            pids = (self._group(target)[MEMORY] / "cgroup.procs").read_text().split()
            upper = parse_upper_dir((self._proc / pids[0] / "mountinfo").read_text())
        except (KeyError, IndexError, OSError):
            return 0  # it has ended
        return _tree(Path(upper)) if upper else 0


def _tree(folder: Path) -> int:
    """Bytes that the files below a folder take."""
    taken, left = 0, MAX_FILES
    for parent, _, names in os.walk(folder):
        for name in names[:left]:
            try:
                taken += os.lstat(os.path.join(parent, name)).st_blocks * _BLOCK
            except OSError:
                continue  # removed while we walked
        left -= len(names)
        if left <= 0:
            break
    return taken
