"""What tests of the command start from: a cluster with lively hollow nodes, and a namespace for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from podium.v1.core_pb2 import Namespace, Pod
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.command import Podium
from tests.support.lively import BEHAVIOURS, Lively
from tests.support.waiting import until

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: IMAGE
        ports: [{containerPort: 80}]
        env: [{name: LEVEL, value: info}]
"""


def web(*, image: str = "lines:1", replicas: int = 2) -> str:
    """A manifest of deployment `web`."""
    return WEB.replace("IMAGE", image).replace("replicas: 2", f"replicas: {replicas}")


@dataclass(slots=True)
class World:
    """The cluster, what its hosts' containers gained, and commands for it."""

    cluster: HollowCluster
    folder: Path
    hosts: dict[str, Lively] = field(default_factory=dict)
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def podium(self) -> Podium:
        """Commands in a namespace of their own."""
        name = f"test-{next(self._serial)}"
        made = Namespace()
        made.metadata.name = name
        await self.cluster.writer.create(made, by=ADMIN)
        folder = self.folder / name
        folder.mkdir()
        return Podium(config=self.cluster.master.admin_config, folder=folder, namespace=name)

    def pods(self, podium: Podium, *, phase: str = "") -> list[Pod]:
        """The pods of those commands' namespace."""
        return self.cluster.pods(namespace=podium.namespace, phase=phase)

    async def run_web(self, podium: Podium, *, image: str = "lines:1", replicas: int = 2) -> list[Pod]:
        """Deployment `web`, running; its pods."""
        await podium("apply", "-f", "-", stdin=web(image=image, replicas=replicas))
        return await until(lambda: self._ready(podium, replicas), seconds=30)

    def _ready(self, podium: Podium, replicas: int) -> list[Pod]:
        ready = [p for p in self.pods(podium, phase="Running") if all(s.ready for s in p.status.container_statuses)]
        return ready if len(ready) == replicas else []


@asynccontextmanager
async def command_world(folder: Path) -> AsyncIterator[World]:
    """A cluster of three nodes."""
    async with hollow_cluster(folder) as cluster:
        world = World(cluster, folder)
        for name in ("node1", "node2", "node3"):
            member = await cluster.add_node(name, behaviours=BEHAVIOURS)
            world.hosts[name] = Lively(member.runtime)
        await until(lambda: len(cluster.ready_nodes()) == len(world.hosts))
        yield world
