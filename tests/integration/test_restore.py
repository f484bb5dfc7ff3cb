"""A backup becomes the store of a stopped master; what is no backup, or would overwrite, does not."""

from __future__ import annotations

import datetime
import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from master.auth.ca import CertificateAuthority
from master.backup import backup as back_up
from master.restore import REVISIONS_PER_SECOND, restore
from master.settings import PKI_FOLDER, STORE_FILE
from master.store.keyring import KEY_FILE, Keyring
from master.store.protocol import Compacted, Put, Revision
from master.store.sealed import SealedStore
from master.store.sqlite import SqliteStore
from podium.aio.clock import SystemClock
from podium.errors import AlreadyExists, BadRequest, Conflict, NotFound
from podium.files import exclusive
from podium.objects.kinds import Key

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
KEY = Key("Namespace", "", "kept")


@pytest.fixture
async def backup(tmp_path: Path) -> Path:
    store = await SqliteStore.open(tmp_path / "original.db")
    await store.commit([Put(KEY, b"value")])
    await store.backup(tmp_path / "backup")
    await store.close()
    return tmp_path / "backup"


async def restored(backup: Path, data_dir: Path, *, force: bool = False) -> int:
    return (await restore(backup, data_dir, now=NOW, force=force)).revision


async def value_in(folder: Path) -> bytes:
    store = await SqliteStore.open(folder / STORE_FILE)
    entry = await store.get(KEY)
    await store.close()
    return entry.value if entry is not None else b""


async def test_a_backup_is_put_in_place(backup: Path, tmp_path: Path) -> None:
    assert await restored(backup, tmp_path / "data") >= 1
    assert await value_in(tmp_path / "data") == b"value"


