"""A made-up /proc and /sys/fs/cgroup, in the kernel's own words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

V1_MOUNTS = """\
23 1 0:21 / / rw - ext4 /dev/vda rw
32 31 0:29 / {top}/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / {top}/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / {top}/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / {top}/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / {top}/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / {top}/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2_MOUNTS = """\
23 1 0:21 / / rw - ext4 /dev/vda rw
32 23 0:29 / {top} rw,nosuid,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""
V1_MEMBERSHIP = """\
8:pids:{path}
7:blkio:{path}
4:memory:{path}
2:cpu,cpuacct:{path}
1:name=systemd:{path}
0::{path}
"""
V1_MEMORY_STAT = "cache 208896\nrss 61440\ninactive_file 1\ntotal_inactive_file 4096\n"
V2_MEMORY_STAT = "anon 61440\nfile 208896\ninactive_file 4096\nactive_file 204800\n"
V2_CPU_STAT = "usage_usec 58090\nuser_usec 50000\nsystem_usec 8090\nnr_periods 0\n"
V1_GROUP = {
    "cpuacct.usage": "58090163\n",
    "memory.usage_in_bytes": "270336\n",
    "memory.stat": V1_MEMORY_STAT,
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    "pids.current": "2\n",
    "blkio.throttle.io_service_bytes": "8:0 Read 100\n8:0 Write 7\n8:0 Sync 9\n8:16 Read 1\n8:16 Write 2\nTotal 110\n",
}
V2_GROUP = {
    "cpu.stat": V2_CPU_STAT,
    "memory.current": "270336\n",
    "memory.stat": V2_MEMORY_STAT,
    "memory.events": "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\n",
    "pids.current": "2\n",
    "io.stat": "8:0 rbytes=100 wbytes=7 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=1\n",
}
"""The same group in both versions: 58 ms of CPU time, a working set of 266240 bytes, 3 OOM kills, 2 processes, and 101
bytes read and 9 written."""
NET_DEV = """\
Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop … multicast|bytes    packets errs drop … compressed
    lo: 684033633 1167412    0    0    0     0          0         0 684033633 1167412    0    0    0     0       0    0
  eth0: 5000    40    0    0    0     0          0         0   700    2    1    0    0     0       0          0
  veth1: 11    1    0    0    0     0          0         0   13    2    1    0    0     0       0          0
podium0:17 0 0 0 0 0 0 0 19 0 0 0 0 0 0 0
"""
DISKSTATS = """\
   7       0 loop0 1 1 9 1 1 1 9 1 0 0 0 0 0 0 0 0 0
 254       0 vda 76241 11830 20 29223 89610 138818 30 67036 0 28780 100450 6309 42 895336 1102 24594 3088
 254       1 vda1 76241 11830 20 29223 89610 138818 30 67036 0 28780 100450
"""
MACHINE = {
    "meminfo": "MemTotal: 4194304 kB\nMemFree: 10 kB\nMemAvailable: 3145728 kB\n",
    "stat": "cpu  100 0 100 4000 50 0 0 800 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n",
    "net/dev": NET_DEV,
    "diskstats": DISKSTATS,
    "loadavg": "0.20 0.18 0.12 1/80 11206\n",
    "1/stat": "1 (init) S 0 0 0 0 -1 4194560 5 6 0 2 3 1 2 7 20 0 13 0 1 538 5\n",
    "sys/kernel/random/boot_id": "a656c951-6524-4d3c-a949-c59d2ca757f8\n",
    "sys/kernel/pid_max": "32768\n",
    "sys/kernel/threads-max": "192730\n",
}


class Kernel:
    """A made-up /proc and /sys/fs/cgroup."""

    def __init__(self, folder: Path, mounts: str) -> None:
        self.proc, self.top = folder / "proc", folder / "cgroup"
        self.write(self.proc / "self/mountinfo", mounts.format(top=self.top))

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def machine(self) -> None:
        """A machine of 4 GiB, of which 3 are available, with 80 tasks."""
        for name, text in MACHINE.items():
            self.write(self.proc / name, text)

    def process(self, pid: str, membership: str) -> None:
        self.write(self.proc / pid / "cgroup", membership)

    def v1(self, path: str, files: Mapping[str, str]) -> None:
        folders = {"cpu": "cpu,cpuacct", "cpuacct": "cpu,cpuacct", "memory": "memory", "pids": "pids", "blkio": "blkio"}
        for name, text in files.items():
            self.write(self.top / folders[name.partition(".")[0]] / path.strip("/") / name, text)

    def v2(self, path: str, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            self.write(self.top / path.strip("/") / name, text)
