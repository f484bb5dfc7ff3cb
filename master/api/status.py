"""Errors of ours as rich gRPC statuses: a google.rpc.Status with the reason, its facts, and each field at fault."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest as FieldViolations
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from podium.errors import Invalid, PodiumError

DOMAIN = "podium.dev"
RETRY_AFTER = "retryAfterSeconds"
DETAILS_KEY = "grpc-status-details-bin"


def to_status(error: PodiumError) -> Status:
    """The status of an error: code, message, ErrorInfo with the reason, when to retry, a violation per field."""
    details = [_packed(ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.details))]
    if seconds := error.details.get(RETRY_AFTER, ""):
        details.append(_packed(RetryInfo(retry_delay=Duration(seconds=int(seconds)))))
    if isinstance(error, Invalid) and error.violations:
        details.append(_packed(_violations(error)))
    return Status(code=error.code, message=error.message, details=details)


def _violations(error: Invalid) -> FieldViolations:
    refused = FieldViolations()
    for violation in error.violations:
        entry = refused.field_violations.add(field=violation.field, description=violation.description)
        entry.localized_message.message = violation.hint
    return refused


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
