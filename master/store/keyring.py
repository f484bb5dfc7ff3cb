"""The keys that values are sealed with: a file of the master's, mode 0600, next to the store and never in it.

    {"keys": [{"id": "4f9a2c01", "created": "2026-…", "key": "<base64, 256 bits>", "retired": 4711, "unused": true}, …]}

The last key seals, all of them open. A key is in the file, on disk, before anything is sealed with it. `retired` is the
revision from which on nothing was sealed with it any more; `unused` says that the store has forgotten all before that.
A key is dropped only when somebody asks: a backup that was made with it can't be read without.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from podium.errors import Conflict, Internal
from podium.files import write_atomic

KEY_FILE = "encryption.keys"
ID_BYTES = 4
KEY_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class SealingKey:
    """One key. `retired` is None while it seals, or while values may be sealed with it."""

    id: str
    created: datetime.datetime
    key: bytes = field(repr=False)
    retired: int | None = None
    unused: bool = False

    @cached_property
    def cipher(self) -> AESGCM:
        """AES-256 in Galois/Counter mode."""
        return AESGCM(self.key)


class Keyring:
    """See the module. Changes block for an fsync: they are made at start, or from a thread."""

    def __init__(self, path: Path, keys: Sequence[SealingKey]) -> None:
        self.path = path
        self._keys = {key.id: key for key in keys}

    @classmethod
    def open(cls, path: Path, now: datetime.datetime) -> Keyring:
        """Read the file, or make it with a first key.

        Raises:
            Internal: It is damaged.
        """
        if not path.exists():
            made = cls(path, ())
            made.add(now)
            return made
        try:
            keys = [_read(entry) for entry in json.loads(path.read_text())["keys"]]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise Internal(f"{path} cannot be read ({error}): put a copy of it back, as it was backed up") from error
        if not keys:
            raise Internal(f"{path} holds no key: put a copy of it back, as it was backed up")
        return cls(path, keys)

    @property
    def keys(self) -> Sequence[SealingKey]:
        """All keys, oldest first."""
        return list(self._keys.values())

    @property
    def newest(self) -> SealingKey:
        """The one that seals."""
        return next(reversed(self._keys.values()))

    def get(self, id_: str) -> SealingKey | None:
        """A key by its id."""
        return self._keys.get(id_)

    def add(self, now: datetime.datetime) -> SealingKey:
        """Make a key, which seals from now on."""
        id_ = os.urandom(ID_BYTES).hex()
        while id_ in self._keys:
            id_ = os.urandom(ID_BYTES).hex()
        made = SealingKey(id=id_, created=now.replace(microsecond=0), key=AESGCM.generate_key(KEY_BYTES * 8))
        self._save({**self._keys, id_: made})
        return made

    def retire(self, revision: int) -> None:
        """Note that all values of the present are sealed with the newest key, as of a revision."""
        newest = self.newest.id
        old = [key for key in self._keys.values() if key.id != newest and key.retired is None]
        if old:
            self._save({**self._keys, **{key.id: dataclasses.replace(key, retired=revision) for key in old}})

    def forget_before(self, revision: int) -> None:
        """Note that the store has forgotten all superseded values older than a revision."""
        unused = [k for k in self._keys.values() if k.retired is not None and k.retired < revision and not k.unused]
        if unused:
            self._save({**self._keys, **{key.id: dataclasses.replace(key, unused=True) for key in unused}})

    def drop_unused(self) -> list[str]:
        """Remove keys that nothing in the store is sealed with; returns their ids.

        Raises:
            Conflict: There is none.
        """
        unused = [key.id for key in self._keys.values() if key.unused]
        if not unused:
            raise Conflict("no key is unused: superseded values are forgotten some minutes after a rotation")
        self._save({id_: key for id_, key in self._keys.items() if id_ not in unused})
        return unused

    def _save(self, keys: dict[str, SealingKey]) -> None:
        content = {"keys": [_write(key) for key in keys.values()]}
        write_atomic(self.path, (json.dumps(content, indent=1) + "\n").encode())
        self._keys = keys


def _read(entry: dict[str, object]) -> SealingKey:
    key = base64.b64decode(str(entry["key"]), validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {len(key)} bytes")
    retired = entry.get("retired")
    return SealingKey(
        id=str(entry["id"]),
        created=datetime.datetime.fromisoformat(str(entry["created"])),
        key=key,
        retired=int(str(retired)) if retired is not None else None,
        unused=bool(entry.get("unused")),
    )


def _write(key: SealingKey) -> dict[str, object]:
    entry: dict[str, object] = {
        "id": key.id,
        "created": key.created.isoformat(),
        "key": base64.b64encode(key.key).decode(),
    }
    if key.retired is not None:
        entry |= {"retired": key.retired, "unused": key.unused}
    return entry
