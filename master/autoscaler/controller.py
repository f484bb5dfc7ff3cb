"""The horizontal autoscaler: every second or so, each one's target gets the replicas that its load asks for.

    target, its pods, their usage, queries ─► Observation ─► plan_scale ─► Decision ─► the target's spec.replicas
                                                             ▲                         the autoscaler's status, an Event
                                                     History ┘

Load is not an object, so nothing wakes an autoscaler when it moves: each is looked at again after `EVERY_SECONDS`, less
often when there are very many of them, or of their pods. Changes of the autoscaler or of its target's replicas wake it
at once.

What is remembered between looks is a History an autoscaler (`behavior`). It is not stored: if this process dies, the
next begins with what the target has, and so goes down no sooner than a window later. The target is written only if it
still has the replicas that were seen, so a person who scales it by hand at the same moment is not overruled unseen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from prometheus_client import Counter

from master.access.protocol import Change, ChangeType, EventRecorder, Reader, Writer, component
from master.autoscaler.behavior import History
from master.autoscaler.facts import Observation, Tuning
from master.autoscaler.horizontal import ABLE, ACTIVE, Decision, Finding, plan_scale
from master.autoscaler.observe import Observer, Usages
from master.autoscaler.status import decided_status, newly_wrong, stuck_status, weighty
from master.reconcile.protocol import After, Done, Outcome, Trigger
from master.signals.prometheus import Queries
from podium.aio.clock import Clock
from podium.errors import Conflict, NotFound, PodiumError
from podium.objects.kinds import BY_NAME, KINDS, Key, key_of, kind_of
from podium.objects.meta import is_terminating
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus

EVERY_SECONDS = 1.0
LOOKS_PER_SECOND, PODS_PER_SECOND = 200.0, 4000.0
"""All autoscalers together look at no more: what they cost is bounded, some tenth of a core."""
STUCK_SECONDS = 5.0
FIGURES_SECONDS = 5.0
"""A status in which only figures differ is written no more often."""

RESCALES = Counter("podium_master_autoscaler_rescales_total", "Changes of a target's replicas.", ["direction"])

_BY = component("controller:horizontal-pod-autoscaler")


class Target(NamedTuple):
    """What an autoscaler scales."""

    namespace: str
    kind: str
    name: str


@dataclass(slots=True)
class Memory:
    """What is kept of one autoscaler between looks."""

    uid: str
    target: Target
    history: History
    pods: int = 0
    told_at: float = float("-inf")


class HorizontalController:
    """See the module."""

    name = "horizontal-pod-autoscaler"
    workers = 16

    def __init__(
        self,
        *,
        reader: Reader,
        writer: Writer,
        events: EventRecorder,
        clock: Clock,
        usages: Usages,
        queries: Queries,
        tuning: Tuning | None = None,
    ) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._tuning = tuning or Tuning()
        self._observer = Observer(reader=reader, usages=usages, queries=queries, clock=clock)
        self._memories: dict[Key, Memory] = {}
        self._by_target: dict[Target, set[Key]] = {}
        scalable = (kind.message for kind in KINDS if "scale" in kind.subresources)
        self.triggers = (
            Trigger(HorizontalPodAutoscaler, self._keys_of_autoscaler),
            *(Trigger(message, self._keys_of_target) for message in scalable),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Look at one autoscaler."""
        hpa = self._reader.get(HorizontalPodAutoscaler, key.namespace, key.name)
        if hpa is None or is_terminating(hpa):
            self._memories.pop(key, None)
            self._observer.forget(key)
            return Done("is gone")
        ref = hpa.spec.scale_target_ref
        target = self._reader.get(BY_NAME[ref.kind].message, key.namespace, ref.name)
        stuck = self._stuck(key, hpa, target)
        if stuck is not None:
            self._observer.forget(key)
            return await self._rest(hpa, stuck)
        seen = await self._observer.observe(hpa, target)
        memory = self._memory(key, hpa, seen)
        decision = plan_scale(seen, memory.history, now=self._clock.monotonic(), tuning=self._tuning)
        try:
            await self._carry_out(hpa, target, seen, decision)
        except Conflict:
            raise  # look again, at what it is by now
        except PodiumError as error:
            message = f"the HPA controller was unable to update the target scale: {error.message}"
            return await self._rest(hpa, Finding(ABLE, False, "FailedUpdateScale", message))
        memory.history, memory.pods = decision.history, len(seen.pods)
        await self._tell(hpa, decided_status(hpa, seen, decision, self._clock.now()), decision.findings)
        return After(self._pace(), decision.because)

    async def _rest(self, hpa: HorizontalPodAutoscaler, stuck: Finding) -> After:
        await self._tell(hpa, stuck_status(hpa, stuck, self._clock.now()), (stuck,))
        return After(STUCK_SECONDS, stuck.message)

    def _pace(self) -> float:
        pods = sum(memory.pods for memory in self._memories.values())
        return max(EVERY_SECONDS, len(self._memories) / LOOKS_PER_SECOND, pods / PODS_PER_SECOND)

    def _stuck(self, key: Key, hpa: HorizontalPodAutoscaler, target: Any) -> Finding | None:
        ref = hpa.spec.scale_target_ref
        if target is None:
            message = (
                f'the HPA controller was unable to get the target\'s current scale: {ref.kind} "{ref.name}" not found'
            )
            return Finding(ABLE, False, "FailedGetScale", message)
        sharing = self._by_target.get(_target(hpa), set()) - {key}
        rivals = sorted(other.name for other in sharing if self._aims_at(other, _target(hpa)))
        if rivals:
            message = f'{ref.kind} "{ref.name}" is also the target of {", ".join(rivals)}: delete all but one'
            return Finding(ACTIVE, False, "AmbiguousSelector", message)
        return None

    def _aims_at(self, key: Key, target: Target) -> bool:
        """Whether there is such an autoscaler still: what was deleted while nobody watched is not told of."""
        hpa = self._reader.get(HorizontalPodAutoscaler, key.namespace, key.name)
        return hpa is not None and not is_terminating(hpa) and _target(hpa) == target

    def _memory(self, key: Key, hpa: HorizontalPodAutoscaler, seen: Observation) -> Memory:
        memory = self._memories.get(key)
        if memory is None or (memory.uid, memory.target) != (hpa.metadata.uid, _target(hpa)):
            history = History().wants(seen.wanted, self._clock.monotonic())
            memory = self._memories[key] = Memory(hpa.metadata.uid, _target(hpa), history)
        return memory

    async def _carry_out(
        self, hpa: HorizontalPodAutoscaler, target: Any, seen: Observation, decision: Decision
    ) -> None:
        """Scale the target, if that is decided.

        Raises:
            Conflict: It has changed since it was seen.
            PodiumError: It cannot be scaled.
        """
        if decision.replicas == seen.wanted:
            return
        uid = target.metadata.uid

        def change(obj: Any) -> None:
            if obj.metadata.uid != uid or obj.spec.replicas != seen.wanted:
                raise Conflict(f"{kind_of(obj).name} {obj.metadata.name} was scaled by somebody else meanwhile")
            obj.spec.replicas = decision.replicas

        meta = target.metadata
        await self._writer.mutate(type(target), meta.namespace, meta.name, change, by=_BY)
        RESCALES.labels("up" if decision.replicas > seen.wanted else "down").inc()
        sentence = f"New size: {decision.replicas}; reason: {decision.because}"
        self._events.normal(hpa, "SuccessfulRescale", sentence)

    async def _tell(
        self, hpa: HorizontalPodAutoscaler, status: HorizontalPodAutoscalerStatus, findings: tuple[Finding, ...]
    ) -> None:
        """Write the status, if that is worth it."""
        if status == hpa.status:
            return
        memory, now = self._memories.get(key_of(hpa)), self._clock.monotonic()
        if not weighty(hpa.status, status) and memory is not None and now - memory.told_at < FIGURES_SECONDS:
            return
        for one in newly_wrong(hpa.status, findings):
            self._events.warning(hpa, one.reason, one.message)

        def change(obj: HorizontalPodAutoscaler) -> None:
            obj.status.CopyFrom(status)

        meta = hpa.metadata
        try:
            await self._writer.mutate(
                HorizontalPodAutoscaler, meta.namespace, meta.name, change, by=_BY, subresource="status"
            )
        except NotFound:
            return  # deleted meanwhile
        if memory is not None:
            memory.told_at = now

    # ------------------------------------------------------------ what wakes it

    def _keys_of_autoscaler(self, change: Change[HorizontalPodAutoscaler]) -> Iterable[Key]:
        """The autoscaler, unless only its status has changed; and those that had, or have, its target as well."""
        key, woken = key_of(change.new), set()
        if change.old is not None and change.type is ChangeType.MODIFIED and change.old.spec == change.new.spec:
            return [key] if is_terminating(change.new) else ()
        for hpa in (change.old, change.new):
            if hpa is not None and (sharing := self._by_target.get(_target(hpa))) is not None:
                sharing.discard(key)
                woken |= sharing
        if change.type is not ChangeType.DELETED:
            self._by_target.setdefault(_target(change.new), set()).add(key)
        return {key, *woken}

    def _keys_of_target(self, change: Change[Any]) -> Iterable[Key]:
        old, new = change.old, change.new
        if change.type is ChangeType.MODIFIED and old is not None and old.spec.replicas == new.spec.replicas:
            return ()
        meta = new.metadata
        return list(self._by_target.get(Target(meta.namespace, kind_of(new).name, meta.name), ()))


def _target(hpa: HorizontalPodAutoscaler) -> Target:
    ref = hpa.spec.scale_target_ref
    return Target(hpa.metadata.namespace, ref.kind, ref.name)
