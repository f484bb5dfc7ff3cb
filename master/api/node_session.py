"""NodeSession, served: who the node is comes from its certificate; the rest is the dispatcher's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import grpc

from master.access.protocol import Principal
from master.api.links import ContextLink
from podium.aio.link import Link
from podium.errors import BadRequest
from podium.v1 import node_session_pb2_grpc
from podium.v1.cluster_service_pb2 import CertificateResponse
from podium.v1.node_session_pb2 import MasterMessage, NodeMessage, RenewRequest
from podium.v1.pods_service_pb2 import StreamFrame

Context = grpc.aio.ServicerContext[Any, Any]
Identify = Callable[[Any], Principal]

STREAM_ID = "podium-stream-id"


class SessionServer(Protocol):
    """The dispatcher, as this servicer sees it."""

    async def serve(self, node: str, link: Link[MasterMessage, NodeMessage]) -> None: ...


class StreamAcceptor(Protocol):
    """The stream broker, as this servicer sees it."""

    async def accept(self, node: str, stream_id: str, link: Link[StreamFrame, StreamFrame]) -> None: ...


class NodeSigner(Protocol):
    """The certificate authority, as this servicer sees it."""

    @property
    def bundle(self) -> bytes: ...
    def sign_node(self, request: bytes, name: str) -> bytes: ...


class NodeAuthorizer(Protocol):
    """Says whether the caller is exactly this node."""

    def check_node(self, principal: Principal, node: str, verb: str = ...) -> None: ...


class NodeSessionServicer(node_session_pb2_grpc.NodeSessionServicer):
    """See the module. Errors are PodiumErrors, made gRPC statuses by the server's interceptor."""

    def __init__(
        self,
        *,
        sessions: SessionServer,
        streams: StreamAcceptor,
        signer: NodeSigner,
        authorizer: NodeAuthorizer,
        identify: Identify,
        endpoints: Sequence[str] = (),
    ) -> None:
        self._sessions, self._streams, self._signer = sessions, streams, signer
        self._authorizer, self._identify = authorizer, identify
        self._endpoints = endpoints

    def _node(self, context: Context, verb: str) -> str:
        principal = self._identify(context)
        self._authorizer.check_node(principal, principal.node, verb)
        return principal.node

    async def Connect(self, request_iterator: Any, context: Context) -> None:  # type: ignore[override]
        """One session."""
        link: ContextLink[MasterMessage, NodeMessage] = ContextLink(context)
        await self._sessions.serve(self._node(context, "connect"), link)

    async def Stream(self, request_iterator: Any, context: Context) -> None:  # type: ignore[override]
        """A stream that the node was asked to open."""
        node = self._node(context, "stream")
        metadata = dict(context.invocation_metadata() or ())
        stream_id = metadata.get(STREAM_ID)
        if not isinstance(stream_id, str):
            raise BadRequest(f"metadata {STREAM_ID} is missing: streams are opened when the master asks for them")
        await self._streams.accept(node, stream_id, ContextLink(context))

    async def Renew(self, request: RenewRequest, context: Context) -> CertificateResponse:
        """A new certificate for the caller's own name."""
        node = self._node(context, "renew")
        return CertificateResponse(
            certificate=self._signer.sign_node(request.csr, node),
            ca=self._signer.bundle,
            endpoints=self._endpoints,
        )
