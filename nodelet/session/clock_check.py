"""Whether this host's clock goes with the master's: compared at answered heartbeats, as NTP does, half-way.

A clock that is off makes certificates and tokens look ended or not yet begun, deadlines of Jobs early or late, and
times in statuses nonsense. Nothing is refused for it: the node says so, in its condition `ClockSkew`.
"""

from __future__ import annotations

from collections.abc import Callable

from podium.aio.clock import Clock
from podium.telemetry.log import get_logger
from podium.v1.meta_pb2 import Condition

OFF_SECONDS = 5.0
"""A clock that is further off is told of."""
_BACK_SECONDS = 2.5
_LONGEST_WAY = 2.0
"""An answer that took longer says too little."""

log = get_logger(__name__)


class ClockCheck:
    """See the module."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent: dict[int, float] = {}
        self._ahead = 0.0
        self._off = False
        self.changed: Callable[[], None] = lambda: None
        """Called when the condition is another."""

    def sent(self, sequence: int) -> None:
        """A heartbeat goes up; only the last few are remembered."""
        self._sent[sequence] = self._clock.monotonic()
        while len(self._sent) > 8:
            del self._sent[next(iter(self._sent))]

    def answered(self, sequence: int, master_milliseconds: int) -> None:
        """It was answered, at this time of the master's clock; 0: it did not say."""
        sent = self._sent.pop(sequence, None)
        if sent is None or not master_milliseconds:
            return
        way = self._clock.monotonic() - sent
        if way > _LONGEST_WAY:
            return
        self._ahead = self._clock.now().timestamp() - (master_milliseconds / 1000 + way / 2)
        off = abs(self._ahead) > (_BACK_SECONDS if self._off else OFF_SECONDS)
        if off != self._off:
            self._off = off
            log.warning(
                "the clocks of this host and of the master differ", seconds_ahead=round(self._ahead, 1), off=off
            )
            self.changed()

    def condition(self) -> Condition:
        """`ClockSkew`, as the node reports it."""
        if not self._off:
            message = f"the clock is within {OFF_SECONDS:g} s of the master's, as far as it is known"
            return Condition(type="ClockSkew", status="False", reason="ClockInStep", message=message)
        way = "ahead of" if self._ahead > 0 else "behind"
        message = f"the clock is {abs(self._ahead):.0f} s {way} the master's: set it, or have it set by NTP"
        return Condition(type="ClockSkew", status="True", reason="ClockOff", message=message)
