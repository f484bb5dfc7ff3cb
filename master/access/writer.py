"""The way to write: authorize → decide (defaults, validation, semantics) → commit → wait until readers see it.

Every write is an `Attempt`: a plan is made from the cache, without awaiting, and committed on condition that the object
is still at the revision that the plan was made from. When it is not, the plan is made again, and decides anew: a second
create of a name is refused then, an update with a resourceVersion is a conflict, an unconditional one is repeated.

Many writes are planned some at a time, and handed to the store, which writes them while the next are planned; of those
that are about the same object, the later wait until the earlier are done.

What a write takes of quotas and disruption budgets is held from its planning until it is visible or has failed. Whether
one whose caller has gone (cancelled) reaches the disk is not known until a later commit of the store has returned, for
commits take effect in order: until then its hold stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, assert_never

from google.protobuf.message import Message

from master.access.addresses import ServiceAddresses, ServiceRanges
from master.access.create import plan_create
from master.access.delete import plan_delete
from master.access.eviction import Evictions, plan_eviction
from master.access.holds import Hold
from master.access.merging import Merge, read_ahead, read_manifest
from master.access.planned import Attempt, Planned, Situation, copy_of
from master.access.protocol import Bind, Create, Delete, Mutate, Principal, Update, Write
from master.access.quotas import QuotaLedger
from master.access.reader import not_found
from master.access.scope import settle_scope
from master.access.subresources import plan_bind, rescaled
from master.access.surroundings import Policies
from master.access.update import plan_update
from master.access.writes import ApiWrite, Apply, Evict, Patch, Rescale
from master.auth.authorizer import Authorizer
from master.cache.cache import WatchCache
from master.cache.item import Item
from master.store.protocol import Mismatch, Op, Outcome, Put, Store
from podium.aio.clock import Clock
from podium.codec.apply import server_side_apply
from podium.codec.patch import apply_patch
from podium.errors import BadRequest, Conflict, PodiumError
from podium.objects.kinds import Key, key_of, kind_of
from podium.objects.meta import timestamp
from podium.v1.meta_pb2 import DeleteOptions

M = TypeVar("M", bound=Message)
_Outcome = Message | PodiumError | Mismatch

ATTEMPTS = 16
TOGETHER = 100
"""Writes that are planned in one step of the event loop, some five milliseconds of it, and committed as one group."""


class StoreWriter:
    """See `master.access.protocol.Writer`, and the module. `cache` is loaded.

    Attributes:
        quotas: What is used of every quota.
    """

    def __init__(
        self,
        *,
        store: Store,
        cache: WatchCache,
        authorizer: Authorizer,
        clock: Clock,
        services: ServiceRanges | None = None,
    ) -> None:
        self._store = store
        self._addresses = ServiceAddresses(services)
        self._cache = cache
        self._authorizer = authorizer
        self._clock = clock
        self.quotas = QuotaLedger(cache, clock)
        self._policies = Policies(cache)
        self._evictions = Evictions(cache)
        self._doubtful: list[Hold] = []
        self._merging = asyncio.Lock()

    async def create(self, obj: M, *, by: Principal, dry_run: bool = False, field_manager: str = "") -> M:
        created: M = await self.write(Create(obj, dry_run, field_manager), by=by)
        return created

    async def update(
        self, obj: M, *, by: Principal, subresource: str = "", dry_run: bool = False, field_manager: str = ""
    ) -> M:
        updated: M = await self.write(Update(obj, subresource, dry_run, field_manager), by=by)
        return updated

    async def delete(
        self, key: Key, *, by: Principal, options: DeleteOptions | None = None, dry_run: bool = False
    ) -> Message:
        last: Message = await self.write(Delete(key, options or DeleteOptions(), dry_run), by=by)
        return last

    async def mutate(
        self,
        kind: type[M],
        namespace: str,
        name: str,
        change: Callable[[M], None],
        *,
        by: Principal,
        subresource: str = "",
    ) -> M:
        mutated: M = await self.write(Mutate(Key(kind_of(kind).name, namespace, name), change, subresource), by=by)
        return mutated

    async def write(self, write: ApiWrite, *, by: Principal) -> Any:
        """Make one write, which may be one of the API's own; returns the object, or its last state.

        Raises:
            PodiumError: As the method of `Writer` for such a write does.
        """
        read = await read_ahead(write, self._merging)
        attempt = self._attempt(read, self._situation(by))
        await self._settle_doubts()
        for _ in range(ATTEMPTS):
            await self._merge([attempt])
            planned = self._admitted(attempt)
            if planned.op is None or attempt.dry_run:
                return planned.unwritten
            with self._held([planned]):
                [outcome] = await self._commit([planned], durable=planned.durable)
            if isinstance(outcome, PodiumError):
                raise outcome
            if not isinstance(outcome, Mismatch):
                return outcome
        raise _contended(attempt.key)

    async def write_many(self, writes: Sequence[ApiWrite], *, by: Principal) -> list[Message | PodiumError]:
        """See `Writer.write_many`; takes the API's own writes, too."""
        outcomes: list[Message | PodiumError | None] = [None] * len(writes)
        situation = self._situation(by)
        attempts: dict[int, Attempt] = {}
        for index, write in enumerate(writes):
            try:
                attempts[index] = self._attempt(await read_ahead(write, self._merging), situation)
            except PodiumError as error:
                outcomes[index] = error
        await self._settle_doubts()
        lost = dict.fromkeys(attempts, 0)
        while attempts:
            for index, outcome in (await self._round(attempts)).items():
                if isinstance(outcome, Mismatch):
                    lost[index] += 1
                    if lost[index] < ATTEMPTS:
                        continue
                    outcome = _contended(attempts[index].key)
                outcomes[index] = outcome
                del attempts[index]
        return [outcome for outcome in outcomes if outcome is not None]

    async def write_together(self, writes: Sequence[Write], *, by: Principal) -> list[Message]:
        """See `Writer.write_together`."""
        situation = self._situation(by)
        attempts = [self._attempt(write, situation) for write in writes]
        await self._settle_doubts()
        for _ in range(ATTEMPTS):
            planned = self._admitted_all(attempts)
            changing = [each for each in planned if each.op is not None]
            with self._held(changing):
                outcome = await self._commit_together(changing) if changing else []
            if not isinstance(outcome, Mismatch):
                return [each.message for each in planned]
        raise _contended(attempts[0].key)

    def _admitted_all(self, attempts: Sequence[Attempt]) -> list[Planned]:
        admitted: list[Planned] = []
        try:
            admitted.extend(map(self._admitted, attempts))
        except PodiumError:
            _release(admitted)
            raise
        return admitted

    def _situation(self, by: Principal) -> Situation:
        now = self._clock.now()
        return Situation(
            by=by, now=now, stamp=timestamp(now), cache=self._cache, policies=self._policies, addresses=self._addresses
        )

    # ------------------------------------------------------------ one round

    async def _round(self, attempts: dict[int, Attempt]) -> dict[int, _Outcome]:
        """Plan and commit what can be now; an attempt without an outcome waits for one before it on the same key."""
        outcomes: dict[int, _Outcome] = {}
        committing: list[tuple[list[int], asyncio.Task[Sequence[_Outcome]]]] = []
        held: list[Planned] = []
        with self._held(held):
            async with asyncio.TaskGroup() as commits:
                first = list(_first_of_each_key(attempts))
                for start in range(0, len(first), TOGETHER):
                    chunk = {i: attempts[i] for i in first[start : start + TOGETHER]}
                    await self._merge(chunk.values())
                    for durable, group in self._planned(chunk, outcomes, held).items():
                        commit = commits.create_task(self._commit(list(group.values()), durable=durable))
                        committing.append((list(group), commit))
                    await asyncio.sleep(0)  # the store writes these while the next are planned
        for indices, commit in committing:
            outcomes.update(zip(indices, commit.result(), strict=True))
        return outcomes

    def _planned(
        self, attempts: dict[int, Attempt], outcomes: dict[int, _Outcome], held: list[Planned]
    ) -> dict[bool, dict[int, Planned]]:
        """What is to be committed, durably or not; what has an outcome already is put with the `outcomes`."""
        groups: dict[bool, dict[int, Planned]] = {}
        for index, attempt in attempts.items():
            try:
                planned = self._admitted(attempt)
            except PodiumError as error:
                outcomes[index] = error
                continue
            if planned.hold is not None:
                held.append(planned)
            if planned.op is None or attempt.dry_run:
                outcomes[index] = planned.unwritten
            else:
                groups.setdefault(planned.durable, {})[index] = planned
        return groups

    async def _merge(self, attempts: Iterable[Attempt]) -> None:
        """Work out beside the event loop what of their plans is much work."""
        for attempt in attempts:
            if attempt.merge is not None:
                await attempt.merge.prepare(self._cache.get(attempt.key), self._merging)

    def _admitted(self, attempt: Attempt) -> Planned:
        """The attempt's plan, if quotas admit it, with what it takes of them."""
        planned = attempt.plan()
        if isinstance(planned.op, Put):
            hold = self.quotas.hold(planned.op.key, planned.message, dry_run=attempt.dry_run)
            if hold is not None:
                return planned._replace(hold=hold)
        if planned.evicts and planned.op is not None and not attempt.dry_run:
            return planned._replace(hold=self._evictions.hold(planned.op.key, planned.message))
        return planned

    @contextmanager
    def _held(self, group: Sequence[Planned]) -> Iterator[None]:
        """When the body ends without outcomes (its caller has gone), whether the writes will be made is not known."""
        try:
            yield
        except BaseException:
            self._doubtful += [planned.hold for planned in group if planned.hold is not None and planned.hold.standing]
            raise

    async def _settle_doubts(self) -> None:
        """Wait until writes whose callers have gone are visible, or will never be."""
        if not self._doubtful:
            return
        holds, self._doubtful = self._doubtful, []
        try:
            _ = await self._store.commit(())
            await self._cache.wait_for(self._store.revision)
        except BaseException:
            self._doubtful += holds
            raise
        for hold in holds:
            hold.release()

    async def _commit(self, group: Sequence[Planned], *, durable: bool) -> Sequence[_Outcome]:
        """Commit writes that are independent of each other."""
        try:
            committed = await self._submit(group, [(op,) for op in _ops(group)], durable=durable)
        except PodiumError as error:
            return [error] * len(group)
        return [self._settle(planned, outcome) for planned, outcome in zip(group, committed, strict=True)]

    async def _commit_together(self, group: Sequence[Planned]) -> list[Message] | Mismatch:
        """Commit all of these writes, or none. Raises: PodiumError."""
        [outcome] = await self._submit(group, [_ops(group)], durable=True)
        if isinstance(outcome, Mismatch):
            self._take_back(group)
            return outcome
        return [_written(planned, revision) for planned, revision in zip(group, outcome, strict=True)]

    async def _submit(
        self, group: Sequence[Planned], transactions: Sequence[Sequence[Op]], *, durable: bool
    ) -> Sequence[Outcome]:
        for planned, op in zip(group, _ops(group), strict=True):
            self._cache.lend(op.value, planned.message)
        try:
            committed = await self._store.commit_each(transactions, durable=durable)
        except PodiumError:
            self._take_back(group)
            _release(group)
            raise
        except asyncio.CancelledError:
            self._take_back(group)
            raise
        # The store tells events in order: everything that made us lose, too, is before its newest revision.
        await self._cache.wait_for(self._store.revision)
        _release(group)
        return committed

    def _settle(self, planned: Planned, outcome: Outcome) -> Message | Mismatch:
        if isinstance(outcome, Mismatch):
            self._take_back([planned])
            return outcome
        return _written(planned, outcome[0])

    def _take_back(self, group: Sequence[Planned]) -> None:
        for planned in group:
            if planned.op is not None:
                self._cache.take_back(planned.op.value)

    # ------------------------------------------------------------ from a write to an attempt

    def _attempt(self, write: ApiWrite, situation: Situation) -> Attempt:
        by = situation.by
        match write:
            case Create():
                return self._create(write, situation)
            case Update():
                return self._update(write, situation)
            case Delete(key, options, dry_run):
                self._check(by, "delete", key)
                return Attempt(key, lambda: plan_delete(self._current(key), options, situation), dry_run)
            case Mutate(key, change, subresource):
                self._check(by, "update", key, subresource)
                return Attempt(key, lambda: self._mutated(key, change, subresource, situation))
            case Bind(namespace, name, uid, node, dry_run):
                key = Key("Pod", namespace, name)
                self._check(by, "create", key, "binding")
                return Attempt(key, lambda: plan_bind(self._current(key), uid, node, situation), dry_run)
            case Evict():
                key = Key("Pod", write.namespace, write.name)
                self._check(by, "create", key, "eviction")
                return Attempt(
                    key,
                    lambda: plan_eviction(self._current(key), write.options, situation, self._evictions),
                    write.dry_run,
                )
            case Patch():
                return self._patch(write, situation)
            case Apply():
                return self._apply(write, situation)
            case Rescale():
                return self._rescale(write, situation)
            case _:
                assert_never(write)

    def _create(self, write: Create, situation: Situation) -> Attempt:
        obj: Any = write.object if write.owned else _copied(write.object)
        settle_scope(kind_of(obj), obj.metadata)
        key = key_of(obj)
        self._check(situation.by, "create", key)
        generated = not obj.metadata.name and bool(obj.metadata.generate_name)
        return Attempt(key, lambda: plan_create(obj, situation, generated=generated), write.dry_run)

    def _update(self, write: Update, situation: Situation) -> Attempt:
        key = key_of(write.object)
        self._check(situation.by, "update", key, write.subresource)

        def plan() -> Planned:
            # Planning completes the object, preconditions included: a plan that is made again needs it as it came.
            obj = _copied(write.object)
            return plan_update(
                obj, self._current(key), situation, subresource=write.subresource, manager=write.field_manager
            )

        return Attempt(key, plan, write.dry_run)

    def _mutated(self, key: Key, change: Callable[[Any], None], subresource: str, situation: Situation) -> Planned:
        current = self._current(key)
        obj = copy_of(current)
        obj.metadata.resource_version = str(current.revision)
        change(obj)
        if obj == current.message:
            return Planned(current.message)
        return plan_update(obj, current, situation, subresource=subresource, manager="")

    def _patch(self, write: Patch, situation: Situation) -> Attempt:
        self._check(situation.by, "patch", write.key, write.subresource)

        def patched(live: Any | None) -> Any:
            if live is None:
                raise not_found(write.key)
            return apply_patch(live, write.type, write.patch)

        merge = Merge(patched, len(write.patch))

        def plan() -> Planned:
            current = self._current(write.key)
            new = merge.of(current)
            if key_of(new) != write.key:
                raise BadRequest("a patch cannot change an object's name or namespace")
            return plan_update(new, current, situation, subresource=write.subresource, manager=write.field_manager)

        return Attempt(write.key, plan, write.dry_run, merge)

    def _apply(self, write: Apply, situation: Situation) -> Attempt:
        if not write.field_manager:
            raise BadRequest("apply needs a fieldManager: the name that owns what the manifest sets")
        manifest, named = write.read or read_manifest(write.manifest)
        settle_scope(kind_of(named), named.metadata)
        key = key_of(named)
        if not key.name:
            raise BadRequest("apply needs metadata.name")
        if key.namespace:
            manifest["metadata"]["namespace"] = key.namespace
        self._check(situation.by, "patch", key, write.subresource)
        merge = Merge(
            lambda live: server_side_apply(live, manifest, write.field_manager, write.force, situation.now),
            len(write.manifest),
        )

        def plan() -> Planned:
            current = self._cache.get(key)
            wanted = merge.of(current)
            if current is None:
                self._check(situation.by, "create", key)
                return plan_create(wanted, situation, generated=False)
            return plan_update(
                wanted,
                current,
                situation,
                subresource=write.subresource,
                manager=write.field_manager,
                applied=True,
            )

        return Attempt(key, plan, write.dry_run, merge)

    def _rescale(self, write: Rescale, situation: Situation) -> Attempt:
        self._check(situation.by, "update", write.key, "scale")

        def plan() -> Planned:
            current = self._current(write.key)
            return plan_update(
                rescaled(current, write.scale), current, situation, subresource="", manager=write.field_manager
            )

        return Attempt(write.key, plan, write.dry_run)

    def _check(self, by: Principal, verb: str, key: Key, subresource: str = "") -> None:
        self._authorizer.check(by, verb, key.kind, key.namespace, key.name, subresource)

    def _current(self, key: Key) -> Item:
        item = self._cache.get(key)
        if item is None:
            raise not_found(key)
        return item


def _first_of_each_key(attempts: dict[int, Attempt]) -> Iterator[int]:
    """Indices of the attempts that need not wait for another; a name that is yet to be generated is like no other."""
    taken: set[Key] = set()
    for index, attempt in attempts.items():
        if attempt.key not in taken:
            yield index
            if attempt.key.name:
                taken.add(attempt.key)


def _ops(group: Sequence[Planned]) -> list[Op]:
    return [planned.op for planned in group if planned.op is not None]


def _written(planned: Planned, revision: int) -> Message:
    message: Message = planned.message
    planned.message.metadata.resource_version = str(revision)
    return message


def _release(group: Iterable[Planned]) -> None:
    for planned in group:
        if planned.hold is not None:
            planned.hold.release()


def _contended(key: Key) -> Conflict:
    return Conflict(f'{key.kind} "{key.name}" is being changed by others all the time; try again', {"kind": key.kind})


def _copied(message: Message) -> Message:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied
