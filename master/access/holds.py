"""Holds: what a write on its way to disk takes, of quotas or disruption budgets, until it is visible or has failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from podium.objects.kinds import Key


class Holder(Protocol):
    """Who counts what is held."""

    def released(self, hold: Hold) -> None:
        """The write of a hold is visible, or has failed."""
        ...


@dataclass(eq=False, slots=True)
class Hold:
    """What the write that makes the object of `key` into `message` takes. It stands until it is released."""

    key: Key
    message: Any
    holder: Holder
    standing: bool = True

    def release(self) -> None:
        """The write is visible, or has failed. Safe to repeat."""
        if self.standing:
            self.standing = False
            self.holder.released(self)
