"""The desired set: what the master's snapshots and deltas add up to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.objects.kinds import Key
from podium.objects.references import Objects, load, loaded, unloaded
from podium.v1.core_pb2 import Pod
from podium.v1.node_session_pb2 import Assignments


class Desired:
    """Pods by uid, and the objects that they use by key, as of `version`."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.objects: dict[Key, Any] = {}
        self.version = 0

    def apply(self, message: Assignments) -> bool:
        """Take a message in; False when it does not follow what is here, and a snapshot is needed."""
        if message.snapshot:
            self.pods, self.objects = {}, {}
        elif message.applies_to != self.version:
            return False
        for uid in message.removed_pods:
            self.pods.pop(uid, None)
        for key in unloaded(message):
            self.objects.pop(key, None)
        self.pods.update((pod.metadata.uid, pod) for pod in message.pods)
        self.objects.update(loaded(message))
        self.version = message.results_in
        return True

    def snapshot(self) -> Assignments:
        """All of it as one message, for the disk."""
        message = Assignments(snapshot=True, results_in=self.version, pods=self.pods.values())
        load(message, self.objects.values())
        return message

    def view(self) -> tuple[Mapping[str, Pod], Objects]:
        """Copies of the maps (not of the objects), to be handed on."""
        return dict(self.pods), dict(self.objects)
