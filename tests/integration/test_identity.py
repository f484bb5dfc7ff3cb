"""Who may connect, join and ask, over real TLS: no certificate, another cluster's, a viewer, another node's name."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from master.api.identity import caller
from master.api.interceptors import Instrumentation
from master.api.join import JoinServicer
from master.api.server import ApiServer
from master.auth.authorizer import Authorizer
from master.auth.ca import CertificateAuthority, Lifetimes
from master.auth.limiter import FailureLimiter
from master.auth.principal import component
from master.auth.serving import ServingCertificate
from master.auth.tokens import TokenBook
from podium import pki, tls
from podium.aio.clock import SystemClock
from podium.errors import Invalid, Violation
from podium.v1 import cluster_service_pb2 as pb
from podium.v1 import cluster_service_pb2_grpc as cluster_grpc
from podium.v1 import node_session_pb2_grpc, objects_service_pb2_grpc
from podium.v1.core_pb2 import Node
from podium.v1.node_session_pb2 import RenewRequest
from podium.v1.objects_service_pb2 import GetRequest, ListRequest, ListResponse, ObjectKey, ObjectResponse
from tests.support.secrets import FakeSecrets

TIMEOUT = 10.0


class MovableClock(SystemClock):
    """The machine's clock, three weeks behind: so that tests can let time pass and still verify certificates."""

    days = -21.0

    def now(self) -> datetime.datetime:
        return super().now() + datetime.timedelta(days=self.days)


class Objects(objects_service_pb2_grpc.ObjectsServicer):
    """Authorizes as the real one does, and fails in every way there is."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def List(self, request: ListRequest, context: Any) -> ListResponse:
        self._authorizer.check(caller(context), "list", request.kind, request.namespace)
        return ListResponse(resource_version="7")

    async def Get(self, request: GetRequest, context: Any) -> ObjectResponse:
        match request.key.name:
            case "invalid":
                raise Invalid("Pod invalid", {"kind": "Pod"}, [Violation("spec.x", "is wrong", "try y")])
            case "bug":
                raise ZeroDivisionError("secret internals")
            case "slow":
                await asyncio.Event().wait()
        return ObjectResponse()


class NodeSession(node_session_pb2_grpc.NodeSessionServicer):
    """Renews the certificate of the node that the request's CSR is for, if the caller is that node."""

    def __init__(self, authorizer: Authorizer, claimed: str) -> None:
        self._authorizer, self._claimed = authorizer, claimed

    async def Renew(self, request: RenewRequest, context: Any) -> pb.CertificateResponse:
        self._authorizer.check_node(caller(context), self._claimed, "renew")
        return pb.CertificateResponse()


class Cluster(cluster_grpc.ClusterServicer):
    """Only says who calls."""

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Any) -> pb.WhoAmIResponse:
        principal = caller(context)
        return pb.WhoAmIResponse(user=principal.user, groups=sorted(principal.groups))


