"""Gives a pod's claims their volumes before the pod is given its node.

    chosen node ─► what was promised is written ─► the claims' controller completes it ─► every claim is bound ─► bind
                   claimRef of a volume, or the                                           one cannot be ─► place anew
                   node selected for a new one

Order is what makes this safe: nothing ties the pod to the node until its data is there. Whoever dies in between leaves
claims that are bound, or about to be, on the chosen node, and the pod follows them there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from master.access.protocol import Mutate, Principal, Reader, Write, Writer
from master.scheduler.ledger import Entry, State
from master.scheduler.volume_table import Promise
from podium.errors import Conflict, PodiumError
from podium.objects import storage
from podium.objects.kinds import Key
from podium.objects.meta import is_terminating
from podium.objects.storage import ClaimKey
from podium.v1.core_pb2 import ObjectReference
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim

BIND_SECONDS = 600.0
"""How long a pod waits on its node for its claims: as long as kube-scheduler does."""


class VolumeBinder:
    """See the module."""

    def __init__(self, *, reader: Reader, writer: Writer, by: Principal) -> None:
        self._reader, self._writer, self._by = reader, writer, by
        self._waiting: dict[ClaimKey, set[asyncio.Event]] = {}

    def moved(self, claims: Iterable[ClaimKey]) -> None:
        """These claims, or a pod that uses them, changed."""
        if self._waiting:
            for claim in claims:
                for event in self._waiting.get(claim, ()):
                    event.set()

    async def bind(self, entry: Entry) -> None:
        """Return when every claim of an assumed pod is bound, or the pod is not assumed any more.

        Raises:
            PodiumError: A claim cannot be bound for this node.
        """
        promises, node = entry.promises, entry.node
        results = await self._writer.write_many([self._write(promise, node) for promise in promises], by=self._by)
        for result in results:
            if isinstance(result, PodiumError):
                raise result
        try:
            async with asyncio.timeout(BIND_SECONDS):
                with self._watching(promises) as moved:
                    while entry.state is State.ASSUMED and not self._are_bound(promises, node):
                        await moved.wait()
                        moved.clear()
        except TimeoutError:
            raise Conflict(f"the claims of pod {entry.key} were not bound within {BIND_SECONDS:g} s") from None

    @contextmanager
    def _watching(self, promises: Iterable[Promise]) -> Iterator[asyncio.Event]:
        """An event that is set when one of these claims changes."""
        event = asyncio.Event()
        claims = [promise.claim for promise in promises]
        for claim in claims:
            self._waiting.setdefault(claim, set()).add(event)
        try:
            yield event
        finally:
            for claim in claims:
                self._waiting[claim].discard(event)
                if not self._waiting[claim]:
                    del self._waiting[claim]

    def _write(self, promise: Promise, node: str) -> Write:
        namespace, name = promise.claim
        if promise.volume:
            return Mutate(Key("PersistentVolume", "", promise.volume), taking(promise))
        return Mutate(Key("PersistentVolumeClaim", namespace, name), selecting(promise, node))

    def _are_bound(self, promises: tuple[Promise, ...], node: str) -> bool:
        kept = [self._is_kept(promise, node) for promise in promises]
        return all(kept)  # of all of them: one that cannot be kept is told even while another is waited for

    def _is_kept(self, promise: Promise, node: str) -> bool:
        claim = self._reader.get(PersistentVolumeClaim, *promise.claim)
        if not is_kept(promise, claim, node) or claim is None:
            return False
        volume = self._reader.get(PersistentVolume, "", claim.spec.volume_name)
        hosts = storage.nodes_of(volume) if volume is not None else ()
        if volume is None or (hosts and node not in hosts):
            raise Conflict(
                f'persistentvolumeclaim "{promise.claim.name}" was given a volume that is not on node {node}'
            )
        return True


def is_kept(promise: Promise, claim: PersistentVolumeClaim | None, node: str) -> bool:
    """Whether the claim has its volume; False while it is still to come.

    Raises:
        Conflict: It does not come.
    """
    if claim is None or claim.metadata.uid != promise.uid or is_terminating(claim):
        raise Conflict(f'persistentvolumeclaim "{promise.claim.name}" is gone')
    if claim.status.phase == storage.LOST:
        raise Conflict(f'persistentvolumeclaim "{promise.claim.name}" has lost its volume')
    if storage.is_bound(claim):
        return True
    if not promise.volume and claim.metadata.annotations.get(storage.SELECTED_NODE) != node:
        raise Conflict(f'persistentvolumeclaim "{promise.claim.name}" cannot have a volume on node {node}')
    return False


def taking(promise: Promise) -> Callable[[Any], None]:
    """Write the claim into the promised volume."""
    namespace, name = promise.claim

    def change(volume: Any) -> None:
        ref = volume.spec.claim_ref
        if volume.spec.HasField("claim_ref") and (ref.namespace, ref.name, ref.uid) != (namespace, name, promise.uid):
            raise Conflict(f'volume "{promise.volume}" was taken by claim {ref.namespace}/{ref.name}')
        if not volume.spec.HasField("claim_ref"):
            volume.metadata.annotations[storage.BOUND_BY_CONTROLLER] = "yes"
            volume.spec.claim_ref.CopyFrom(
                ObjectReference(
                    api_version="v1", kind="PersistentVolumeClaim", namespace=namespace, name=name, uid=promise.uid
                )
            )

    return change


def selecting(promise: Promise, node: str) -> Callable[[Any], None]:
    """Select the node for a volume that is to be made."""

    def change(claim: Any) -> None:
        if claim.metadata.uid == promise.uid and not storage.is_bound(claim):
            claim.metadata.annotations[storage.SELECTED_NODE] = node

    return change
