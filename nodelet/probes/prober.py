"""Probes of running containers: when to ask, what to make of the answers. No task waits between two attempts.

A `Prober` is one probe of one container. It sets an alarm for its next attempt, and only an attempt in progress is a
task; so thousands of idle probes cost a heap entry each. Attempts of one probe never overlap: the next is due a period
after the last one began, or as soon as that ends. `on_verdict` is called when the verdict changes, `on_failure` at
every unhealthy answer (for events). A startup or liveness probe that gave up asks no more: its container is about to
be replaced.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nodelet.probes.answer import Answer
from nodelet.probes.tally import ProbeKind, Tally, Timing, first_attempt
from nodelet.runtime.protocol import RuntimeDown
from podium.aio.alarms import Alarms
from podium.aio.clock import Clock
from podium.aio.tasks import TaskScope

_SPREAD = 997


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTools:
    """What all probers of a nodelet share."""

    clock: Clock
    alarms: Alarms
    scope: TaskScope


class Prober:
    """See the module. Starts with `start()`, ends with `stop()`."""

    def __init__(
        self,
        kind: ProbeKind,
        container_id: str,
        rules: Timing,
        ask: Callable[[], Awaitable[Answer]],
        tools: ProbeTools,
        *,
        on_verdict: Callable[[ProbeKind, bool], None],
        on_failure: Callable[[ProbeKind, str], None],
        verdict: bool | None = None,
    ) -> None:
        self._kind, self._id, self._rules, self._ask, self._tools = kind, container_id, rules, ask, tools
        self._on_verdict, self._on_failure = on_verdict, on_failure
        self._tally = Tally(verdict=verdict)
        self._stopped = False
        self._asking = False

    @property
    def _key(self) -> tuple[str, ProbeKind]:
        return self._id, self._kind

    def start(self, started: float) -> None:
        """Begin, for a container that started at `started` (monotonic seconds)."""
        spread = (zlib.crc32(self._id.encode()) % _SPREAD) / _SPREAD
        self._schedule(first_attempt(self._tools.clock.monotonic(), started, self._rules, spread))

    def stop(self) -> None:
        """Ask no more; an attempt in progress is ignored."""
        self._stopped = True
        self._tools.alarms.cancel(self._key)

    def _schedule(self, moment: float) -> None:
        self._tools.alarms.set(self._key, moment, self._launch)

    def _launch(self) -> None:
        if not self._stopped and not self._asking:
            self._asking = True
            _ = self._tools.scope.start(self._attempt(), name=f"{self._kind.value} probe {self._id[:12]}")

    async def _attempt(self) -> None:
        began = self._tools.clock.monotonic()
        try:
            answer: Answer | None = await self._ask()
        except RuntimeDown:
            answer = None  # says nothing about the container
        finally:
            self._asking = False
        if self._stopped:
            return
        if answer is not None:
            self._take(answer)
        if not self._stopped:
            self._schedule(max(began + self._rules.period, self._tools.clock.monotonic()))

    def _take(self, answer: Answer) -> None:
        before = self._tally.verdict
        self._tally = self._tally.fold(answer.healthy, self._rules)
        verdict = self._tally.verdict
        if not answer.healthy:
            self._on_failure(self._kind, answer.message)
        if verdict is not None and verdict is not before:
            if self._kind is ProbeKind.STARTUP or (self._kind is ProbeKind.LIVENESS and not verdict):
                self.stop()
            self._on_verdict(self._kind, verdict)
