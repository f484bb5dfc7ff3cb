"""A nodelet that was killed comes back: what changed meanwhile reaches its running pods, whenever exactly it changed.

The nodelet begins with what is on its disk, adopts, and hears from the master, and a change may come before, between or
after each of these. Files are real; containers are hollow and were there before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nodelet.runtime.hollow import HollowRuntime
from nodelet.runtime.protocol import Listing, Mount, PodIdentity
from nodelet.session.dial import GrpcDialer
from nodelet.state.assignments import AssignmentFiles
from nodelet.state.keeper import AssignmentKeeper
from nodelet.state.secrets import SecretFile
from nodelet.volumes.protocol import PodVolumes
from podium.codec.json import object_from_dict
from podium.objects.references import Objects
from podium.v1.core_pb2 import ConfigMap, Container, Pod
from podium.v1.node_session_pb2 import Assignments, Hello, NodeMessage
from tests.support.cluster import ADMIN, HollowCluster, HollowMember, hollow_cluster
from tests.support.configuration import config_map
from tests.support.host_volumes import host_volumes
from tests.support.plain_mounts import PlainMounts
from tests.support.waiting import until


class Gate:
    """Something that a test holds back: `reached` when it is asked for, and done once `opened`."""

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def pass_through(self) -> None:
        self.reached.set()
        await self.opened.wait()


class GatedVolumes:
    """A host's volumes whose first setting up waits at a gate."""

    def __init__(self, real: PodVolumes, gate: Gate) -> None:
        self._real, self._gate = real, gate

    def holds(self, uid: str) -> bool:
        return self._real.holds(uid)

    async def set_up(self, pod: Pod, objects: Objects) -> None:
        await self._gate.pass_through()
        await self._real.set_up(pod, objects)

    async def mounts(self, pod: Pod, container: Container) -> tuple[Mount, ...]:
        return await self._real.mounts(pod, container)

    async def tear_down(self, pod: PodIdentity) -> None:
        await self._real.tear_down(pod)

    async def retain(self, pods: Any) -> None:
        await self._real.retain(pods)


@dataclass
class Host:
    """One node with a pod that shows a ConfigMap, and what is on its disk."""

    cluster: HollowCluster
    member: HollowMember
    folder: Path
    kept: AssignmentFiles
    uid: str

    def volumes(self) -> PodVolumes:
        """As a nodelet that starts finds them."""
        return host_volumes(self.folder / "volumes")

    def shows(self) -> str:
        return (self.folder / "volumes" / self.uid / "files" / "k").read_text()

    async def change(self, value: str) -> None:
        def edit(stored: ConfigMap) -> None:
            stored.data["k"] = value

        await self.cluster.writer.mutate(ConfigMap, "default", "c", edit, by=ADMIN)

    def start(self, volumes: PodVolumes, *, runtime: HollowRuntime | None = None) -> HollowMember:
        """A new nodelet, with what the last one kept."""
        kept = self.kept.load()
        assert kept is not None
        assert [pod.metadata.uid for pod in kept.pods] == [self.uid]
        assert [obj.data["k"] for obj in kept.config_maps] == ["1"]
        return self.cluster.start_again(self.member, kept, volumes=volumes, runtime=runtime)

    async def has(self, value: str) -> None:
        await until(lambda: self.shows() == value, what=f"the file still says {self.shows()}")
        (pod,) = self.cluster.pods()
        assert pod.metadata.uid == self.uid
        assert pod.status.container_statuses[0].restart_count == 0


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    folder = tmp_path / "node1"
    async with hollow_cluster(tmp_path) as cluster:
        folder.mkdir()
        files = AssignmentFiles(folder, SecretFile(folder, PlainMounts()))
        keeper = AssignmentKeeper(files, cluster.clock)
        member = await cluster.add_node("node1", volumes=host_volumes(folder / "volumes"), store=keeper)
        await until(lambda: cluster.ready_nodes() == ["node1"])
        await cluster.writer.create(config_map("c", {"k": "1"}, namespace="default"), by=ADMIN)
        await cluster.writer.create(_pod(), by=ADMIN)
        await until(lambda: cluster.pods(phase="Running"))
        await keeper.flush()
        made = Host(cluster, member, folder, files, cluster.pods()[0].metadata.uid)
        assert made.shows() == "1"
        yield made


