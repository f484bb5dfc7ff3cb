"""Programs of the host that are asked something: run to their end, and never left behind."""

from __future__ import annotations

import asyncio
from typing import IO, NamedTuple


class Answer(NamedTuple):
    """What a program said: its exit code, standard output and standard error."""

    code: int
    said: str
    complaint: str


async def ask(*command: str, seconds: float, stdin: IO[bytes] | int = asyncio.subprocess.DEVNULL) -> Answer:
    """Run a program. One that takes longer, or that nobody waits for any more, is killed.

    Raises:
        OSError: It cannot be run; FileNotFoundError: it is not here.
        TimeoutError: It did not end within `seconds`.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(seconds):
            said, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Answer(process.returncode or 0, said.decode(errors="replace"), complaint.decode(errors="replace").strip())
