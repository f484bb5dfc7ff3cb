"""A pod's probers: as many as its running containers call for. Until a startup probe succeeds, only that asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nodelet.pods.blueprint import Blueprint, Unit
from nodelet.pods.memory import PodMemory
from nodelet.pods.observed import Observed, Run, Unhealthy
from nodelet.probes.answer import Answer
from nodelet.probes.check import Target, check
from nodelet.probes.prober import Prober, ProbeTools
from nodelet.probes.tally import ProbeKind, timing
from nodelet.runtime.protocol import Exec
from podium.v1.core_pb2 import Probe

_Key = tuple[str, ProbeKind]


class PodProbes:
    """Writes verdicts into the pod's memory and calls `wake`; `on_failure(kind, container, message)` is for events."""

    def __init__(
        self,
        memory: PodMemory,
        tools: ProbeTools,
        runtime: Exec | None,
        wake: Callable[[], None],
        on_failure: Callable[[ProbeKind, str, str], None],
    ) -> None:
        self._memory, self._tools, self._runtime = memory, tools, runtime
        self._wake, self._on_failure = wake, on_failure
        self._probers: dict[_Key, Prober] = {}

    def follow(self, blue: Blueprint, seen: Observed) -> None:
        """Start the probers that are missing and stop those whose container ended, or is being ended."""
        wanted = {(run.id, kind): (unit, run, probe) for unit, run, kind, probe in _wanted(blue, seen)}
        for key in [key for key in self._probers if key not in wanted]:
            self._probers.pop(key).stop()
        for key, (unit, run, probe) in wanted.items():
            if key not in self._probers:
                self._probers[key] = self._start(key[1], unit, run, probe)

    def close(self) -> None:
        """Stop all."""
        for prober in self._probers.values():
            prober.stop()
        self._probers.clear()

    def _start(self, kind: ProbeKind, unit: Unit, run: Run, probe: Probe) -> Prober:
        target = Target(
            container=unit.container, container_id=run.id, address=self._memory.address, runtime=self._runtime
        )

        async def ask() -> Answer:
            return await check(probe, target)

        prober = Prober(
            kind,
            run.id,
            timing(probe),
            ask,
            self._tools,
            on_verdict=lambda kind, verdict: self._verdict(kind, verdict, run.id, probe),
            on_failure=lambda kind, message: self._on_failure(kind, unit.name, message),
            verdict=True if kind is ProbeKind.READINESS and run.ready else None,
        )
        prober.start(self._memory.moment(run.record.started_at or run.record.created_at))
        return prober

    def _verdict(self, kind: ProbeKind, healthy: bool, container_id: str, probe: Probe) -> None:
        if kind is ProbeKind.READINESS:
            self._memory.probed(container_id, ready=healthy)
        elif not healthy:
            grace = probe.termination_grace_period_seconds
            limited = probe.HasField("termination_grace_period_seconds")
            self._memory.gave_up(
                container_id, Unhealthy(probe=kind.value.lower(), grace=float(grace) if limited else None)
            )
        elif kind is ProbeKind.STARTUP:
            self._memory.probed(container_id, started=True)
        self._wake()


def _wanted(blue: Blueprint, seen: Observed) -> Iterator[tuple[Unit, Run, ProbeKind, Probe]]:
    if seen.sandbox is None or not seen.address:
        return
    for unit in blue.units:
        run, container = seen.newest(unit.name), unit.container
        if run is None or not run.running or run.ending is not None:
            continue
        if not run.started:
            if container.HasField("startup_probe") and run.unhealthy is None:
                yield unit, run, ProbeKind.STARTUP, container.startup_probe
            continue
        if container.HasField("liveness_probe") and run.unhealthy is None:
            yield unit, run, ProbeKind.LIVENESS, container.liveness_probe
        if container.HasField("readiness_probe"):
            yield unit, run, ProbeKind.READINESS, container.readiness_probe
