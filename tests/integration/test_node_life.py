"""A node's life over real TLS: it joins, holds a session, renews its certificate, and is refused when it should be."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from master.auth.ca import CertificateAuthority
from nodelet.session.dial import GrpcDialer
from nodelet.session.join import join, parse_token, pinned_ca
from nodelet.session.renewal import Renewer
from nodelet.state.directory import StateDirectory
from nodelet.state.identity import Identity
from podium import pki
from podium.aio.clock import SystemClock
from podium.aio.link import LinkClosed
from podium.aio.tasks import TaskScope
from podium.errors import AlreadyExists, BadRequest, Unauthenticated, Unavailable
from podium.v1.core_pb2 import Node, Pod
from tests.support.clock import VirtualClock
from tests.support.nodes import RecordingNode, ready_status
from tests.support.small_master import SmallMaster, small_master
from tests.support.waiting import until


@pytest.fixture
async def master(tmp_path: Path) -> AsyncIterator[SmallMaster]:
    async with small_master(tmp_path / "master") as running:
        yield running


async def test_a_host_with_a_token_becomes_a_node(master: SmallMaster) -> None:
    identity = await master.join("n1")
    info = pki.read_certificate(identity.certificate)
    assert info.user == "system:node:n1"
    assert info.groups == frozenset({"system:nodes"})
    assert identity.ca == master.ca.bundle
    assert identity.endpoints == (master.endpoint,)


async def test_a_master_of_another_cluster_is_not_told_the_token(master: SmallMaster, tmp_path: Path) -> None:
    other = CertificateAuthority.open(tmp_path / "other", SystemClock())
    stolen = ".".join([*(await master.token()).split(".")[:2], other.pin])
    with pytest.raises(Unauthenticated, match="another key"):
        await join([master.join_endpoint], parse_token(stolen), node_name="n1", machine_id="m1")


async def test_a_wrong_secret_is_refused(master: SmallMaster) -> None:
    id_, secret, pin = (await master.token()).split(".")
    forged = f"{id_}.{secret[::-1]}.{pin}"
    with pytest.raises(Unauthenticated):
        await join([master.join_endpoint], parse_token(forged), node_name="n1", machine_id="m1")


async def test_a_name_held_by_a_living_machine_is_refused(master: SmallMaster) -> None:
    node = Node(status=ready_status())
    node.metadata.name, node.status.node_info.machine_id = "n1", "m1"
    master.access.put(node)
    with pytest.raises(AlreadyExists):
        await master.join("n1", machine_id="m2")


async def test_the_next_master_is_tried_when_one_is_down(master: SmallMaster) -> None:
    token = parse_token(await master.token())
    identity = await join(["127.0.0.1:9", master.join_endpoint], token, node_name="n1", machine_id="m1")
    assert identity.node_name == "n1"
    with pytest.raises(Unavailable, match="no master to join"):
        await join(["127.0.0.1:9"], token, node_name="n1", machine_id="m1")


def test_a_malformed_token_says_what_to_do() -> None:
    with pytest.raises(BadRequest, match="podium token create"):
        parse_token("nonsense")


def test_what_does_not_speak_tls_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        pinned_ca("127.0.0.1:9", "0" * 64)


async def test_a_session_over_grpc(master: SmallMaster) -> None:
    pod = Pod()
    pod.metadata.namespace, pod.metadata.name, pod.spec.node_name = "ns", "a", "n1"
    master.access.put(pod)
    dialer = GrpcDialer(await master.join("n1"), [master.endpoint])
    node = RecordingNode(dialer, SystemClock())
    async with TaskScope(on_error=lambda name, error: None) as scope:
        _ = scope.start(node.session.run(), name="session")
        await until(lambda: node.names() == {"a"})
        node.report("a", "Running")
        await until(lambda: _phase(master) == "Running")
        await until(lambda: master.access.get(Node, "", "n1"))
    await dialer.close()
    await until(lambda: not master.dispatcher.sessions.connected("n1"))


def _phase(master: SmallMaster) -> str:
    stored = master.access.get(Pod, "ns", "a")
    return stored.status.phase if stored is not None else ""


async def test_a_node_gets_its_next_certificate_for_its_own_name(master: SmallMaster, tmp_path: Path) -> None:
    identity = await master.join("n1")
    dialer = GrpcDialer(identity, [master.endpoint])
    state = StateDirectory(tmp_path / "nodelet")

    async def keep(new: Identity) -> None:
        state.save_identity(new)

    async def join_anew() -> Identity:
        return await master.join("n1")

    renewer = Renewer(identity, dialer=dialer, keep=keep, join=join_anew, clock=SystemClock())
    await renewer.renew()
    kept = state.load_identity()
    assert kept is not None
    assert kept == renewer.identity
    assert kept.key != identity.key
    assert pki.read_certificate(kept.certificate).user == "system:node:n1"
    await dialer.next_master()
    await renewer.renew()  # with the new certificate
    await dialer.close()


async def test_a_certificate_that_has_ended_is_joined_for_anew(master: SmallMaster) -> None:
    clock = VirtualClock(SystemClock().now() + datetime.timedelta(days=365))
    ended = await master.join("n1")
    dialer = GrpcDialer(ended, [master.endpoint])
    kept: list[Identity] = []

    async def keep(new: Identity) -> None:
        kept.append(new)
        scope_end.set()
        await asyncio.Event().wait()

    async def join_anew() -> Identity:
        return await master.join("n1")

    scope_end = asyncio.Event()
    renewer = Renewer(ended, dialer=dialer, keep=keep, join=join_anew, clock=clock)
    async with TaskScope(on_error=lambda name, error: None) as scope:
        _ = scope.start(renewer.run(), name="renewal")
        await asyncio.wait_for(scope_end.wait(), 10)
    assert kept[0].key != ended.key
    await dialer.close()


async def test_a_user_cannot_hold_a_session(master: SmallMaster) -> None:
    key, certificate = master.ca.issue_client("admin", ["system:masters"])
    identity = Identity(node_name="n1", key=key, certificate=certificate, ca=master.ca.bundle)
    dialer = GrpcDialer(identity, [master.endpoint])
    link = await dialer.connect()
    with pytest.raises(LinkClosed, match="PERMISSION_DENIED"):
        await link.receive()
    await dialer.close()


async def test_a_certificate_of_another_cluster_is_refused(master: SmallMaster, tmp_path: Path) -> None:
    other = CertificateAuthority.open(tmp_path / "other", SystemClock())
    key, certificate = other.issue_client("system:node:n1", ["system:nodes"])
    dialer = GrpcDialer(
        Identity(node_name="n1", key=key, certificate=certificate, ca=master.ca.bundle), [master.endpoint]
    )
    link = await dialer.connect()
    with pytest.raises(LinkClosed, match="UNAVAILABLE"):
        await link.receive()
    await dialer.close()


def test_state_survives(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    assert state.load_identity() is None
    assert state.machine_id() == StateDirectory(tmp_path / "state").machine_id()
    first = Identity(node_name="n1", key=b"k", certificate=b"c", ca=b"a", endpoints=("m:7443",))
    state.save_identity(first)
    state.save_identity(Identity(node_name="n1", key=b"k2", certificate=b"c2", ca=b"a", endpoints=()))
    kept = state.load_identity()
    assert kept is not None
    assert (kept.key, kept.endpoints) == (b"k2", ())
    assert len(list((tmp_path / "state").glob("identity-*"))) == 1
    assert (tmp_path / "state" / "identity" / "key.pem").stat().st_mode & 0o777 == 0o600
