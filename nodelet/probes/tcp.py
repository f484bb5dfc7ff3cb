"""A TCP probe: healthy when the port accepts a connection."""

from __future__ import annotations

import asyncio

from nodelet.probes.answer import Answer


async def tcp_check(host: str, port: int, timeout: float) -> Answer:
    """Connect within `timeout` seconds, and hang up."""
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Answer(healthy=False, message=f"dial tcp {host}:{port}: no answer within {timeout:g}s")
    except OSError as error:
        return Answer(healthy=False, message=f"dial tcp {host}:{port}: {error.strerror or error}")
    writer.transport.abort()
    return Answer(healthy=True)
