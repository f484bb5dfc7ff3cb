"""A controller: a key in, a sentence out. What wakes it is declared; when it runs is the runtime's business."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from google.protobuf.message import Message

from master.access.protocol import Change
from podium.objects.kinds import Key


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more to do until something changes. `because` is the log line."""

    because: str = ""


@dataclass(frozen=True, slots=True)
class After:
    """Look again in `seconds`, or sooner if something changes."""

    seconds: float
    because: str = ""


Outcome = Done | After


@dataclass(frozen=True, slots=True)
class Trigger:
    """Changes of `kind` wake the keys that `keys(change)` names.

    Attributes:
        controller: Only of objects that one of this kind (`ReplicaSet`) controls or controlled; and of those that
            nobody controls where there are some of this kind, which might adopt them. Every change of a pod concerns
            one controller of many: which one is found once, and the others not asked.
    """

    kind: type[Message]
    keys: Callable[[Change[Any]], Iterable[Key]]
    controller: str = ""


class Controller(Protocol):
    """Level-triggered: may be started, stopped, crashed or run twice at any moment. Errors requeue with back-off.

    `reconcile` is never run twice at once for one key; up to `workers` keys are reconciled at once.
    """

    @property
    def name(self) -> str: ...
    @property
    def workers(self) -> int: ...
    @property
    def triggers(self) -> Sequence[Trigger]: ...

    async def reconcile(self, key: Key) -> Outcome: ...


@runtime_checkable
class SelfWaking(Protocol):
    """A controller that is woken by something besides objects as well."""

    async def watch(self, wake: Callable[[Key], None]) -> None:
        """Call `wake` with each key to reconcile; runs for ever beside the workers."""
        ...
