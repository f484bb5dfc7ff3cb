"""Pod garbage: objects of pods that nobody is left to confirm, and of too many pods that are over.

bound to a node whose object is gone  → removed at once, terminating or not: no nodelet will ever report them
over (Succeeded, Failed), beyond `most_terminal` in the cluster → the oldest are removed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from master.access.protocol import Change, ChangeType, Delete, Reader, Writer, component
from master.reconcile.protocol import Done, Outcome, Trigger
from podium.errors import Conflict, NotFound, PodiumError
from podium.objects.kinds import Key, key_of
from podium.objects.pod import is_terminal
from podium.v1.core_pb2 import Node, Pod
from podium.v1.meta_pb2 import DeleteOptions, Preconditions

MOST_TERMINAL = 1000
BATCH = 500

_TERMINAL = Key("Pod", "", "")
_BY = component("controller:pod-gc")


def plan_terminal(pods: Sequence[Pod], most: int) -> list[Pod]:
    """Of pods that are over, the oldest ones beyond `most`."""
    surplus = len(pods) - most
    return sorted(pods, key=lambda p: p.metadata.creation_timestamp.seconds)[:surplus] if surplus > 0 else []


class PodGcController:
    """See the module. Keys are nodes, and one for all pods that are over."""

    name = "pod-gc"
    workers = 2

    def __init__(self, *, reader: Reader, writer: Writer, most_terminal: int = MOST_TERMINAL) -> None:
        self._reader, self._writer, self._most = reader, writer, most_terminal
        self._terminal: set[Key] = set()
        self.triggers = (Trigger(Node, self._keys_of_node), Trigger(Pod, self._keys_of_pod))

    async def reconcile(self, key: Key) -> Outcome:
        """Remove what a node that is gone has left behind, or pods that were over long ago."""
        if key == _TERMINAL:
            found = (self._reader.get(Pod, k.namespace, k.name) for k in self._terminal)
            doomed = plan_terminal([p for p in found if p is not None and is_terminal(p)], self._most)
            await self._remove(doomed)
            return Done(f"removed {len(doomed)} pods that were over")
        if self._reader.get(Node, "", key.name) is not None:
            return Done()
        left = self._reader.pods_on(key.name)
        await self._remove(left)
        return Done(f"removed {len(left)} pods of a node that is gone" if left else "")

    async def _remove(self, pods: Sequence[Pod]) -> None:
        for start in range(0, len(pods), BATCH):
            writes = [_removal(pod) for pod in pods[start : start + BATCH]]
            for result in await self._writer.write_many(writes, by=_BY):
                if isinstance(result, PodiumError) and not isinstance(result, NotFound | Conflict):
                    raise result

    def _keys_of_node(self, change: Change[Node]) -> Iterable[Key]:
        return (key_of(change.new),) if change.type is ChangeType.DELETED else ()

    def _keys_of_pod(self, change: Change[Pod]) -> Iterable[Key]:
        pod = change.new
        if change.type is ChangeType.DELETED:
            self._terminal.discard(key_of(pod))
            return ()
        if is_terminal(pod):
            self._terminal.add(key_of(pod))
            if len(self._terminal) > self._most:
                return (_TERMINAL,)
        node = pod.spec.node_name
        newly_bound = change.old is None or change.old.spec.node_name != node
        return (Key("Node", "", node),) if node and newly_bound and self._reader.get(Node, "", node) is None else ()


def _removal(pod: Pod) -> Delete:
    options = DeleteOptions(grace_period_seconds=0, preconditions=Preconditions(uid=pod.metadata.uid))
    return Delete(key_of(pod), options)
