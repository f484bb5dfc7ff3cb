"""Cluster: the cluster as a whole — who it is, who may join, why a pod waits, how busy things are, a copy of it all."""

from __future__ import annotations

import asyncio
import datetime
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from master.access.protocol import Reader
from master.api.identity import caller
from master.auth.authorizer import Authorizer
from master.auth.ca import CertificateAuthority
from master.auth.principal import NODE_USER_PREFIX
from master.auth.tokens import TokenBook, TokenInfo
from podium.aio.clock import Clock
from podium.errors import BadRequest, Unavailable
from podium.objects.meta import timestamp
from podium.objects.selectors import Selector, parse_selector
from podium.telemetry.log import get_logger
from podium.tls import MIB
from podium.v1 import cluster_service_pb2_grpc
from podium.v1.cluster_service_pb2 import (
    BackupChunk,
    BackupRequest,
    CertificateResponse,
    ContainerUsage,
    CreateTokenRequest,
    DeleteTokenRequest,
    DeleteTokenResponse,
    DiskRates,
    DropSecretKeysRequest,
    DropSecretKeysResponse,
    ExplainPodRequest,
    ExplainPodResponse,
    InfoRequest,
    InfoResponse,
    JoinToken,
    ListSecretKeysRequest,
    ListSecretKeysResponse,
    ListTokensRequest,
    ListTokensResponse,
    NodeUsage,
    PodUsage,
    RotateSecretKeyProgress,
    RotateSecretKeyRequest,
    SecretKeyInfo,
    SignClientCertificateRequest,
    UsageRequest,
    UsageResponse,
    WhoAmIRequest,
    WhoAmIResponse,
)
from podium.v1.core_pb2 import Node, Pod

ALL_NAMESPACES = "*"

log = get_logger(__name__)


class Explainer(Protocol):
    """Says why a pod is where it is (`master.scheduler`)."""

    def explain(self, namespace: str, name: str, nodes: bool) -> ExplainPodResponse: ...


class UsageSource(Protocol):
    """The newest usage that nodelets reported (`master.dispatcher`)."""

    def nodes(self) -> Iterable[NodeUsage]: ...
    def pods(self, namespace: str = "") -> Iterable[tuple[str, PodUsage]]:
        """Each with the node that says so."""
        ...


class BackupSource(Protocol):
    """Writes a consistent copy of the store to a file (`master.store`)."""

    async def backup(self, to: Path) -> int: ...


class SealingKey(Protocol):
    """What may be told of a key that Secrets are sealed with."""

    @property
    def id(self) -> str: ...
    @property
    def created(self) -> datetime.datetime: ...
    @property
    def retired(self) -> int | None: ...
    @property
    def unused(self) -> bool: ...


