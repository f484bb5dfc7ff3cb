"""What a cluster must have before it serves: namespaces, priorities, storage for claims, an administrator's way in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from master.access.protocol import Principal, Reader, Writer, component
from master.admission.defaults.pods import SYSTEM_PRIORITIES
from master.admission.priority import built_in
from master.auth.ca import CertificateAuthority
from master.auth.principal import MASTERS
from master.auth.tokens import NAMESPACE as SYSTEM_NAMESPACE
from podium import pki
from podium.aio.clock import Clock
from podium.client.config import Config, Context, dump, load
from podium.errors import AlreadyExists, PodiumError
from podium.files import write_atomic
from podium.objects import storage
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Namespace
from podium.v1.policy_pb2 import PriorityClass
from podium.v1.storage_pb2 import StorageClass

ADMIN = Principal("admin", frozenset({MASTERS}))
FIRST_NAMESPACES = ("default", SYSTEM_NAMESPACE)
FIRST_CLASS, CLASS_MADE = "local", "podium.dev/default-storage-class"

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


async def ensure_storage_class(reader: Reader, writer: Writer) -> None:
    """Create the default storage class, once in a cluster's life: who deletes it does not want it back."""
    namespace = reader.get(Namespace, "", SYSTEM_NAMESPACE)
    if namespace is None or CLASS_MADE in namespace.metadata.annotations:
        return
    by = component("bootstrap")
    try:
        await writer.create(first_class(), by=by)
    except AlreadyExists:
        log.info("a storage class of the default one's name is there already", name=FIRST_CLASS)

    def note(obj: Namespace) -> None:
        obj.metadata.annotations[CLASS_MADE] = FIRST_CLASS

    await writer.mutate(Namespace, "", SYSTEM_NAMESPACE, note, by=by)


def first_class() -> StorageClass:
    """Folders on the node of the claim's first pod, removed with the claim."""
    cls = StorageClass(
        provisioner=storage.LOCAL_PROVISIONER,
        reclaim_policy=storage.DELETE,
        volume_binding_mode=storage.FIRST_CONSUMER,
        allow_volume_expansion=True,
    )
    cls.metadata.name = FIRST_CLASS
    cls.metadata.annotations[storage.DEFAULT_CLASS] = "true"
    return cls


async def ensure_priority_classes(reader: Reader, writer: Writer) -> None:
    """Create the priority classes that are always there."""
    for name in SYSTEM_PRIORITIES:
        if reader.get(PriorityClass, "", name) is None:
            try:
                await writer.create(built_in(name), by=component("bootstrap"))
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
