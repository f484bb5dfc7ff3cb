"""`podium-nodelet drain-host`: has the nodelet of this host end its pods, because the host is going down.

The unit `podium-shutdown.service` runs it when it is stopped, which is before the nodelet, the engine and the network
are. That unit is also stopped by hand, or by an upgrade, and then pods stay: only a service manager that says of itself
that it is stopping means it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from nodelet.control import SOCKET
from nodelet.control import ask as ask_nodelet
from nodelet.programs import ask
from nodelet.settings import NodeletSettings
from podium.errors import Unavailable

COMMAND = "shut-down"
_STOPPING = "stopping"
_ASK_SECONDS = 5.0


async def drain_host(settings: NodeletSettings, *, now: bool, say: Callable[[str], None] | None = None) -> None:
    """Have the pods of this host end, and return when they have.

    Args:
        settings: The nodelet's.
        now: Also when the host is not shutting down.
        say: Called with each line that is worth telling; default: print.
    """
    tell = say or _print
    if not now and (state := await _system_state()) != _STOPPING:
        tell(f"the host is not shutting down (systemd says: {state}): its pods stay. --now ends them all the same.")
        return
    try:
        async for line in ask_nodelet(settings.data_dir / SOCKET, COMMAND):
            tell(line)
    except Unavailable as error:
        tell(f"{error.message}: pods end with their engine")


async def _system_state() -> str:
    """What `systemctl is-system-running` says; `stopping` from the beginning of a shutdown on."""
    try:
        answer = await ask("systemctl", "is-system-running", seconds=_ASK_SECONDS)
    except (OSError, TimeoutError) as error:
        return str(error) or "nothing"
    return answer.said.strip()


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
