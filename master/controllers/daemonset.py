"""DaemonSet: one pod on each node that matches, following nodes as they come, go, and change labels and taints.

`daemon_plan` decides which nodes, and which pods go for an update; `history` keeps the revisions. The pods are placed
by the scheduler, which can only choose the one node that their affinity names: so resources, host ports and
preemption are as for any pod, and `podium explain` says why a node's pod waits.

What is remembered here and nowhere else is how often a node's pod failed lately; a new master begins with patience.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from master.access.protocol import Change, ChangeType, EventRecorder, Reader, Writer, component
from master.controllers.config_plan import healing
from master.controllers.config_rollout import ConfigRollout
from master.controllers.daemon_plan import DaemonPlan, Destiny, Fate, daemon_pod, daemon_status, plan_daemons
from master.controllers.history import Histories
from master.controllers.ownership import carry_out, keys_of_owned, plan_claims
from master.controllers.patience import Patience
from master.controllers.pod_writes import PodWrites
from master.controllers.pods import matters
from master.reconcile.protocol import After, Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.errors import PodiumError
from podium.objects.config import point_to_copies
from podium.objects.history import REVISION_LABEL, before, hash_of
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.owners import is_controlled_by
from podium.objects.pod import is_terminal
from podium.objects.selectors import workload_selector
from podium.v1.apps_pb2 import ControllerRevision, DaemonSet
from podium.v1.core_pb2 import ConfigMap, Node, Pod, Secret

_BY = component("controller:daemonset")


class DaemonSetController:
    """See the module."""

    name = "daemonset"
    workers = 3

    def __init__(self, *, reader: Reader, writer: Writer, events: EventRecorder, clock: Clock) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._pods = PodWrites(writer=writer, events=events, by=_BY)
        self._histories = Histories(DaemonSet, reader=reader, writer=writer, by=_BY)
        self._config = ConfigRollout(
            DaemonSet, ControllerRevision, reader=reader, writer=writer, events=events, clock=clock, by=_BY
        )
        self._patience = Patience(clock)
        self.triggers = (
            Trigger(DaemonSet, lambda change: [key_of(change.new)]),
            Trigger(ControllerRevision, self._histories.keys),
            Trigger(Pod, self._keys_of_pod, controller="DaemonSet"),
            Trigger(Node, self._keys_of_node),
            Trigger(ConfigMap, self._config.keys),
            Trigger(Secret, self._config.keys),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Bring the pods of one DaemonSet to its nodes, and its status up to date."""
        daemon_set = self._reader.get(DaemonSet, key.namespace, key.name)
        if daemon_set is None:
            self._config.forget(key)
            return Done("is gone")
        if is_terminating(daemon_set):
            return Done("is being deleted")  # and must not make again what goes before it
        pods = await self._claim(daemon_set)
        config = await self._config.settle(daemon_set, self._histories.of(daemon_set))
        if config.changed:
            return Done("takes its configuration as it is now")
        live = {pod.metadata.labels.get(REVISION_LABEL, "") for pod in pods}
        revision = await self._histories.settle(daemon_set, live, partial(self._config.prepare, daemon_set))
        fates = self._fates(daemon_set)
        plan, failure = await self._advance(daemon_set, fates, pods, revision)
        wait = await self._write_status(daemon_set, fates, hash_of(revision))
        if failure is not None:
            raise failure
        waits = [w for w in (plan.recheck, wait, config.wait) if w is not None]
        return After(min(waits), plan.because) if waits else Done(plan.because)

    async def _advance(
        self, daemon_set: DaemonSet, fates: dict[str, Fate], pods: Sequence[Pod], revision: ControllerRevision
    ) -> tuple[DaemonPlan, PodiumError | None]:
        revisions = self._histories.of(daemon_set)
        refused = await self._config.pin(daemon_set, revisions)
        if refused is None:
            return await self._take_step(daemon_set, fates, pods, revision)
        last = before(revision, [r for r in revisions if self._config.is_whole(r)])
        if last is None:
            return DaemonPlan(because="waits for copies of its configuration"), refused
        kept = healing(daemon_set, last)
        plan, failure = await self._take_step(kept, self._fates(kept), pods, last)
        return plan, failure or refused

    async def _take_step(
        self, daemon_set: DaemonSet, fates: dict[str, Fate], pods: Sequence[Pod], revision: ControllerRevision
    ) -> tuple[DaemonPlan, PodiumError | None]:
        uid, digest = daemon_set.metadata.uid, hash_of(revision)
        plan = plan_daemons(
            daemon_set, fates, pods, revision=digest, now=self._clock.now(),
            patience=lambda node: self._patience.left((uid, digest, node)),
        )  # fmt: skip
        self._tell_failures(daemon_set, digest, plan.failed)
        await self._pods.delete(daemon_set, plan.delete)
        return plan, await self._pods.create(daemon_set, _made(daemon_set, revision, plan.create))

    def _fates(self, daemon_set: DaemonSet) -> dict[str, Fate]:
        destiny = Destiny(daemon_set)
        return {node.metadata.name: destiny.of(node) for node in self._reader.list(Node)}

    async def _claim(self, daemon_set: DaemonSet) -> list[Pod]:
        controlled = self._controlled(daemon_set)
        orphans = self._reader.orphans(Pod, daemon_set.metadata.namespace)
        living = (pod for pod in orphans if not is_terminal(pod))
        claims = plan_claims(daemon_set, workload_selector(daemon_set), controlled, living)
        if not claims.adopt and not claims.release:
            return controlled
        await carry_out(claims, daemon_set, self._writer, _BY)
        return self._controlled(daemon_set)

    def _controlled(self, daemon_set: DaemonSet) -> list[Pod]:
        owned = self._reader.owned_by(Pod, daemon_set.metadata.uid)
        return [pod for pod in owned if is_controlled_by(pod, daemon_set)]

    def _tell_failures(self, daemon_set: DaemonSet, revision: str, failed: Sequence[Pod]) -> None:
        for pod in failed:
            name, node = pod.metadata.name, pod.spec.node_name
            self._patience.lose((daemon_set.metadata.uid, revision, node))
            over = f"Found {pod.status.phase.lower()} daemon pod {name} on node {node}, will delete it"
            self._events.warning(daemon_set, f"{pod.status.phase}DaemonPod", over)

    async def _write_status(self, seen: DaemonSet, fates: dict[str, Fate], revision: str) -> float | None:
        daemon_set = self._reader.get(DaemonSet, seen.metadata.namespace, seen.metadata.name)
        if daemon_set is None or daemon_set.metadata.uid != seen.metadata.uid:
            return None
        status, wait = daemon_status(seen, fates, self._controlled(seen), revision=revision, now=self._clock.now())
        if status == daemon_set.status:
            return wait

        def change(obj: DaemonSet) -> None:
            if obj.metadata.uid == seen.metadata.uid:
                obj.status.CopyFrom(status)

        meta = seen.metadata
        await self._writer.mutate(DaemonSet, meta.namespace, meta.name, change, by=_BY, subresource="status")
        return wait

    # ------------------------------------------------------------ triggers

    def _keys_of_pod(self, change: Change[Pod]) -> Iterable[Key]:
        if change.type is ChangeType.MODIFIED and change.old is not None and not matters(change.old, change.new):
            return ()
        return keys_of_owned(change, DaemonSet, self._reader)

    def _keys_of_node(self, change: Change[Node]) -> Iterable[Key]:
        old, new = change.old, change.new
        if (
            change.type is ChangeType.MODIFIED
            and old is not None
            and old.metadata.labels == new.metadata.labels
            and list(old.spec.taints) == list(new.spec.taints)
        ):
            return ()
        return [key_of(daemon_set) for daemon_set in self._reader.list(DaemonSet)]


def _made(daemon_set: DaemonSet, revision: ControllerRevision, nodes: Iterable[str]) -> Iterator[Pod]:
    for node in nodes:
        pod = daemon_pod(daemon_set, hash_of(revision), node)
        point_to_copies(pod.spec, revision)
        yield pod
