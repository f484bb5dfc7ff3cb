"""Reader and Writer over dictionaries: what session tests need of `master.access`, without store or admission."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from master.access.protocol import (
    Bind,
    Change,
    ChangeType,
    Create,
    Delete,
    Mutate,
    Principal,
    Subscription,
    Update,
    Write,
)
from podium.errors import AlreadyExists, Conflict, NotFound, PodiumError
from podium.objects.kinds import Key, key_of, kind_of
from podium.objects.meta import new_uid
from podium.objects.owners import controller_of
from podium.objects.selectors import Selector
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import DeleteOptions

M = TypeVar("M", bound=Message)


class _Subscription:
    def __init__(self, first: Sequence[Change[Any]]) -> None:
        self.batches: asyncio.Queue[Sequence[Change[Any]]] = asyncio.Queue()
        self.batches.put_nowait(first)

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return

    async def __aiter__(self) -> AsyncIterator[Sequence[Change[Any]]]:
        while True:
            yield await self.batches.get()


class FakeAccess:
    """Both doors. `broken` makes every write fail; `written` counts real changes by kind."""

    def __init__(self) -> None:
        self.objects: dict[Key, Any] = {}
        self.revision = 0
        self.broken: PodiumError | None = None
        self.writes: list[Key] = []
        self.batches: list[int] = []
        self._subscribers: list[tuple[set[str], _Subscription]] = []

    # ------------------------------------------------------------ Reader

    def get(self, kind: type[M], namespace: str, name: str) -> M | None:
        found: M | None = self.objects.get(Key(kind_of(kind).name, namespace, name))
        return found

    def list(self, kind: type[M], namespace: str = "", selector: Selector | None = None) -> list[M]:
        wanted = kind_of(kind).name
        return [o for k, o in sorted(self.objects.items()) if k.kind == wanted and namespace in ("", k.namespace)]

    def count(self, kind: type[Message], namespace: str = "") -> int:
        return len(self.list(kind, namespace))

    def longest_unchanged(self, kind: type[M]) -> Iterator[M]:
        return iter(sorted(self.list(kind), key=lambda o: int(o.metadata.resource_version)))  # type: ignore[attr-defined]

    def owned_by(self, kind: type[M], uid: str) -> builtins.list[M]:
        return [o for o in self.list(kind) if any(ref.uid == uid for ref in o.metadata.owner_references)]  # type: ignore[attr-defined]

    def versions_owned_by(self, kind: type[Message], uid: str) -> builtins.list[tuple[Key, int]]:
        return [(key_of(o), int(o.metadata.resource_version)) for o in self.owned_by(kind, uid)]  # type: ignore[attr-defined]

    def orphans(self, kind: type[M], namespace: str) -> builtins.list[M]:
        return [o for o in self.list(kind, namespace) if controller_of(o) is None]

    def pods_on(self, node: str) -> builtins.list[Pod]:
        return [p for p in self.list(Pod) if p.spec.node_name == node]

    def everything_in(self, namespace: str) -> Iterable[Message]:
        return [o for k, o in self.objects.items() if k.namespace == namespace]

    def subscribe(self, *kinds: type[Message]) -> Subscription:
        names = {kind_of(k).name for k in kinds}
        first = [Change(ChangeType.ADDED, None, o, self.revision) for k, o in self.objects.items() if k.kind in names]
        subscription = _Subscription(first)
        self._subscribers.append((names, subscription))
        return subscription

    # ------------------------------------------------------------ by the test itself

    def put(self, obj: M) -> M:
        """Store an object, as somebody else's write."""
        key = key_of(obj)
        copy: Any = type(obj)()
        copy.CopyFrom(obj)
        old = self.objects.get(key)
        copy.metadata.uid = copy.metadata.uid or (old.metadata.uid if old is not None else new_uid())
        self.revision += 1
        copy.metadata.resource_version = str(self.revision)
        self.objects[key] = copy
        self.writes.append(key)
        self._tell(ChangeType.ADDED if old is None else ChangeType.MODIFIED, old, copy)
        stored: M = copy
        return stored

    def remove(self, key: Key) -> None:
        """Remove an object, as somebody else's write."""
        old = self.objects.pop(key)
        self.revision += 1
        self.writes.append(key)
        self._tell(ChangeType.DELETED, old, old)

    def _tell(self, type_: ChangeType, old: Any, new: Any) -> None:
        for names, subscription in self._subscribers:
            if kind_of(new).name in names:
                subscription.batches.put_nowait([Change(type_, old, new, self.revision)])

    # ------------------------------------------------------------ Writer

    async def create(self, obj: M, *, by: Principal, dry_run: bool = False, field_manager: str = "") -> M:
        await self._durable()
        if key_of(obj) in self.objects:
            raise AlreadyExists(f"{key_of(obj)} exists")
        return self.put(obj)

    async def update(
        self, obj: M, *, by: Principal, subresource: str = "", dry_run: bool = False, field_manager: str = ""
    ) -> M:
        await self._durable()
        return self.put(obj)

    async def delete(
        self, key: Key, *, by: Principal, options: DeleteOptions | None = None, dry_run: bool = False
    ) -> Message:
        await self._durable()
        found: Message | None = self.objects.get(key)
        if found is None:
            raise NotFound(f"{key} not found")
        uid = options.preconditions.uid if options is not None else ""
        if uid and uid != self.objects[key].metadata.uid:
            raise Conflict(f"{key} is another one")
        self.remove(key)
        return found

    async def mutate(
        self, kind: type[M], namespace: str, name: str, change: Any, *, by: Principal, subresource: str = ""
    ) -> M:
        await self._durable()
        mutated: M = self._mutate(Key(kind_of(kind).name, namespace, name), change)
        return mutated

    def _mutate(self, key: Key, change: Any) -> Any:
        found = self.objects.get(key)
        if found is None:
            raise NotFound(f"{key} not found")
        copy = type(found)()
        copy.CopyFrom(found)
        change(copy)
        return found if copy == found else self.put(copy)

    async def write_many(self, writes: Sequence[Write], *, by: Principal) -> builtins.list[Message | PodiumError]:
        await self._durable()
        self.batches.append(len(writes))
        return [await self._one(write, by) for write in writes]

    async def write_together(self, writes: Sequence[Write], *, by: Principal) -> builtins.list[Message]:
        await self._durable()
        before = dict(self.objects)
        written: builtins.list[Message] = []
        for write in writes:
            result = await self._one(write, by)
            if isinstance(result, PodiumError):
                self.objects = before
                raise result
            written.append(result)
        return written

    async def _one(self, write: Write, by: Principal) -> Message | PodiumError:
        try:
            match write:
                case Create(obj):
                    return await self.create(obj, by=by)
                case Update(obj):
                    return await self.update(obj, by=by)
                case Delete(key, options):
                    return await self.delete(key, by=by, options=options)
                case Mutate(key, change):
                    mutated: Message = self._mutate(key, change)
                    return mutated
                case Bind():
                    return Conflict("not in this fake")
        except PodiumError as error:
            return error

    async def _durable(self) -> None:
        await asyncio.sleep(0)
        if self.broken is not None:
            raise self.broken
