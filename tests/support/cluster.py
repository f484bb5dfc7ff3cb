"""A whole cluster in this process: the real master (SQLite, gRPC, mTLS), and hollow nodes: real but for the containers.

async with hollow_cluster(tmp_path, nodes=3) as cluster:
    await cluster.writer.create(deployment, by=ADMIN)
    await until(lambda: len(cluster.pods(phase="Running")) == 3)
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from master import app
from master.access.protocol import Reader, Writer, component
from master.autoscaler.provision import Provisioner
from master.bootstrap import ADMIN
from master.settings import MasterSettings
from nodelet.hollow import HollowSize, hollow_node
from nodelet.node import Node
from nodelet.runtime.hollow import HollowRuntime, HollowSettings
from nodelet.session.dial import GrpcDialer
from nodelet.session.join import join, parse_token
from nodelet.session.session import AssignmentStore, SessionTimes
from nodelet.settings import parse_taint
from nodelet.state.identity import Identity
from nodelet.volumes.protocol import PodVolumes
from podium import tls
from podium.aio.clock import SystemClock
from podium.aio.tasks import TaskScope, cancel_and_wait
from podium.client.config import load
from podium.objects.conditions import is_true
from podium.objects.taints import NOT_READY
from podium.v1.core_pb2 import Node as NodeObject
from podium.v1.core_pb2 import Pod
from podium.v1.node_session_pb2 import Assignments
from tests.support.waiting import until

__all__ = ["ADMIN", "HollowCluster", "HollowMember", "hollow_cluster"]


@dataclass(slots=True)
class HollowMember:
    """One hollow node. `task` is its life: cancel it and the node is dead."""

    name: str
    node: Node
    runtime: HollowRuntime
    dialer: GrpcDialer
    task: asyncio.Task[None]
    identity: Identity

    async def kill(self) -> None:
        """The host loses power: nothing is said any more."""
        await cancel_and_wait(self.task)
        await self.dialer.close()


@dataclass(slots=True)
class HollowCluster:
    """A running cluster."""

    directory: Path
    settings: MasterSettings
    scope: TaskScope
    clock: SystemClock
    master: app.Master
    provisioner: Provisioner | None = None
    members: dict[str, HollowMember] = field(default_factory=dict)
    _master_stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def reader(self) -> Reader:
        return self.master.ground.reader

    @property
    def writer(self) -> Writer:
        return self.master.ground.writer

    def pods(self, *, node: str = "", phase: str = "", namespace: str = "default") -> list[Pod]:
        """Pods of a namespace, on a node, in a phase."""
        pods = self.reader.list(Pod, namespace)
        return [p for p in pods if node in ("", p.spec.node_name) and phase in ("", p.status.phase)]

    def ready_nodes(self) -> list[str]:
        """Names of the nodes whose condition Ready is True, and that have lost the taint of those that are not."""
        return [
            node.metadata.name
            for node in self.reader.list(NodeObject)
            if is_true(node.status.conditions, "Ready") and all(taint.key != NOT_READY for taint in node.spec.taints)
        ]

    async def add_node(
        self,
        name: str,
        *,
        size: HollowSize | None = None,
        behaviours: HollowSettings | None = None,
        volumes: PodVolumes | None = None,
        store: AssignmentStore | None = None,
        token: str = "",
        labels: Mapping[str, str] | None = None,
        taints: Sequence[str] = (),
    ) -> HollowMember:
        """Join a hollow node and start it; volumes are hollow, too, unless given; without a store it keeps nothing."""
        token = token or (await self.master.ground.tokens.create(by=component("test"))).text
        endpoint = f"127.0.0.1:{self.master.join.ports[0]}"
        identity = await join([endpoint], parse_token(token), node_name=name, machine_id=f"hollow-{name}")
        node, runtime, dialer = hollow_node(
            identity,
            self.master.endpoints,
            clock=self.clock,
            size=size,
            behaviours=behaviours,
            times=SessionTimes(status=1.0, usage=1.0),
            volumes=volumes,
            store=store,
            labels=labels,
            taints=[parse_taint(text) for text in taints],
        )
        task = self.scope.start(node.run(), name=f"node {name}")
        member = self.members[name] = HollowMember(name, node, runtime, dialer, task, identity)
        return member

    def start_again(
        self,
        before: HollowMember,
        assignments: Assignments | None,
        *,
        volumes: PodVolumes,
        runtime: HollowRuntime | None = None,
    ) -> HollowMember:
        """A new nodelet on the host of one that was killed: its containers are there, and what it had kept."""
        node, runtime, dialer = hollow_node(
            before.identity,
            self.master.endpoints,
            clock=self.clock,
            times=SessionTimes(status=1.0, usage=1.0),
            volumes=volumes,
            runtime=runtime or before.runtime,
        )
        node.restore(assignments)
        task = self.scope.start(node.run(), name=f"node {before.name}, again")
        member = self.members[before.name] = HollowMember(before.name, node, runtime, dialer, task, before.identity)
        return member

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[grpc.aio.Channel]:
        """The administrator's channel."""
        context = load(self.master.admin_config).context()
        files = tls.TlsFiles(ca=context.ca.encode(), certificate=context.certificate.encode(), key=context.key.encode())
        credentials, options = tls.channel_credentials(files), tls.channel_options()
        async with grpc.aio.secure_channel(self.master.endpoints[0], credentials, options=options) as channel:
            yield channel

    async def stop_master(self) -> None:
        """Stop it in good order; its ports stay its own."""
        await self._master_stack.aclose()

    async def start_master(self) -> None:
        """Start it again on the same folder and ports."""
        running = app.running(self.settings, clock=self.clock, provisioner=self.provisioner)
        self.master = await self._master_stack.enter_async_context(running)


def master_settings(directory: Path, *, api_port: int = 0, join_port: int = 0) -> MasterSettings:
    """Settings of a master on this host only."""
    return MasterSettings(
        data_dir=directory,
        listen=(f"127.0.0.1:{api_port}",),
        join_listen=(f"127.0.0.1:{join_port}",),
        http_listen="",
        stop_grace=0.0,
    )


@asynccontextmanager
async def hollow_cluster(
    directory: Path,
    *,
    nodes: int | Sequence[str] = 0,
    size: HollowSize | None = None,
    provisioner: Provisioner | None = None,
    **changes: Any,
) -> AsyncIterator[HollowCluster]:
    """A running cluster with as many ready nodes (`node1`, `node2`, … or as named); `changes` are of its settings."""
    clock, stack = SystemClock(), AsyncExitStack()
    names = [f"node{i + 1}" for i in range(nodes)] if isinstance(nodes, int) else nodes
    async with stack, TaskScope(on_error=_fail) as scope:
        settings = dataclasses.replace(master_settings(directory / "master"), **changes)
        master = await stack.enter_async_context(app.running(settings, clock=clock, provisioner=provisioner))
        fixed = master_settings(directory / "master", api_port=master.api.ports[0], join_port=master.join.ports[0])
        settings = dataclasses.replace(fixed, **changes)
        cluster = HollowCluster(directory, settings, scope, clock, master, provisioner, _master_stack=stack)
        for name in names:
            await cluster.add_node(name, size=size)
        await until(lambda: set(names) <= set(cluster.ready_nodes()), what="the nodes did not become ready")
        try:
            yield cluster
        finally:
            for member in cluster.members.values():
                await member.kill()


def _fail(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name} failed") from error
