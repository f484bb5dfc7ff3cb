"""gRPC failures become the errors of `podium.errors`, with the server's details."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from podium.errors import DeadlineExceeded, Invalid, PodiumError, Unavailable, Violation, by_reason

_DETAILS_KEY = "grpc-status-details-bin"
_NOT_CONNECTED = "failed to connect to all addresses"  # as gRPC's core words it
_BY_CALLER = "Locally cancelled"  # as gRPC's Python words it


def from_rpc_error(error: grpc.RpcError) -> PodiumError:
    """The Podium error that a failed call stands for."""
    call: Any = error
    code = int(call.code().value[0])
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            return from_status(status_pb2.Status.FromString(value))
    message = call.details() or call.code().name
    if code == Unavailable.code or _broken_off(call):
        return Unavailable(f"no master answers: {message}")
    if code == DeadlineExceeded.code:
        return DeadlineExceeded("the master did not answer in time")
    return by_reason(code, "")(message)


def never_sent(error: grpc.RpcError) -> bool:
    """Whether the call failed before any master saw it, so that even a write may be tried again."""
    call: Any = error
    return bool(call.code() is grpc.StatusCode.UNAVAILABLE and _NOT_CONNECTED in (call.details() or ""))


def _broken_off(call: Any) -> bool:
    """Whether the call was cancelled by the other side, which a master that is overloaded or goes away may do."""
    return call.code() is grpc.StatusCode.CANCELLED and not (call.details() or "").startswith(_BY_CALLER)


def from_status(status: status_pb2.Status) -> PodiumError:
    """The Podium error that a google.rpc.Status stands for."""
    return from_parts(status.code, status.message, status.details)


def from_parts(code: int, message: str, details: Iterable[Any]) -> PodiumError:
    """The Podium error of a code, a message and google.rpc details packed as Any."""
    reason, facts, violations = "", {}, []
    for detail in details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            reason, facts = info.reason, dict(info.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(detail.value)
            violations = [Violation(v.field, v.description, v.localized_message.message) for v in bad.field_violations]
    kind = by_reason(code, reason)
    if issubclass(kind, Invalid) or violations:
        return Invalid(message, facts, violations)
    return kind(message, facts)
