"""What a failed task says, in one line for a person. Pure.

A module's result is a mapping without a schema: `msg` is common, and says nothing where a command failed (`non-zero
return code`) or a loop did (`One or more items failed`). The rest is looked for where the modules put it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 400
_SAYS_NOTHING = ("non-zero return code", "One or more items failed", "MODULE FAILURE", "All items completed")
_NOT_RUN = "Error executing command"
"""What a module says of a program that could not be begun; its exit code is the kernel's error number then."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_COMPLAINT = re.compile(r"^\s*(?:\[?ERROR\]?!?:?|fatal:)\s*", re.IGNORECASE)


def one_line(text: str) -> str:
    """A text without line breaks and colours, cut at `LONGEST`."""
    flat = " ".join(_COLOURS.sub("", text).split())
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 1].rstrip() + "…"


def of_result(result: Mapping[str, Any]) -> str:
    """Why a task failed, from its result."""
    if "censored" in result:
        return "the task failed; what it said is hidden, as it may hold secrets"
    if (item := _failed_item(result)) is not None:
        return of_result(item)
    message = str(result.get("msg") or "").strip().removeprefix("Task failed: ")
    if message.startswith(_NOT_RUN):
        return one_line(f"could not run {_program(result.get('cmd'))}: {os.strerror(int(result.get('rc') or 0))}")
    if message and not message.startswith(_SAYS_NOTHING):
        return one_line(message)
    said = (
        _last_line(result.get("stderr")) or _last_line(result.get("module_stderr")) or _last_line(result.get("stdout"))
    )
    code = result.get("rc")
    if code:
        return one_line(f"exit code {code}" + (f": {said}" if said else ""))
    return one_line(said or message or "the task failed and did not say why")


def _failed_item(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first item of a loop that failed."""
    items: Sequence[Any] = result.get("results") or ()
    for item in items:
        if isinstance(item, Mapping) and (item.get("failed") or item.get("unreachable")):
            return item
    return None


def _program(command: Any) -> str:
    """What was to be run, without its arguments: they may be secrets."""
    words = command if isinstance(command, list) else str(command or "the command").split()
    return str(words[0]) if words else "the command"


def _last_line(text: Any) -> str:
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def complaint(lines: Sequence[str]) -> str:
    """What Ansible itself complained of before or without any task; empty when it did not.

    Of several lines that begin with ERROR the first says what is wrong.
    """
    plain = [_COLOURS.sub("", line).strip() for line in lines]
    for line in plain:
        if _COMPLAINT.match(line):
            return one_line(_COMPLAINT.sub("", line))
    return ""
