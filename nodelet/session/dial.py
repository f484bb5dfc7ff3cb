"""Reaching a master: a channel to one of several, and calls as links.

One channel is open at a time. `next_master` moves on to another one; which comes first is a matter of chance, so that
nodelets spread over masters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import grpc

from nodelet.state.identity import Identity
from podium.aio.link import Link, LinkClosed
from podium.aio.tasks import cancel_and_wait
from podium.tls import channel_credentials, channel_options
from podium.v1.cluster_service_pb2 import CertificateResponse
from podium.v1.node_session_pb2 import MasterMessage, NodeMessage, RenewRequest
from podium.v1.node_session_pb2_grpc import NodeSessionStub
from podium.v1.pods_service_pb2 import StreamFrame

S = TypeVar("S")
R = TypeVar("R")

STREAM_ID = "podium-stream-id"
FINISH_SECONDS = 5.0
RENEW_SECONDS = 10.0

_BROKEN = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs miss it


class CallLink(Generic[S, R]):
    """A bidirectional call, as its client sees it, as a `podium.aio.link.Link`.

    gRPC cancels the whole call when a task is cancelled while it reads; so the read is a task of the link's own, which
    outlives its waiter and gives its message to the next.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._reading: asyncio.Task[Any] | None = None

    async def send(self, message: S) -> None:
        try:
            await self._call.write(message)
        except _BROKEN as error:
            raise LinkClosed(_describe(error)) from error

    async def receive(self) -> R | None:
        try:
            message = await self._read()
        except _BROKEN as error:
            raise LinkClosed(_describe(error)) from error
        if message is not _EOF:
            received: R = message
            return received
        if (code := await self._call.code()) is not grpc.StatusCode.OK:
            raise LinkClosed(f"{code.name}: {await self._call.details()}")
        return None

    async def _read(self) -> Any:
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._call.read(), name="read of a call")
        await asyncio.wait({self._reading})
        done, self._reading = self._reading, None
        if done.cancelled():
            raise LinkClosed("the call was ended on this side")
        return done.result()

    async def finish(self) -> None:
        """Half-close, then wait a while until the other side has taken everything."""
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await self._call.done_writing()
                await self._call.code()
        except (*_BROKEN, TimeoutError):
            self._call.cancel()

    async def close(self) -> None:
        self._call.cancel()
        if self._reading is not None:
            await cancel_and_wait(self._reading)


def _describe(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"the call is over ({type(error).__name__})"


class Dialer(Protocol):
    """How a session reaches a master."""

    @property
    def target(self) -> str:
        """The address in use, for logs."""
        ...

    async def connect(self) -> Link[NodeMessage, MasterMessage]:
        """Begin a session call. That the master answers shows only when it sends something."""
        ...

    async def stream(self, stream_id: str) -> Link[StreamFrame, StreamFrame]:
        """Open a stream that the master asked for, on the same connection."""
        ...

    async def renew(self, csr: bytes) -> CertificateResponse:
        """Ask for a new certificate. Raises LinkClosed."""
        ...

    async def next_master(self) -> None:
        """Leave this master; the next call goes to another, if there is one."""
        ...

    def learn(self, endpoints: Sequence[str]) -> None:
        """The cluster said where its masters are."""
        ...

    async def close(self) -> None: ...


class GrpcDialer:
    """Dials over mutually authenticated TLS."""

    def __init__(self, identity: Identity, endpoints: Sequence[str], *, heartbeat_seconds: float = 1.0) -> None:
        if not endpoints:
            raise ValueError("no master to dial")
        self._identity = identity
        self._given = list(endpoints)
        self._endpoints = list(endpoints)
        self._index = 0
        self._channel: grpc.aio.Channel | None = None
        self._heartbeat = heartbeat_seconds

    @property
    def target(self) -> str:
        return self._endpoints[self._index % len(self._endpoints)]

    def _stub(self) -> Any:
        if self._channel is None:
            # Every session is a connection of its own: a shared one would share its flow control, too.
            options = [*channel_options(), ("grpc.use_local_subchannel_pool", 1)]
            self._channel = grpc.aio.secure_channel(
                self.target, channel_credentials(self._identity.tls), options=options
            )
        return NodeSessionStub(self._channel)

    async def connect(self) -> Link[NodeMessage, MasterMessage]:
        return CallLink(self._stub().Connect())

    async def stream(self, stream_id: str) -> Link[StreamFrame, StreamFrame]:
        return CallLink(self._stub().Stream(metadata=((STREAM_ID, stream_id),)))

    async def renew(self, csr: bytes) -> CertificateResponse:
        try:
            answer: CertificateResponse = await self._stub().Renew(RenewRequest(csr=csr), timeout=RENEW_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise LinkClosed(_describe(error)) from error
        return answer

    async def next_master(self) -> None:
        await self.close()
        self._index += 1

    def learn(self, endpoints: Sequence[str]) -> None:
        current = self.target
        self._endpoints = list(dict.fromkeys([current, *endpoints, *self._given]))
        self._index = 0

    def use(self, identity: Identity) -> None:
        """Show another certificate from the next connection on."""
        self._identity = identity

    async def close(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close(None)
