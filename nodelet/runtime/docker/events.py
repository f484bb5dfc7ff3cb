"""Docker's event stream as ours: which pod to look at again.

Only the actions that tell us something are asked for: probes by exec would otherwise drown them, and what we created
we know of. (A listing made on `create` would inspect a container that is being started, which waits for the start.)
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from nodelet.runtime.docker.translate import OWNER, POD_UID
from nodelet.runtime.docker.wire import Wire
from nodelet.runtime.protocol import RuntimeDown, RuntimeEvent

ACTIONS = ("start", "die", "oom", "destroy")


async def watch(wire: Wire, owner: str, since: float) -> AsyncIterator[RuntimeEvent]:
    """Events from `since` (seconds of the epoch) on, until the engine goes.

    Raises:
        RuntimeDown: It went, which every stream ends with sooner or later.
    """
    filters = {"type": ["container"], "event": list(ACTIONS), "label": [f"{OWNER}={owner}"]}
    query = {"filters": json.dumps(filters), "since": f"{since:.6f}"}
    async with await wire.request("GET", "/events", reason="RuntimeEvents", query=query) as response:
        rest = b""
        async for piece in response.body():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield event_of(json.loads(line))
    raise RuntimeDown("the Docker Engine ended its event stream")


def event_of(message: Mapping[str, Any]) -> RuntimeEvent:
    """The event that one line of the stream describes."""
    actor = message["Actor"]
    return RuntimeEvent(
        pod_uid=actor["Attributes"].get(POD_UID, ""), container_id=actor["ID"], action=message["Action"]
    )
