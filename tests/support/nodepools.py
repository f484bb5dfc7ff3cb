"""Node pools as tests need them; and a provisioner that is a script, whose hosts are hollow nodes of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from master.autoscaler.provision import ProvisionFailed, Target
from nodelet.hollow import HollowSize
from podium.objects.nodepool import KNOWN_HOSTS, SSH_KEY
from podium.v1.core_pb2 import Secret, Taint
from podium.v1.nodepool_pb2 import NodePool

CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "110"}
SIZE = HollowSize(cpu="4", memory="8Gi", pods=110)


def node_pool(
    name: str = "pool",
    *,
    hosts: int | Sequence[str] = 3,
    least: int = 0,
    most: int | None = None,
    idle: int = 600,
    percent: int = 50,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Taint] = (),
) -> NodePool:
    """A pool of hosts `NAME-0`, `NAME-1`, … or as named, complete as it is stored."""
    pool = NodePool()
    pool.metadata.name, pool.metadata.uid, pool.metadata.generation = name, f"uid-{name}", 1
    names = [f"{name}-{i}" for i in range(hosts)] if isinstance(hosts, int) else hosts
    for host in names:
        pool.spec.hosts.add(name=host, address=f"{host}.test", port=22, user="root")
    ref = pool.spec.credentials.secret_ref
    ref.name, ref.namespace = "ssh", "podium-system"
    pool.spec.capacity.update(CAPACITY)
    pool.spec.labels.update(labels or {})
    pool.spec.taints.extend(taints)
    pool.spec.min = least
    if most is not None:
        pool.spec.max = most
    pool.spec.provision_timeout_seconds = 60
    pool.spec.scale_down.idle_seconds, pool.spec.scale_down.utilization_percent = idle, percent
    return pool


def credentials() -> Secret:
    """What `node_pool` refers to."""
    secret = Secret(type="Opaque")
    secret.metadata.namespace, secret.metadata.name = "podium-system", "ssh"
    secret.data[SSH_KEY], secret.data[KNOWN_HOSTS] = b"a private key", b"a host's key"
    return secret


@dataclass
class ScriptedProvisioner:
    """Makes hollow nodes of hosts. `cluster` is the test's HollowCluster, set once that is there.

    Attributes:
        broken: Hosts that cannot be set up, with what is said of it.
        slow: Hosts whose setting up waits until they are removed from here.
        joined, released: Targets, in order.
        active: What is being done now; doing anything twice at once fails the test.
    """

    cluster: Any = None
    broken: dict[str, str] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)
    joined: list[Target] = field(default_factory=list)
    released: list[Target] = field(default_factory=list)
    active: set[str] = field(default_factory=set)
    tokens: list[str] = field(default_factory=list)
    on_release: Callable[[str], None] = lambda name: None
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def join(self, target: Target, token: str) -> None:
        async with self._alone(target.name):
            self.joined.append(target)
            self.tokens.append(token)
            while target.name in self.slow:
                await self.moved.wait()
            if target.name in self.broken:
                raise ProvisionFailed(self.broken[target.name])
            if target.name not in self.cluster.members:
                await self.cluster.add_node(
                    target.name, size=SIZE, token=token, labels=target.labels, taints=target.taints
                )

    async def release(self, target: Target) -> None:
        async with self._alone(target.name):
            self.on_release(target.name)
            if target.name in self.broken:
                raise ProvisionFailed(self.broken[target.name])
            if (member := self.cluster.members.pop(target.name, None)) is not None:
                await member.kill()
            self.released.append(target)

    def go_on(self, host: str) -> None:
        """What was slow is not any more."""
        self.slow.discard(host)
        self.moved.set()
        self.moved = asyncio.Event()

    def _alone(self, host: str) -> _Alone:
        return _Alone(self.active, host)


class _Alone:
    """A host that is being worked on, by nobody else."""

    def __init__(self, active: set[str], host: str) -> None:
        self._active, self._host = active, host

    async def __aenter__(self) -> None:
        assert self._host not in self._active, f"{self._host} is set up twice at once"
        self._active.add(self._host)

    async def __aexit__(self, *exc: object) -> None:
        self._active.discard(self._host)