class SealingProgress(Protocol):
    """How far sealing anew is."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...


class Sealing(Protocol):
    """Seals Secrets in the store (`master.store.sealed`)."""

    @property
    def keys(self) -> Sequence[SealingKey]: ...
    def rotate(self, now: datetime.datetime) -> AsyncIterator[SealingProgress]: ...
    async def drop_unused(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """What Info tells, besides the revision."""

    version: str
    endpoints: Sequence[str]
    pod_cidr: str
    started: datetime.datetime


class ClusterServicer(cluster_service_pb2_grpc.ClusterServicer):
    """See the module. Every call but WhoAmI is authorized."""

    def __init__(
        self,
        *,
        facts: ClusterFacts,
        reader: Reader,
        authorizer: Authorizer,
        ca: CertificateAuthority,
        tokens: TokenBook,
        explainer: Explainer,
        usage: UsageSource,
        backup: BackupSource,
        scratch: Path,
        sealing: Sealing,
        clock: Clock,
    ) -> None:
        self._facts, self._reader, self._authorizer = facts, reader, authorizer
        self._ca, self._tokens = ca, tokens
        self._explainer, self._usage, self._backup = explainer, usage, backup
        self._scratch, self._sealing, self._clock = scratch, sealing, clock

    async def Info(self, request: InfoRequest, context: Any) -> InfoResponse:
        """Who this cluster is."""
        self._authorizer.check(caller(context), "get", "Cluster")
        return InfoResponse(
            cluster_id=self._ca.cluster_id,
            version=self._facts.version,
            endpoints=self._facts.endpoints,
            pod_cidr=self._facts.pod_cidr,
            resource_version=str(self._reader.revision),
            started=timestamp(self._facts.started),
        )

    async def WhoAmI(self, request: WhoAmIRequest, context: Any) -> WhoAmIResponse:
        """Who the server takes the caller for; open to everybody who can connect."""
        principal = caller(context)
        return WhoAmIResponse(user=principal.user, groups=sorted(principal.groups))

    # ------------------------------------------------------------ joining, certificates

    async def CreateToken(self, request: CreateTokenRequest, context: Any) -> JoinToken:
        """A new join token; the only answer that holds the whole of it."""
        principal = caller(context)
        self._authorizer.check(principal, "create", "JoinToken")
        made = await self._tokens.create(
            by=principal, lifetime=_lifetime(request.ttl_seconds), description=request.description
        )
        log.info("created a join token", id=made.id, by=principal.user, expires=made.expires.isoformat())
        answer = _listed(made)
        answer.token = made.text
        return answer

    async def ListTokens(self, request: ListTokensRequest, context: Any) -> ListTokensResponse:
        """All join tokens, without their secrets."""
        self._authorizer.check(caller(context), "list", "JoinToken")
        return ListTokensResponse(tokens=[_listed(token) for token in self._tokens.list()])

    async def DeleteToken(self, request: DeleteTokenRequest, context: Any) -> DeleteTokenResponse:
        """Revoke a join token; nodes that joined with it stay."""
        principal = caller(context)
        self._authorizer.check(principal, "delete", "JoinToken", name=request.id)
        await self._tokens.revoke(request.id, by=principal)
        log.info("revoked a join token", id=request.id, by=principal.user)
        return DeleteTokenResponse()

    async def SignClientCertificate(self, request: SignClientCertificateRequest, context: Any) -> CertificateResponse:
        """A certificate for a user; never for a node, which joins with a token."""
        principal = caller(context)
        self._authorizer.check(principal, "create", "Certificate", name=request.user)
        if request.user.startswith(NODE_USER_PREFIX):
            raise BadRequest(f'"{request.user}" is a node\'s name: nodes get their certificates by joining')
        certificate = self._ca.sign_client(request.csr, request.user, request.groups, _lifetime(request.ttl_seconds))
        log.info("signed a client certificate", user=request.user, groups=",".join(request.groups), by=principal.user)
        return CertificateResponse(certificate=certificate, ca=self._ca.bundle, endpoints=self._facts.endpoints)

    # ------------------------------------------------------------ looking

    async def ExplainPod(self, request: ExplainPodRequest, context: Any) -> ExplainPodResponse:
        """Exactly why a pod is where it is, or is nowhere."""
        self._authorizer.check(caller(context), "get", "Pod", request.namespace, request.name)
        return self._explainer.explain(request.namespace, request.name, request.nodes)

    async def Usage(self, request: UsageRequest, context: Any) -> UsageResponse:
        """Newest usage of nodes, or of pods when a namespace (or `*`) is given."""
        self._authorizer.check(caller(context), "list", "Usage", request.namespace.strip(ALL_NAMESPACES))
        selector = parse_selector(request.label_selector)
        if not request.namespace:
            return UsageResponse(nodes=sorted(self._nodes(selector), key=lambda n: n.name))
        pods = self._pods(request.namespace.strip(ALL_NAMESPACES), selector)
        shown = pods if request.containers else map(_summed, pods)
        return UsageResponse(pods=sorted(shown, key=lambda p: (p.namespace, p.name)))

    def _nodes(self, selector: Selector) -> Iterable[NodeUsage]:
        for usage in self._usage.nodes():
            node = self._reader.get(Node, "", usage.name)
            if node is not None and selector.matches(node.metadata.labels):
                yield usage

    def _pods(self, namespace: str, selector: Selector) -> Iterable[PodUsage]:
        for node, usage in self._usage.pods(namespace):
            pod = self._reader.get(Pod, usage.namespace, usage.name)
            if pod is None or pod.metadata.uid != usage.uid or pod.spec.node_name != node:
                continue  # it is another by now, or that node's to tell no more
            if selector.matches(pod.metadata.labels):
                yield usage

    # ------------------------------------------------------------ backup

    async def Backup(self, request: BackupRequest, context: Any) -> AsyncIterator[BackupChunk]:
        """A consistent copy of the store, in chunks; `podium-master restore` starts from it."""
        principal = caller(context)
        self._authorizer.check(principal, "get", "Backup")
        with tempfile.TemporaryDirectory(prefix="backup-", dir=self._scratch) as folder:
            copy = Path(folder) / "store"
            try:
                revision = await self._backup.backup(copy)
            except OSError as error:
                raise Unavailable(f"the store could not be copied: {error.strerror}") from error
            log.info("sending a backup", by=principal.user, revision=revision)
            with copy.open("rb") as file:
                while data := await asyncio.to_thread(file.read, MIB):
                    yield BackupChunk(data=data)

    # ------------------------------------------------------------ keys of secrets

    async def RotateSecretKey(
        self, request: RotateSecretKeyRequest, context: Any
    ) -> AsyncIterator[RotateSecretKeyProgress]:
        """A new key, and every Secret sealed with it."""
        principal = caller(context)
        self._authorizer.check(principal, "create", "SecretKey")
        log.info("rotating the secrets' key", by=principal.user)
        async for progress in self._sealing.rotate(self._clock.now()):
            yield RotateSecretKeyProgress(done=progress.done, total=progress.total)

    async def ListSecretKeys(self, request: ListSecretKeysRequest, context: Any) -> ListSecretKeysResponse:
        """Ids and states, oldest first."""
        self._authorizer.check(caller(context), "list", "SecretKey")
        keys = self._sealing.keys
        return ListSecretKeysResponse(
            keys=[
                SecretKeyInfo(id=key.id, created=timestamp(key.created), state=_state(key, newest=key is keys[-1]))
                for key in keys
            ]
        )

    async def DropSecretKeys(self, request: DropSecretKeysRequest, context: Any) -> DropSecretKeysResponse:
        """Remove keys that nothing is sealed with."""
        principal = caller(context)
        self._authorizer.check(principal, "delete", "SecretKey")
        dropped = await self._sealing.drop_unused()
        log.info("dropped unused keys of secrets", ids=",".join(dropped), by=principal.user)
        return DropSecretKeysResponse(ids=dropped)


def _state(key: SealingKey, *, newest: bool) -> str:
    if newest:
        return "Active"
    return "Unused" if key.unused else "Retiring"


def _lifetime(seconds: int) -> datetime.timedelta | None:
    if not 0 <= seconds <= 10 * 365 * 86400:
        raise BadRequest("ttl_seconds must be between 0 (the default) and ten years")
    return datetime.timedelta(seconds=seconds) if seconds else None


def _listed(token: TokenInfo) -> JoinToken:
    return JoinToken(id=token.id, expires=timestamp(token.expires), description=token.description)


def _summed(usage: PodUsage) -> PodUsage:
    parts = usage.containers
    total = ContainerUsage(
        cpu_nanocores=sum(c.cpu_nanocores for c in parts),
        memory_bytes=sum(c.memory_bytes for c in parts),
        tasks=sum(c.tasks for c in parts),
        disk=DiskRates(
            read_bytes_per_second=sum(c.disk.read_bytes_per_second for c in parts),
            write_bytes_per_second=sum(c.disk.write_bytes_per_second for c in parts),
        ),
        window_milliseconds=min((c.window_milliseconds for c in parts), default=0),
    )
    network = usage.network if usage.HasField("network") else None
    return PodUsage(
        namespace=usage.namespace, name=usage.name, uid=usage.uid, time=usage.time, network=network, containers=[total]
    )
