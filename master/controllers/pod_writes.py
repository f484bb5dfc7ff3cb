"""Creating and deleting pods for their controller, many at once, told in events.

Creation is in batches that double while they succeed, so that a quota, a bad template or a missing namespace costs
some refused writes and not thousands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from master.access.protocol import Create, Delete, EventRecorder, Principal, Writer
from podium.errors import NotFound, PodiumError
from podium.objects.kinds import key_of
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import DeleteOptions, Preconditions

T = TypeVar("T")

FIRST_BATCH = 16
LARGEST_BATCH = 512


class PodWrites:
    """The writes of one controller."""

    def __init__(self, *, writer: Writer, events: EventRecorder, by: Principal) -> None:
        self._writer, self._events, self._by = writer, events, by

    async def create(self, owner: Any, pods: Iterable[Pod]) -> PodiumError | None:
        """Create pods, which are given away; the first refusal ends it and is returned."""
        for made in batches(pods):
            results = await self._writer.write_many([Create(pod, owned=True) for pod in made], by=self._by)
            failures = [r for r in results if isinstance(r, PodiumError)]
            created = len(made) - len(failures)
            if created:
                what = f"pod {_first_name(results)}" if created == 1 else f"{created} pods"
                self._events.normal(owner, "SuccessfulCreate", f"Created {what}")
            if failures:
                self._events.warning(owner, "FailedCreate", f"Error creating: {failures[0].message}")
                return failures[0]
        return None

    async def delete(self, owner: Any, pods: Sequence[Pod]) -> None:
        """Delete exactly these pods, and no other of the same name.

        Raises:
            PodiumError: A deletion was refused; a pod that is gone was not.
        """
        if not pods:
            return
        writes = [Delete(key_of(pod), DeleteOptions(preconditions=Preconditions(uid=pod.metadata.uid))) for pod in pods]
        results = await self._writer.write_many(writes, by=self._by)
        what = f"pod {pods[0].metadata.name}" if len(pods) == 1 else f"{len(pods)} pods"
        self._events.normal(owner, "SuccessfulDelete", f"Deleted {what}")
        for result in results:
            if isinstance(result, PodiumError) and not isinstance(result, NotFound):
                raise result


def batches(pods: Iterable[T]) -> Iterator[list[T]]:
    """These, lazily, in batches that double."""
    left, size = iter(pods), FIRST_BATCH
    while batch := list(islice(left, size)):
        yield batch
        size = min(size * 2, LARGEST_BATCH)


def _first_name(results: Sequence[Any]) -> str:
    return next((r.metadata.name for r in results if not isinstance(r, PodiumError)), "")
