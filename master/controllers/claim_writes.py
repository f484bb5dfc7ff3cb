"""The hands of `stateful_claims`: makes, grows and gives away the claims of a StatefulSet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

from master.access.protocol import Create, EventRecorder, Mutate, Principal, Reader, Write, Writer
from master.controllers.stateful_claims import ClaimStep, GrowClaim, MakeClaim, OwnClaim, is_ours, plan_stateful_claims
from podium.errors import AlreadyExists, NotFound, PodiumError
from podium.objects import storage
from podium.objects.kinds import key_of
from podium.objects.pod import PENDING
from podium.objects.stateful import claim_owner, ordinal_in, ordinals
from podium.v1.apps_pb2 import StatefulSet
from podium.v1.core_pb2 import Pod
from podium.v1.storage_pb2 import PersistentVolumeClaim


class ClaimWrites:
    """The claims of StatefulSets."""

    def __init__(self, *, reader: Reader, writer: Writer, events: EventRecorder, by: Principal) -> None:
        self._reader, self._writer, self._events, self._by = reader, writer, events, by

    async def settle(self, stateful_set: StatefulSet, pods: Iterable[Pod], create: Iterable[int]) -> PodiumError | None:
        """Have the claims of a set as they should be, before its pods are made; what its pods cannot do without.

        Returns: The first refusal of that.
        """
        if not stateful_set.spec.volume_claim_templates:
            return None
        by_ordinal = {o: pod for pod in pods if (o := ordinal_in(stateful_set, pod)) is not None}
        wait = [o for o, pod in by_ordinal.items() if pod.status.phase == PENDING and o in ordinals(stateful_set)]
        namespace = stateful_set.metadata.namespace
        steps = plan_stateful_claims(
            stateful_set,
            by_ordinal,
            [*create, *wait],
            lambda name: self._reader.get(PersistentVolumeClaim, namespace, name),
        )
        if not steps:
            return None
        results = await self._writer.write_many([_write(step, stateful_set) for step in steps], by=self._by)
        refused: PodiumError | None = None
        for step, result in zip(steps, results, strict=True):
            if isinstance(result, PodiumError) and not isinstance(result, (AlreadyExists, NotFound)):
                if not isinstance(step, GrowClaim):  # pods can do without, for now
                    refused = refused or result
                reason = "FailedCreate" if isinstance(step, MakeClaim) else "FailedUpdate"
                self._events.warning(stateful_set, reason, f"claim {step.claim.metadata.name}: {result.message}")
            elif isinstance(step, MakeClaim):
                self._events.normal(stateful_set, "SuccessfulCreate", f"Created claim {step.claim.metadata.name}")
        return refused

    def set_of(self, claim: PersistentVolumeClaim) -> list[StatefulSet]:
        """The sets, one at most, that a claim was made for by its name."""
        sets = self._reader.list(StatefulSet, claim.metadata.namespace)
        return [s for s in sets if claim_owner(s, claim.metadata.name)]


def _write(step: ClaimStep, stateful_set: StatefulSet) -> Write:
    match step:
        case MakeClaim(claim):
            return Create(claim)
        case GrowClaim(claim, size):
            return Mutate(key_of(claim), lambda c: c.spec.resources.requests.update({storage.STORAGE: size}))
        case OwnClaim(claim):
            return Mutate(key_of(claim), lambda c: _own(c, step, stateful_set))
        case _:
            assert_never(step)


def _own(claim: Any, step: OwnClaim, stateful_set: StatefulSet) -> None:
    pod = claim_owner(stateful_set, claim.metadata.name)
    others = [r for r in claim.metadata.owner_references if not is_ours(r, stateful_set, pod)]
    del claim.metadata.owner_references[:]
    claim.metadata.owner_references.extend([*others, *step.references])