async def test_a_store_that_is_there_is_replaced_only_by_force_and_kept(backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    await restored(backup, data)
    with pytest.raises(AlreadyExists, match="--force"):
        await restored(backup, data)
    await restored(backup, data, force=True)
    assert await value_in(data) == b"value"
    assert (data / f"{STORE_FILE}.before-restore").exists()


async def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await restored(tmp_path / "nowhere", tmp_path / "data")
    (tmp_path / "junk").write_bytes(b"no database at all" * 1000)
    with pytest.raises(BadRequest, match="cannot be used"):
        await restored(tmp_path / "junk", tmp_path / "data")
    assert not (tmp_path / "data" / STORE_FILE).exists()


async def test_a_running_masters_store_is_left_alone(backup: Path, tmp_path: Path) -> None:
    with exclusive(tmp_path), pytest.raises(Conflict, match="in use"):
        await restored(backup, tmp_path)


async def test_a_backup_with_secrets_needs_the_keys_that_they_are_sealed_with(tmp_path: Path) -> None:
    keyring = Keyring.open(tmp_path / KEY_FILE, SystemClock().now())
    store = SealedStore(await SqliteStore.open(tmp_path / "original.db"), keyring)
    await store.commit([Put(Key("Secret", "default", "db"), b"value")])
    await store.backup(tmp_path / "backup")
    await store.close()
    with pytest.raises(BadRequest, match=f"sealed with key {keyring.newest.id}"):
        await restored(tmp_path / "backup", tmp_path / "data")
    assert not (tmp_path / "data" / STORE_FILE).exists()
    keyring.path.rename(tmp_path / "data" / KEY_FILE)
    assert await restored(tmp_path / "backup", tmp_path / "data") >= 1


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The folder of a master that has a Secret and a join token."""
    folder = tmp_path / "master"
    folder.mkdir()
    CertificateAuthority.open(folder / PKI_FOLDER, SystemClock())
    store = SealedStore(
        await SqliteStore.open(folder / STORE_FILE), Keyring.open(folder / KEY_FILE, SystemClock().now())
    )
    await store.commit([Put(KEY, b"value"), Put(Key("Secret", "default", "db"), b"sesame")])
    await store.commit([Put(Key("Secret", "podium-system", "bootstrap-token-abc123"), b"token")])
    await store.close()
    return folder


async def secrets_in(folder: Path) -> dict[str, bytes]:
    store = SealedStore(await SqliteStore.open(folder / STORE_FILE), Keyring.open(folder / KEY_FILE, NOW))
    found = {entry.key.name: entry.value for entry in (await store.list("Secret"))[0]}
    await store.close()
    return found


async def test_a_whole_backup_brings_ca_and_keys_and_no_join_token(data: Path, tmp_path: Path) -> None:
    (tmp_path / "master.toml").write_text("log_level = 'debug'")
    archive, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
    back_up(data, archive, settings=tmp_path / "master.toml", now=NOW)
    assert archive.stat().st_mode & 0o777 == 0o600
    done = await restore(archive, elsewhere, now=NOW)
    assert await secrets_in(elsewhere) == {"db": b"sesame"}
    for name in ("ca.key", "ca.crt"):
        assert (elsewhere / PKI_FOLDER / name).read_bytes() == (data / PKI_FOLDER / name).read_bytes()
    assert done.settings is not None
    assert done.settings.read_text() == "log_level = 'debug'"
    for kept in (STORE_FILE, KEY_FILE, f"{PKI_FOLDER}/ca.key", done.settings.name):
        assert (elsewhere / kept).stat().st_mode & 0o077 == 0, kept


async def test_revisions_begin_above_all_that_may_have_been_given_out(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "archive", now=NOW)
    first = await restore(tmp_path / "archive", tmp_path / "one", now=NOW)
    assert first.revision >= NOW.timestamp() * REVISIONS_PER_SECOND
    later = NOW + datetime.timedelta(minutes=1)
    second = await restore(tmp_path / "archive", tmp_path / "two", now=later)
    assert second.revision - first.revision >= 59 * REVISIONS_PER_SECOND, "the first went on meanwhile"


async def test_who_watched_what_never_was_lists_again(data: Path, tmp_path: Path) -> None:
    store = await SqliteStore.open(data / STORE_FILE)
    known = store.revision
    await store.close()
    back_up(data, tmp_path / "archive", now=NOW)
    done = await restore(tmp_path / "archive", tmp_path / "new", now=NOW)
    store = await SqliteStore.open(tmp_path / "new" / STORE_FILE)
    for revision in (known + 1, known + 500_000, done.revision - 1_000_000):
        with pytest.raises(Compacted):
            await anext(aiter(store.watch(Revision(revision))))
    await store.close()


async def test_a_backup_that_does_not_open_is_not_made(data: Path, tmp_path: Path) -> None:
    (data / KEY_FILE).unlink()
    Keyring.open(data / KEY_FILE, NOW)
    with pytest.raises(BadRequest, match="sealed with key"):
        back_up(data, tmp_path / "archive", now=NOW)
    assert not (tmp_path / "archive").exists()
    assert not list(data.glob("backup-*"))


async def test_another_clusters_ca_is_replaced_only_by_force_and_kept(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "archive", now=NOW)
    other = tmp_path / "other"
    other.mkdir()
    theirs = CertificateAuthority.open(other / PKI_FOLDER, SystemClock()).certificate_pem
    with pytest.raises(AlreadyExists, match="another CA"):
        await restore(tmp_path / "archive", other, now=NOW)
    assert not (other / STORE_FILE).exists()
    await restore(tmp_path / "archive", other, now=NOW, force=True)
    assert (other / f"{PKI_FOLDER}.before-restore" / "ca.crt").read_bytes() == theirs
    assert await secrets_in(other) == {"db": b"sesame"}


async def test_the_receipt_names_the_very_file(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "archive", now=NOW)
    await restore(tmp_path / "archive", tmp_path / "new", now=NOW)
    receipt = json.loads((tmp_path / "new" / "restored.json").read_text())
    assert receipt["sha256"] == hashlib.sha256((tmp_path / "archive").read_bytes()).hexdigest()


async def test_an_archive_with_anything_else_in_it_is_refused(data: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "archive", "w") as tar:
        tar.add(data / STORE_FILE, arcname="../store.db")
    with pytest.raises(BadRequest, match="which a backup does not"):
        await restore(tmp_path / "archive", tmp_path / "new", now=NOW)
    assert not (tmp_path / "store.db").exists()
