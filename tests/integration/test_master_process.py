"""The whole master: started by its command line, asked by its client, stopped, killed, started again, restored."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import pytest

from master.restore import restore
from podium import pki
from podium.aio.clock import SystemClock
from podium.client import AsyncClient
from podium.client.config import Context
from podium.errors import Forbidden, NotFound, PodiumError
from podium.v1.core_pb2 import Namespace, Secret
from tests.support.master_process import MasterProcess

T = TypeVar("T")

CREATES = 1000
IN_FLIGHT = 64


@pytest.fixture
async def master(tmp_path: Path) -> AsyncIterator[MasterProcess]:
    process = MasterProcess(tmp_path / "data")
    await process.start()
    yield process
    await process.end(signal.SIGKILL)


def secret(name: str) -> Secret:
    made = Secret(type="Opaque")
    made.metadata.name = name
    made.metadata.namespace = "default"
    return made


async def viewer_of(admin: AsyncClient, context: Context) -> AsyncClient:
    key, request = pki.new_request("eve")
    signed = await admin.cluster.sign_client_certificate(request, user="eve", groups=("podium:viewers",))
    return AsyncClient(
        Context(endpoints=context.endpoints, ca=context.ca, certificate=signed.certificate.decode(), key=key.decode())
    )


async def test_a_new_cluster_is_usable_at_once(master: MasterProcess) -> None:
    async with master.client() as client:
        assert [n.metadata.name for n in await client.list(Namespace)] == ["default", "podium-system"]
        assert (await client.cluster.who_am_i()).user == "admin"


async def test_a_viewer_signed_by_the_administrator_reads_all_but_secrets(master: MasterProcess) -> None:
    async with master.client() as admin:
        await admin.create(secret("hidden"))
        async with await viewer_of(admin, master.context()) as viewer:
            assert await viewer.list(Namespace)
            with pytest.raises(Forbidden, match=r'user "eve".*cannot list Secret.*needs group system:masters'):
                await viewer.list(Secret)
            with pytest.raises(Forbidden):
                await viewer.get(Secret, "hidden")
            with pytest.raises(Forbidden):
                await viewer.delete(Namespace, "default")


async def test_a_second_master_on_the_same_folder_is_refused(master: MasterProcess) -> None:
    second = await asyncio.create_subprocess_exec(*master.arguments, stderr=asyncio.subprocess.PIPE)
    _, told = await asyncio.wait_for(second.communicate(), 20)
    assert second.returncode == 1
    assert f"{master.folder} is in use by process" in told.decode()


async def test_a_taken_port_is_named(master: MasterProcess, tmp_path: Path) -> None:
    other = MasterProcess(tmp_path / "other")
    other.api = master.api
    second = await asyncio.create_subprocess_exec(*other.arguments, stderr=asyncio.subprocess.PIPE)
    _, told = await asyncio.wait_for(second.communicate(), 20)
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{master.api}" in told.decode()


async def test_sigterm_ends_it_cleanly_and_it_comes_back_the_same(master: MasterProcess) -> None:
    async with master.client() as client:
        before = await client.cluster.info()
        await client.create(secret("kept"))
    assert await master.end() == 0
    await master.start()
    async with master.client() as client:
        after = await client.cluster.info()
        assert (await client.get(Secret, "kept")).metadata.name == "kept"
    assert after.cluster_id == before.cluster_id
    assert int(after.resource_version) > int(before.resource_version)


async def test_killed_in_the_middle_of_creates_it_has_lost_none_that_it_acknowledged(master: MasterProcess) -> None:
    acknowledged: set[str] = set()
    names = iter(f"s-{number}" for number in range(CREATES))
    half = asyncio.Event()

    async def create(client: AsyncClient) -> None:
        for name in names:
            try:
                await client.create(secret(name))
            except PodiumError:
                return  # the master is dead; whether this one was written nobody was told
            acknowledged.add(name)
            if len(acknowledged) >= CREATES // 2:
                half.set()

    async def kill() -> None:
        await half.wait()
        await master.end(signal.SIGKILL)

    async with master.client() as client, asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(kill())
        for _ in range(IN_FLIGHT):
            group.create_task(create(client))
    await master.start()
    async with master.client() as client:
        stored = {s.metadata.name for s in await client.list(Secret, namespace="default")}
    assert len(acknowledged) >= CREATES // 2
    assert acknowledged <= stored


async def test_a_backup_restores_what_was_there_then(master: MasterProcess, tmp_path: Path) -> None:
    async with master.client() as client:
        await client.create(secret("before"))
        backup = b"".join([chunk async for chunk in client.cluster.backup()])
        await client.create(secret("after"))
    await master.end()
    (tmp_path / "backup").write_bytes(backup)
    await restore(tmp_path / "backup", master.folder, now=SystemClock().now(), force=True)
    await master.start()
    async with master.client() as client:
        assert (await client.get(Secret, "before")).metadata.name == "before"
        with pytest.raises(NotFound):
            await client.get(Secret, "after")


async def test_a_backup_is_a_whole_master_elsewhere(master: MasterProcess, tmp_path: Path) -> None:
    """Its CA, its keys, its revisions: clients of before go on, and learn that what they saw since never was."""
    async with master.client() as client:
        await client.create(secret("before"))
        token = await client.cluster.create_token(ttl_seconds=600)
        await _run(master, "backup", str(tmp_path / "backup"))
        after = await client.create(secret("after"))
    context = master.context()
    await master.end(signal.SIGKILL)

    elsewhere = MasterProcess(tmp_path / "elsewhere")
    await _run(elsewhere, "restore", str(tmp_path / "backup"))
    await elsewhere.start()
    try:
        endpoint = f"127.0.0.1:{elsewhere.api}"
        async with AsyncClient(dataclasses.replace(context, endpoints=(endpoint,))) as client:
            assert (await client.get(Secret, "before")).type == "Opaque"
            assert token.id not in {t.id for t in await client.cluster.list_tokens()}, "it could have been revoked"
            with pytest.raises(NotFound):
                await client.get(Secret, "after")
            seen = after.metadata.resource_version
            assert int((await client.create(secret("later"))).metadata.resource_version) > int(seen)
            async with asyncio.timeout(10):
                changes = client.watch(Secret, namespace="default", resource_version=seen, known=[after])
                told = {change.object.metadata.name: change.type async for change in _some(changes, 3)}
        assert told == {"before": "ADDED", "later": "ADDED", "after": "DELETED"}
    finally:
        await elsewhere.end()


async def _some(changes: AsyncIterator[T], count: int) -> AsyncIterator[T]:
    async for change in changes:
        yield change
        if (count := count - 1) == 0:
            return


async def _run(master: MasterProcess, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "master", *arguments, "--data-dir", str(master.folder)
    )
    assert await asyncio.wait_for(process.wait(), 30) == 0
