"""A gRPC call, as its server sees it, as a `podium.aio.link.Link`."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

import grpc

from podium.aio.link import LinkClosed

S = TypeVar("S")
R = TypeVar("R")

_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs miss it


class ContextLink(Generic[S, R]):
    """A bidirectional call. Finishing and closing are the handler's return, so they do nothing here."""

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._context = context

    async def send(self, message: S) -> None:
        try:
            await self._context.write(message)
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError) as error:
            raise LinkClosed(f"the other side has gone ({type(error).__name__})") from error

    async def receive(self) -> R | None:
        try:
            message = await self._context.read()
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError) as error:
            raise LinkClosed(f"the other side has gone ({type(error).__name__})") from error
        return None if message is _EOF else message

    async def finish(self) -> None:
        return

    async def close(self) -> None:
        return


class ReplyLink(ContextLink[S, R]):
    """A call whose caller sends nothing after its request."""

    async def receive(self) -> R | None:
        await asyncio.get_running_loop().create_future()
        return None
