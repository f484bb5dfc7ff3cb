"""A host whose disk fills up: images that nobody uses go first, then pods by what they take, and no more than must."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from nodelet.pods.evict import Evictor, PodUse, Resource, Signal
from nodelet.pods.images import Disk
from nodelet.runtime.protocol import ImageRecord, RuntimeFault
from podium.v1.core_pb2 import Pod
from tests.support.clock import VirtualClock
from tests.support.kept_pods import Node, container, kept, make_pod
from tests.support.scripted_runtime import ScriptedRuntime

MI = 1 << 20
YOUNG = 130.0
"""Seconds after which an image that was there when the nodelet started may go."""


class ScriptedDisk:
    """A disk that holds what the runtime has: images, what containers wrote (`layers`, by pod) for as long as they are
    there, and volumes (`volumes`, by pod) until they are taken down. Only their sum is scripted."""

    def __init__(self, total: int) -> None:
        self.total = total * MI
        self.layers: dict[str, int] = {}
        self.volumes: dict[str, int] = {}
        self.inodes = Signal(available=1000, total=1000)
        self.clock = VirtualClock()
        self.runtime = ScriptedRuntime(self.clock)
        self.node = Node(self.clock, self.runtime, disk=self.disk)
        self.evictor = Evictor(
            manager=self.node.manager, signals=self.signals, uses=self.uses, measure=self.measure, clock=self.clock
        )

    def image(self, name: str, size: int) -> None:
        self.runtime.images[name] = ImageRecord(id=f"sha256:{name}", names=[name], size_bytes=size * MI)

    def written(self, uid: str) -> int:
        here = any(record.pod.uid == uid for record in self.runtime.containers.values())
        return self.layers.get(uid, 0) * MI if here else 0

    async def measure(self, uid: str, volume: str) -> int:
        return self.volumes.get(uid, 0) * MI if uid in self.node.volumes.held else 0

    async def disk(self) -> Disk:
        used = sum(image.size_bytes for image in self.runtime.images.values())
        used += sum(map(self.written, self.layers))
        used += sum([await self.measure(uid, "data") for uid in self.volumes])
        return Disk(total=self.total, used=used)

    async def signals(self) -> Mapping[Resource, Signal]:
        left = self.total - (await self.disk()).used
        return {Resource.DISK: Signal(available=left, total=self.total), Resource.INODES: self.inodes}

    async def uses(self) -> Mapping[str, PodUse]:
        return {uid: PodUse(disk=self.written(uid)) for uid in self.layers}

    async def look(self, times: int = 1) -> None:
        """Looks as far apart as the evictor's own."""
        for _ in range(times):
            await self.evictor.look()
            await self.clock.advance(5)

    def phases(self) -> dict[str, str]:
        return {uid: status.phase for uid, status in self.node.statuses.items()}

    def removed_images(self) -> list[str]:
        return [call.partition(" ")[2] for call in self.runtime.calls if call.startswith("remove_image")]


def using(uid: str, *, volume: bool = False, priority: int = 0) -> Pod:
    pod = make_pod(container(), uid=uid)
    pod.spec.priority = priority
    if volume:
        pod.spec.volumes.add(name="data").empty_dir.SetInParent()
    return pod


@asynccontextmanager
async def a_disk(total: int = 1000) -> AsyncIterator[ScriptedDisk]:
    """A node whose disk is that large, in MiB, with an image that its pods use."""
    disk = ScriptedDisk(total)
    disk.image("app:1", 100)
    async with kept(disk.node):
        yield disk


async def test_unused_images_go_first_and_nobody_is_evicted_if_that_is_enough() -> None:
    async with a_disk() as disk:
        disk.image("old:1", 300)
        disk.image("old:2", 50)
        disk.layers = {"a": 100, "b": 200}
        await disk.node.assign(using("a"), using("b"))
        await disk.clock.advance(YOUNG)
        await disk.look(3)
        assert not disk.evictor.conditions
        assert disk.removed_images() == []
        disk.layers["a"] = 320  # 30 left of 1000, where 100 must be
        await disk.look(3)
        assert sorted(disk.removed_images()) == ["sha256:old:1", "sha256:old:2"]
        assert disk.phases() == {"a": "Running", "b": "Running"}
        assert disk.evictor.conditions == {"DiskPressure"}
        await disk.look(12)
        assert disk.evictor.conditions == set(), "it heals"


