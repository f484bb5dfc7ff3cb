"""`podium-master restore`: a backup becomes the store of a master that is stopped.

A backup's Secrets are sealed: the key file of the master that made it must be in the data folder.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

from master.settings import STORE_FILE
from master.store.keyring import KEY_FILE, Keyring
from master.store.sealed import SealedStore
from master.store.sqlite import SqliteStore
from podium.aio.clock import SystemClock
from podium.errors import AlreadyExists, BadRequest, Internal, NotFound
from podium.files import exclusive, make_private_directory, sync_directory


async def restore(backup: Path, data_dir: Path, *, force: bool = False) -> int:
    """Put a backup in place of the store in `data_dir`; returns its revision. The old store is kept aside.

    Raises:
        NotFound: There is no such backup.
        AlreadyExists: There is a store, and `force` is not given.
        BadRequest: The backup is damaged, or none.
        Conflict: The master runs.
    """
    await asyncio.to_thread(_check_given, backup, data_dir)
    with exclusive(data_dir):
        target, aside = data_dir / STORE_FILE, data_dir / f"{STORE_FILE}.restoring"
        await asyncio.to_thread(_set_aside, backup, target, aside, force=force)
        revision = await _revision_of(aside, data_dir / KEY_FILE)
        await asyncio.to_thread(_replace, aside, target)
    return revision


def _check_given(backup: Path, data_dir: Path) -> None:
    if not backup.is_file():
        raise NotFound(f"{backup} does not exist")
    make_private_directory(data_dir)


def _set_aside(backup: Path, target: Path, aside: Path, *, force: bool) -> None:
    if target.exists() and not force:
        raise AlreadyExists(f"{target} exists: --force keeps it aside and goes on")
    shutil.copyfile(backup, aside)


async def _revision_of(path: Path, keys: Path) -> int:
    """Open a store as a master would, and close it: what cannot be opened is not put in place."""
    try:
        ring = await asyncio.to_thread(_keyring, keys)
        store = await SqliteStore.open(path)
        try:
            _ = await SealedStore(store, ring).list("Secret")
        finally:
            await store.close()
    except (sqlite3.DatabaseError, Internal) as error:
        await asyncio.to_thread(path.unlink)
        raise BadRequest(f"the backup cannot be used: {error}") from error
    return store.revision


def _keyring(path: Path) -> Keyring:
    """The keys that are there; unlike a master, restoring makes none."""
    return Keyring.open(path, SystemClock().now()) if path.exists() else Keyring(path, ())


def _replace(source: Path, target: Path) -> None:
    for suffix in ("", "-wal", "-shm"):  # SQLite's companions belong to the old store
        old = target.with_name(target.name + suffix)
        if old.exists():
            old.replace(target.with_name(f"{target.name}.before-restore{suffix}"))
    source.replace(target)
    sync_directory(target.parent)
