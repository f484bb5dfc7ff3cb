"""What the wrapper of every handler does with the ways in which a call can end."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from master.api.interceptors import REQUESTS, Instrumentation
from tests.support.clock import VirtualClock

METHOD = "/test/Watch"


class _Context:
    """Enough of a call's context; `aborted` is what the caller would be told."""

    def __init__(self) -> None:
        self.aborted: list[grpc.StatusCode] = []

    async def abort(self, code: grpc.StatusCode, *details: object) -> None:
        self.aborted.append(code)

    def peer(self) -> str:
        return "ipv4:192.0.2.1:1"


async def _ended_by(error: Exception) -> _Context:
    async def watch(request: Any, context: Any) -> None:
        raise error

    handler: Any = Instrumentation(VirtualClock()).wrap(METHOD, grpc.unary_stream_rpc_method_handler(watch))
    context = _Context()
    with pytest.raises(type(error)):
        await handler.unary_stream(None, context)
    return context


async def test_a_caller_that_left_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    before = REQUESTS.labels(METHOD, "CANCELLED")._value.get()
    context = await _ended_by(grpc.aio.InternalError('ExecuteBatchError: Failed "execute_batch"'))
    assert not context.aborted
    assert "unexpectedly" not in caplog.text
    assert REQUESTS.labels(METHOD, "CANCELLED")._value.get() == before + 1


async def test_a_bug_is_told_by_its_id_only() -> None:
    assert (await _ended_by(ZeroDivisionError())).aborted == [grpc.StatusCode.INTERNAL]
