"""The error tree. Each leaf knows the gRPC status it becomes and the Kubernetes reason it carries.

    PodiumError
    ├── BadRequest            INVALID_ARGUMENT      malformed request
    │   └── Invalid           INVALID_ARGUMENT      an object whose fields are refused, one Violation each
    ├── NotFound              NOT_FOUND
    ├── AlreadyExists         ALREADY_EXISTS
    ├── Conflict              ABORTED               stale resourceVersion, failed precondition, field ownership
    ├── Expired               OUT_OF_RANGE          history compacted, continue token too old
    ├── TooSlow               RESOURCE_EXHAUSTED    a watcher that did not read
    ├── Forbidden             PERMISSION_DENIED
    ├── Unauthenticated       UNAUTHENTICATED
    ├── TooManyRequests       RESOURCE_EXHAUSTED    retry later (budgets, limits)
    ├── Unavailable           UNAVAILABLE           not now; safe to retry
    ├── DeadlineExceeded      DEADLINE_EXCEEDED
    └── Internal              INTERNAL

No gRPC is imported here: `podium.client` and `master.api` translate by the number in `code`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Violation:
    """One refused field: its full path, what is wrong, and what would be accepted."""

    field: str
    description: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" + (f" ({self.hint})" if self.hint else "")


@dataclass(eq=False)
class PodiumError(Exception):
    """Base of every error that Podium raises on purpose.

    Attributes:
        message: One sentence for a person; says what to do next where that is known.
        details: Machine-readable facts, sent as google.rpc.ErrorInfo metadata.
    """

    message: str
    details: dict[str, str] = field(default_factory=dict)

    code: ClassVar[int] = 2  # google.rpc.Code
    reason: ClassVar[str] = "Unknown"

    def __str__(self) -> str:
        return self.message


class BadRequest(PodiumError):
    """The request itself is malformed."""

    code = 3
    reason = "BadRequest"


@dataclass(eq=False)
class Invalid(BadRequest):
    """An object is refused; `violations` name every field at fault (google.rpc.BadRequest)."""

    violations: Sequence[Violation] = ()

    reason = "Invalid"


class NotFound(PodiumError):
    """The object, or something it needs, does not exist."""

    code = 5
    reason = "NotFound"


class AlreadyExists(PodiumError):
    """An object of that kind and name exists."""

    code = 6
    reason = "AlreadyExists"


class Conflict(PodiumError):
    """The stored object is not what the writer assumed; read it again and retry."""

    code = 10
    reason = "Conflict"


class Expired(PodiumError):
    """The asked-for revision is compacted away; list again."""

    code = 11
    reason = "Expired"


class TooManyRequests(PodiumError):
    """Refused for now by a limit or a budget."""

    code = 8
    reason = "TooManyRequests"


class TooSlow(PodiumError):
    """A watcher fell behind its bounded buffer; list again."""

    code = 8
    reason = "TooSlow"


class Forbidden(PodiumError):
    """The caller is known and may not do this."""

    code = 7
    reason = "Forbidden"


class Unauthenticated(PodiumError):
    """The caller could not be identified."""

    code = 16
    reason = "Unauthorized"


class Unavailable(PodiumError):
    """Cannot be served now; retrying is safe."""

    code = 14
    reason = "ServiceUnavailable"


class DeadlineExceeded(PodiumError):
    """The time allowed for the call has passed."""

    code = 4
    reason = "Timeout"


class Internal(PodiumError):
    """A bug in Podium."""

    code = 13
    reason = "InternalError"


def by_reason(code: int, reason: str) -> type[PodiumError]:
    """The class of an error received as gRPC `code` and ErrorInfo `reason`; falls back to the first of that code."""
    leaves = _leaves(PodiumError)
    exact = [c for c in leaves if c.code == code and c.reason == reason]
    return (exact or [c for c in leaves if c.code == code] or [PodiumError])[0]


def _leaves(cls: type[PodiumError]) -> list[type[PodiumError]]:
    return [cls, *(leaf for sub in cls.__subclasses__() for leaf in _leaves(sub))]