@dataclass
class FakeNodes:
    """Finds Nodes in a dictionary."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def get(self, kind: type[Node], namespace: str, name: str) -> Node | None:
        return self.nodes.get(name)


@dataclass
class Rig:
    """A master's two ports, and what stands behind them."""

    ca: CertificateAuthority
    other: CertificateAuthority
    clock: MovableClock
    tokens: TokenBook
    nodes: FakeNodes
    api: ApiServer
    join: ApiServer

    @contextlib.asynccontextmanager
    async def channel(
        self, user: str = "", *groups: str, signer: CertificateAuthority | None = None, port: int = 0
    ) -> AsyncIterator[grpc.aio.Channel]:
        key, certificate = (signer or self.ca).issue_client(user, groups) if user else (b"", b"")
        files = tls.TlsFiles(ca=self.ca.bundle, certificate=certificate, key=key)
        address = f"127.0.0.1:{port or self.api.ports[0]}"
        async with grpc.aio.secure_channel(
            address, tls.channel_credentials(files), options=tls.channel_options()
        ) as channel:
            yield channel

    async def ask_to_join(self, request: pb.JoinRequest) -> pb.CertificateResponse:
        async with self.channel(port=self.join.ports[0]) as channel:
            answer: pb.CertificateResponse = await cluster_grpc.JoinStub(channel).Join(request, timeout=TIMEOUT)
            return answer


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = MovableClock()
    ca = CertificateAuthority.open(tmp_path / "pki", clock, Lifetimes(server=datetime.timedelta(days=30)))
    serving = ServingCertificate(ca, clock)
    secrets, nodes = FakeSecrets(), FakeNodes()
    tokens = TokenBook(reader=secrets, writer=secrets, clock=clock, pin=ca.pin)
    instrumentation = Instrumentation(clock, default_deadline=0.2)
    api = ApiServer(
        listen=["127.0.0.1:0"],
        credentials=serving.credentials(client_certificates=True),
        instrumentation=instrumentation,
    )
    api.add(cluster_grpc.add_ClusterServicer_to_server, Cluster())  # type: ignore[abstract]
    api.add(objects_service_pb2_grpc.add_ObjectsServicer_to_server, Objects(Authorizer()))  # type: ignore[abstract]
    api.add(node_session_pb2_grpc.add_NodeSessionServicer_to_server, NodeSession(Authorizer(), "n1"))  # type: ignore[abstract]
    join = ApiServer(
        listen=["127.0.0.1:0"],
        credentials=serving.credentials(client_certificates=False),
        instrumentation=instrumentation,
    )
    servicer = JoinServicer(
        tokens=tokens, signer=ca, reader=nodes, limiter=FailureLimiter(clock, allowed=3), endpoints=["master:7443"]
    )
    join.add(cluster_grpc.add_JoinServicer_to_server, servicer)
    for server in (api, join):
        server.bind()
        await server.start()
    other = CertificateAuthority.open(tmp_path / "other", clock)
    yield Rig(ca=ca, other=other, clock=clock, tokens=tokens, nodes=nodes, api=api, join=join)
    await api.stop(0)
    await join.stop(0)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def rich(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    metadata: Any = error.trailing_metadata()
    trailers = dict(metadata)
    return status_pb2.Status.FromString(trailers["grpc-status-details-bin"])


def reason(error: grpc.aio.AioRpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    assert rich(error).details[0].Unpack(info)
    return str(info.reason)


# ---------------------------------------------------------------- connecting


async def test_a_client_is_who_its_certificate_says(rig: Rig) -> None:
    async with rig.channel("jane", "podium:viewers", "ops") as channel:
        who = await cluster_grpc.ClusterStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT)
    assert (who.user, list(who.groups)) == ("jane", ["ops", "podium:viewers"])


async def test_without_a_certificate_nobody_gets_in(rig: Rig) -> None:
    async with rig.channel() as channel:
        error = await refused(cluster_grpc.ClusterStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_of_another_cluster_does_not_get_in(rig: Rig) -> None:
    async with rig.channel("admin", "system:masters", signer=rig.other) as channel:
        error = await refused(cluster_grpc.ClusterStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_masters_own_certificate_is_none_for_a_client(rig: Rig) -> None:
    key, chain = rig.ca.issue_server()
    files = tls.TlsFiles(ca=rig.ca.bundle, certificate=chain, key=key)
    address = f"127.0.0.1:{rig.api.ports[0]}"
    options = tls.channel_options()
    async with grpc.aio.secure_channel(address, tls.channel_credentials(files), options=options) as channel:
        error = await refused(cluster_grpc.ClusterStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (lambda rig: tls.TlsFiles(ca=rig.ca.bundle), "asks for a client certificate"),
        (lambda rig: client_files(rig, rig.other), "does not accept this client certificate"),
        (lambda rig: tls.TlsFiles(ca=rig.other.bundle), "is of another cluster"),
    ],
)
async def test_a_client_can_find_out_why_it_is_not_let_in(
    rig: Rig, files: Callable[[Rig], tls.TlsFiles], says: str
) -> None:
    why = await asyncio.to_thread(tls.explain_refusal, "127.0.0.1", rig.api.ports[0], files(rig), SystemClock().now())
    assert says in why


async def test_nothing_is_to_explain_when_all_is_well(rig: Rig) -> None:
    files = client_files(rig, rig.ca)
    assert await asyncio.to_thread(tls.explain_refusal, "127.0.0.1", rig.api.ports[0], files, SystemClock().now()) == ""


def client_files(rig: Rig, signer: CertificateAuthority) -> tls.TlsFiles:
    key, certificate = signer.issue_client("jane", [])
    return tls.TlsFiles(ca=rig.ca.bundle, certificate=certificate, key=key)


async def test_new_connections_get_the_renewed_serving_certificate(rig: Rig) -> None:
    before = await served_certificate(rig)
    assert await served_certificate(rig) == before
    rig.clock.days = 0
    assert await served_certificate(rig) != before


async def served_certificate(rig: Rig) -> bytes:
    context = ssl.create_default_context(cadata=rig.ca.bundle.decode())
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(
        "127.0.0.1", rig.join.ports[0], ssl=context, server_hostname=tls.SERVER_NAME
    )
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()
    assert isinstance(certificate, bytes)
    return certificate


async def test_health_and_reflection_answer(rig: Rig) -> None:
    async with rig.channel("jane") as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="podium.v1.Objects"), timeout=TIMEOUT
        )
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=TIMEOUT
        )
        services = [s.name async for answer in stream for s in answer.list_services_response.service]
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert {"podium.v1.Objects", "podium.v1.Cluster", "grpc.health.v1.Health"} <= set(services)


