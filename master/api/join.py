"""Join: a new host shows a token and a certificate request, and becomes a node.

The one call that needs no client certificate. What is checked, in this order: that the host has not failed too often,
its token, its name, that no living node holds that name on another machine, and the request itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from prometheus_client import Counter

from master.auth.limiter import FailureLimiter
from master.auth.tokens import TokenInfo
from podium.errors import AlreadyExists, BadRequest, Invalid, PodiumError, Unauthenticated, Violation
from podium.objects.conditions import is_true
from podium.telemetry.log import get_logger
from podium.v1 import cluster_service_pb2_grpc
from podium.v1.cluster_service_pb2 import CertificateResponse, JoinRequest
from podium.v1.core_pb2 import Node

JOINS = Counter("podium_master_joins", "Requests to join, by how they ended.", ["result"])

_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MAX_NAME = 253

log = get_logger(__name__)


class TokenVerifier(Protocol):
    """Proves tokens (`master.auth.tokens.TokenBook`)."""

    def verify(self, text: str) -> TokenInfo: ...


class NodeSigner(Protocol):
    """Signs nodes' certificates (`master.auth.ca.CertificateAuthority`)."""

    @property
    def bundle(self) -> bytes: ...
    def sign_node(self, request: bytes, name: str) -> bytes: ...


class NodeReader(Protocol):
    """Finds Node objects (`master.access.protocol.Reader`)."""

    def get(self, kind: type[Node], namespace: str, name: str) -> Node | None: ...


class JoinServicer(cluster_service_pb2_grpc.JoinServicer):
    """See the module."""

    def __init__(
        self,
        *,
        tokens: TokenVerifier,
        signer: NodeSigner,
        reader: NodeReader,
        limiter: FailureLimiter,
        endpoints: Sequence[str],
    ) -> None:
        self._tokens, self._signer, self._reader = tokens, signer, reader
        self._limiter, self._endpoints = limiter, endpoints

    async def Join(self, request: JoinRequest, context: Any) -> CertificateResponse:
        """Trade a join token and a certificate request for a node's certificate."""
        host = context.peer().rpartition(":")[0]
        try:
            token = self._admit(request, host)
            certificate = self._signer.sign_node(request.csr, request.node_name)
        except PodiumError as error:
            JOINS.labels(error.reason).inc()
            log.warning("refused a join", peer=context.peer(), node=request.node_name, why=error.message)
            raise
        JOINS.labels("Joined").inc()
        log.info("a node joins", node=request.node_name, peer=context.peer(), token=token.id)
        return CertificateResponse(certificate=certificate, ca=self._signer.bundle, endpoints=self._endpoints)

    def _admit(self, request: JoinRequest, host: str) -> TokenInfo:
        self._limiter.check(host)
        try:
            token = self._tokens.verify(request.token)
        except Unauthenticated:
            self._limiter.failed(host)
            raise
        check_name(request.node_name)
        if not request.machine_id:
            raise BadRequest("machine_id is missing: a nodelet makes one and keeps it on its disk")
        check_claim(self._reader.get(Node, "", request.node_name), request.machine_id)
        return token


def check_name(name: str) -> None:
    """Return when `name` can be a node's.

    Raises:
        Invalid: It is not a DNS-1123 subdomain.
    """
    if len(name) > _MAX_NAME or not _NODE_NAME.fullmatch(name):
        refused = Violation("nodeName", f'"{name}" is not a DNS-1123 subdomain', "lower-case letters, digits, - and .")
        raise Invalid(f'node name "{name}" is invalid: {refused.description} ({refused.hint})', {}, [refused])


def check_claim(node: Node | None, machine_id: str) -> None:
    """Return when the machine may have the node's name: nobody else has it, or its holder is not ready.

    Raises:
        AlreadyExists: A living node on another machine has it.
    """
    if node is None:
        return
    holder = node.status.node_info.machine_id
    if holder and holder != machine_id and is_true(node.status.conditions, "Ready"):
        name = node.metadata.name
        raise AlreadyExists(
            f'node "{name}" is alive on another machine: choose another name, or stop that nodelet, or delete the '
            f"node (podium delete node {name})",
            {"node": name},
        )
