"""Calls to whichever master answers: deadlines, retries of what is safe to repeat, fail-over between addresses.

A failure to connect is told apart from a connection that broke: only after the latter may a write have happened.
"""

# Generated from podium/client/_async by `make sync-client`; do not edit.

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import grpc

from podium.client._transport import Endpoints, retry_delay
from podium.client.config import Context
from podium.client.failures import from_rpc_error, never_sent
from podium.errors import Unavailable
from podium.tls import channel_credentials, channel_options
from podium.v1.cluster_service_pb2_grpc import ClusterStub
from podium.v1.objects_service_pb2_grpc import ObjectsStub
from podium.v1.pods_service_pb2_grpc import PodsStub
from podium.v1.rollouts_service_pb2_grpc import RolloutsStub

R = TypeVar("R")

DEFAULT_TIMEOUT = 30.0
_ATTEMPTS = 5
_SHORTEST = 0.001


@dataclass(frozen=True)
class Stubs:
    """One master's services, each made once: making one costs as much as a call."""

    channel: grpc.Channel

    @cached_property
    def objects(self) -> ObjectsStub:
        """Service Objects."""
        return ObjectsStub(self.channel)

    @cached_property
    def pods(self) -> PodsStub:
        """Service Pods."""
        return PodsStub(self.channel)

    @cached_property
    def rollouts(self) -> RolloutsStub:
        """Service Rollouts."""
        return RolloutsStub(self.channel)

    @cached_property
    def cluster(self) -> ClusterStub:
        """Service Cluster."""
        return ClusterStub(self.channel)


class Connection:
    """See the module. Holds a channel for each address that was needed so far."""

    def __init__(self, context: Context, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.context = context
        self.timeout = timeout
        self._endpoints: Endpoints[Stubs] = Endpoints(context)

    def stubs(self) -> Stubs:
        """The services of the master in use."""
        address = self._endpoints.address
        stubs = self._endpoints.channels.get(address)
        if stubs is None:
            channel = grpc.secure_channel(address, channel_credentials(self.context.tls), options=channel_options())
            stubs = self._endpoints.channels[address] = Stubs(channel)
        return stubs

    def call(self, invoke: Callable[[Stubs, float], R], *, repeatable: bool, timeout: float | None = None) -> R:
        """Make a unary call, with a time limit (seconds) for it and its repetitions together.

        `repeatable`: it may be tried again after a failure that leaves its effect unknown. A call that no master has
        seen, because none could be connected to, is always tried again, at the next address.

        Raises:
            PodiumError: The call failed; Unavailable when no master answered.
        """
        deadline = time.monotonic() + (timeout or self.timeout)
        attempt = 0
        while True:
            address = self._endpoints.address
            try:
                return invoke(self.stubs(), max(deadline - time.monotonic(), _SHORTEST))
            except grpc.RpcError as error:
                delay = self._retry_in(error, address, attempt, repeatable or never_sent(error))
                if time.monotonic() + delay >= deadline:
                    raise from_rpc_error(error) from None
            time.sleep(delay)
            attempt += 1

    def _retry_in(self, error: grpc.RpcError, failed: str, attempt: int, may_repeat: bool) -> float:
        """Seconds until attempt number `attempt` (from 0) is repeated, none while an address is untried.

        Raises:
            PodiumError: The failure is final.
        """
        failure = from_rpc_error(error)
        if not isinstance(failure, Unavailable):
            raise failure from None
        self._endpoints.fail_over(failed)
        rounds = attempt + 1 - len(self._endpoints)
        if not may_repeat or rounds + 1 >= _ATTEMPTS:
            raise failure from None
        return retry_delay(rounds) if rounds >= 0 else 0.0

    def stream(self, open_stream: Callable[[Stubs], Iterable[R]], *, repeatable: bool = False) -> Iterator[R]:
        """Messages of a streaming call.

        `repeatable`: `open_stream` can be called again; that is done when no master could be connected to, never
        after the first message.

        Raises:
            PodiumError: The call failed.
        """
        attempt = 0
        while True:
            address = self._endpoints.address
            try:
                for message in open_stream(self.stubs()):
                    yield message
                return
            except grpc.RpcError as error:
                delay = self._retry_in(error, address, attempt, repeatable and never_sent(error))
            time.sleep(delay)
            attempt += 1

    def pause(self, attempt: int) -> None:
        """Wait before trying again, longer each time."""
        time.sleep(retry_delay(attempt))

    def close(self) -> None:
        """Close every channel."""
        for stubs in self._endpoints.channels.values():
            stubs.channel.close()
        self._endpoints.channels.clear()
