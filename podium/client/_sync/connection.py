"""Calls to whichever master answers: deadlines, retries of what is safe to repeat, fail-over between addresses."""

# Generated from podium/client/_async by `make sync-client`; do not edit.

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import grpc

from podium.client._transport import Endpoints, retry_delay
from podium.client.config import Context
from podium.client.failures import from_rpc_error
from podium.errors import Unavailable
from podium.tls import channel_credentials, channel_options
from podium.v1.cluster_service_pb2_grpc import ClusterStub
from podium.v1.objects_service_pb2_grpc import ObjectsStub
from podium.v1.pods_service_pb2_grpc import PodsStub
from podium.v1.rollouts_service_pb2_grpc import RolloutsStub

R = TypeVar("R")

DEFAULT_TIMEOUT = 30.0
_READ_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Stubs:
    """One master's services."""

    channel: grpc.Channel

    @property
    def objects(self) -> ObjectsStub:
        """Service Objects."""
        return ObjectsStub(self.channel)

    @property
    def pods(self) -> PodsStub:
        """Service Pods."""
        return PodsStub(self.channel)

    @property
    def rollouts(self) -> RolloutsStub:
        """Service Rollouts."""
        return RolloutsStub(self.channel)

    @property
    def cluster(self) -> ClusterStub:
        """Service Cluster."""
        return ClusterStub(self.channel)


class Connection:
    """See the module. Holds a channel for each address that was needed so far."""

    def __init__(self, context: Context, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.context = context
        self.timeout = timeout
        self._endpoints: Endpoints[grpc.Channel] = Endpoints(context)

    def stubs(self) -> Stubs:
        """The services of the master in use."""
        address = self._endpoints.address
        channel = self._endpoints.channels.get(address)
        if channel is None:
            channel = grpc.secure_channel(address, channel_credentials(self.context.tls), options=channel_options())
            self._endpoints.channels[address] = channel
        return Stubs(channel)

    def call(self, invoke: Callable[[Stubs, float], R], *, repeatable: bool, timeout: float | None = None) -> R:
        """Make a unary call. `repeatable`: it may be tried again after a failure that leaves its effect unknown.

        Raises:
            PodiumError: The call failed; Unavailable when no master answered.
        """
        attempts = max(_READ_ATTEMPTS, len(self._endpoints)) if repeatable else 1
        for attempt in range(attempts):
            address = self._endpoints.address
            try:
                return invoke(self.stubs(), timeout or self.timeout)
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                if not isinstance(failure, Unavailable):
                    raise failure from None
                self._endpoints.fail_over(address)
                if attempt + 1 == attempts:
                    raise failure from None
            time.sleep(retry_delay(attempt))
        raise Unavailable("no master answers")

    def stream(self, open_stream: Callable[[Stubs], Iterable[R]]) -> Iterator[R]:
        """Messages of a streaming call; it is not repeated.

        Raises:
            PodiumError: The call failed.
        """
        address = self._endpoints.address
        try:
            for message in open_stream(self.stubs()):
                yield message
        except grpc.RpcError as error:
            failure = from_rpc_error(error)
            if isinstance(failure, Unavailable):
                self._endpoints.fail_over(address)
            raise failure from None

    def pause(self, attempt: int) -> None:
        """Wait before trying again, longer each time."""
        time.sleep(retry_delay(attempt))

    def close(self) -> None:
        """Close every channel."""
        for channel in self._endpoints.channels.values():
            channel.close()
        self._endpoints.channels.clear()
