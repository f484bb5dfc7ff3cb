"""What a cluster must have before it serves: its first namespaces, and a way in for its administrator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from master.access.protocol import Principal, Reader, Writer, component
from master.auth.ca import CertificateAuthority
from master.auth.principal import MASTERS
from master.auth.tokens import NAMESPACE as SYSTEM_NAMESPACE
from podium import pki
from podium.aio.clock import Clock
from podium.client.config import Config, Context, dump, load
from podium.errors import AlreadyExists, PodiumError
from podium.files import write_atomic
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Namespace

ADMIN = Principal("admin", frozenset({MASTERS}))
FIRST_NAMESPACES = ("default", SYSTEM_NAMESPACE)

log = get_logger(__name__)


async def ensure_namespaces(reader: Reader, writer: Writer) -> None:
    """Create the namespaces that are always there."""
    for name in FIRST_NAMESPACES:
        if reader.get(Namespace, "", name) is None:
            namespace = Namespace()
            namespace.metadata.name = name
            try:
                await writer.create(namespace, by=component("bootstrap"))
            except AlreadyExists:
                continue  # of another master, in the meantime


def ensure_admin_config(path: Path, ca: CertificateAuthority, clock: Clock, endpoints: Sequence[str]) -> None:
    """Write the administrator's client configuration, unless the one that is there is good for long. Blocks."""
    if _is_good(path, ca, clock, endpoints):
        return
    key, certificate = ca.issue_client(ADMIN.user, sorted(ADMIN.groups))
    context = Context(
        endpoints=tuple(endpoints), ca=ca.bundle.decode(), certificate=certificate.decode(), key=key.decode()
    )
    write_atomic(path, dump(Config().with_context("podium", context)).encode())
    log.info("wrote the administrator's client configuration", path=path)


def _is_good(path: Path, ca: CertificateAuthority, clock: Clock, endpoints: Sequence[str]) -> bool:
    try:
        context = load(path).context()
        renew_at = pki.read_certificate(context.certificate.encode()).renew_at()
    except (PodiumError, ValueError):
        return False  # missing or damaged: it is ours to write
    return context.ca == ca.bundle.decode() and context.endpoints == tuple(endpoints) and clock.now() < renew_at
