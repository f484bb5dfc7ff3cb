"""A file system that is really full, below a master and below what a nodelet keeps. Needs to be root."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nodelet.state.assignments import PODS, AssignmentFiles
from nodelet.state.keeper import RETRY_SECONDS, AssignmentKeeper
from nodelet.state.secrets import SecretFile
from podium.client import AsyncClient
from podium.errors import Unavailable
from podium.v1.core_pb2 import ConfigMap
from podium.v1.node_session_pb2 import Assignments
from tests.support.clock import VirtualClock
from tests.support.configuration import pod_with
from tests.support.master_process import MasterProcess
from tests.support.plain_mounts import PlainMounts
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="mounting takes root")
KI = 1 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 16 << 20) as made:
        yield made


# ---------------------------------------------------------------- the master


def large(name: str) -> ConfigMap:
    made = ConfigMap(data={"content": name * (50 * KI // len(name))})
    made.metadata.namespace, made.metadata.name = "default", name
    return made


@asynccontextmanager
async def a_master(folder: Path) -> AsyncIterator[MasterProcess]:
    process = MasterProcess(folder)
    await process.start()
    try:
        yield process
    finally:
        await process.end(signal.SIGKILL)


async def fill_by_writes(client: AsyncClient) -> tuple[set[str], Unavailable]:
    """Create until the master refuses; the names of what it acknowledged, and how it refused."""
    acknowledged: set[str] = set()
    for number in range(1000):
        try:
            await client.create(large(f"c{number}"))
        except Unavailable as refused:
            return acknowledged, refused
        acknowledged.add(f"c{number}")
    raise AssertionError("the disk was never full")


async def there(client: AsyncClient) -> set[str]:
    return {found.metadata.name for found in await client.list(ConfigMap)} - {"kube-root-ca.crt"}


async def test_a_master_on_a_full_disk_refuses_writes_reads_on_and_heals_when_there_is_room(disk: SmallDisk) -> None:
    async with a_master(disk.path / "data") as master, master.client() as client:
        await client.create(large("before"))
        disk.fill(leave=256 * KI)
        acknowledged, refused = await fill_by_writes(client)
        acknowledged.add("before")
        assert str(refused).startswith("the store cannot write (database or disk is full)")
        assert "free some disk space" in str(refused)
        assert await there(client) == acknowledged, "it reads on, and shows nothing that it refused"
        with pytest.raises(Unavailable):
            await client.create(large("refused"))
        disk.make_room()
        for name in ("after", "refused"):
            await client.create(large(name))
        await client.delete(ConfigMap, "before")
        acknowledged = acknowledged - {"before"} | {"after", "refused"}
        assert await there(client) == acknowledged
        await master.end(signal.SIGKILL)
        await master.start()
        async with master.client() as again:
            assert await there(again) == acknowledged, "nothing acknowledged was lost, and nothing refused came back"


async def test_a_master_killed_on_a_full_disk_has_lost_nothing(disk: SmallDisk) -> None:
    async with a_master(disk.path / "data") as master:
        async with master.client() as client:
            disk.fill(leave=256 * KI)
            acknowledged, _ = await fill_by_writes(client)
        await master.end(signal.SIGKILL)
        disk.make_room()
        await master.start()
        async with master.client() as client:
            assert await there(client) == acknowledged
            await client.create(large("after"))


# ---------------------------------------------------------------- what a nodelet keeps


def assignments(value: str) -> Assignments:
    made = Assignments(snapshot=True, pods=[pod_with()])
    made.pods[0].metadata.labels["value"] = value
    return made


def kept(disk: SmallDisk) -> str:
    """Read without a lock, as what is replaced in one step can be."""
    found = Assignments.FromString((disk.path / PODS).read_bytes())
    return found.pods[0].metadata.labels["value"]


async def test_assignments_are_kept_as_soon_as_there_is_room_and_the_last_ones_until_then(
    disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    keeper = AssignmentKeeper(AssignmentFiles(disk.path, SecretFile(disk.path, PlainMounts())), clock)
    keeper.keep(lambda: assignments("old"))
    assert await keeper.flush()
    disk.fill()
    keeper.keep(lambda: assignments("lost"))
    running = asyncio.create_task(keeper.run())
    try:
        await until(lambda: "could not save" in caplog.text and clock.sleeping, what="a refused write")
        assert kept(disk) == "old"
        assert not [path.name for path in disk.path.iterdir() if path.name.startswith(".")], "nothing half written"
        keeper.keep(lambda: assignments("newest"))
        disk.make_room()
        await clock.advance(RETRY_SECONDS - 1)
        assert kept(disk) == "old", "it does not try all the time"
        await clock.advance(1)
        await until(lambda: kept(disk) == "newest", what="the newest assignments on the disk")
    finally:
        running.cancel()
        await asyncio.wait([running])
