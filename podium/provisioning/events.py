"""What ansible-runner tells, as typed events, and what they come to for each host. Pure.

Whether a host failed is what Ansible says at the end (`playbook_on_stats`): a task that failed may have been ignored,
or rescued by its block. A run that was cut off has no such end, and no host came to its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from podium.provisioning import messages


class Happened(Enum):
    """What an event tells. The first two are of no host."""

    PLAY = "play"
    TASK = "task"
    STARTED = "started"
    OK = "ok"
    CHANGED = "changed"
    TOLD = "told"
    SKIPPED = "skipped"
    RETRIED = "retried"
    IGNORED = "ignored"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    Attributes:
        what: What it was.
        host: The host's name in the inventory; empty for PLAY and TASK.
        task: The task's name, its role before it (`podium: Unpack the wheels`), or the play's.
        message: Why, in one line, when it failed; or what TOLD tells people of the host.
    """

    what: Happened
    host: str = ""
    task: str = ""
    message: str = ""


class HostState(Enum):
    """How a host came out."""

    OK = "ok"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """How one host came out; `task` and `message` say where and why it failed."""

    host: str
    state: HostState
    changed: int = 0
    task: str = ""
    message: str = ""

    @property
    def sentence(self) -> str:
        """One line for a person."""
        where = f"{self.task}: " if self.task else ""
        return f"{self.host}: {where}{self.message}" if self.message else f"{self.host}: {self.state.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a playbook came out.

    Attributes:
        ok: Every host that it spoke to came to its end, and nothing else was wrong.
        hosts: Each host that it spoke to.
        message: What went wrong that was no host's doing, in one line; empty when nothing did.
    """

    ok: bool
    hosts: Mapping[str, HostResult] = field(default_factory=dict)
    message: str = ""

    @property
    def failed(self) -> list[HostResult]:
        """The hosts that failed or could not be reached."""
        return [result for result in self.hosts.values() if result.state is not HostState.OK]

    @property
    def changed(self) -> int:
        """How many tasks changed something, on all hosts."""
        return sum(result.changed for result in self.hosts.values())

    @property
    def sentence(self) -> str:
        """Why it failed, in one line: the first host at fault, and how many more."""
        if self.ok:
            return "done"
        failed = self.failed
        if self.message or not failed:
            return self.message or "the playbook failed and did not say why"
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return failed[0].sentence + more


_OF_HOST = {
    "runner_on_start": Happened.STARTED,
    "runner_on_ok": Happened.OK,
    "runner_on_skipped": Happened.SKIPPED,
    "runner_retry": Happened.RETRIED,
    "runner_on_failed": Happened.FAILED,
    "runner_on_async_failed": Happened.FAILED,
    "runner_on_unreachable": Happened.UNREACHABLE,
}


_TELLS = ("ansible.builtin.debug", "debug")


def translate(raw: Mapping[str, Any]) -> Event | None:
    """One event of ansible-runner; None for those that tell nothing of interest."""
    kind, data = str(raw.get("event", "")), _mapping(raw.get("event_data"))
    if kind == "playbook_on_play_start":
        return Event(what=Happened.PLAY, task=str(data.get("play") or data.get("name") or ""))
    if kind in ("playbook_on_task_start", "playbook_on_handler_task_start"):
        return Event(what=Happened.TASK, task=_task(data))
    what = _OF_HOST.get(kind)
    if what is None:
        return None
    result, host, task = _mapping(data.get("res")), str(data.get("host", "")), _task(data)
    if what is Happened.OK and result.get("changed"):
        what = Happened.CHANGED
    if what is Happened.FAILED and data.get("ignore_errors"):
        what = Happened.IGNORED
    if what is Happened.OK and data.get("task_action") in _TELLS:
        return Event(what=Happened.TOLD, host=host, task=task, message=messages.one_line(str(result.get("msg") or "")))
    told = what in (Happened.FAILED, Happened.IGNORED, Happened.UNREACHABLE)
    return Event(what=what, host=host, task=task, message=messages.of_result(result) if told else "")


def _task(data: Mapping[str, Any]) -> str:
    role, task = str(data.get("role") or ""), str(data.get("task") or data.get("name") or "")
    # Ansible puts the role before the name by itself in some events.
    task = task.removeprefix(f"{role} : ")
    return f"{role}: {task}" if role else task


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


_LAST_LINES = 200
_NO_END = "the playbook did not come to its end"


class Tally:
    """Adds up what ansible-runner tells to an `Outcome`."""

    def __init__(self) -> None:
        self._failures: dict[str, Event] = {}
        self._seen: dict[str, int] = {}
        self._stats: Mapping[str, Any] | None = None
        self._said: list[str] = []

    def take(self, raw: Mapping[str, Any]) -> Event | None:
        """Count one event of ansible-runner in; returns it translated."""
        kind = raw.get("event")
        if kind == "playbook_on_stats":
            self._stats = _mapping(raw.get("event_data"))
            return None
        if kind in ("verbose", "error"):
            self._said = [*self._said, *str(raw.get("stdout", "")).splitlines()][-_LAST_LINES:]
            return None
        event = translate(raw)
        if event is not None and event.host:
            self._count(event)
        return event

    def _count(self, event: Event) -> None:
        self._seen.setdefault(event.host, 0)
        if event.what is Happened.CHANGED:
            self._seen[event.host] += 1
        if event.what in (Happened.FAILED, Happened.UNREACHABLE):
            self._failures[event.host] = event  # the last one: a rescue that fails knows more than what it rescues

    def outcome(self, *, code: int, cut_off: str = "") -> Outcome:
        """What it all came to.

        Args:
            code: The exit code of ansible-playbook.
            cut_off: Why the run was ended early; empty when it was not.
        """
        hosts = {host: self._result(host, cut_off or _NO_END) for host in sorted(self._seen)}
        at_fault = any(result.state is not HostState.OK for result in hosts.values())
        message = cut_off
        if code and not at_fault and not message:
            message = messages.complaint(self._said) or f"ansible-playbook ended with exit code {code}"
        if not hosts and not message:
            message = "no host was spoken to: the inventory has none that this playbook is for"
        return Outcome(ok=not (at_fault or message), hosts=hosts, message=message)

    def _result(self, host: str, otherwise: str) -> HostResult:
        state, failure = self._state(host), self._failures.get(host)
        if state is HostState.OK:
            return HostResult(host=host, state=state, changed=self._seen[host])
        return HostResult(
            host=host,
            state=state,
            changed=self._seen[host],
            task=failure.task if failure else "",
            message=failure.message if failure else otherwise,
        )

    def _state(self, host: str) -> HostState:
        failure = self._failures.get(host)
        if self._stats is None:
            unreachable = failure is not None and failure.what is Happened.UNREACHABLE
            return HostState.UNREACHABLE if unreachable else HostState.FAILED
        if _mapping(self._stats.get("dark")).get(host):
            return HostState.UNREACHABLE
        return HostState.FAILED if _mapping(self._stats.get("failures")).get(host) else HostState.OK
