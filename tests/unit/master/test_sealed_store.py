"""Secrets in the store: nothing readable on disk, bound to their names, through rotations, restarts and history."""

from __future__ import annotations

import datetime
import json
import stat
from contextlib import aclosing
from pathlib import Path

import pytest

from master.store.keyring import Keyring
from master.store.memory import MemoryStore
from master.store.protocol import Put, Remove, Revision, StoreEvent
from master.store.sealed import SealedStore, key_id, seal, unseal
from master.store.sqlite import SqliteStore
from podium.errors import Conflict, Internal
from podium.objects.kinds import Key

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
PLAIN = b"\x0a\x02hunter2 and more"
DB, POD = Key("Secret", "default", "db"), Key("Pod", "default", "db")


def ring(folder: Path) -> Keyring:
    return Keyring.open(folder / "encryption.keys", NOW)


async def first_event(store: SealedStore, after: int) -> StoreEvent:
    async with aclosing(store.watch(Revision(after))) as batches:  # type: ignore[type-var]
        async for batch in batches:
            return batch[0]
    raise AssertionError


# ---------------------------------------------------------------- keys


def test_a_first_key_is_made_private_and_found_again(tmp_path: Path) -> None:
    made = ring(tmp_path)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert ring(tmp_path).newest == made.newest
    assert made.newest.key.hex() not in repr(made.newest)
    assert repr(made.newest.key) not in repr(made.newest)


@pytest.mark.parametrize("content", ["", "{}", '{"keys": []}', '{"keys": [{"id": "ab", "created": "x", "key": ""}]}'])
def test_a_damaged_file_is_told_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "encryption.keys").write_text(content)
    with pytest.raises(Internal, match="put a copy of it back"):
        ring(tmp_path)
    assert (tmp_path / "encryption.keys").read_text() == content


def test_a_value_opens_with_its_key_and_for_its_name_only(tmp_path: Path) -> None:
    keys = ring(tmp_path)
    sealed = seal(keys.newest, DB, PLAIN)
    assert b"hunter2" not in sealed
    assert seal(keys.newest, DB, PLAIN) != sealed, "a nonce is used once"
    assert unseal(keys.get, DB, sealed) == PLAIN
    for other in (Key("Secret", "default", "web"), Key("Secret", "prod", "db"), Key("ConfigMap", "default", "db")):
        with pytest.raises(Internal, match="written for another"):
            unseal(keys.get, other, sealed)
    for position in (20, len(sealed) - 1):
        damaged = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        with pytest.raises(Internal, match="damaged"):
            unseal(keys.get, DB, damaged)
    with pytest.raises(Internal, match=r"is not in the master's encryption\.keys"):
        unseal(lambda _: None, DB, sealed)
    assert unseal(keys.get, DB, PLAIN) == PLAIN, "what was written before there were keys"


# ---------------------------------------------------------------- the store


async def test_only_secrets_are_sealed_and_readers_see_them_plain(tmp_path: Path) -> None:
    inner = MemoryStore()
    store = SealedStore(inner, ring(tmp_path))
    await store.commit([Put(DB, PLAIN), Put(POD, PLAIN)])
    raw = {entry.key: entry.value for entry in (await inner.list())[0]}
    assert raw[POD] == PLAIN
    assert b"hunter2" not in raw[DB]
    assert {entry.value for entry in (await store.list())[0]} == {PLAIN}
    found = await store.get(DB)
    assert found is not None
    assert found.value == PLAIN


async def test_a_writer_gets_back_the_very_bytes_that_it_wrote(tmp_path: Path) -> None:
    store = SealedStore(MemoryStore(), ring(tmp_path))
    value = bytes(bytearray(PLAIN))
    await store.commit([Put(DB, value)])
    assert (await first_event(store, 0)).value is value
    assert (await first_event(store, 0)).value == value, "another watcher opens it"
    assert store._plain == {}