# ---------------------------------------------------------------- asking


async def test_a_viewer_lists_pods_and_no_secrets(rig: Rig) -> None:
    async with rig.channel("eve", "podium:viewers") as channel:
        objects = objects_service_pb2_grpc.ObjectsStub(channel)
        assert (await objects.List(ListRequest(kind="Pod"), timeout=TIMEOUT)).resource_version == "7"
        error = await refused(objects.List(ListRequest(kind="Secret", namespace="shop"), timeout=TIMEOUT))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason(error) == "Forbidden"
    assert 'user "eve"' in (error.details() or "")


async def test_a_refusal_is_logged_with_who_and_why(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    async with rig.channel("mallory") as channel:
        objects = objects_service_pb2_grpc.ObjectsStub(channel)
        for _ in range(3):
            await refused(objects.List(ListRequest(kind="Secret"), timeout=TIMEOUT))
    (record,) = [r for r in caplog.records if r.getMessage() == "refused a call"]
    assert record.__dict__["podium_fields"]["user"] == "mallory"


async def test_a_node_cannot_act_for_another(rig: Rig) -> None:
    async with rig.channel("system:node:n2", "system:nodes") as channel:
        error = await refused(node_session_pb2_grpc.NodeSessionStub(channel).Renew(RenewRequest(), timeout=TIMEOUT))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    async with rig.channel("system:node:n1", "system:nodes") as channel:
        await node_session_pb2_grpc.NodeSessionStub(channel).Renew(RenewRequest(), timeout=TIMEOUT)


async def test_every_violation_reaches_the_client(rig: Rig) -> None:
    async with rig.channel("jane") as channel:
        error = await refused(get(channel, "invalid"))
    violations = error_details_pb2.BadRequest()
    assert rich(error).details[1].Unpack(violations)
    (only,) = violations.field_violations
    assert (only.field, only.description, only.localized_message.message) == ("spec.x", "is wrong", "try y")
    assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "Invalid")


async def test_a_bug_stays_inside_and_gets_an_id(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    async with rig.channel("jane") as channel:
        error = await refused(get(channel, "bug"))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret internals" not in (error.details() or "")
    (record,) = [r for r in caplog.records if r.exc_info]
    assert record.__dict__["podium_fields"]["error_id"] in (error.details() or "")


async def test_a_call_without_a_deadline_gets_one(rig: Rig) -> None:
    async with rig.channel("jane") as channel:
        error = await refused(objects_service_pb2_grpc.ObjectsStub(channel).Get(by_name("slow")))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_huge_request_is_refused_by_name(rig: Rig) -> None:
    async with rig.channel("jane") as channel:
        error = await refused(get(channel, "x" * 20_000_000))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in (error.details() or "")


def by_name(name: str) -> GetRequest:
    return GetRequest(key=ObjectKey(kind="Pod", namespace="default", name=name))


def get(channel: grpc.aio.Channel, name: str) -> Any:
    return objects_service_pb2_grpc.ObjectsStub(channel).Get(by_name(name), timeout=TIMEOUT)


# ---------------------------------------------------------------- joining


async def new_token(rig: Rig, **lifetime: float) -> str:
    made = await rig.tokens.create(by=component("test"), lifetime=datetime.timedelta(**lifetime) if lifetime else None)
    return made.text


def join_request(token: str, name: str = "n1", machine: str = "m1") -> tuple[bytes, pb.JoinRequest]:
    key, csr = pki.new_request(f"system:node:{name}", ["system:nodes"])
    return key, pb.JoinRequest(token=token, node_name=name, csr=csr, machine_id=machine)


async def test_a_host_joins_and_connects_with_what_it_got(rig: Rig) -> None:
    key, request = join_request(await new_token(rig))
    answer = await rig.ask_to_join(request)
    assert list(answer.endpoints) == ["master:7443"]
    files = tls.TlsFiles(ca=answer.ca, certificate=answer.certificate, key=key)
    address = f"127.0.0.1:{rig.api.ports[0]}"
    options = tls.channel_options()
    async with grpc.aio.secure_channel(address, tls.channel_credentials(files), options=options) as channel:
        who = await cluster_grpc.ClusterStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT)
    assert (who.user, list(who.groups)) == ("system:node:n1", ["system:nodes"])