async def test_then_the_pod_that_takes_most_goes_with_all_it_wrote_and_no_other() -> None:
    async with a_disk() as disk:
        disk.layers = {"a": 50, "b": 500}
        disk.volumes = {"c": 280}
        await disk.node.assign(using("a"), using("b"), using("c", volume=True))
        await disk.clock.advance(YOUNG)
        await disk.look(6)
        assert disk.phases() == {"a": "Running", "b": "Failed", "c": "Running"}
        assert disk.removed_images() == [], "its image is in use"
        status = disk.node.status("b")
        assert status.reason == "Evicted"
        assert status.message == (
            "The node was low on resource: ephemeral-storage. Threshold quantity: 100Mi, available: 70Mi. "
            "The pod was using 500Mi, its request is 0."
        )
        assert [reason for reason, _ in disk.node.events].count("Evicted") == 1
        assert not any(record.pod.uid == "b" for record in disk.runtime.containers.values())
        assert disk.node.of("app", "b").state.terminated.exit_code == 137, "what was said of it stays"
        await disk.look(12)
        assert disk.evictor.conditions == set(), "it heals"


async def test_what_is_in_a_volume_counts() -> None:
    async with a_disk() as disk:
        disk.layers, disk.volumes = {"a": 300}, {"b": 540}
        await disk.node.assign(using("a"), using("b", volume=True))
        await disk.look(6)
        assert disk.phases() == {"a": "Running", "b": "Failed"}
        assert "was using 540Mi" in disk.node.status("b").message
        assert disk.node.volumes.held == set()


async def test_one_pod_after_the_other_until_there_is_room_lower_priority_first() -> None:
    async with a_disk() as disk:
        disk.layers = {"a": 100, "b": 100, "c": 650}
        await disk.node.assign(using("a"), using("b", priority=10), using("c", priority=20))
        await disk.look(6)
        assert disk.phases() == {"a": "Failed", "b": "Running", "c": "Running"}
        disk.layers["c"] = 730
        await disk.look(6)
        assert disk.phases() == {"a": "Failed", "b": "Failed", "c": "Running"}


async def test_nobody_else_goes_while_the_last_one_is_still_being_taken_away() -> None:
    async with a_disk() as disk:
        disk.layers = {"a": 300, "b": 590}
        await disk.node.assign(using("a"), using("b"))
        busy = RuntimeFault("ContainerRemoveError", "device or resource busy")
        disk.runtime.faults["remove_container"] = [busy] * 100
        await disk.look(2)
        assert disk.written("b"), "it is still there"
        assert disk.phases() == {"a": "Running", "b": "Failed"}
        disk.runtime.faults.clear()
        await disk.look(3)
        await disk.clock.advance(60)
        await disk.look(3)
        assert not disk.written("b")
        assert disk.phases() == {"a": "Running", "b": "Failed"}


async def test_a_lack_of_inodes_takes_every_unused_image_however_full_the_disk_is() -> None:
    async with a_disk() as disk:
        disk.image("old:1", 10)
        await disk.node.assign(using("a"))
        await disk.clock.advance(YOUNG)
        disk.inodes = Signal(available=20, total=1000)
        await disk.look()
        assert disk.removed_images() == ["sha256:old:1"]
        assert disk.evictor.conditions == {"DiskPressure"}
        assert disk.phases() == {"a": "Running"}


async def test_an_image_that_has_just_come_stays() -> None:
    async with a_disk() as disk:
        await disk.clock.advance(YOUNG)
        disk.layers = {"a": 790}
        await disk.node.assign(using("a"))
        disk.image("new:1", 50)
        await disk.look()
        assert disk.removed_images() == []
        assert disk.phases() == {"a": "Failed"}


@pytest.mark.parametrize("fault", [None, RuntimeFault("ImageListError", "no space left on device")])
async def test_an_engine_that_does_not_list_images_ends_no_watch(fault: RuntimeFault | None) -> None:
    async with a_disk() as disk:
        disk.image("old:1", 300)
        await disk.node.assign(using("a"))
        await disk.clock.advance(YOUNG)
        disk.layers = {"a": 550}
        if fault is not None:
            disk.runtime.faults["list_images"] = [fault]
        else:
            disk.runtime.down = True
        await disk.evictor.look()
        assert disk.removed_images() == []
        assert disk.evictor.conditions == {"DiskPressure"}
        if fault is None:
            disk.runtime.down = False
            await disk.look(3)
            assert disk.removed_images() == ["sha256:old:1"]
            assert "Evicted" not in [reason for reason, _ in disk.node.events], "nobody goes for what could be removed"
