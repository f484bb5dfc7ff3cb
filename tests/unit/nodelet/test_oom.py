"""The kernel's word on who was killed for lack of memory."""

from __future__ import annotations

from nodelet.runtime.docker.oom import names_victim

VICTIM, OTHER = "bddc14a6b9d1", "c4cf69243ff9"
LOG = f"""\
<6>[ 8028.737] [  21741]     0 21741    12857     8365     8097      268         0   114688        0             0 sh
<6>[ 8028.737] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={VICTIM},mems_allowed=0,\
oom_memcg=/docker/{VICTIM},task_memcg=/docker/{VICTIM},task=sh,pid=21741,uid=0
<3>[ 8028.737] Memory cgroup out of memory: Killed process 21741 (sh) total-vm:51428kB
<6>[ 8030.000] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset={OTHER},mems_allowed=0,global_oom,\
task_memcg=/system.slice/ssh.service,task=sshd,pid=1,uid=0
"""


def test_the_victim_is_named_by_its_control_group() -> None:
    assert names_victim(LOG, VICTIM)


def test_who_is_only_mentioned_is_no_victim() -> None:
    assert not names_victim(LOG, OTHER)
    assert not names_victim("", VICTIM)
