"""Which endpoints of a service share connections by weight: those of Deployments whose canary is under way. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from podium.objects.canary_split import CanarySplit
from podium.objects.meta import is_terminating
from podium.objects.pod import is_ready
from podium.objects.template import HASH_LABEL
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import TrafficSplit


def splits_of(pods: Iterable[Pod], split_of: Callable[[Pod], CanarySplit | None]) -> dict[str, TrafficSplit]:
    """What the endpoints of pods are to say, by the pods' uids; of those that share as many as they are, nothing.

    Args:
        pods: All that the service selects.
        split_of: What the canary of a pod's Deployment asks for.
    """
    of_canary: dict[CanarySplit, list[tuple[str, bool]]] = {}
    for pod in pods:
        if is_ready(pod) and not is_terminating(pod) and (split := split_of(pod)) is not None:
            is_new = pod.metadata.labels.get(HASH_LABEL) == split.canary_hash
            of_canary.setdefault(split, []).append((pod.metadata.uid, is_new))
    made = {}
    for split, members in of_canary.items():
        new = sum(is_new for _, is_new in members)
        percent = split.percent(new, len(members) - new)
        if percent is not None:
            for uid, is_new in members:
                made[uid] = TrafficSplit(deployment=split.deployment, canary=is_new, weight=percent)
    return made
