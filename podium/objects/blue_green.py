"""Which pods of a Deployment with two whole revisions beside each other services lead to."""

from __future__ import annotations

from collections.abc import Mapping

from podium.objects.revisions import ROLE
from podium.objects.template import HASH_LABEL
from podium.v1.apps_pb2 import Deployment


def active_hash(deployment: Deployment) -> str:
    """`pod-template-hash` of the pods that serve; empty where all do."""
    return deployment.status.blue_green.active_hash if deployment.spec.strategy.type == "BlueGreen" else ""


def is_led_to(selector: Mapping[str, str], labels: Mapping[str, str], active: str) -> bool:
    """Whether a service with this selector, which finds a pod with these labels, leads to it.

    It does not where another revision is the active one. A selector that names a role or a revision means what it says:
    so a preview has a service of its own.
    """
    return not active or labels.get(HASH_LABEL) == active or ROLE in selector or HASH_LABEL in selector
