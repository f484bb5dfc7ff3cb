"""Rollout analysis: measures what a Deployment's strategy has opened, and writes down what it found.

    strategy enters an analysis (status.….analysis, Running) ─► due metrics are measured ─► counted in that status
                                                                     │                          │
                        Prometheus · the new revision's pods ◄───────┘     strategy reads the phase, and goes on or back

It stands apart from the Deployment's controller so that a slow Prometheus holds up measurements and nothing else. A
measurement that is lost with the master is taken again; one that is counted is counted once, in the analysis that it
was taken for: a strategy that has moved on in the meantime has another, or none.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from master.access.protocol import Reader, Writer, component
from master.controllers.strategies import analysis
from master.controllers.strategies.analysis import Measurement
from master.reconcile.protocol import After, Done, Outcome, Trigger
from master.signals.prometheus import Queries
from master.signals.samples import only
from podium.aio.clock import Clock
from podium.errors import PodiumError
from podium.objects.kinds import Key, key_of
from podium.objects.owners import is_controlled_by
from podium.objects.pod import is_active, is_ready
from podium.objects.revisions import with_hash
from podium.v1.apps_pb2 import (
    AnalysisMetric,
    AnalysisStatus,
    Deployment,
    DeploymentStatus,
    ReplicaSet,
    RolloutAnalysis,
)
from podium.v1.core_pb2 import Pod

_BY = component("controller:rollout-analysis")


# ---------------------------------------------------------------- decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An analysis that is under way: `find` gives its place in a status."""

    spec: RolloutAnalysis
    status: AnalysisStatus
    find: Callable[[DeploymentStatus], AnalysisStatus]


def opened(deployment: Deployment) -> list[Opened]:
    """The analyses to measure for now; none while the Deployment is paused."""
    strategy, status = deployment.spec.strategy, deployment.status
    if deployment.spec.paused:
        return []
    if strategy.type == "BlueGreen":
        found = [Opened(spec=strategy.blue_green.analysis, status=status.blue_green.analysis, find=_preview)]
    elif strategy.type == "Canary":
        found = [Opened(spec=strategy.canary.analysis, status=status.canary.background, find=_beside)]
        index = status.canary.current_step_index
        if index < len(strategy.canary.steps):
            found.append(
                Opened(spec=strategy.canary.steps[index].analysis, status=status.canary.analysis, find=_of_step)
            )
    else:
        return []
    return [o for o in found if o.status.phase == analysis.RUNNING and o.spec.metrics]


def _preview(status: DeploymentStatus) -> AnalysisStatus:
    return status.blue_green.analysis


def _beside(status: DeploymentStatus) -> AnalysisStatus:
    return status.canary.background


def _of_step(status: DeploymentStatus) -> AnalysisStatus:
    return status.canary.analysis


def fact_of(fact: str, pods: Iterable[Pod]) -> float:
    """What Podium itself knows of a revision's pods (apps/v1 `PodsMetric.fact`)."""
    active = [pod for pod in pods if is_active(pod)]
    statuses = [s for pod in active for s in (*pod.status.init_container_statuses, *pod.status.container_statuses)]
    match fact:
        case "Restarts":
            return float(sum(s.restart_count for s in statuses))
        case "BackOff":
            return float(sum(_backs_off(s.state.waiting.reason) for s in statuses))
        case "NotReady":
            return float(sum(not is_ready(pod) for pod in active))
        case _:
            raise ValueError(f"no such fact: {fact}")


def _backs_off(reason: str) -> bool:
    return reason.endswith("BackOff") or reason == "ErrImagePull"


def words_of(deployment: Deployment) -> dict[str, str]:
    """What a query's $(…) stand for."""
    status = deployment.status
    blue_green = deployment.spec.strategy.type == "BlueGreen"
    return {
        "HASH": status.blue_green.preview_hash if blue_green else status.canary.canary_hash,
        "STABLE_HASH": status.blue_green.active_hash if blue_green else status.canary.stable_hash,
        "NAMESPACE": deployment.metadata.namespace,
        "NAME": deployment.metadata.name,
    }


# ---------------------------------------------------------------- effects


class AnalysisController:
    """See the module."""

    name = "rollout-analysis"
    workers = 8

    def __init__(self, *, reader: Reader, writer: Writer, clock: Clock, prometheus: Queries) -> None:
        self._reader, self._writer, self._clock, self._prometheus = reader, writer, clock, prometheus
        self.triggers = (Trigger(Deployment, lambda change: [key_of(change.new)]),)

    async def reconcile(self, key: Key) -> Outcome:
        """Measure what is due of one Deployment's analyses."""
        deployment = self._reader.get(Deployment, key.namespace, key.name)
        if deployment is None:
            return Done("is gone")
        under_way = opened(deployment)
        waits: list[float] = []
        measured = 0
        for analysis_ in under_way:
            metrics, wait = analysis.due(analysis_.spec, analysis_.status, self._clock.now())
            waits += [wait] if wait is not None else []
            if metrics:
                measured += len(metrics)
                async with asyncio.TaskGroup() as group:
                    asked = [group.create_task(self._measure(deployment, metric)) for metric in metrics]
                await self._write(key, analysis_, [task.result() for task in asked])
        if measured:
            return Done(f"measured {measured}")  # what was written wakes it again
        return After(min(waits), "waits for the next measurement") if waits else Done("has nothing to measure")

    async def _measure(self, deployment: Deployment, metric: AnalysisMetric) -> Measurement:
        words = words_of(deployment)
        try:
            if metric.HasField("prometheus"):
                query = analysis.expand(metric.prometheus.query, words)
                return Measurement(metric=metric.name, value=only(await self._prometheus.query(query)))
            value = fact_of(metric.pods.fact, self._pods(deployment, words["HASH"]))
        except PodiumError as error:
            return Measurement(metric=metric.name, error=error.message)
        return Measurement(metric=metric.name, value=value)

    def _pods(self, deployment: Deployment, digest: str) -> list[Pod]:
        owned = self._reader.owned_by(ReplicaSet, deployment.metadata.uid)
        replica_set = with_hash(digest, (rs for rs in owned if is_controlled_by(rs, deployment)))
        return self._reader.owned_by(Pod, replica_set.metadata.uid) if replica_set is not None else []

    async def _write(self, key: Key, opened_: Opened, measurements: Sequence[Measurement]) -> None:
        now = self._clock.now()

        def change(obj: Deployment) -> None:
            place = opened_.find(obj.status)
            if place.phase == analysis.RUNNING and place.started_time == opened_.status.started_time:
                place.CopyFrom(_counted(opened_.spec, place, measurements, now))

        await self._writer.mutate(Deployment, key.namespace, key.name, change, by=_BY, subresource="status")


def _counted(
    spec: RolloutAnalysis, status: AnalysisStatus, measurements: Iterable[Measurement], now: datetime.datetime
) -> AnalysisStatus:
    for measurement in measurements:
        status = analysis.record(spec, status, measurement, now)
    return status
