"""What only a store on a disk can go through: crashes, damage, full disks, other versions, backups."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from master.store import committer
from master.store.database import CRASH_GAP, SCHEMA_VERSION, DatabaseUnusable
from master.store.protocol import ABSENT, Compacted, Put, Remove, Revision
from master.store.sqlite import TAIL_EVENTS, SqliteStore
from podium.errors import Unavailable
from podium.objects.kinds import Key
from tests.conformance.test_store import events, key
from tests.support.waiting import until

WRITER = """
import asyncio, sys
from pathlib import Path
from master.store.protocol import ABSENT, Put
from master.store.sqlite import SqliteStore
from podium.objects.kinds import Key

async def write(store, lane):
    for i in range(10**6):
        name = f"{lane}-{i}"
        durable = lane != 0
        [revision] = await store.commit([Put(Key("Pod", "d", name), name.encode() * 20, ABSENT)], durable=durable)
        print(name, revision, int(durable), flush=True)

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    await asyncio.gather(*(write(store, lane) for lane in range(8)))

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "podium.db"


async def test_everything_is_there_after_a_restart(path: Path) -> None:
    store = await SqliteStore.open(path)
    await store.commit([Put(key("a"), b"1"), Put(key("b"), b"1")])
    await store.commit([Put(key("a"), b"2"), Remove(key("b"), value=b"last")])
    await store.commit([Put(key("e", "Event"), b"relaxed")], durable=False)
    await store.close()
    store = await SqliteStore.open(path)
    assert store.revision == 5
    assert [(e.key.name, e.value, e.created, e.revision) for e in (await store.list())[0]] == [
        ("a", b"2", 1, 3), ("e", b"relaxed", 5, 5),
    ]  # fmt: skip
    assert [(e.revision, e.removed) for e in await events(store, 1, 5)] == [
        (2, False), (3, False), (4, True), (5, False),
    ]  # fmt: skip
    assert await store.commit([Put(key("b"), b"1", ABSENT)]) == [6]
    await store.close()


async def test_kill_in_the_middle_of_writes_loses_nothing_acknowledged(path: Path) -> None:
    for _ in range(3):
        path.unlink(missing_ok=True)
        acknowledged, highest = await _write_and_kill(path, lines=400)
        store = await SqliteStore.open(path)
        try:
            stored = {entry.key.name: entry for entry in (await store.list())[0]}
            for name, revision in acknowledged.items():
                assert stored[name].revision == revision
                assert stored[name].value == name.encode() * 20
            assert store.revision > highest, "a revision that somebody saw must not be given again"
            [again] = await store.commit([Put(key("new"), b"1")])
            assert again > highest
        finally:
            await store.close()


