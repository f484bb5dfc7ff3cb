"""An exec probe or hook: healthy when the command in the container exits with 0."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nodelet.probes.answer import BODY_LIMIT, Answer, shown
from nodelet.runtime.protocol import Exec, ExecStream, RuntimeDown, RuntimeFault


async def exec_check(runtime: Exec, container_id: str, command: Sequence[str], timeout: float) -> Answer:
    """Run a command within `timeout` seconds. One that takes longer is let go of: Docker offers no way to end it.

    Raises:
        RuntimeDown: Nothing is known about the container's health then.
    """
    output = bytearray()
    try:
        async with asyncio.timeout(timeout):
            code = await _run(runtime, container_id, command, output)
    except TimeoutError:
        return Answer(healthy=False, message=f"command {' '.join(command)!r} timed out after {timeout:g}s")
    except RuntimeDown:
        raise
    except RuntimeFault as fault:
        return Answer(healthy=False, message=fault.message)
    message = shown(bytes(output))
    return Answer(healthy=code == 0, message=message or (f"command exited with {code}" if code else ""))


async def _run(runtime: Exec, container_id: str, command: Sequence[str], output: bytearray) -> int:
    stream = await runtime.exec(container_id, command)
    try:
        await _collect(stream, output)
        return await stream.exit_code()
    finally:
        await stream.close()


async def _collect(stream: ExecStream, output: bytearray) -> None:
    """Read to the end, keeping the beginning: a writer must not block on a full pipe."""
    async for _, piece in stream.output():
        output += piece[: max(0, BODY_LIMIT - len(output))]
