"""`podium-master backup`: all that a master is, as one file.

    backup.json        what it is, of which cluster, at which revision, made when and by which version
    store.db           the store, copied while the master runs
    encryption.keys    what its Secrets are sealed with; taken later: a key is there before anything is sealed with it
    pki/…              the CA, also one that is being replaced
    settings.toml      if given

The file opens everything: whoever holds it is the cluster. It is written for its owner only, aside and then renamed,
and only after the copies were opened with the keys and the CA that go with them.
"""

from __future__ import annotations

import datetime
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import podium
from master.auth.ca import CertificateAuthority
from master.settings import PKI_FOLDER, STORE_FILE
from master.store import database
from master.store.keyring import KEY_FILE, Keyring
from master.store.sealed import SEALED_KINDS, unseal
from podium.aio.clock import SystemClock
from podium.errors import BadRequest, Internal, NotFound
from podium.files import replacing

FORMAT = 1
MANIFEST, SETTINGS = "backup.json", "settings.toml"
_MEMBERS = re.compile(rf"{MANIFEST}|{SETTINGS}|{STORE_FILE}|{KEY_FILE}|{PKI_FOLDER}/[a-z][a-z.-]*")
_COPIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says of itself. `made` is UTC."""

    cluster: str
    revision: int
    version: str
    made: datetime.datetime


def backup(data_dir: Path, to: Path, *, settings: Path | None = None, now: datetime.datetime) -> Manifest:
    """Write a backup of the master in `data_dir`, running or stopped. Blocks.

    Raises:
        NotFound: There is no master in `data_dir`.
        BadRequest: The copies do not open.
        DatabaseUnusable: The store cannot be copied.
    """
    if not (data_dir / STORE_FILE).is_file():
        raise NotFound(f"{data_dir} holds no store: is it the master's --data-dir?")
    with tempfile.TemporaryDirectory(prefix="backup-", dir=data_dir) as scratch:
        folder = Path(scratch)
        manifest = _collect(data_dir, folder, settings, now)
        _pack(folder, to)
    return manifest


def _collect(data_dir: Path, folder: Path, settings: Path | None, now: datetime.datetime) -> Manifest:
    revision, cluster = _copy(data_dir, folder)
    if settings is not None:
        shutil.copyfile(settings, folder / SETTINGS)
    manifest = Manifest(cluster=cluster, revision=revision, version=podium.__version__, made=now)
    (folder / MANIFEST).write_text(_manifest_text(manifest))
    return manifest


def _copy(data_dir: Path, folder: Path) -> tuple[int, str]:
    """Copy what a master is; its revision, and the cluster's id. Made anew when a key was exchanged in between."""
    for left in reversed(range(_COPIES)):
        revision = database.copy(data_dir / STORE_FILE, folder / STORE_FILE)
        shutil.copyfile(data_dir / KEY_FILE, folder / KEY_FILE)
        shutil.rmtree(folder / PKI_FOLDER, ignore_errors=True)
        shutil.copytree(data_dir / PKI_FOLDER, folder / PKI_FOLDER)
        try:
            return revision, check(folder)
        except BadRequest:
            if not left:
                raise
    raise AssertionError("the last attempt returns or raises")


def check(folder: Path) -> str:
    """Open what a folder holds: the CA, and each sealed value with its key; returns the cluster's id. Blocks.

    Raises:
        BadRequest: It does not open; says what.
    """
    try:
        for needed in (STORE_FILE, KEY_FILE, f"{PKI_FOLDER}/ca.key", f"{PKI_FOLDER}/ca.crt"):
            (folder / needed).stat()
        ca = CertificateAuthority.open(folder / PKI_FOLDER, SystemClock())
        keys = Keyring.open(folder / KEY_FILE, SystemClock().now())
        for kind in sorted(SEALED_KINDS):
            for key, value in database.values(folder / STORE_FILE, kind):
                unseal(keys.get, key, value)
    except (OSError, ValueError, Internal) as error:
        raise BadRequest(f"the backup cannot be used: {error}") from error
    return ca.cluster_id


def _pack(folder: Path, to: Path) -> None:
    with replacing(to) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.add(path, arcname=str(path.relative_to(folder)), filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def unpack(archive: Path, folder: Path) -> Manifest:
    """Lay out a backup in a folder; returns what it says of itself. Blocks.

    Raises:
        BadRequest: It is no backup, is damaged, or is of a newer format.
    """
    try:
        with tarfile.open(archive) as tar:
            for name, content in _files(tar):
                path = folder / name
                path.parent.mkdir(mode=0o700, exist_ok=True)
                with path.open("xb") as file:
                    shutil.copyfileobj(content, file)
                path.chmod(0o600)
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest["format"] > FORMAT:
            raise BadRequest(
                f"{archive} was made by Podium {manifest['version']}: restore it with that, or a newer one"
            )
        return Manifest(
            cluster=manifest["cluster"],
            revision=manifest["revision"],
            version=manifest["version"],
            made=datetime.datetime.fromisoformat(manifest["made"]),
        )
    except (tarfile.TarError, OSError, ValueError, KeyError) as error:
        raise BadRequest(f"{archive} is no backup of a master, or is damaged: {error}") from error


def _files(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in tar:
        content = tar.extractfile(member) if member.isreg() and _MEMBERS.fullmatch(member.name) else None
        if content is None:
            raise ValueError(f"it holds {member.name}, which a backup does not")
        yield member.name, content


def _manifest_text(manifest: Manifest) -> str:
    facts = {
        "format": FORMAT,
        "cluster": manifest.cluster,
        "revision": manifest.revision,
        "version": manifest.version,
        "made": manifest.made.isoformat(),
    }
    return json.dumps(facts, indent=1) + "\n"
