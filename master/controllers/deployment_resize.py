"""The effects of `resize: InPlace`: pods asked for other resources, and handed from one ReplicaSet to another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from master.access.protocol import Change, ChangeType, EventRecorder, Mutate, Principal, Reader, Write, Writer
from master.controllers.ownership import controller_key
from master.controllers.strategies.inplace import PodsOf, Surroundings
from master.controllers.strategies.sets import IN_PLACE
from master.controllers.strategies.steps import HandOver, ResizePod
from podium.aio.clock import Clock
from podium.errors import Conflict, Forbidden, Invalid, NotFound, PodiumError
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating, qualified_name
from podium.objects.owners import is_controlled_by, owner_reference, remove_owner
from podium.objects.resizing import REFUSED, is_settled, refusal, take_resources
from podium.objects.revisions import hash_of
from podium.objects.template import HASH_LABEL
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import Node, Pod


class DeploymentResize:
    """See the module.

    Args:
        by: Whose writes they are.
        pods_of: The pods that a ReplicaSet controls.
    """

    def __init__(
        self, *, reader: Reader, writer: Writer, events: EventRecorder, clock: Clock, by: Principal, pods_of: PodsOf
    ) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._by, self._pods_of = by, pods_of
        self._asking: set[Key] = set()

    def note(self, change: Change[Deployment]) -> None:
        """Learn which Deployments ask for it: only of their pods is it of interest what became of a resize."""
        key, deployment = key_of(change.new), change.new
        if change.type is not ChangeType.DELETED and deployment.spec.strategy.resize == IN_PLACE:
            self._asking.add(key)
        else:
            self._asking.discard(key)

    def keys(self, change: Change[Pod]) -> Iterable[Key]:
        """The Deployment that a pod's answer to a resize wakes."""
        if not self._asking or change.old is None or change.type is not ChangeType.MODIFIED:
            return ()
        if _answer(change.old) == _answer(change.new):
            return ()
        owner = controller_key(change.new, ReplicaSet)
        replica_set = self._reader.get(ReplicaSet, owner.namespace, owner.name) if owner is not None else None
        key = controller_key(replica_set, Deployment) if replica_set is not None else None
        return (key,) if key in self._asking and key is not None else ()

    def surroundings(self) -> Surroundings:
        """What the plan looks up."""
        return Surroundings(
            pods_of=self._pods_of,
            pods_on=self._reader.pods_on,
            node=lambda name: self._reader.get(Node, "", name),
            now=self._clock.now(),
        )

    async def resize(self, deployment: Deployment, resizes: Sequence[ResizePod]) -> None:
        """Ask pods for other resources. What admission refuses is noted on the pod, as what its node refuses is.

        Raises:
            PodiumError: A write failed for another reason.
        """
        await self._note([(each.pod, each.digest) for each in resizes if each.refused])
        asked = [Mutate(key_of(each.pod), _taking(each), "resize") for each in resizes]
        denied: list[tuple[Pod, str]] = []
        for each, result in zip(resizes, await self._writer.write_many(asked, by=self._by), strict=True):
            if isinstance(result, Invalid | Forbidden) and not each.refused:
                denied.append((each.pod, each.digest))
                self._tell(deployment, each.pod, result.message)
            elif isinstance(result, PodiumError) and not isinstance(result, NotFound | Conflict):
                raise result
            elif each.why:
                self._tell(deployment, each.pod, each.why)
        await self._note(denied)

    def _tell(self, deployment: Deployment, pod: Pod, why: str) -> None:
        sentence = f"pod {pod.metadata.name} cannot be resized in place and is replaced: {why}"
        self._events.warning(deployment, "ResizeRefused", sentence)

    async def _note(self, refused: Sequence[tuple[Pod, str]]) -> None:
        notes = [Mutate(key_of(pod), _noting(pod, digest)) for pod, digest in refused]
        if not notes:
            return
        for result in await self._writer.write_many(notes, by=self._by):
            if isinstance(result, PodiumError) and not isinstance(result, NotFound | Conflict):
                raise result

    async def hand_over(self, deployment: Deployment, moves: Sequence[HandOver], steps: Sequence[Write]) -> None:
        """Make pods those of another ReplicaSet, with what both want of them, in one transaction.

        Raises:
            PodiumError: It was not made: a pod or a ReplicaSet is gone or another by now.
        """
        writes = [Mutate(key_of(move.pod), _changing_hands(move)) for move in moves]
        await self._writer.write_together([*steps, *writes], by=self._by)
        target = moves[0].target.metadata.name
        self._events.normal(deployment, "ResizedInPlace", f"Resized {len(moves)} pods in place to {target}")


def _answer(pod: Pod) -> tuple[bool, str]:
    return is_settled(pod), refusal(pod)


def _taking(resize: ResizePod) -> Callable[[Pod], None]:
    def change(pod: Pod) -> None:
        _check_same(pod, resize.pod)
        take_resources(pod, resize.template)

    return change


def _noting(seen: Pod, digest: str) -> Callable[[Pod], None]:
    def change(pod: Pod) -> None:
        _check_same(pod, seen)
        pod.metadata.annotations[REFUSED] = digest

    return change


def _changing_hands(move: HandOver) -> Callable[[Pod], None]:
    def change(pod: Pod) -> None:
        _check_same(pod, move.pod)
        if not is_controlled_by(pod, move.source) or is_terminating(pod):
            raise Conflict(f"{qualified_name(pod)} is no longer one of {move.source.metadata.name}")
        remove_owner(pod, move.source.metadata.uid)
        pod.metadata.owner_references.append(owner_reference(move.target))
        pod.metadata.labels[HASH_LABEL] = hash_of(move.target)
        pod.metadata.annotations.pop(REFUSED, None)

    return change


def _check_same(pod: Pod, seen: Pod) -> None:
    if pod.metadata.uid != seen.metadata.uid:
        raise Conflict(f"{qualified_name(pod)} is another pod now")
