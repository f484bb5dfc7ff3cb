"""The gRPC servers: one with mutual TLS for the API, one without client certificates for joining.

Both serve health and reflection, wrap every handler (`master.api.interceptors`), and read their certificate anew for
each connection, so that a renewed one is used without a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from master.api.interceptors import Instrumentation
from podium.errors import Unavailable
from podium.telemetry.log import get_logger
from podium.tls import MIB

# Well above the largest object, so that one which is too large is refused by name and not by the transport.
MAX_REQUEST_BYTES = 16 * MIB
MAX_PENDING_CALLS = 10_000
MAX_RESPONSE_BYTES = 64 * MIB

log = get_logger(__name__)


class ApiServer:
    """A gRPC server: make it, `bind`, `add` servicers, `start`, `stop`.

    Args:
        listen: Addresses, `host:port`; port 0 takes a free one.
        credentials: TLS; None serves plain text, for tests over a loopback only.
    """

    def __init__(
        self,
        *,
        listen: Sequence[str],
        credentials: grpc.ServerCredentials | None,
        instrumentation: Instrumentation,
        max_request_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        self._listen = listen
        self._credentials = credentials
        self._instrumentation = instrumentation
        self._server = grpc.aio.server(options=_options(max_request_bytes))
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined] # the stubs know only the synchronous one
        self._services: list[str] = []
        self.ports: list[int] = []

    def add(self, add_to_server: Callable[[Any, Any], None], servicer: Any) -> None:
        """Register a servicer with its generated function: `add(add_ClusterServicer_to_server, servicer)`."""
        add_to_server(servicer, _Registration(self._server, self._instrumentation, self._services))

    def bind(self) -> list[int]:
        """Take the ports; returns them. Clients that connect now wait for `start`.

        Raises:
            Unavailable: An address cannot be bound.
        """
        self.ports = [self._bind(address) for address in self._listen]
        return self.ports

    async def start(self) -> None:
        """Serve what was added, on the ports that are bound."""
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )
        await self._server.start()
        for service in ["", *self._services]:
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        log.info("serving", listen=",".join(self._listen), services=",".join(self._services))

    def _bind(self, address: str) -> int:
        try:
            if self._credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {address}: is it an address of this host, and free?") from error

    async def stop(self, grace: float) -> None:
        """Report not serving, refuse new calls, and cancel those that have not ended after `grace` seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)


class _Registration:
    """What generated `add_…_to_server` functions see as a server: takes the handlers and wraps each."""

    def __init__(self, server: grpc.aio.Server, instrumentation: Instrumentation, services: list[str]) -> None:
        self._server = server
        self._instrumentation = instrumentation
        self._services = services

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """The same handlers come again by `add_registered_method_handlers`, as a plain dictionary."""

    def add_registered_method_handlers(
        self, service: str, handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        short = service.rpartition(".")[2]
        wrapped = {name: self._instrumentation.wrap(f"{short}/{name}", h) for name, h in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))
        self._services.append(service)


def _options(max_request_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_request_bytes),
        ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
        ("grpc.so_reuseport", 0),  # a second master on the same port must fail, not share
        ("grpc.keepalive_time_ms", 15_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Nodelets and clients may ping every 5 s, streams open or not, without being sent away.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 0),
        # Beyond so many calls that wait to be looked at, gRPC cancels some at random (of a thousand, by default).
        ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING_CALLS),
    ]
