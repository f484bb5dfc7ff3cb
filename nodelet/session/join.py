"""Joining: how a host with nothing but a token becomes a node.

1. Ask the join port for its TLS chain, trusting nothing yet.
2. The token's pin is the SHA-256 of the cluster CA's public key: the chain must end in a CA with that key.
3. Dial the join port again, now trusting exactly that CA, and trade the token and a certificate request for a
   certificate. The private key is made here and stays here.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from nodelet.state.identity import GROUP, Identity, user_of
from podium import pki
from podium.errors import BadRequest, PodiumError, Unauthenticated, Unavailable, by_reason
from podium.tls import JOIN_PORT, SERVER_NAME, TlsFiles, channel_credentials, channel_options, parse_endpoint
from podium.v1.cluster_service_pb2 import JoinRequest
from podium.v1.cluster_service_pb2_grpc import JoinStub

DIAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Token:
    """A join token, `ID.SECRET.PIN`."""

    text: str = field(repr=False)
    id: str
    pin: str


def parse_token(text: str) -> Token:
    """Read a join token.

    Raises:
        BadRequest: It is not one.
    """
    parts = text.strip().split(".")
    if len(parts) != 3 or not all(parts) or len(parts[2]) != 64:
        raise BadRequest("the join token is malformed; make one with `podium token create`")
    return Token(text.strip(), parts[0], parts[2].lower())


async def join(endpoints: Sequence[str], token: Token, *, node_name: str, machine_id: str) -> Identity:
    """Join by the first of `endpoints` (host:port of join ports) that answers.

    Raises:
        Unavailable: None answers.
        Unauthenticated: The token is refused, or a master of another cluster answers.
        PodiumError: The master refused, and says why.
    """
    failures: list[str] = []
    for endpoint in endpoints:
        try:
            return await _join_at(endpoint, token, node_name, machine_id)
        except Unavailable as error:
            failures.append(error.message)
    raise Unavailable("no master to join: " + "; ".join(failures))


async def _join_at(endpoint: str, token: Token, node_name: str, machine_id: str) -> Identity:
    ca = await asyncio.to_thread(pinned_ca, endpoint, token.pin)
    key, csr = pki.new_request(user_of(node_name), [GROUP])
    request = JoinRequest(token=token.text, node_name=node_name, csr=csr, machine_id=machine_id)
    credentials = channel_credentials(TlsFiles(ca=ca))
    async with grpc.aio.secure_channel(_dialable(endpoint), credentials, options=channel_options()) as channel:
        try:
            answer = await JoinStub(channel).Join(request, timeout=DIAL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise _as_podium_error(endpoint, error) from error
    return Identity(
        node_name=node_name,
        key=key,
        certificate=answer.certificate,
        ca=answer.ca,
        endpoints=tuple(answer.endpoints),
    )


def _dialable(endpoint: str) -> str:
    host, port = parse_endpoint(endpoint, default_port=JOIN_PORT)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def pinned_ca(endpoint: str, pin: str) -> bytes:
    """The CA certificate (PEM) that a join port presents and that the pin names. Blocks.

    Raises:
        Unavailable: The port does not answer, or does not speak TLS.
        Unauthenticated: The chain has no certificate with that key.
    """
    for certificate in _presented_chain(endpoint):
        if hmac.compare_digest(pki.pin_of(certificate), pin):
            return certificate.public_bytes(serialization.Encoding.PEM)
    raise Unauthenticated(
        f"{endpoint} is not a master of the cluster that the join token is for: its CA has another key"
    )


def _presented_chain(endpoint: str) -> list[x509.Certificate]:
    host, port = parse_endpoint(endpoint, default_port=JOIN_PORT)
    try:
        with socket.create_connection((host, port), timeout=DIAL_SECONDS) as raw:
            raw.settimeout(None)  # pyOpenSSL wants a blocking socket; the kernel's timeouts stand in
            _limit(raw, DIAL_SECONDS)
            connection = SSL.Connection(_anonymous_context(), raw)
            connection.set_tlsext_host_name(SERVER_NAME.encode())
            connection.set_connect_state()
            connection.do_handshake()
            return [c.to_cryptography() for c in connection.get_peer_cert_chain() or ()]
    except (OSError, SSL.Error) as error:
        raise Unavailable(f"{endpoint} does not answer as a join port: {error!r}") from error


def _anonymous_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_alpn_protos([b"h2"])
    # Nothing is trusted and nothing secret is sent here: the pin decides, on what was presented.
    context.set_verify(SSL.VERIFY_NONE)
    return context


def _limit(raw: socket.socket, seconds: float) -> None:
    timeval = int(seconds).to_bytes(8, "little") + bytes(8)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)


def _as_podium_error(endpoint: str, error: grpc.aio.AioRpcError) -> PodiumError:
    message = f"{endpoint}: {error.details() or error.code().name}"
    return by_reason(error.code().value[0], "")(message)
