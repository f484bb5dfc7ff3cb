"""One pod's worker: observe → plan → launch → report, woken by whatever changed, idle otherwise.

A worker is an object, not a task: an idle pod costs its memory and no more. `wake()` schedules one step of the event
loop, however often it is called before that. A step is synchronous: freeze what is known, plan, launch each action as
a task of its slot, report the status if it differs from the last one, and set one alarm for the plan's `recheck_at`.
When a task ends the worker wakes. The newest assignment overwrites the one before; there is no queue of intents.

A listing that was taken while this worker's own actions changed the pod is out of date, and is dropped and taken again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial

from nodelet.pods.actions import (
    CONTAINER_SLOTS,
    Action,
    CreateSandbox,
    KillContainer,
    RemoveContainer,
    RemoveSandbox,
    StartContainer,
    StopContainer,
    hook_slot,
    stop_slot,
)
from nodelet.pods.blueprint import Blueprint, blueprint
from nodelet.pods.context import PodContext
from nodelet.pods.credentials import pull_secrets
from nodelet.pods.effects import Effects
from nodelet.pods.grant import DEFERRED, Grant, grant, is_resized
from nodelet.pods.lives import is_starting
from nodelet.pods.memory import PodMemory
from nodelet.pods.meters import POD_START, PROBE_FAILURES
from nodelet.pods.observed import EVICTED, Observed, Verdict
from nodelet.pods.plan import plan
from nodelet.pods.probing import PodProbes
from nodelet.pods.protocol import EventSink, StatusSink
from nodelet.pods.spec import NodeFacts
from nodelet.pods.status import pod_status
from nodelet.probes.prober import ProbeTools
from nodelet.probes.tally import ProbeKind
from nodelet.runtime.protocol import Exec, Listing, Runtime, RuntimeDown, RuntimeEvent, State
from nodelet.volumes.protocol import PodVolumes
from podium.objects.meta import is_terminating, qualified_name
from podium.objects.pod import FAILED, PENDING, RUNNING, SUCCEEDED, Amounts, requests
from podium.objects.references import Objects, used, volumes_differ
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Pod, PodStatus

log = get_logger(__name__)

_LISTING = "listing"
_CHANGES_RUNTIME = (CreateSandbox, RemoveSandbox, StartContainer, RemoveContainer)
_PENDING_SECONDS = 2.0
"""The least time between reports of a pod that is Pending and well: most run by then, which saves writes for each."""
_AFTER_BUG_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTools:
    """What all workers of a nodelet share.

    `epoch()` counts full listings begun; `admit` may end a pod at a step; `taken` is what other pods were granted, and
    `on_room` is told when that has become less.
    """

    runtime: Runtime
    effects: Effects
    volumes: PodVolumes
    probe: ProbeTools
    statuses: StatusSink
    events: EventSink
    node: NodeFacts
    epoch: Callable[[], int]
    on_runtime_down: Callable[[], None]
    on_gone: Callable[[PodWorker], None]
    admit: Callable[[PodWorker], None] = lambda worker: None
    taken: Callable[[PodWorker], Amounts] = lambda worker: {}
    on_room: Callable[[], None] = lambda: None


class PodWorker:
    """See the module."""

    def __init__(self, pod: Pod, objects: Objects, tools: WorkerTools) -> None:
        self._tools = tools
        host_address = tools.node.ip if pod.spec.host_network else ""
        mounted = None if pod.spec.volumes or tools.volumes.holds(pod.metadata.uid) else False
        memory = PodMemory(tools.probe.clock, pod, host_address, mounted=mounted)
        memory.limit_activity(pod.spec)
        self._wanted = pod
        granted = self._decide(pod, pod.status)
        memory.refusal, blue = granted.refusal, blueprint(granted.pod)
        self._pod = PodContext(blue=blue, memory=memory, objects=used(blue.references, objects))
        self._probes = PodProbes(memory, tools.probe, _exec(tools.runtime), self.wake, self._unhealthy)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._actions: dict[str, Action] = {}
        self._touched = tools.epoch()
        self._changes = 0
        self._relist = False
        self._scheduled = self._closed = self._gone = self._final = self._assigned = False
        self._over = asyncio.Event()
        self._reported: PodStatus | None = None
        self._told: float | None = None
        self._born = tools.probe.clock.monotonic()

    # ------------------------------------------------------------ what others tell it

    @property
    def pod(self) -> Pod:
        """The newest assignment."""
        return self._wanted

    @property
    def granted(self) -> Amounts:
        """What the pod may have of its node for now; nothing when it is over."""
        over = self.status.phase in (SUCCEEDED, FAILED)
        return {} if over else requests(self._pod.blue.pod.spec)

    @property
    def memory(self) -> PodMemory:
        """For lookups only (which container is it?)."""
        return self._pod.memory

    @property
    def status(self) -> PodStatus:
        """The status reported last."""
        return self._reported or self.pod.status

    def pod_with_status(self) -> Pod:
        """The pod as the world sees it: the newest assignment with the status reported last."""
        return Pod(metadata=self.pod.metadata, spec=self.pod.spec, status=self.status)

    @property
    def gone(self) -> bool:
        """Whether nothing of the pod is left."""
        return self._gone

    def assign(self, pod: Pod, objects: Objects) -> None:
        """The pod as it should be now; overwrites what was assigned before."""
        earlier, blue = self.pod, self._pod.blue if pod is self.pod else self._blueprint(pod)
        before, after = self._pod.objects, used(blue.references, objects)
        if self._assigned and pod is earlier and before == after:
            return  # the news is about other pods of the node
        self._assigned = True
        self._reconsider(earlier, before, pod, after)
        self._wanted, self._pod.blue, self._pod.objects = pod, blue, after
        if pod is not earlier:
            self.memory.limit_activity(pod.spec)
        if is_terminating(pod):
            self._remove_within(self._pod.blue.grace, drains=True)
        self.wake()

    def room_changed(self) -> None:
        """Other pods have been granted less, or are gone: a resize that waits for that is decided anew."""
        refusal = self.memory.refusal
        if refusal is not None and refusal.reason == DEFERRED and not self._closed:
            self._pod.blue = self._blueprint(self.pod)
            if self.memory.refusal != refusal:
                self.wake()

    def _blueprint(self, pod: Pod) -> Blueprint:
        """Of the pod with the resources that it may have."""
        granted = self._decide(pod, self.status)
        self.memory.refusal = granted.refusal
        return blueprint(granted.pod)

    def _decide(self, pod: Pod, status: PodStatus) -> Grant:
        if not is_resized(pod, status):
            return Grant(pod)
        return grant(pod, status, self._tools.taken(self), self._tools.node.allocatable)

    def _reconsider(self, earlier: Pod, before: Objects, pod: Pod, after: Objects) -> None:
        """Try again at once what may have failed for lack of what is here now."""
        if before != after:
            self.memory.forgive(CONTAINER_SLOTS)
        if pull_secrets(pod, after) != pull_secrets(earlier, before):
            self.memory.forgive("image/")
        if volumes_differ(earlier, before, pod, after):
            self.memory.volumes_changed()

    def remove(self) -> None:
        """The pod must go, for it is not assigned any more."""
        self._remove_within(self._pod.blue.grace, drains=False)

    def _remove_within(self, grace: float, *, drains: bool) -> None:
        self.memory.remove_within(grace, drains=drains)
        self.wake()

    def drained(self, *, was_led: bool) -> None:
        """No node leads to the pod any more, to which services led or did not."""
        self.memory.drained(was_led=was_led)
        if self.memory.removal_deadline is not None:
            self.wake()

    def fail(self, reason: str, message: str, grace: float) -> None:
        """End the pod for a reason of the node's own; the first reason stays."""
        if self.memory.verdict is None:
            deadline = self._tools.probe.clock.monotonic() + grace
            self.memory.verdict = Verdict(reason=reason, message=message, deadline=deadline)
            self.wake()

    def evict(self, message: str) -> None:
        """End the pod at once: the host is short of something."""
        self._tools.events.event(self.pod, "Warning", EVICTED, message)
        self.fail(EVICTED, message, 0)

    def offer(self, listing: Listing, epoch: int) -> None:
        """This pod's part of a full listing that began at `epoch`."""
        if self._changing() or self._touched >= epoch:
            self._relist = self._relist or not self.memory.known
            self.wake()
        elif self.memory.take(listing):
            self.wake()

    def heard(self, event: RuntimeEvent) -> None:
        """The runtime says something happened to the pod; what this worker did itself is no news."""
        if f"remove/{event.container_id}" in self._actions:
            return
        known = self.memory.record(event.container_id)
        ours = self._changing() or (known is not None and known.state is State.RUNNING)
        if event.action in ("create", "start") and ours:
            return
        if event.action == "destroy" and not self.memory.knows(event.container_id):
            return
        self._relist = True
        self.wake()

    def runtime_lost(self) -> None:
        """The runtime went away: wait for a full listing."""
        self._relist = False
        self.memory.forget_runtime()

    def wake(self) -> None:
        """Have a look soon."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._step)

    def close(self) -> None:
        """Do nothing any more; containers stay as they are. Tasks in flight belong to the scope."""
        self._closed = True
        self._probes.close()
        self._tools.probe.alarms.cancel(self.pod.metadata.uid)
        for task in self._tasks.values():
            task.cancel()

    # ------------------------------------------------------------ the step

    def _step(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 — a bug with one pod must neither stop the others nor spin
            log.error("pod worker failed", pod=qualified_name(self.pod), error=error)
            self._alarm(self._tools.probe.clock.monotonic() + _AFTER_BUG_SECONDS)

    def _look(self) -> None:
        self._tools.admit(self)
        now = self._tools.probe.clock.monotonic()
        if self._relist and not self._changing() and _LISTING not in self._tasks:
            self._start_task(_LISTING, self._list())
        seen = self.memory.observed(self._actions)
        made = plan(self._pod.blue, seen, now)
        if made.gone:
            self._finish()
            return
        if made.condemned is not None:
            self.fail(made.condemned.reason, made.condemned.message, self._pod.blue.grace)
            return
        for action in made.actions:
            self._launch(action)
        self._probes.follow(self._pod.blue, seen)
        again = self._report(seen, now)
        moments = [moment for moment in (made.recheck_at, again) if moment is not None]
        if moments:
            self._alarm(min(moments))
        if log.debug_enabled():
            log.debug("planned", pod=qualified_name(self.pod), because=made.because, actions=len(made.actions))

    def _alarm(self, moment: float) -> None:
        self._tools.probe.alarms.set(self.pod.metadata.uid, moment, self.wake)

    def _finish(self) -> None:
        self._gone = True
        self._over.set()
        self._tools.statuses.report(self.pod, self.status, gone=True)
        self.close()
        self._tools.on_gone(self)

    # ------------------------------------------------------------ actions in flight

    def _changing(self) -> bool:
        return any(isinstance(action, _CHANGES_RUNTIME) for action in self._actions.values())

    def _launch(self, action: Action) -> None:
        if isinstance(action, (StopContainer, KillContainer)):
            self._cancel(hook_slot(action.id))
        if isinstance(action, KillContainer):
            self._cancel(stop_slot(action.id))
        self._actions[action.slot] = action
        self._changes += isinstance(action, _CHANGES_RUNTIME)
        self._start_task(action.slot, self._perform(action))

    def _cancel(self, slot: str) -> None:
        if task := self._tasks.get(slot):
            task.cancel()

    def _start_task(self, slot: str, body: Coroutine[None, None, None]) -> None:
        task = self._tools.probe.scope.start(body, name=f"{slot} of {qualified_name(self.pod)}")
        self._tasks[slot] = task
        task.add_done_callback(partial(self._ended, slot))

    def _ended(self, slot: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(slot) is not task:
            return
        del self._tasks[slot]
        action = self._actions.pop(slot, None)
        if isinstance(action, _CHANGES_RUNTIME):
            self._touched, self._changes = self._tools.epoch(), self._changes + 1
        if isinstance(action, KillContainer):
            self._relist = True  # a SIGKILL whose exit event got lost must not cost the wait for the next full listing
        self.wake()

    async def _perform(self, action: Action) -> None:
        try:
            await self._tools.effects.perform(action, self._pod)
        except RuntimeDown:
            self._tools.on_runtime_down()
        except Exception as error:  # noqa: BLE001 — kept to this slot, and tried again after its back-off
            log.error("action failed", pod=qualified_name(self.pod), action=repr(action), error=error)
            self.memory.fail(action.slot, "InternalError", f"{type(error).__name__}: {error}")

    async def _list(self) -> None:
        self._relist, changes = False, self._changes
        try:
            listing = await self._tools.runtime.pod_listing(self.pod.metadata.uid)
        except RuntimeDown:
            self._tools.on_runtime_down()
        else:
            if self._changing() or changes != self._changes:
                self._relist = True
            else:
                _ = self.memory.take(listing)

    # ------------------------------------------------------------ status

    def _report(self, seen: Observed, now: float) -> float | None:
        """Report the status if it is news; when to look again at one that is held back."""
        if not seen.known or self._is_final(seen):
            return None
        self._told = now if self._told is None else self._told
        if now < self._told + _PENDING_SECONDS and is_starting(self._pod.blue, seen):
            return self._told + _PENDING_SECONDS
        previous = self._reported or self.pod.status
        clock, node = self._tools.probe.clock, self._tools.node
        status = pod_status(self._pod.blue, seen, previous, now=now, wall=clock.now(), node=node)
        if status == self._reported:
            return None
        self._measure(previous, status, now)
        self._reported, self._told = status, now
        if status.phase in (SUCCEEDED, FAILED):
            self.memory.set_terminal(status.phase)
            if self.memory.verdict is not None:
                self.wake()  # an evicted pod gives up what it kept for its status
            self._over.set()
            self._tools.on_room()
        self._tools.statuses.report(self.pod, status, gone=False)
        return None

    def _measure(self, previous: PodStatus, status: PodStatus, now: float) -> None:
        if status.phase == RUNNING and previous.phase in ("", PENDING):
            POD_START.observe(now - self._born)

    def _is_final(self, seen: Observed) -> bool:
        """Whether the last status of a pod being removed was reported: taking its containers away is no news."""
        if self._final:
            return True
        if seen.removal_deadline is not None:
            self._final = not seen.active
        return False

    def _unhealthy(self, kind: ProbeKind, name: str, message: str) -> None:
        PROBE_FAILURES.labels(kind=kind.value).inc()
        self._tools.events.event(self.pod, "Warning", "Unhealthy", f"{kind.value} probe failed: {message}")

    @property
    def is_over(self) -> bool:
        """Whether the pod has come to a terminal phase, or is gone: nothing of it runs any more."""
        return self._over.is_set()

    @property
    def holds_disk(self) -> bool:
        """Whether containers of the pod, or volumes, may still be on this host's disk."""
        return any(True for _ in self.memory.records()) or self.memory.mounted is not False

    async def until_over(self) -> None:
        """Return when the pod has come to a terminal phase, or is gone."""
        await self._over.wait()

    def report_again(self) -> None:
        """Say the last status once more: whoever listens now may not have heard it."""
        if self._reported is not None:
            self._tools.statuses.report(self.pod, self._reported, gone=self._gone)


def _exec(runtime: Runtime) -> Exec | None:
    return runtime if isinstance(runtime, Exec) else None