async def test_the_join_port_shows_the_chain_that_the_pin_names(rig: Rig) -> None:
    token = await new_token(rig)
    chain = rig.ca.issue_server()[1]
    issuer = b"-----BEGIN CERTIFICATE" + chain.split(b"-----BEGIN CERTIFICATE")[2]
    assert pki.pin_of_pem(issuer) == token.split(".")[2]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda token: "", "malformed"),
        (lambda token: token[:-64] + "0" * 64, "another cluster"),
        (lambda token: token.replace(token.split(".")[1], "a" * 32), "not known here"),
    ],
)
async def test_a_wrong_token_is_refused(rig: Rig, spoil: Callable[[str], str], says: str) -> None:
    _, request = join_request(spoil(await new_token(rig)))
    error = await refused(rig.ask_to_join(request))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert says in (error.details() or "")


async def test_an_expired_token_is_refused(rig: Rig) -> None:
    _, request = join_request(await new_token(rig, hours=1))
    rig.clock.days += 1
    error = await refused(rig.ask_to_join(request))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "expired at" in (error.details() or "")


async def test_who_keeps_failing_is_turned_away(rig: Rig) -> None:
    _, wrong = join_request("nonsense")
    for _ in range(3):
        await refused(rig.ask_to_join(wrong))
    _, right = join_request(await new_token(rig))
    error = await refused(rig.ask_to_join(right))
    assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TooManyRequests")


@pytest.mark.parametrize("name", ["", "UPPER", "a..b", "-a", "a" * 254, "../etc"])
async def test_a_bad_name_is_refused(rig: Rig, name: str) -> None:
    _, request = join_request(await new_token(rig), name="n1")
    request.node_name = name
    error = await refused(rig.ask_to_join(request))
    assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "Invalid")


async def test_a_malformed_request_is_refused(rig: Rig) -> None:
    _, request = join_request(await new_token(rig))
    request.csr = b"nonsense"
    error = await refused(rig.ask_to_join(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "certificate request" in (error.details() or "")


@pytest.mark.parametrize(
    ("ready", "machine", "allowed"),
    [("True", "m1", False), ("True", "m2", True), ("False", "m1", True), ("Unknown", "m1", True)],
)
async def test_a_living_nodes_name_is_taken(rig: Rig, ready: str, machine: str, allowed: bool) -> None:
    node = Node()
    node.metadata.name = "n1"
    node.status.node_info.machine_id = machine
    node.status.conditions.add(type="Ready", status=ready)
    rig.nodes.nodes["n1"] = node
    _, request = join_request(await new_token(rig), machine="m2")
    if allowed:
        assert (await rig.ask_to_join(request)).certificate
        return
    error = await refused(rig.ask_to_join(request))
    assert (error.code(), reason(error)) == (grpc.StatusCode.ALREADY_EXISTS, "AlreadyExists")
    assert "alive on another machine" in (error.details() or "")


async def test_the_join_port_serves_nothing_else(rig: Rig) -> None:
    async with rig.channel(port=rig.join.ports[0]) as channel:
        error = await refused(cluster_grpc.ClusterStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