async def _write_and_kill(path: Path, lines: int) -> tuple[dict[str, int], int]:
    """What a writing process said was durable before it was killed, and the highest revision that it told."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    said: list[bytes] = []
    async with asyncio.timeout(30):
        while len(said) < lines:
            said.append(await process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest, _ = await process.communicate()
    whole = [line for line in said + rest.splitlines(keepends=True) if line.endswith(b"\n")]
    told = [line.decode().split() for line in whole]
    return {name: int(rev) for name, rev, durable in told if durable == "1"}, max(int(rev) for _, rev, _ in told)


async def test_who_saw_lost_revisions_is_told_to_list_again(path: Path) -> None:
    store = await SqliteStore.open(path)
    await store.commit([Put(key("a"), b"1")])
    await store.close()
    _mark_unclean(path)
    store = await SqliteStore.open(path)
    assert store.revision == 1 + CRASH_GAP
    [revision] = await store.commit([Put(key("b"), b"1")])
    for lost in (2, CRASH_GAP):
        with pytest.raises(Compacted):
            await events(store, lost, revision)
    for kept in (1, 1 + CRASH_GAP):
        assert [e.key.name for e in await events(store, kept, revision)] == ["b"]
    await store.close()
    store = await SqliteStore.open(path)
    with pytest.raises(Compacted):
        await events(store, 2, revision)
    await store.close()


def _mark_unclean(path: Path) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE facts SET value = 0 WHERE name = 'clean'")
    connection.close()


async def test_relaxed_writes_reach_the_disk_by_themselves(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "RELAXED_DELAY", 0.01)
    store = await SqliteStore.open(path)
    await store.commit([Put(key("a", "Lease"), b"1")], durable=False)
    other = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    await until(lambda: other.execute("SELECT count(*) FROM log").fetchall() == [(1,)])
    other.close()
    await store.close()


async def test_more_relaxed_writes_than_the_backlog_holds(path: Path) -> None:
    store = await SqliteStore.open(path)
    count = committer.BACKLOG_LIMIT * 3
    for start in range(0, count, 500):
        batch = [[Put(key(f"{i}", "Event"), b"x")] for i in range(start, start + 500)]
        await store.commit_each(batch, durable=False)
    await store.close()
    store = await SqliteStore.open(path)
    assert len((await store.list())[0]) == count
    await store.close()


async def test_a_watcher_far_behind_reads_the_log(path: Path) -> None:
    store = await SqliteStore.open(path)
    count = 3 * TAIL_EVENTS
    for start in range(0, count, 1000):
        await store.commit_each([[Put(key(f"{i % 50}"), b"x")] for i in range(start, start + 1000)])
    assert [e.revision for e in await events(store, 0, count)] == list(range(1, count + 1))
    await store.close()


async def test_a_full_disk_fails_cleanly_and_heals(path: Path) -> None:
    store = await SqliteStore.open(path)
    await store.commit([Put(key("before"), b"1")])
    with _small_files(os.path.getsize(path) + 65_536):
        results = await asyncio.gather(
            *(store.commit([Put(key(f"{i}"), b"x" * 50_000, ABSENT)]) for i in range(20)), return_exceptions=True
        )
        failed = {i for i, result in enumerate(results) if isinstance(result, Unavailable)}
        assert failed
        assert all(isinstance(result, (Unavailable, list)) for result in results)
        assert await store.get(key("before")) is not None
    for i in failed:
        await store.commit([Put(key(f"{i}"), b"x", ABSENT)])
    assert len((await store.list())[0]) == 21
    revision = store.revision
    await store.close()
    store = await SqliteStore.open(path)
    assert (len((await store.list())[0]), store.revision) == (21, revision)
    await store.close()


@contextmanager
def _small_files(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond `limit` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_newer_schema_is_refused(path: Path) -> None:
    await (await SqliteStore.open(path)).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(DatabaseUnusable, match="run a newer master"):
        await SqliteStore.open(path)


async def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseUnusable, match="not a Podium database"):
        await SqliteStore.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", ["garbage", "torn"])
async def test_damage_is_named(path: Path, how: str) -> None:
    store = await SqliteStore.open(path)
    for i in range(200):
        await store.commit([Put(key(f"{i}"), os.urandom(2000))])
    await store.close()
    content = bytearray(path.read_bytes())
    if how == "garbage":
        content[:100] = b"\xff" * 100
    else:
        middle = len(content) // 2 // 4096 * 4096
        content[middle : middle + 4096] = os.urandom(4096)
    path.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match="restore a backup"):
        await SqliteStore.open(path)


async def test_two_masters_cannot_share_a_database(path: Path) -> None:
    store = await SqliteStore.open(path)
    with pytest.raises(DatabaseUnusable, match="in use"):
        await SqliteStore.open(path)
    await store.close()
    await (await SqliteStore.open(path)).close()


async def test_a_backup_taken_while_writing_is_one_consistent_state(path: Path, tmp_path: Path) -> None:
    store = await SqliteStore.open(path)

    async def write() -> None:
        for i in range(200):
            await store.commit([Put(key(f"l{i}"), b"x"), Put(key(f"r{i}"), b"x")])

    writing = asyncio.ensure_future(write())
    await store.commit([Put(key("first"), b"x")])
    revision = await store.backup(tmp_path / "backup.db")
    await writing
    await store.close()
    copy = await SqliteStore.open(tmp_path / "backup.db")
    names = {entry.key.name for entry in (await copy.list())[0]}
    assert "first" in names
    assert {n[1:] for n in names if n[0] == "l"} == {n[1:] for n in names if n[0] == "r"}
    assert copy.revision >= revision
    assert list(tmp_path.glob("*.partial")) == []
    await copy.close()


async def test_compaction_frees_space_and_survives_a_restart(path: Path) -> None:
    store = await SqliteStore.open(path)
    for start in range(0, 3000, 500):
        await store.commit_each([[Put(key(f"{i % 10}"), b"x" * 1000)] for i in range(start, start + 500)])
    await store.commit([Remove(key("0"), value=b"")])
    await store.compact(Revision(store.revision + 1))
    revision = store.revision
    await store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM log").fetchall() == [(9,)]
    connection.close()
    store = await SqliteStore.open(path)
    assert store.revision == revision, "though the row that had it is gone"
    with pytest.raises(Compacted):
        await events(store, 10, revision)
    assert len((await store.list())[0]) == 9
    await store.close()


async def test_a_closed_store_says_so(path: Path) -> None:
    store = await SqliteStore.open(path)
    await store.close()
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await store.get(Key("Pod", "d", "a"))


async def test_a_cancelled_caller_hurts_nobody(path: Path) -> None:
    store = await SqliteStore.open(path)
    writes = [asyncio.ensure_future(store.commit([Put(key(f"{i}"), b"x")])) for i in range(20)]
    await asyncio.sleep(0)
    for write in writes[::2]:
        write.cancel()
    await asyncio.gather(*writes, return_exceptions=True)
    assert await store.commit([Put(key("after"), b"x")])
    await store.close()
