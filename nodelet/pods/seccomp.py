"""Which system calls a container may make, by a profile that its node keeps (`seccompProfile.type: Localhost`).

`localhostProfile` names a file below the nodelet's folder of profiles, as it does for the kubelet (KEP-135). The engine
takes what is in the file, so that it is read each time a container is made.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from nodelet.pods.environment import ConfigFault
from podium.v1.core_pb2 import PodSecurityContext, SecurityContext

LOCALHOST, UNCONFINED = "Localhost", "Unconfined"

MAX_BYTES = 1024 * 1024
"""More than that is no profile; the largest in use are some tens of kilobytes."""


async def seccomp_of(pod: PodSecurityContext, own: SecurityContext, folder: Path | None) -> str:
    """What the runtime is told: empty for its own profile, `unconfined`, or a profile as JSON.

    The container's own setting wins over the pod's; one that is privileged is confined by none.

    Args:
        pod: The pod's security context.
        own: The container's.
        folder: Where the node's profiles are; None on a node that has none.

    Raises:
        ConfigFault: The node has no such profile, or it can't be used; names the file.
    """
    profile = own.seccomp_profile if own.HasField("seccomp_profile") else pod.seccomp_profile
    if profile.type == UNCONFINED:
        return "unconfined"
    if profile.type != LOCALHOST or own.privileged:
        return ""
    if folder is None:
        raise ConfigFault(f'cannot load seccomp profile "{profile.localhost_profile}": this node keeps none')
    return await asyncio.to_thread(read_profile, folder, profile.localhost_profile)


def read_profile(folder: Path, name: str) -> str:
    """A profile's JSON, with nothing in it that it can do without.

    Args:
        folder: Where profiles are.
        name: The file's path below that.

    Raises:
        ConfigFault: There is no such file, it lies elsewhere in truth, or it holds no profile; names the file.
    """
    file = folder / name
    try:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise ConfigFault(f'cannot load seccomp profile "{file}": it leads out of "{folder}"')
        if file.exists() and not file.is_file():
            raise ConfigFault(f'cannot load seccomp profile "{file}": it is not a file')
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # RuntimeError: links in a circle; ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigFault(f'cannot load seccomp profile "{file}": {why}') from error
    if len(content) > MAX_BYTES:
        raise ConfigFault(f'cannot load seccomp profile "{file}": it has more than {MAX_BYTES} bytes')
    try:
        profile = json.loads(content)
    except ValueError as error:
        raise ConfigFault(f'cannot load seccomp profile "{file}": it is not JSON: {error}') from error
    if not isinstance(profile, dict) or not isinstance(profile.get("defaultAction"), str):
        raise ConfigFault(f'cannot load seccomp profile "{file}": it has no defaultAction')
    return json.dumps(profile, separators=(",", ":"))
