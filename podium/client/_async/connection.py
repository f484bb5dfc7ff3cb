"""Calls to whichever master answers: deadlines, retries of what is safe to repeat, fail-over between addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
from grpc import aio

from podium.client._transport import Endpoints, retry_delay
from podium.client.config import Context
from podium.client.failures import from_rpc_error
from podium.errors import Unavailable
from podium.tls import channel_credentials, channel_options
from podium.v1.cluster_service_pb2_grpc import ClusterStub
from podium.v1.objects_service_pb2_grpc import ObjectsStub
from podium.v1.pods_service_pb2_grpc import PodsStub
from podium.v1.rollouts_service_pb2_grpc import RolloutsStub

if TYPE_CHECKING:
    from podium.v1.cluster_service_pb2_grpc import ClusterAsyncStub
    from podium.v1.objects_service_pb2_grpc import ObjectsAsyncStub
    from podium.v1.pods_service_pb2_grpc import PodsAsyncStub
    from podium.v1.rollouts_service_pb2_grpc import RolloutsAsyncStub

R = TypeVar("R")

DEFAULT_TIMEOUT = 30.0
_READ_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Stubs:
    """One master's services."""

    channel: aio.Channel

    @property
    def objects(self) -> ObjectsAsyncStub:
        """Service Objects."""
        return ObjectsStub(self.channel)

    @property
    def pods(self) -> PodsAsyncStub:
        """Service Pods."""
        return PodsStub(self.channel)

    @property
    def rollouts(self) -> RolloutsAsyncStub:
        """Service Rollouts."""
        return RolloutsStub(self.channel)

    @property
    def cluster(self) -> ClusterAsyncStub:
        """Service Cluster."""
        return ClusterStub(self.channel)


class Connection:
    """See the module. Holds a channel for each address that was needed so far."""

    def __init__(self, context: Context, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.context = context
        self.timeout = timeout
        self._endpoints: Endpoints[aio.Channel] = Endpoints(context)

    def stubs(self) -> Stubs:
        """The services of the master in use."""
        address = self._endpoints.address
        channel = self._endpoints.channels.get(address)
        if channel is None:
            channel = aio.secure_channel(address, channel_credentials(self.context.tls), options=channel_options())
            self._endpoints.channels[address] = channel
        return Stubs(channel)

    async def call(
        self, invoke: Callable[[Stubs, float], Awaitable[R]], *, repeatable: bool, timeout: float | None = None
    ) -> R:
        """Make a unary call. `repeatable`: it may be tried again after a failure that leaves its effect unknown.

        Raises:
            PodiumError: The call failed; Unavailable when no master answered.
        """
        attempts = max(_READ_ATTEMPTS, len(self._endpoints)) if repeatable else 1
        for attempt in range(attempts):
            address = self._endpoints.address
            try:
                return await invoke(self.stubs(), timeout or self.timeout)
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                if not isinstance(failure, Unavailable):
                    raise failure from None
                self._endpoints.fail_over(address)
                if attempt + 1 == attempts:
                    raise failure from None
            await asyncio.sleep(retry_delay(attempt))
        raise Unavailable("no master answers")

    async def stream(self, open_stream: Callable[[Stubs], AsyncIterable[R]]) -> AsyncIterator[R]:
        """Messages of a streaming call; it is not repeated.

        Raises:
            PodiumError: The call failed.
        """
        address = self._endpoints.address
        try:
            async for message in open_stream(self.stubs()):
                yield message
        except grpc.RpcError as error:
            failure = from_rpc_error(error)
            if isinstance(failure, Unavailable):
                self._endpoints.fail_over(address)
            raise failure from None

    async def pause(self, attempt: int) -> None:
        """Wait before trying again, longer each time."""
        await asyncio.sleep(retry_delay(attempt))

    async def close(self) -> None:
        """Close every channel."""
        for channel in self._endpoints.channels.values():
            await channel.close(grace=None)
        self._endpoints.channels.clear()
