"""What the scheduler writes, as values: bindings, the PodScheduled condition, nominations, evictions."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from master.access.protocol import Bind, Delete, Mutate, Write
from master.scheduler.engine import Making
from master.scheduler.ledger import Entry
from podium.objects import pod as pods
from podium.objects.conditions import FALSE, TRUE, set_condition
from podium.objects.kinds import Key
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import DeleteOptions, Preconditions

UNSCHEDULABLE = "Unschedulable"
PREEMPTED = "PreemptionByScheduler"


def binding(entry: Entry) -> Bind:
    """Bind an assumed pod to the node where it is assumed."""
    return Bind(entry.key.namespace, entry.key.name, entry.uid, entry.node)


def refusal(entry: Entry, now: datetime.datetime) -> Mutate:
    """Tell a pod why it is not placed (`entry.told`), and where room is being made for it, if anywhere."""
    message, nominated = entry.told, entry.claim

    def change(pod: Pod) -> None:
        set_condition(pod.status.conditions, pods.SCHEDULED, FALSE, now=now, reason=UNSCHEDULABLE, message=message)
        pod.status.nominated_node_name = nominated

    return _status(entry, _while_unbound(entry.uid, change))


def evictions(making: Making, now: datetime.datetime) -> list[Write]:
    """Tell each victim why it goes, and delete it with its own grace."""
    writes: list[Write] = []
    for victim in making.eviction.victims:
        writes.append(_status(victim, _disrupted(victim.uid, making.pod, now)))
        writes.append(Delete(_key(victim), DeleteOptions(preconditions=Preconditions(uid=victim.uid))))
    return writes


def _disrupted(uid: str, by: Entry, now: datetime.datetime) -> Callable[[Pod], None]:
    message = f"preempting to accommodate the higher priority pod {by.key}"

    def change(pod: Pod) -> None:
        if pod.metadata.uid == uid:
            set_condition(
                pod.status.conditions, pods.DISRUPTION_TARGET, TRUE, now=now, reason=PREEMPTED, message=message
            )  # fmt: skip

    return change


def _while_unbound(uid: str, change: Callable[[Pod], None]) -> Callable[[Pod], None]:
    def guarded(pod: Pod) -> None:
        if pod.metadata.uid == uid and not pod.spec.node_name:
            change(pod)

    return guarded


def _status(entry: Entry, change: Callable[[Pod], None]) -> Mutate:
    return Mutate(_key(entry), change, "status")


def _key(entry: Entry) -> Key:
    return Key("Pod", entry.key.namespace, entry.key.name)
