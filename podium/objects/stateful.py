"""What the pods of a StatefulSet are called, and which of them it should have. Pure."""

from __future__ import annotations

import re

from podium.v1.apps_pb2 import StatefulSet
from podium.v1.core_pb2 import Pod

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"

_NUMBER = re.compile(r"0|[1-9]\d{0,9}")


def name_of(stateful_set: StatefulSet, ordinal: int) -> str:
    """The name of the pod with this ordinal, also its host name."""
    return f"{stateful_set.metadata.name}-{ordinal}"


def ordinal_in(stateful_set: StatefulSet, pod: Pod) -> int | None:
    """The ordinal of a pod that is named as the set's are; None for another."""
    prefix, dash, number = pod.metadata.name.rpartition("-")
    if not dash or prefix != stateful_set.metadata.name or not _NUMBER.fullmatch(number):
        return None
    return int(number)


def ordinals(stateful_set: StatefulSet) -> range:
    """The ordinals that should exist."""
    start = stateful_set.spec.ordinals.start
    return range(start, start + (stateful_set.spec.replicas if stateful_set.spec.HasField("replicas") else 1))


def claim_name(stateful_set: StatefulSet, template: str, ordinal: int) -> str:
    """The name of the claim that a template makes for the pod with this ordinal."""
    return f"{template}-{name_of(stateful_set, ordinal)}"


def claim_owner(stateful_set: StatefulSet, claim: str) -> str:
    """The name of the pod that a claim of this name is for; empty when it is no claim of the set's templates."""
    for template in stateful_set.spec.volume_claim_templates:
        pod = claim.removeprefix(f"{template.metadata.name}-")
        prefix, dash, number = pod.rpartition("-")
        if pod != claim and dash and prefix == stateful_set.metadata.name and _NUMBER.fullmatch(number):
            return pod
    return ""
