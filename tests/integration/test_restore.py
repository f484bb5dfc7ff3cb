"""A backup becomes the store of a stopped master; what is no backup, or would overwrite, does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from master.restore import restore
from master.settings import STORE_FILE
from master.store.keyring import KEY_FILE, Keyring
from master.store.protocol import Put
from master.store.sealed import SealedStore
from master.store.sqlite import SqliteStore
from podium.aio.clock import SystemClock
from podium.errors import AlreadyExists, BadRequest, Conflict, NotFound
from podium.files import exclusive
from podium.objects.kinds import Key

KEY = Key("Namespace", "", "kept")


@pytest.fixture
async def backup(tmp_path: Path) -> Path:
    store = await SqliteStore.open(tmp_path / "original.db")
    await store.commit([Put(KEY, b"value")])
    await store.backup(tmp_path / "backup")
    await store.close()
    return tmp_path / "backup"


async def value_in(folder: Path) -> bytes:
    store = await SqliteStore.open(folder / STORE_FILE)
    entry = await store.get(KEY)
    await store.close()
    return entry.value if entry is not None else b""


async def test_a_backup_is_put_in_place(backup: Path, tmp_path: Path) -> None:
    assert await restore(backup, tmp_path / "data") >= 1
    assert await value_in(tmp_path / "data") == b"value"


async def test_a_store_that_is_there_is_replaced_only_by_force_and_kept(backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    await restore(backup, data)
    with pytest.raises(AlreadyExists, match="--force"):
        await restore(backup, data)
    await restore(backup, data, force=True)
    assert await value_in(data) == b"value"
    assert (data / f"{STORE_FILE}.before-restore").exists()


async def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await restore(tmp_path / "nowhere", tmp_path / "data")
    (tmp_path / "junk").write_bytes(b"no database at all" * 1000)
    with pytest.raises(BadRequest, match="cannot be used"):
        await restore(tmp_path / "junk", tmp_path / "data")
    assert not (tmp_path / "data" / STORE_FILE).exists()


async def test_a_running_masters_store_is_left_alone(backup: Path, tmp_path: Path) -> None:
    with exclusive(tmp_path), pytest.raises(Conflict, match="in use"):
        await restore(backup, tmp_path)


async def test_a_backup_with_secrets_needs_the_keys_that_they_are_sealed_with(tmp_path: Path) -> None:
    keyring = Keyring.open(tmp_path / KEY_FILE, SystemClock().now())
    store = SealedStore(await SqliteStore.open(tmp_path / "original.db"), keyring)
    await store.commit([Put(Key("Secret", "default", "db"), b"value")])
    await store.backup(tmp_path / "backup")
    await store.close()
    with pytest.raises(BadRequest, match=f"sealed with key {keyring.newest.id}"):
        await restore(tmp_path / "backup", tmp_path / "data")
    assert not (tmp_path / "data" / STORE_FILE).exists()
    keyring.path.rename(tmp_path / "data" / KEY_FILE)
    assert await restore(tmp_path / "backup", tmp_path / "data") >= 1
