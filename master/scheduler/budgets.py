"""Which victims of a preemption would overdraw a disruption budget, by what the budgets' status says now."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from master.access.protocol import Reader
from master.scheduler.ledger import Entry
from podium.objects.budgets import violating
from podium.v1.core_pb2 import Pod
from podium.v1.policy_pb2 import PodDisruptionBudget


class BudgetViolators:
    """See `master.scheduler.preempt.Violators`. Costs next to nothing where there are no budgets."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __call__(self, entries: Sequence[Entry]) -> Collection[str]:
        namespaces = sorted({entry.key.namespace for entry in entries})
        budgets = [b for namespace in namespaces for b in self._reader.list(PodDisruptionBudget, namespace)]
        if not budgets:
            return ()
        pods = (self._reader.get(Pod, entry.key.namespace, entry.key.name) for entry in entries)
        return violating((pod for pod in pods if pod is not None), budgets)
