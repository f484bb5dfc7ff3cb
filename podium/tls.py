"""TLS for gRPC: who a client trusts, what it shows, and which name the server must prove.

Every server certificate of a cluster carries the name `master.podium.internal`, and clients check that name whatever
address they dialled: addresses may change, the cluster's identity does not. Making and reading certificates is in
`podium.pki`, which this module does not import, so that a command starts fast.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    import grpc

SERVER_NAME = "master.podium.internal"

API_PORT = 7443
JOIN_PORT = 7442
MASTER_HTTP_PORT = 7444
NODELET_HTTP_PORT = 7445

MIB = 1 << 20
CLIENT_MESSAGE_BYTES = 64 * MIB  # lists are large


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """What one side of a connection holds, all PEM: its certificate and key, and the CAs it trusts."""

    ca: bytes
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)


def trust_digest(bundle: bytes) -> str:
    """What names a set of trusted CAs (PEM), so that two sides can see whether they trust the same: SHA-256, hex."""
    return hashlib.sha256(bundle).hexdigest()


def channel_credentials(tls: TlsFiles) -> grpc.ChannelCredentials:
    """Credentials of a client; without a certificate it stays anonymous (only the join port allows that)."""
    import grpc

    return grpc.ssl_channel_credentials(
        root_certificates=tls.ca, private_key=tls.key or None, certificate_chain=tls.certificate or None
    )


def channel_options(
    *, keepalive_seconds: float = 10.0, max_message_bytes: int = CLIENT_MESSAGE_BYTES
) -> list[tuple[str, str | int]]:
    """Options that every channel to a master takes: the name to prove, keepalive, message sizes."""
    return [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.keepalive_time_ms", int(keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 2_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.enable_retries", 0),
    ]


def parse_endpoint(text: str, *, default_port: int = API_PORT) -> tuple[str, int]:
    """Split `host`, `host:port`, `[::1]:port`.

    Raises:
        ValueError: The port is not a number between 1 and 65535, or the host is empty.
    """
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = text, str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f'"{text}" is not an address: expected HOST or HOST:PORT')
    return host, int(port)


def format_endpoint(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def format_endpoints(endpoints: Sequence[tuple[str, int]]) -> list[str]:
    """Each as `host:port`."""
    return [format_endpoint(host, port) for host, port in endpoints]


def explain_refusal(host: str, port: int, tls: TlsFiles, now: datetime.datetime, timeout: float = 5.0) -> str:
    """Why a master does not let this client in, for people; empty when its TLS does.

    gRPC says no more than that the socket was closed. This makes a connection of its own to find out; it blocks, so
    call it from a thread, and only when a call has failed as unavailable.
    """
    import socket
    import ssl

    context = ssl.create_default_context(cadata=tls.ca.decode())
    context.set_alpn_protocols(["h2"])
    where = format_endpoint(host, port)
    try:
        if tls.certificate:
            _load_chain(context, tls)
        with socket.create_connection((host, port), timeout) as raw:
            try:
                secured = context.wrap_socket(raw, server_hostname=SERVER_NAME)
            except (ssl.SSLEOFError, ConnectionResetError):
                # Before it has shown itself: a port that is forwarded to nobody, or a master that is just starting.
                return f"{where} closes connections: no master serves there yet"
            with secured:
                # In TLS 1.3 the server judges the client's certificate after the client's handshake is over.
                secured.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
                refused = not secured.recv(1)
    except ssl.SSLCertVerificationError as error:
        return f"the master at {where} is of another cluster, or its certificate has expired ({error.verify_message})"
    except (ssl.SSLError, ConnectionResetError):
        refused = True
    except TimeoutError:
        return f"{where} does not answer"
    except OSError as error:
        return f"{where} cannot be reached: {error.strerror or error}"
    return _rejection(where, tls, now) if refused else ""


def _rejection(where: str, tls: TlsFiles, now: datetime.datetime) -> str:
    if not tls.certificate:
        return f"the master at {where} asks for a client certificate, and there is none here"
    refused = f"the master at {where} does not accept this client certificate"
    ended = _expiry(tls.certificate, now)
    return f"{refused}: it has expired at {ended}" if ended else f"{refused}: it is of another cluster"


def _expiry(certificate: bytes, now: datetime.datetime) -> str:
    """When a certificate expired; empty while it has not."""
    from cryptography import x509

    until = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    return f"{until:%Y-%m-%d %H:%M:%S} UTC" if until < now else ""


def _load_chain(context: ssl.SSLContext, tls: TlsFiles) -> None:
    """Load a client certificate; the standard library takes it from files only."""
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(tls.certificate + b"\n" + tls.key)
        file.flush()
        context.load_cert_chain(file.name)
