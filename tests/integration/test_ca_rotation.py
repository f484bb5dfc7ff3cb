"""The CA is replaced while a node and an administrator go on, over real TLS; each step starts the master anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from master.app import Master
from master.auth import rotation
from master.bootstrap import ADMIN
from master.settings import PKI_FOLDER
from nodelet.session.dial import GrpcDialer
from nodelet.session.join import join, parse_token
from nodelet.session.renewal import Renewer
from nodelet.state.identity import Identity
from podium import pki
from podium.aio.clock import SystemClock
from podium.aio.tasks import TaskScope
from podium.client import AsyncClient
from podium.client.config import load
from podium.errors import PodiumError
from podium.v1.core_pb2 import Namespace, Node
from tests.support.master import running_master
from tests.support.master_process import free_port
from tests.support.nodes import RecordingNode
from tests.support.waiting import until

CLOCK = SystemClock()


@asynccontextmanager
async def running_node(identity: Identity, endpoint: str) -> AsyncIterator[Renewer]:
    """A node's session and its renewal."""

    async def keep(renewed: Identity) -> None:
        del renewed  # a nodelet's disk is not what this is about

    async def join_anew() -> Identity:
        raise AssertionError("its certificate has not ended")

    dialer = GrpcDialer(identity, [endpoint])
    node = RecordingNode(dialer, CLOCK)
    renewer = Renewer(identity, dialer=dialer, keep=keep, join=join_anew, clock=CLOCK)
    node.session.trust, renewer.renewed = renewer, node.session.begin_anew
    async with TaskScope(on_error=lambda name, error: None) as scope:
        _ = scope.start(node.session.run(), name="session")
        _ = scope.start(renewer.run(), name="renewal")
        yield renewer
    await dialer.close()


def follows(master: Master, renewer: Renewer) -> Callable[[], bool]:
    """Whether the node trusts what the master trusts, and the master knows."""

    def look() -> bool:
        node = master.ground.reader.get(Node, "", "n1")
        said = node.metadata.annotations.get("podium.dev/trust", "") if node is not None else ""
        return renewer.digest == said == master.ground.ca.digest

    return look


@pytest.mark.timeout(90)
async def test_nodes_and_people_follow_while_the_ca_is_replaced(tmp_path: Path) -> None:
    api, folder = free_port(), tmp_path / "data"
    settings = {"listen": (f"127.0.0.1:{api}",), "advertise": (f"127.0.0.1:{api}",)}
    endpoint = f"127.0.0.1:{api}"
    async with running_master(folder, **settings) as master:
        made = await master.ground.tokens.create(by=ADMIN)
        identity = await join(
            [f"127.0.0.1:{master.join.ports[0]}"], parse_token(made.text), node_name="n1", machine_id="m1"
        )
        first = load(master.admin_config).context()
    async with running_node(identity, endpoint) as renewer:
        for step in (lambda f: rotation.add(f, CLOCK.now()), rotation.reissue, rotation.drop):
            before = load(folder / "admin.yaml").context()
            await asyncio.to_thread(step, folder / PKI_FOLDER)
            async with running_master(folder, **settings) as master:
                await until(follows(master, renewer), seconds=30)
                if step is not rotation.drop:  # what people had before the step opens after it
                    async with AsyncClient(before) as client:
                        assert await client.list(Namespace)
                signs = pki.read_certificate(master.ground.ca.certificate_pem).user
                assert pki.read_certificate(renewer.identity.certificate).issuer == signs
        assert (
            pki.read_certificate(identity.certificate).issuer
            != pki.read_certificate(renewer.identity.certificate).issuer
        )
    async with running_master(folder, **settings) as master:
        async with AsyncClient(load(master.admin_config).context()) as client:
            assert await client.list(Namespace)
        async with AsyncClient(first, timeout=3) as client:
            with pytest.raises(PodiumError):
                await client.list(Namespace)