async def test_what_is_refused_is_forgotten(tmp_path: Path) -> None:
    store = SealedStore(MemoryStore(), ring(tmp_path))
    outcome = await store.commit_each([[Put(DB, PLAIN, Revision(7))]])
    assert len(outcome) == 1
    assert store._plain == {}


async def test_nothing_readable_is_on_disk_not_even_of_the_past(tmp_path: Path) -> None:
    store = SealedStore(await SqliteStore.open(tmp_path / "store.db"), ring(tmp_path))
    await store.commit([Put(DB, PLAIN)])
    await store.commit([Put(DB, PLAIN + b" again")])
    await store.commit([Remove(DB, value=PLAIN + b" at last")])
    await store.backup(tmp_path / "backup.db")
    for closed in (False, True):
        for file in tmp_path.iterdir():
            assert b"hunter2" not in file.read_bytes(), (file, closed)
        await store.close()
    again = SealedStore(await SqliteStore.open(tmp_path / "store.db"), ring(tmp_path))
    assert (await first_event(again, 2)).value == PLAIN + b" at last"
    await again.close()


async def test_rotation_seals_all_anew_and_the_old_key_goes_when_history_is_forgotten(tmp_path: Path) -> None:
    inner, keys = MemoryStore(), ring(tmp_path)
    store = SealedStore(inner, keys)
    for number in range(450):
        await store.commit([Put(Key("Secret", "default", f"s{number:03}"), PLAIN)])
    old = keys.newest.id
    told = [(p.done, p.total) async for p in store.rotate(NOW)]
    assert told == [(0, 450), (200, 450), (400, 450), (450, 450)]
    assert {key_id(entry.value) for entry in (await inner.list())[0]} == {keys.newest.id} != {old}
    assert {entry.value for entry in (await store.list())[0]} == {PLAIN}
    with pytest.raises(Conflict, match="no key is unused"):
        await store.drop_unused()
    reopened = SealedStore(inner, ring(tmp_path))
    await reopened.compact(Revision(reopened.revision + 1))
    assert await reopened.drop_unused() == [old]
    assert {entry.value for entry in (await reopened.list())[0]} == {PLAIN}
    assert [key.id for key in ring(tmp_path).keys] == [keys.newest.id]


async def test_an_interrupted_rotation_is_finished_by_sealing_again(tmp_path: Path) -> None:
    inner, keys = MemoryStore(), ring(tmp_path)
    store = SealedStore(inner, keys)
    await store.commit([Put(DB, PLAIN)])
    async with aclosing(store.rotate(NOW)) as steps:  # type: ignore[type-var]
        async for _ in steps:
            break
    assert key_id((await inner.list())[0][0].value) != ring(tmp_path).newest.id
    again = SealedStore(inner, ring(tmp_path))
    async for _ in again.reseal():
        pass
    assert key_id((await inner.list())[0][0].value) == ring(tmp_path).newest.id


async def test_what_was_stored_before_there_were_keys_is_sealed(tmp_path: Path) -> None:
    inner = MemoryStore()
    await inner.commit([Put(DB, PLAIN)])
    store = SealedStore(inner, ring(tmp_path))
    async for _ in store.reseal():
        pass
    assert b"hunter2" not in (await inner.list())[0][0].value
    assert (await store.list())[0][0].value == PLAIN


async def test_a_store_without_its_keys_says_which_is_missing(tmp_path: Path) -> None:
    inner, keys = MemoryStore(), ring(tmp_path)
    await SealedStore(inner, keys).commit([Put(DB, PLAIN)])
    keys.path.unlink()
    with pytest.raises(Internal, match=keys.newest.id):
        await SealedStore(inner, ring(tmp_path)).list()


def test_the_file_holds_what_it_is_documented_to_hold(tmp_path: Path) -> None:
    [entry] = json.loads(ring(tmp_path).path.read_text())["keys"]
    assert set(entry) == {"id", "created", "key"}
