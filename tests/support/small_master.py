"""A master reduced to what nodelets meet: both gRPC ports over real TLS, the dispatcher, objects in dictionaries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from master.api.identity import caller
from master.api.interceptors import Instrumentation
from master.api.join import JoinServicer
from master.api.node_session import NodeSessionServicer
from master.api.pods import PodsServicer
from master.api.server import ApiServer
from master.auth.authorizer import Authorizer
from master.auth.ca import CertificateAuthority, Lifetimes
from master.auth.limiter import FailureLimiter
from master.auth.principal import component
from master.auth.serving import ServingCertificate
from master.auth.tokens import TokenBook
from master.dispatcher.dispatcher import Dispatcher, DispatcherSettings
from nodelet.session.join import join, parse_token
from nodelet.state.identity import Identity
from podium import tls
from podium.aio.clock import SystemClock
from podium.aio.tasks import TaskScope
from podium.v1 import cluster_service_pb2_grpc, node_session_pb2_grpc, pods_service_pb2_grpc
from tests.support.access import FakeAccess
from tests.support.secrets import FakeSecrets


@dataclass
class SmallMaster:
    """See the module."""

    ca: CertificateAuthority
    access: FakeAccess
    dispatcher: Dispatcher
    api: ApiServer
    join_port: ApiServer
    tokens: TokenBook

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.api.ports[0]}"

    @property
    def join_endpoint(self) -> str:
        return f"127.0.0.1:{self.join_port.ports[0]}"

    async def token(self) -> str:
        """A new join token."""
        return (await self.tokens.create(by=component("test"))).text

    async def join(self, name: str, machine_id: str = "m1") -> Identity:
        """Become a node."""
        token = parse_token(await self.token())
        return await join([self.join_endpoint], token, node_name=name, machine_id=machine_id)

    @asynccontextmanager
    async def channel(self, user: str, *groups: str) -> AsyncIterator[grpc.aio.Channel]:
        """A channel of a user."""
        key, certificate = self.ca.issue_client(user, groups)
        credentials = tls.channel_credentials(tls.TlsFiles(ca=self.ca.bundle, certificate=certificate, key=key))
        async with grpc.aio.secure_channel(self.endpoint, credentials, options=tls.channel_options()) as channel:
            yield channel


@asynccontextmanager
async def small_master(
    directory: Path, *, settings: DispatcherSettings | None = None, lifetimes: Lifetimes | None = None
) -> AsyncIterator[SmallMaster]:
    """A running one."""
    clock = SystemClock()
    access, secrets = FakeAccess(), FakeSecrets()
    ca = CertificateAuthority.open(directory / "pki", clock, lifetimes)
    serving = ServingCertificate(ca, clock)
    dispatcher = Dispatcher(reader=access, writer=access, clock=clock, settings=settings)
    api, join_port = (_server(serving.credentials(client_certificates=asked), clock) for asked in (True, False))
    sessions = NodeSessionServicer(
        sessions=dispatcher, streams=dispatcher.streams, signer=ca, authorizer=Authorizer(), identify=caller
    )
    pods = PodsServicer(reader=access, relay=dispatcher.streams, authorizer=Authorizer(), identify=caller)
    api.add(node_session_pb2_grpc.add_NodeSessionServicer_to_server, sessions)
    api.add(pods_service_pb2_grpc.add_PodsServicer_to_server, pods)
    api.bind()
    await api.start()
    tokens = TokenBook(reader=secrets, writer=secrets, clock=clock, pin=ca.pin)
    endpoints, limiter = [f"127.0.0.1:{api.ports[0]}"], FailureLimiter(clock)
    joining = JoinServicer(tokens=tokens, signer=ca, reader=access, limiter=limiter, endpoints=endpoints)
    join_port.add(cluster_service_pb2_grpc.add_JoinServicer_to_server, joining)
    join_port.bind()
    await join_port.start()
    async with TaskScope(on_error=_fail) as scope:
        _ = scope.start(dispatcher.run(), name="dispatcher")
        try:
            yield SmallMaster(ca, access, dispatcher, api, join_port, tokens)
        finally:
            await asyncio.gather(api.stop(0), join_port.stop(0))


def _server(credentials: grpc.ServerCredentials, clock: SystemClock) -> ApiServer:
    return ApiServer(listen=["127.0.0.1:0"], credentials=credentials, instrumentation=Instrumentation(clock))


def _fail(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name} failed") from error