def _pod() -> Pod:
    body = {"name": "app", "image": "app:1", "volumeMounts": [{"name": "files", "mountPath": "/etc/app"}]}
    spec = {
        "nodeName": "node1",
        "containers": [body],
        "volumes": [{"name": "files", "configMap": {"name": "c"}}],
    }
    made: Pod = object_from_dict(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": spec}
    )
    return made


async def test_a_change_while_it_was_down(host: Host) -> None:
    await host.member.kill()
    await host.change("2")
    host.start(host.volumes())
    await host.has("2")


async def test_assignments_that_were_written_down_before_the_pod_came(host: Host) -> None:
    await host.member.kill()
    await host.change("2")
    member = host.cluster.start_again(
        host.member, Assignments(snapshot=True, results_in=1), volumes=host.volumes(), runtime=host.member.runtime
    )
    await until(lambda: member.node.session.connected)
    await host.has("2")


class SlowRuntime(HollowRuntime):
    """The containers of another runtime, whose first listing waits at a gate."""

    def __init__(self, before: HollowRuntime, gate: Gate) -> None:
        super().__init__(before.settings, name="node1")
        self._sandboxes, self._containers = before._sandboxes, before._containers
        self._images, self._gate = before._images, gate

    async def listing(self) -> Listing:
        await self._gate.pass_through()
        return await super().listing()


async def test_the_masters_news_before_the_runtimes_first_listing(host: Host) -> None:
    await host.member.kill()
    await host.change("2")
    gate = Gate()
    member = host.start(host.volumes(), runtime=SlowRuntime(host.member.runtime, gate))
    await gate.reached.wait()
    await until(lambda: _told(member) == "2", what="the master's snapshot")
    await host.change("3")
    await until(lambda: _told(member) == "3", what="the master's delta")
    assert host.shows() == "1"
    gate.opened.set()
    await host.has("3")


def _told(member: HollowMember) -> str:
    found = [obj.data["k"] for obj in member.node.session.desired.objects.values()]
    return found[0] if found else ""


async def test_a_change_while_the_volumes_are_set_up_as_they_were_kept(host: Host) -> None:
    await host.member.kill()
    gate = Gate()
    member = host.start(GatedVolumes(host.volumes(), gate))
    await gate.reached.wait()
    await until(lambda: member.node.session.connected)
    await host.change("2")
    await until(lambda: _told(member) == "2", what="the master's news")
    gate.opened.set()
    await host.has("2")


async def test_two_changes_while_the_volumes_are_set_up_as_they_were_kept(host: Host) -> None:
    await host.member.kill()
    gate = Gate()
    member = host.start(GatedVolumes(host.volumes(), gate))
    await asyncio.gather(gate.reached.wait(), host.change("2"))
    await until(lambda: _told(member) == "2", what="the master's news")
    await host.change("3")
    gate.opened.set()
    await host.has("3")


async def test_an_old_session_that_ends_after_the_new_one_has_begun(host: Host) -> None:
    await host.member.kill()
    # What the master takes for the old nodelet: it never reads what it is told, and goes late.
    old = GrpcDialer(host.member.identity, host.cluster.master.endpoints)
    link = await old.connect()
    await link.send(NodeMessage(hello=Hello(machine_id="hollow-node1", status=(await _status(host.member)))))
    welcome = await link.receive()
    assert welcome is not None
    assert welcome.HasField("welcome")
    await host.change("2")
    member = host.start(host.volumes())
    await until(lambda: member.node.session.connected)
    await host.change("3")
    await link.close()
    await old.close()
    await host.change("4")
    await host.has("4")


async def _status(member: HollowMember) -> Any:
    return (await member.node.hello()).status
