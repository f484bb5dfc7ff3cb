"""A store that seals values of some kinds before they reach the disk, and opens them on the way back (AES-256-GCM).

    sealed value:  00 "sealed1"  id of the key (4 bytes)  nonce (12, random)  ciphertext and tag

No object's encoding begins with a zero byte, so a value that was written before there were keys is told apart, and
passes as it is until it is sealed at the next start. What a value is sealed *for* – kind, namespace, name – is
authenticated with it: a row that is put in another's place does not open.

History is sealed like the present: superseded rows, removals, the write-ahead log, backups. Readers above see plain
values only, and a writer gets back the very bytes that it wrote, which the watch cache relies on.
"""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag

from master.store.keyring import ID_BYTES, Keyring, SealingKey
from master.store.protocol import Entry, Mismatch, Op, Outcome, Put, Remove, Revision, Revisions, Store, StoreEvent
from podium.errors import Conflict, Internal
from podium.objects.kinds import Key
from podium.telemetry.log import get_logger

SEALED_KINDS = frozenset({"Secret"})
BATCH = 200

_MAGIC = b"\0sealed1"
_NONCE_BYTES = 12
_HEADER_BYTES = len(_MAGIC) + ID_BYTES + _NONCE_BYTES

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far sealing anew is."""

    done: int
    total: int


class SealedStore:
    """See the module. Implements `master.store.protocol.Store` over another store."""

    def __init__(self, inner: Store, keyring: Keyring, kinds: frozenset[str] = SEALED_KINDS) -> None:
        self._inner, self._keyring, self._kinds = inner, keyring, kinds
        self._plain: dict[int, tuple[bytes, bytes]] = {}
        self._rotating = asyncio.Lock()

    @property
    def revision(self) -> Revision:
        return self._inner.revision

    async def get(self, key: Key) -> Entry | None:
        found = await self._inner.get(key)
        return self._opened(found) if found is not None else None

    async def list(self, kind: str = "", namespace: str = "") -> tuple[list[Entry], Revision]:
        entries, revision = await self._inner.list(kind, namespace)
        return [self._opened(entry) for entry in entries], revision

    async def commit(self, ops: Sequence[Op], *, durable: bool = True) -> Revisions:
        [outcome] = await self.commit_each([ops], durable=durable)
        if isinstance(outcome, Mismatch):
            raise outcome
        return outcome

    async def commit_each(self, transactions: Sequence[Sequence[Op]], *, durable: bool = True) -> Sequence[Outcome]:
        if not any(op.key.kind in self._kinds for ops in transactions for op in ops):
            return await self._inner.commit_each(transactions, durable=durable)
        sealed = [[self._sealed(op) for op in ops] for ops in transactions]
        try:
            outcomes = await self._inner.commit_each(sealed, durable=durable)
        except BaseException:
            self._forget(op for ops in sealed for op in ops)
            raise
        self._forget(op for ops, o in zip(sealed, outcomes, strict=True) if isinstance(o, Mismatch) for op in ops)
        return outcomes

    async def watch(self, after: Revision) -> AsyncIterator[Sequence[StoreEvent]]:
        async for events in self._inner.watch(after):
            if any(event.key.kind in self._kinds for event in events):
                yield [self._opened_event(event) for event in events]
            else:
                yield events

    async def compact(self, before: Revision) -> None:
        await self._inner.compact(before)
        await asyncio.to_thread(self._keyring.forget_before, before)

    async def backup(self, to: Path) -> Revision:
        return await self._inner.backup(to)

    async def close(self) -> None:
        await self._inner.close()

    # ------------------------------------------------------------ keys

    @property
    def keys(self) -> Sequence[SealingKey]:
        """All keys, oldest first; the last one seals."""
        return self._keyring.keys

    async def rotate(self, now: datetime.datetime) -> AsyncIterator[Progress]:
        """Make a new key and seal everything anew with it.

        Raises:
            Conflict: That is being done already.
        """
        if self._rotating.locked():
            raise Conflict("secrets are being sealed anew already")
        async with self._rotating:
            made = await asyncio.to_thread(self._keyring.add, now)
            log.info("made a sealing key", id=made.id)
        async for progress in self.reseal():
            yield progress

    async def reseal(self) -> AsyncIterator[Progress]:
        """Seal everything with the newest key that is not.

        Raises:
            Conflict: That is being done already.
        """
        if self._rotating.locked():
            raise Conflict("secrets are being sealed anew already")
        async with self._rotating:
            stale = [entry for kind in sorted(self._kinds) for entry in await self._stale(kind)]
            for start in range(0, len(stale), BATCH):
                yield Progress(start, len(stale))
                await self._seal_anew(stale[start : start + BATCH])
            # Whoever wrote meanwhile sealed with the newest key: nothing is left.
            await asyncio.to_thread(self._keyring.retire, self.revision)
            yield Progress(len(stale), len(stale))

    async def drop_unused(self) -> Sequence[str]:
        """Remove keys that nothing here is sealed with; returns their ids.

        Raises:
            Conflict: There is none.
        """
        return await asyncio.to_thread(self._keyring.drop_unused)

    async def _stale(self, kind: str) -> Sequence[Entry]:
        entries, _ = await self._inner.list(kind)
        return [entry for entry in entries if key_id(entry.value) != self._keyring.newest.id]

    async def _seal_anew(self, entries: Sequence[Entry]) -> None:
        puts = [(Put(entry.key, self._open(entry.key, entry.value), entry.revision),) for entry in entries]
        _ = await self.commit_each(puts)  # one that changed meanwhile is sealed with the newest key already

    # ------------------------------------------------------------ sealing

    def _sealed(self, op: Op) -> Op:
        if op.key.kind not in self._kinds:
            return op
        value = seal(self._keyring.newest, op.key, op.value)
        self._plain[id(value)] = (value, op.value)
        return Put(op.key, value, op.expect) if isinstance(op, Put) else Remove(op.key, op.expect, value)

    def _forget(self, ops: Iterable[Op]) -> None:
        for op in ops:
            self._plain.pop(id(op.value), None)

    def _opened(self, entry: Entry) -> Entry:
        if entry.key.kind not in self._kinds:
            return entry
        return Entry(entry.key, self._open(entry.key, entry.value), entry.created, entry.revision)

    def _opened_event(self, event: StoreEvent) -> StoreEvent:
        if event.key.kind not in self._kinds:
            return event
        ours = self._plain.pop(id(event.value), None)
        if ours is not None and ours[0] is event.value:
            return event._replace(value=ours[1])
        return event._replace(value=self._open(event.key, event.value))

    def _open(self, key: Key, value: bytes) -> bytes:
        return unseal(self._keyring.get, key, value)


def key_id(value: bytes) -> str:
    """The id of the key that a value is sealed with; empty when it is not sealed."""
    if not value.startswith(_MAGIC):
        return ""
    return value[len(_MAGIC) : len(_MAGIC) + ID_BYTES].hex()


def seal(with_key: SealingKey, key: Key, value: bytes) -> bytes:
    """A value that only opens with this key, and only for this name."""
    nonce = os.urandom(_NONCE_BYTES)
    header = _MAGIC + bytes.fromhex(with_key.id)
    return header + nonce + with_key.cipher.encrypt(nonce, value, header + _name(key))


def unseal(find: Callable[[str], SealingKey | None], key: Key, value: bytes) -> bytes:
    """The plain value; one that is not sealed as it is.

    Raises:
        Internal: The key is not there, or the value is damaged or another's.
    """
    id_ = key_id(value)
    if not id_:
        return value
    found = find(id_)
    if found is None:
        raise Internal(
            f"{key} is sealed with key {id_}, which is not in the master's encryption.keys: put that file back as it "
            "was backed up, from the master that wrote this store"
        )
    nonce = value[len(_MAGIC) + ID_BYTES : _HEADER_BYTES]
    try:
        return found.cipher.decrypt(nonce, value[_HEADER_BYTES:], value[: len(_MAGIC) + ID_BYTES] + _name(key))
    except InvalidTag as error:
        raise Internal(f"the stored value of {key} is damaged, or was written for another: restore a backup") from error


def _name(key: Key) -> bytes:
    return "\0".join(key).encode()
