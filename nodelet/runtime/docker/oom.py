"""Whether the kernel killed a container for lack of memory, asked of the kernel's own log.

Docker learns of it by a notification that can be lost when the container ends right after, and says `OOMKilled: false`
then. The kernel writes the victim's control group into its log before the process has ended:

    oom-kill:constraint=CONSTRAINT_MEMCG,…,task_memcg=/docker/bddc14a6…,task=sh,pid=21741,uid=0
"""

from __future__ import annotations

import ctypes
import re

_READ_ALL = 3  # syslog(2): SYSLOG_ACTION_READ_ALL, which takes nothing away
_SIZE_BUFFER = 10  # SYSLOG_ACTION_SIZE_BUFFER

_libc = ctypes.CDLL(None, use_errno=True)


def kernel_log() -> str:
    """What the kernel's ring buffer holds now; empty where this process may not read it (CAP_SYSLOG)."""
    size = _libc.klogctl(_SIZE_BUFFER, None, 0)
    if size <= 0:
        return ""
    buffer = ctypes.create_string_buffer(size)
    length = _libc.klogctl(_READ_ALL, buffer, size)
    return buffer.raw[:length].decode(errors="replace") if length > 0 else ""


def names_victim(log: str, container_id: str) -> bool:
    """Whether the log says that a process of this container was killed for lack of memory."""
    return re.search(rf"oom-kill:[^\n]*task_memcg=[^,\n]*{re.escape(container_id)}", log) is not None
