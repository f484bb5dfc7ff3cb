"""What every call gets: errors as rich statuses, a deadline, metrics, a log line, and a note of every refusal.

Handlers are wrapped once, when their servicer is registered, and not by gRPC's interceptors, which cost two coroutines
and a new handler on every call. A wrapped unary call costs about 5 µs.
"""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import grpc
from prometheus_client import Counter, Gauge, Histogram

from master.api.identity import caller
from master.api.status import DETAILS_KEY, to_status
from podium.aio.clock import Clock
from podium.errors import DeadlineExceeded, Forbidden, Internal, PodiumError, Unauthenticated
from podium.telemetry.log import get_logger
from podium.telemetry.throttle import Throttle

REQUESTS = Counter("podium_master_grpc_requests", "Finished calls.", ["method", "code"])
SECONDS = Histogram(
    "podium_master_grpc_seconds",
    "Duration of unary calls.",
    ["method"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
STREAMS = Gauge("podium_master_grpc_streams", "Open streaming calls.", ["method"])
DENIED = Counter("podium_master_denied", "Calls refused for who made them.", ["reason"])

CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
DEFAULT_DEADLINE = 60.0

log = get_logger(__name__)


_CALLER_LEFT = grpc.aio.InternalError
"""What gRPC raises from sending a message when nobody is there to receive it."""


class Instrumentation:
    """Wraps the handlers of servicers.

    Args:
        default_deadline: Seconds allowed to a unary call whose client set no deadline.
    """

    def __init__(self, clock: Clock, *, default_deadline: float = DEFAULT_DEADLINE) -> None:
        self._clock = clock
        self._deadline = default_deadline
        self._throttle = Throttle(clock, 10.0)

    def wrap(self, method: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler with everything around it. `method` is `Service/Method`."""
        decode, encode = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary), decode, encode)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, handler.unary_stream), decode, encode)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(self._unary(method, handler.stream_unary), decode, encode)
        assert handler.stream_stream is not None
        return grpc.stream_stream_rpc_method_handler(self._stream(method, handler.stream_stream), decode, encode)

    def _unary(self, method: str, behavior: Callable[..., Any]) -> Callable[..., Any]:
        clock, seconds, ok = self._clock, SECONDS.labels(method), REQUESTS.labels(method, "OK")

        async def call(request: Any, context: Any) -> Any:
            began = clock.monotonic()
            try:
                if context.time_remaining() is None:
                    async with asyncio.timeout(self._deadline):
                        answer = await behavior(request, context)
                else:
                    answer = await behavior(request, context)
            except BaseException as error:
                await self._failed(method, context, error)
                raise
            took = clock.monotonic() - began
            ok.inc()
            seconds.observe(took)
            if log.debug_enabled():
                log.debug("served", method=method, peer=context.peer(), seconds=took)
            return answer

        return call

    def _stream(self, method: str, behavior: Callable[..., Any]) -> Callable[..., Any]:
        open_streams, ok = STREAMS.labels(method), REQUESTS.labels(method, "OK")

        async def generate(request: Any, context: Any) -> AsyncIterator[Any]:
            open_streams.inc()
            try:
                async with aclosing(behavior(request, context)) as answers:
                    async for answer in answers:
                        yield answer
                ok.inc()
            except GeneratorExit:
                raise
            except BaseException as error:
                await self._failed(method, context, error)
                raise
            finally:
                open_streams.dec()

        async def write(request: Any, context: Any) -> None:
            open_streams.inc()
            try:
                await behavior(request, context)
                ok.inc()
            except BaseException as error:
                await self._failed(method, context, error)
                raise
            finally:
                open_streams.dec()

        return write if inspect.iscoroutinefunction(behavior) else generate

    async def _failed(self, method: str, context: Any, error: BaseException) -> None:
        """End the call with the status of `error`; returns only when gRPC knows by itself how it ended."""
        if isinstance(error, asyncio.CancelledError | _CALLER_LEFT):
            REQUESTS.labels(method, "CANCELLED").inc()
        elif isinstance(error, grpc.aio.AbortError):
            REQUESTS.labels(method, getattr(context.code(), "name", "UNKNOWN")).inc()
        elif isinstance(error, Exception):
            told = self._told(method, context, error)
            code = CODES[told.code]
            REQUESTS.labels(method, code.name).inc()
            if isinstance(told, Forbidden | Unauthenticated):
                self._note_refusal(method, context, told)
            details = ((DETAILS_KEY, to_status(told).SerializeToString()),)
            await context.abort(code, told.message, details)

    def _told(self, method: str, context: Any, error: Exception) -> PodiumError:
        """What the client is told of an error; a bug stays with us, under an id that both sides can name."""
        if isinstance(error, PodiumError):
            return error
        if isinstance(error, TimeoutError):
            return DeadlineExceeded(f"{method} did not finish in time; it may yet take effect")
        error_id = uuid.uuid4().hex[:12]
        log.error("a call failed unexpectedly", error=error, method=method, peer=context.peer(), error_id=error_id)
        return Internal(f"internal error {error_id}: the master's log has the details", {"error_id": error_id})

    def _note_refusal(self, method: str, context: Any, error: PodiumError) -> None:
        DENIED.labels(error.reason).inc()
        host = context.peer().rpartition(":")[0]
        try:
            user = caller(context).user
        except Unauthenticated:
            user = ""
        if (unsaid := self._throttle.admit((method, host, user))) is not None:
            log.warning(
                "refused a call", method=method, peer=context.peer(), user=user, why=error.message, unsaid=unsaid
            )
