"""Lifecycle hooks: exec, HTTP or a plain sleep in a container, within a time limit."""

from __future__ import annotations

from nodelet.probes.answer import Answer
from nodelet.probes.check import Target, run_exec, run_http
from podium.aio.clock import Clock
from podium.v1.core_pb2 import LifecycleHandler

POST_START_SECONDS = 600.0
"""Kubernetes sets postStart no limit; a hook that never returned would hold up its pod for good."""


async def run_hook(handler: LifecycleHandler, target: Target, clock: Clock, timeout: float) -> Answer:
    """Run a hook for at most `timeout` seconds. Raises: RuntimeDown."""
    if handler.HasField("exec"):
        return await run_exec(handler.exec, target, timeout)
    if handler.HasField("http_get"):
        return await run_http(handler.http_get, target, timeout)
    if handler.HasField("sleep"):
        await clock.sleep(min(float(handler.sleep.seconds), timeout))
    return Answer(healthy=True)
