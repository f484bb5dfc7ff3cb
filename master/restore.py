"""`podium-master restore`: a backup becomes a master that is stopped, here or on another host.

What is restored is the past: what happened after the backup did not. So that nobody goes on from what never was,

- revisions begin anew above all that the lost master can have given out, however often the same backup is restored:
  they count on from the time of day. Whoever watches from a revision of after the backup is told to list again;
- join tokens are removed: one that was revoked since would be good again.

Nodelets need nothing of the kind: a session begins with all that the master wants of the node. A pod that the master
does not know any more is stopped, one that it knows and that has ended since is started again.

A backup of the store alone (`Cluster.Backup`) needs the key file and the CA of its master in the data folder.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import json
import shutil
import sqlite3
import tarfile
from dataclasses import dataclass
from pathlib import Path

from master.auth.tokens import NAME_PREFIX
from master.auth.tokens import NAMESPACE as TOKENS_NAMESPACE
from master.backup import SETTINGS, check, unpack
from master.settings import PKI_FOLDER, STORE_FILE
from master.store import database
from master.store.keyring import KEY_FILE, Keyring
from master.store.protocol import Remove, Revision
from master.store.sealed import SealedStore
from master.store.sqlite import SqliteStore
from podium.aio.clock import SystemClock
from podium.errors import AlreadyExists, BadRequest, Internal, NotFound
from podium.files import exclusive, make_private_directory, sync_directory, write_atomic

REVISIONS_PER_SECOND = 10_000
"""More than a master writes: revisions that begin at the time of day times this stay behind it."""
STAGE, RECEIPT, BEFORE = "restoring", "restored.json", "before-restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of it. `settings`: the settings of the master that made the backup, if it holds them."""

    revision: int
    settings: Path | None = None


async def restore(backup: Path, data_dir: Path, *, now: datetime.datetime, force: bool = False) -> Restored:
    """Make a backup the master in `data_dir`. What was there is kept aside. `now` is UTC.

    Cut short, it is to be run again; until its end the old store stays in its place.

    Raises:
        NotFound: There is no such backup.
        AlreadyExists: There is a store, or the CA of another cluster, and `force` is not given.
        BadRequest: The backup is damaged, or none.
        Conflict: The master runs.
    """
    await asyncio.to_thread(_check_given, backup, data_dir)
    with exclusive(data_dir):
        stage = data_dir / STAGE
        try:
            await asyncio.to_thread(_lay_out, backup, data_dir, stage, force=force)
            revision = await _renew(stage, now)
            restored = await asyncio.to_thread(_put_in_place, stage, data_dir, revision)
            await asyncio.to_thread(_leave_receipt, data_dir, backup, revision, now)
        finally:
            await asyncio.to_thread(shutil.rmtree, stage, ignore_errors=True)
    return restored


def _check_given(backup: Path, data_dir: Path) -> None:
    if not backup.is_file():
        raise NotFound(f"{backup} does not exist")
    make_private_directory(data_dir)


# ---------------------------------------------------------------- aside


def _lay_out(backup: Path, data_dir: Path, stage: Path, *, force: bool) -> None:
    if (data_dir / STORE_FILE).exists() and not force:
        raise AlreadyExists(f"{data_dir / STORE_FILE} exists: --force keeps it aside and goes on")
    shutil.rmtree(stage, ignore_errors=True)
    make_private_directory(stage)
    if not tarfile.is_tarfile(backup):
        shutil.copyfile(backup, stage / STORE_FILE)
        if (data_dir / KEY_FILE).exists():
            shutil.copyfile(data_dir / KEY_FILE, stage / KEY_FILE)
        return
    _ = unpack(backup, stage)
    _ = check(stage)
    ours, given = data_dir / PKI_FOLDER / "ca.crt", stage / PKI_FOLDER / "ca.crt"
    if ours.exists() and ours.read_bytes() != given.read_bytes() and not force:
        raise AlreadyExists(f"{data_dir / PKI_FOLDER} holds another CA: --force keeps it aside and goes on")


async def _renew(stage: Path, now: datetime.datetime) -> Revision:
    """Begin revisions anew, and remove join tokens. What cannot be opened is not put in place."""
    path = stage / STORE_FILE
    try:
        at_least = Revision(int(now.timestamp()) * REVISIONS_PER_SECOND)
        _ = await asyncio.to_thread(database.advance, path, at_least)
        store = SealedStore(await SqliteStore.open(path), await asyncio.to_thread(_keyring, stage / KEY_FILE))
        try:
            secrets, _ = await store.list("Secret")
            tokens = [e for e in secrets if e.key.namespace == TOKENS_NAMESPACE and e.key.name.startswith(NAME_PREFIX)]
            _ = await store.commit([Remove(entry.key, value=entry.value) for entry in tokens])
        finally:
            await store.close()
    except (sqlite3.DatabaseError, Internal) as error:
        raise BadRequest(f"the backup cannot be used: {error}") from error
    return store.revision


def _keyring(path: Path) -> Keyring:
    """The keys that are there; unlike a master, restoring makes none."""
    return Keyring.open(path, SystemClock().now()) if path.exists() else Keyring(path, ())


# ---------------------------------------------------------------- in place


def _put_in_place(stage: Path, data_dir: Path, revision: Revision) -> Restored:
    """The store last: a master that starts in between is the old one, and all that it needs is there."""
    settings = None
    if (stage / SETTINGS).exists():
        settings = data_dir / f"restored-{SETTINGS}"
        (stage / SETTINGS).replace(settings)
    if (stage / PKI_FOLDER).exists():
        _merge_keys(stage / KEY_FILE, data_dir / KEY_FILE)
        _replace_folder(stage / PKI_FOLDER, data_dir / PKI_FOLDER)
    _replace_store(stage / STORE_FILE, data_dir / STORE_FILE)
    return Restored(revision=revision, settings=settings)


def _merge_keys(source: Path, target: Path) -> None:
    """Keys of the store that is replaced stay, before those of the backup: the last one seals."""
    given = json.loads(source.read_text())["keys"]
    ids = {key["id"] for key in given}
    kept = json.loads(target.read_text())["keys"] if target.exists() else []
    merged = [*(key for key in kept if key["id"] not in ids), *given]
    write_atomic(target, (json.dumps({"keys": merged}, indent=1) + "\n").encode())


def _replace_folder(source: Path, target: Path) -> None:
    if target.exists():
        old = target.with_name(f"{target.name}.{BEFORE}")
        shutil.rmtree(old, ignore_errors=True)
        target.replace(old)
    source.chmod(0o700)
    source.replace(target)
    sync_directory(target.parent)


def _replace_store(source: Path, target: Path) -> None:
    for suffix in ("", "-wal", "-shm"):  # SQLite's companions belong to the old store
        old = target.with_name(target.name + suffix)
        if old.exists():
            old.replace(target.with_name(f"{target.name}.{BEFORE}{suffix}"))
    source.replace(target)
    sync_directory(target.parent)


def _leave_receipt(data_dir: Path, backup: Path, revision: Revision, now: datetime.datetime) -> None:
    """Say what this master was restored from, so that tools do not do it twice."""
    with backup.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    receipt = {"sha256": digest, "revision": revision, "restored": now.isoformat()}
    write_atomic(data_dir / RECEIPT, (json.dumps(receipt, indent=1) + "\n").encode())
