"""When a pod that ends may be stopped: when no node leads new connections to it any more. Pure.

    led       an endpoint of a service names the pod, ready and not ending
    left      none does any more, since a version of what nodes are told
    drained   and every node that is waited for says that it has that version, or a later one, in force

A pod may be left before it is to end (it was not ready, its labels changed) and gone before it is left (it was deleted
by force). Versions grow, so what is left is judged by the oldest version that a node may still act by: a thousand pods
that end at once cost one look at the nodes, and each its turn in a heap.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from podium.objects.meta import is_terminating
from podium.objects.service import takes_connections
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import EndpointSlice

NEVER = 0
"""The version since which a pod is left that no service was seen to lead to."""


class Drained(NamedTuple):
    """A pod to which no node leads: its uid, its node, and whether services ever led to it."""

    uid: str
    node: str
    was_led: bool


class Leads(NamedTuple):
    """Uids of the pods that an EndpointSlice leads new connections to, and of those that it did until they were to end.

    The latter matter to a master that starts: what they were once is nowhere else.
    """

    now: frozenset[str] = frozenset()
    once: frozenset[str] = frozenset()


NOBODY = Leads()


class DrainBook:
    """See the module."""

    def __init__(self) -> None:
        self._slices: dict[str, Leads] = {}
        self._led: Counter[str] = Counter()
        self._left: dict[str, int] = {}
        self._ending: dict[str, str] = {}
        self._since: dict[str, int] = {}
        self._gone: set[str] = set()
        self._waiting: list[tuple[int, str]] = []
        self._drained: dict[str, dict[str, bool]] = {}
        self.wanted = NEVER
        """The newest version that a pod which ends was left with: nodes are to say when they have it in force."""

    # ------------------------------------------------------------ what happens

    def pod_changed(self, pod: Pod, *, deleted: bool) -> None:
        """Follow a pod: it is there, it is to end, or it is gone."""
        if deleted:
            self._forget(pod.metadata.uid)
            return
        if not is_terminating(pod) or not pod.spec.node_name:
            return
        uid = pod.metadata.uid
        if uid not in self._ending:
            self._ending[uid] = pod.spec.node_name
            if not self._led[uid]:
                self._wait(uid, self._left.pop(uid, NEVER))

    def lead(self, slice_id: str, leads: Leads, version: int) -> None:
        """Nodes are told, from `version` on, that an EndpointSlice leads to these pods and no others."""
        before = self._slices.pop(slice_id, NOBODY)
        if leads != NOBODY:
            self._slices[slice_id] = leads
        if leads is before:
            return
        for uid in leads.now - before.now:
            self._led[uid] += 1
            self._left.pop(uid, None)
        for uid in before.now - leads.now:
            self._led[uid] -= 1
            if not self._led[uid]:
                del self._led[uid]
                self._leave(uid, version)
        for uid in leads.once - before.once - before.now:
            if not self._led[uid] and not self._left.get(uid) and not self._since.get(uid):
                self._leave(uid, version)

    def _leave(self, uid: str, version: int) -> None:
        if uid in self._ending:
            self._wait(uid, version)
        elif uid in self._gone:
            self._gone.discard(uid)
        else:
            self._left[uid] = version

    def _wait(self, uid: str, version: int) -> None:
        self._since[uid] = version
        heapq.heappush(self._waiting, (version, uid))
        self.wanted = max(self.wanted, version)

    def _forget(self, uid: str) -> None:
        self._left.pop(uid, None)
        self._since.pop(uid, None)
        if self._led[uid]:
            self._gone.add(uid)
        node = self._ending.pop(uid, "")
        if node in self._drained:
            self._drained[node].pop(uid, None)
            if not self._drained[node]:
                del self._drained[node]

    # ------------------------------------------------------------ what follows

    def ends(self, uid: str) -> bool:
        """Whether a pod is to end."""
        return uid in self._ending

    @property
    def waits(self) -> bool:
        """Whether a pod that no service leads to waits for nodes to say so, or to be taken by `drain`."""
        return bool(self._waiting)

    def drain(self, floor: float) -> list[Drained]:
        """The pods that are drained now, each once.

        Args:
            floor: The oldest version that a node which is waited for may still act by; infinite when none is.
        """
        found = []
        while self._waiting and self._waiting[0][0] <= floor:
            version, uid = heapq.heappop(self._waiting)
            node = self._ending.get(uid)
            if node is not None and not self._led[uid] and self._since[uid] == version:
                self._drained.setdefault(node, {})[uid] = was_led = version > NEVER
                found.append(Drained(uid, node, was_led))
        return found

    def drained_on(self, node: str) -> Mapping[str, bool]:
        """The drained pods of a node that are not gone yet, and whether services ever led to each."""
        return self._drained.get(node, {})


def leading_to(endpoint_slice: EndpointSlice) -> Leads:
    """The pods that a slice leads to."""
    now, once = set[str](), set[str]()
    for endpoint in endpoint_slice.endpoints:
        conditions = endpoint.conditions
        if not conditions.terminating and takes_connections(endpoint):
            now.add(endpoint.target_ref.uid)
        elif conditions.terminating and conditions.serving:
            once.add(endpoint.target_ref.uid)
    return Leads(frozenset(now - {""}), frozenset(once - {""}))
