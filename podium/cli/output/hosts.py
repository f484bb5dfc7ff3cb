"""A playbook as it goes: a line a host that changes on a terminal, a line a change in a pipe. Then how each came out.

Install
  node1   ⠿ podium: Unpack the wheels            14 done, 5 changed
  node2   ✗ docker: Install the engine: No package matches docker.io
  node3   ✓ 31 done, 12 changed
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

import click

from podium.cli.session import is_terminal
from podium.provisioning import Event, Happened, HostResult, HostState, Outcome

_TROUBLE = (Happened.FAILED, Happened.UNREACHABLE)
_ENDED = (Happened.OK, Happened.CHANGED, Happened.TOLD, Happened.SKIPPED, Happened.IGNORED)
_PLAIN = {Happened.CHANGED: "changed", Happened.FAILED: "failed", Happened.UNREACHABLE: "unreachable"}


@dataclass(slots=True)
class _Line:
    """What is known of one host."""

    task: str = ""
    done: int = 0
    changed: int = 0
    trouble: str = ""


class Board:
    """What is shown of a playbook at one moment. Pure."""

    def __init__(self) -> None:
        self._play = ""
        self._hosts: dict[str, _Line] = {}

    def take(self, event: Event) -> None:
        """Note an event."""
        if event.what is Happened.PLAY:
            self._play = event.task
        if not event.host:
            return
        line = self._hosts.setdefault(event.host, _Line())
        line.task = event.task
        if event.what in _TROUBLE:
            line.trouble = f"{event.task}: {event.message}"
        elif event.what in _ENDED:
            line.done += event.what is not Happened.SKIPPED
            line.changed += event.what is Happened.CHANGED
            line.trouble = ""  # what failed was rescued, or the host was reached again

    def lines(self) -> list[str]:
        """The play, and a line a host."""
        width = max((len(host) for host in self._hosts), default=0)
        return [self._play, *(f"  {host.ljust(width)}   {_said(line)}" for host, line in sorted(self._hosts.items()))]


def _said(line: _Line) -> str:
    if line.trouble:
        return f"✗ {line.trouble}"
    return f"… {line.task}   ({line.done} done, {line.changed} changed)"


def plain(event: Event) -> str:
    """The line of an event in a pipe; empty for those that are no news."""
    if event.what is Happened.PLAY:
        return f"{event.task}:"
    if event.what is Happened.TOLD:
        return f"{event.host}: {event.message}"
    word = _PLAIN.get(event.what)
    if word is None:
        return ""
    return f"{event.host}: {event.task}: {word}" + (f": {event.message}" if event.message else "")


def results(outcome: Outcome) -> list[str]:
    """How each host came out."""
    width = max((len(host) for host in outcome.hosts), default=0)
    # One that did not fail may not have come to its end: another's failure can end a play for all.
    well = "ok" if outcome.ok else "not at fault"
    return [f"{result.host.ljust(width)}   {_result(result, well)}" for result in outcome.hosts.values()]


def _result(result: HostResult, well: str) -> str:
    if result.state is HostState.OK:
        return f"{well}, {result.changed or 'nothing'} changed"
    where = f"{result.task}: " if result.task else ""
    return f"{result.state.value}: {where}{result.message}"


class Screen:
    """Shows events as they come; on a terminal the lines are written over, and what hosts were told about stays."""

    def __init__(self, write: Callable[[str], None] = lambda text: click.echo(text, nl=False)) -> None:
        self._board, self._write = Board(), write
        self._shown: list[str] = []
        self._told: list[str] = []
        self._live = is_terminal()

    def tell(self, event: Event) -> None:
        """Show an event."""
        self._board.take(event)
        if self._live:
            if event.what is Happened.TOLD:
                self._told.append(plain(event))
            self._draw(self._board.lines())
        elif line := plain(event):
            self._write(f"{line}\n")

    def clear(self) -> None:
        """Take the lines away: what comes next is the result."""
        if self._live:
            self._draw([])
            for line in self._told:
                self._write(f"{line}\n")
            self._told = []

    def _draw(self, lines: list[str]) -> None:
        columns, rows = shutil.get_terminal_size()
        block = [line if len(line) < columns else line[: columns - 2] + "…" for line in lines][: rows - 1]
        if block == self._shown:
            return
        up = f"\x1b[{len(self._shown)}A" if self._shown else ""
        self._write(up + "".join(f"\r\x1b[2K{line}\n" for line in block) + "\x1b[J")
        self._shown = block
