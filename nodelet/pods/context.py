"""What the effects of all pods share, and what is one pod's own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from nodelet.network.protocol import PodNetwork
from nodelet.pods.actions import Action
from nodelet.pods.blueprint import Blueprint
from nodelet.pods.images import ImageKeeper
from nodelet.pods.memory import PodMemory
from nodelet.pods.meters import ACTION_FAULTS
from nodelet.pods.protocol import EventSink
from nodelet.pods.spec import NodeFacts
from nodelet.runtime.protocol import Runtime
from nodelet.volumes.protocol import PodVolumes
from podium.aio.clock import Clock
from podium.objects.references import Objects

NORMAL, WARNING = "Normal", "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Bounds on what the runtime is asked for at one time."""

    starts: asyncio.Semaphore
    removals: asyncio.Semaphore


@dataclass(slots=True, kw_only=True)
class PodContext:
    """One pod's own: the newest blueprint and the objects that it uses, and its memory."""

    blue: Blueprint
    memory: PodMemory
    objects: Objects = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectTools:
    """What actions are carried out with."""

    runtime: Runtime
    images: ImageKeeper
    network: PodNetwork
    volumes: PodVolumes
    events: EventSink
    clock: Clock
    node: NodeFacts
    turns: Turns

    def event(self, pod: PodContext, type_: str, reason: str, message: str) -> None:
        """Say something about a pod."""
        self.events.event(pod.blue.pod, type_, reason, message)

    def fail(self, action: Action, pod: PodContext, reason: str, message: str, *, event: str = "") -> None:
        """An action failed: note it for its back-off, and say so (as an `event` of another reason if that is given)."""
        ACTION_FAULTS.labels(reason=reason).inc()
        pod.memory.fail(action.slot, reason, message)
        self.event(pod, WARNING, event or reason, f"Error: {message}" if event else message)
