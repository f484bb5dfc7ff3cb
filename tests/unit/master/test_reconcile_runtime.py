"""The runtime: changes become reconciliations, outcomes and failures come back in their time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from master.access.protocol import Change
from master.reconcile.protocol import After, Controller, Done, Outcome, Trigger
from master.reconcile.runtime import ControllerRuntime
from podium.aio.backoff import Backoff
from podium.errors import Conflict, Forbidden
from podium.objects.kinds import Key, key_of
from podium.v1.batch_pb2 import Job
from podium.v1.core_pb2 import Pod, Secret
from tests.support.access import FakeAccess
from tests.support.clock import VirtualClock, settle
from tests.support.policies import quota
from tests.support.workloads import pod


class _Scripted:
    """Answers each reconciliation with the next of `answers`, then with Done."""

    name = "scripted"
    workers = 2

    def __init__(self, *answers: Outcome | Exception) -> None:
        self.answers = list(answers)
        self.seen: list[Key] = []
        self.triggers: Sequence[Trigger] = (Trigger(Pod, self._keys),)

    def _keys(self, change: Change[Pod]) -> Iterable[Key]:
        return (key_of(change.new),)

    async def reconcile(self, key: Key) -> Outcome:
        self.seen.append(key)
        answer = self.answers.pop(0) if self.answers else Done()
        if isinstance(answer, Exception):
            raise answer
        return answer


class _SelfWaking(_Scripted):
    name = "self-waking"

    async def watch(self, wake: Callable[[Key], None]) -> None:
        wake(Key("Fleet", "", ""))
        await asyncio.Event().wait()


@asynccontextmanager
async def _running(
    access: FakeAccess, clock: VirtualClock, *controllers: Controller
) -> AsyncIterator[ControllerRuntime]:
    runtime = ControllerRuntime(reader=access, clock=clock, backoff=Backoff(initial=1, maximum=8))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(runtime.run(controllers))
        await settle()
        yield runtime
        task.cancel()


KEY = Key("Pod", "default", "p")


async def test_what_exists_and_what_changes_is_reconciled() -> None:
    access, controller = FakeAccess(), _Scripted()
    access.put(pod("before"))
    async with _running(access, VirtualClock(), controller) as runtime:
        assert controller.seen == [Key("Pod", "default", "before")]
        access.put(pod("after"))
        access.put(Secret())
        await settle()
        assert controller.seen[1:] == [Key("Pod", "default", "after")]
        assert runtime.idle


async def test_what_a_controller_of_another_kind_has_is_not_asked_about() -> None:
    access, mine, theirs, anybodys = FakeAccess(), _Scripted(), _Scripted(), _Scripted()
    mine.triggers = (Trigger(Pod, mine._keys, controller="ReplicaSet"),)
    theirs.triggers = (Trigger(Pod, theirs._keys, controller="Job"),)

    def controlled(name: str, kind: str) -> Pod:
        made = pod(name)
        if kind:
            made.metadata.owner_references.add(kind=kind, name="owner", uid="u", controller=True)
        return made

    def seen() -> list[list[str]]:
        found = [[key.name for key in each.seen] for each in (mine, theirs, anybodys)]
        for each in (mine, theirs, anybodys):
            each.seen.clear()
        return found

    async with _running(access, VirtualClock(), mine, theirs, anybodys):
        access.put(controlled("orphan", ""))
        await settle()
        assert seen() == [[], [], ["orphan"]], "there is nobody who could adopt it"
        job = Job()
        job.metadata.name, job.metadata.namespace = "j", "default"
        access.put(job)
        access.put(controlled("orphan", ""))
        access.put(controlled("a", "ReplicaSet"))
        await settle()
        assert seen() == [["a"], ["orphan"], ["orphan", "a"]]
        access.put(controlled("a", ""))
        await settle()
        assert seen() == [["a"], ["a"], ["a"]], "let go: whoever may take it, and who had it"
        access.put(controlled("a", "Job"))
        await settle()
        assert seen() == [[], ["a"], ["a"]]
        access.put(controlled("a", "Job"))
        await settle()
        assert seen() == [[], ["a"], ["a"]]


async def test_after_looks_again_in_time() -> None:
    access, clock, controller = FakeAccess(), VirtualClock(), _Scripted(After(5))
    access.put(pod("p"))
    async with _running(access, clock, controller):
        await clock.advance(4.9)
        assert controller.seen == [KEY]
        await clock.advance(0.2)
        assert controller.seen == [KEY, KEY]


async def test_failures_come_back_with_back_off_until_one_succeeds() -> None:
    access, clock = FakeAccess(), VirtualClock()
    controller = _Scripted(ValueError("a bug"), Conflict("stale"), TimeoutError(), Done())
    access.put(pod("p"))
    async with _running(access, clock, controller):
        for seconds, times in ((0, 1), (1, 2), (2, 3), (3.9, 3), (0.2, 4), (60, 4)):
            await clock.advance(seconds)
            assert len(controller.seen) == times


async def test_a_failing_key_stops_no_other() -> None:
    access, controller = FakeAccess(), _Scripted(ValueError("a bug"))
    access.put(pod("a"))
    async with _running(access, VirtualClock(), controller):
        access.put(pod("b"))
        await settle()
        assert Key("Pod", "default", "b") in controller.seen


async def test_a_controller_may_wake_itself() -> None:
    controller = _SelfWaking()
    async with _running(FakeAccess(), VirtualClock(), controller):
        assert controller.seen == [Key("Fleet", "", "")]


async def test_what_a_quota_refused_is_tried_again_as_soon_as_there_is_room() -> None:
    full = Forbidden("exceeded quota", {"quota": "quota"})
    access, clock, controller = FakeAccess(), VirtualClock(), _Scripted(full, full)
    governing = quota({"pods": 2})
    governing.status.used["pods"] = "2"
    async with _running(access, clock, controller):
        access.put(governing)
        access.put(pod("p"))
        await settle()
        assert controller.seen == [KEY]
        governing.status.used["pods"] = "1"
        access.put(governing)
        await settle()
        assert controller.seen == [KEY] * 2, "somebody left"
        governing.spec.hard["pods"] = "1"
        access.put(governing)
        governing.status.used["pods"] = "3"
        access.put(governing)
        await settle()
        assert len(controller.seen) == 2, "less room is no reason"
        access.remove(Key("ResourceQuota", "default", "quota"))
        await settle()
        assert controller.seen == [KEY] * 3
        access.put(governing)
        access.remove(Key("ResourceQuota", "default", "quota"))
        await settle()
        assert len(controller.seen) == 3, "it has succeeded"
