"""Cluster's answers that no TLS is needed to see: usage, tokens, certificates, backup."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from master.api.cluster import ClusterFacts, ClusterServicer
from master.auth.authorizer import Authorizer
from master.auth.ca import CertificateAuthority
from master.auth.tokens import TokenBook
from master.store.keyring import Keyring
from master.store.memory import MemoryStore
from master.store.sealed import SealedStore
from podium import pki
from podium.aio.clock import SystemClock
from podium.errors import BadRequest, Forbidden
from podium.tls import MIB
from podium.v1 import cluster_service_pb2 as pb
from podium.v1.core_pb2 import Node, Pod
from tests.support.secrets import FakeSecrets

CLOCK = SystemClock()


class Context:
    """A call by somebody."""

    def __init__(self, ca: CertificateAuthority, user: str, *groups: str) -> None:
        self._certificate = ca.issue_client(user, groups)[1]

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self._certificate]}


class Objects:
    """One node and its two pods, by name."""

    revision = 42

    def get(self, kind: Any, namespace: str, name: str) -> Any:
        found = kind()
        found.metadata.name = name
        found.metadata.labels["app"] = name
        if kind is Pod:
            found.metadata.uid, found.spec.node_name = f"uid-{name}", "n1"
        return found if (kind, name) in ((Node, "n1"), (Pod, "web"), (Pod, "db")) else None


class Usage:
    """What nodelets reported, of things that are gone too."""

    def nodes(self) -> list[pb.NodeUsage]:
        return [pb.NodeUsage(name="n1", cpu_nanocores=7), pb.NodeUsage(name="gone", cpu_nanocores=9)]

    def pods(self, namespace: str = "") -> Iterable[tuple[str, pb.PodUsage]]:
        """Of two pods that are there, of one that is gone, and what is told by others: of one before, on another."""
        said = [("n1", "web", "uid-web"), ("n1", "db", "uid-db"), ("n1", "gone", "uid-gone")]
        said += [("n1", "web", "uid-before"), ("liar", "db", "uid-db")]
        containers = [pb.ContainerUsage(name="a", memory_bytes=1), pb.ContainerUsage(name="b", memory_bytes=2)]
        if namespace in ("", "default"):
            for node, name, uid in said:
                yield node, pb.PodUsage(namespace="default", name=name, uid=uid, containers=containers)


class Explainer:
    """Says the same of every pod."""

    def explain(self, namespace: str, name: str, nodes: bool) -> pb.ExplainPodResponse:
        return pb.ExplainPodResponse(state="Bound", message=f"{namespace}/{name}")


class Backup:
    """A store of two and a half chunks."""

    async def backup(self, to: Path) -> int:
        to.write_bytes(b"x" * (5 * MIB // 2))
        return 42


@pytest.fixture
def ca(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.open(tmp_path / "pki", CLOCK)


@pytest.fixture
def cluster(ca: CertificateAuthority, tmp_path: Path) -> ClusterServicer:
    secrets = FakeSecrets()
    objects: Any = Objects()
    return ClusterServicer(
        facts=ClusterFacts(version="1", endpoints=["m:7443"], pod_cidr="10.64.0.0/10", started=CLOCK.now()),
        reader=objects,
        authorizer=Authorizer(),
        ca=ca,
        tokens=TokenBook(reader=secrets, writer=secrets, clock=CLOCK, pin=ca.pin),
        explainer=Explainer(),
        usage=Usage(),
        backup=Backup(),
        scratch=tmp_path,
        sealing=SealedStore(MemoryStore(), Keyring.open(tmp_path / "keys", CLOCK.now())),
        clock=CLOCK,
    )


@pytest.fixture
def admin(ca: CertificateAuthority) -> Context:
    return Context(ca, "admin", "system:masters")


@pytest.fixture
def viewer(ca: CertificateAuthority) -> Context:
    return Context(ca, "eve", "podium:viewers")


async def test_info(cluster: ClusterServicer, ca: CertificateAuthority, viewer: Context) -> None:
    info = await cluster.Info(pb.InfoRequest(), viewer)
    assert (info.cluster_id, info.resource_version, list(info.endpoints)) == (ca.cluster_id, "42", ["m:7443"])


async def test_usage_of_nodes_leaves_out_those_that_are_gone(cluster: ClusterServicer, viewer: Context) -> None:
    answer = await cluster.Usage(pb.UsageRequest(), viewer)
    assert [(n.name, n.cpu_nanocores) for n in answer.nodes] == [("n1", 7)]


@pytest.mark.parametrize(
    ("request_message", "pods"),
    [
        (pb.UsageRequest(namespace="*"), [("db", [3]), ("web", [3])]),
        (pb.UsageRequest(namespace="default", containers=True), [("db", [1, 2]), ("web", [1, 2])]),
        (pb.UsageRequest(namespace="*", label_selector="app=web"), [("web", [3])]),
        (pb.UsageRequest(namespace="elsewhere"), []),
    ],
)
async def test_usage_of_pods(
    cluster: ClusterServicer, viewer: Context, request_message: pb.UsageRequest, pods: list[tuple[str, list[int]]]
) -> None:
    answer = await cluster.Usage(request_message, viewer)
    assert [(p.name, [c.memory_bytes for c in p.containers]) for p in answer.pods] == pods


async def test_tokens_are_shown_whole_only_once(cluster: ClusterServicer, admin: Context) -> None:
    made = await cluster.CreateToken(pb.CreateTokenRequest(description="rack 4", ttl_seconds=60), admin)
    assert made.token.startswith(made.id + ".")
    (listed,) = (await cluster.ListTokens(pb.ListTokensRequest(), admin)).tokens
    assert (listed.id, listed.token, listed.description) == (made.id, "", "rack 4")
    await cluster.DeleteToken(pb.DeleteTokenRequest(id=made.id), admin)
    assert not (await cluster.ListTokens(pb.ListTokensRequest(), admin)).tokens


async def test_a_user_gets_a_certificate_and_a_node_does_not(cluster: ClusterServicer, admin: Context) -> None:
    _, csr = pki.new_request("whoever")
    request = pb.SignClientCertificateRequest(csr=csr, user="jane", groups=["podium:viewers"], ttl_seconds=3600)
    info = pki.read_certificate((await cluster.SignClientCertificate(request, admin)).certificate)
    assert (info.user, info.groups) == ("jane", frozenset({"podium:viewers"}))
    request.user = "system:node:n1"
    with pytest.raises(BadRequest, match="by joining"):
        await cluster.SignClientCertificate(request, admin)


async def test_a_backup_comes_in_chunks(cluster: ClusterServicer, admin: Context, tmp_path: Path) -> None:
    chunks = [len(chunk.data) async for chunk in cluster.Backup(pb.BackupRequest(), admin)]
    assert chunks == [MIB, MIB, MIB // 2]
    assert not list(tmp_path.glob("backup-*"))


async def test_a_viewer_explains_and_gets_no_credentials(cluster: ClusterServicer, viewer: Context) -> None:
    assert (await cluster.ExplainPod(pb.ExplainPodRequest(namespace="a", name="b"), viewer)).message == "a/b"
    for refused in (
        cluster.CreateToken(pb.CreateTokenRequest(), viewer),
        cluster.ListTokens(pb.ListTokensRequest(), viewer),
        cluster.DeleteToken(pb.DeleteTokenRequest(id="x"), viewer),
        cluster.SignClientCertificate(pb.SignClientCertificateRequest(user="x"), viewer),
        anext(cluster.Backup(pb.BackupRequest(), viewer)),
    ):
        with pytest.raises(Forbidden):
            await refused


async def test_keys_of_secrets_are_told_by_id_and_rotated_by_administrators_only(
    cluster: ClusterServicer, admin: Context, viewer: Context
) -> None:
    [first] = (await cluster.ListSecretKeys(pb.ListSecretKeysRequest(), admin)).keys
    told = [(p.done, p.total) async for p in cluster.RotateSecretKey(pb.RotateSecretKeyRequest(), admin)]
    assert told == [(0, 0)]
    keys = (await cluster.ListSecretKeys(pb.ListSecretKeysRequest(), admin)).keys
    assert [(key.id == first.id, key.state) for key in keys] == [(True, "Retiring"), (False, "Active")]
    with pytest.raises(Forbidden):
        await cluster.ListSecretKeys(pb.ListSecretKeysRequest(), viewer)
    with pytest.raises(Forbidden):
        await cluster.DropSecretKeys(pb.DropSecretKeysRequest(), viewer)
    with pytest.raises(Forbidden):
        _ = [p async for p in cluster.RotateSecretKey(pb.RotateSecretKeyRequest(), viewer)]
