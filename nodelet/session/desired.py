"""The desired set: what the master's snapshots and deltas add up to. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from podium.v1.core_pb2 import Pod, Secret
from podium.v1.node_session_pb2 import Assignments


class Desired:
    """Pods by uid and Secrets by `namespace/name`, as of `version`."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.secrets: dict[str, Secret] = {}
        self.version = 0

    def apply(self, message: Assignments) -> bool:
        """Take a message in; False when it does not follow what is here, and a snapshot is needed."""
        if message.snapshot:
            self.pods, self.secrets = {}, {}
        elif message.applies_to != self.version:
            return False
        for uid in message.removed_pods:
            self.pods.pop(uid, None)
        for name in message.removed_secrets:
            self.secrets.pop(name, None)
        self.pods.update((pod.metadata.uid, pod) for pod in message.pods)
        self.secrets.update((secret_name(secret), secret) for secret in message.secrets)
        self.version = message.results_in
        return True

    def snapshot(self) -> Assignments:
        """All of it as one message, for the disk."""
        return Assignments(
            snapshot=True, results_in=self.version, pods=self.pods.values(), secrets=self.secrets.values()
        )

    def view(self) -> tuple[Mapping[str, Pod], Mapping[str, Secret]]:
        """Copies of the maps (not of the objects), to be handed on."""
        return dict(self.pods), dict(self.secrets)


def secret_name(secret: Secret) -> str:
    """`namespace/name`."""
    return f"{secret.metadata.namespace}/{secret.metadata.name}"
