"""Deployment: rolls from one pod template to the next through ReplicaSets, one a template.

    template changes ─► a ReplicaSet named after the template's hash ─► it grows, the others shrink, within limits
    replicas change  ─► every ReplicaSet of a rollout under way is resized in proportion
    paused           ─► only resizing goes on
    done             ─► old ReplicaSets beyond revisionHistoryLimit are deleted

`deployment_plan` compares and decides the whole next step at once; each effect wakes the Deployment again until there
is nothing left to change. What it says of itself comes from `deployment_status`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

from master.access.protocol import (
    Change,
    ChangeType,
    Create,
    Delete,
    EventRecorder,
    Mutate,
    Reader,
    Write,
    Writer,
    component,
)
from master.controllers.config_rollout import ConfigRollout, Settled
from master.controllers.deployment_plan import plan_deployment, plan_labels
from master.controllers.deployment_resize import DeploymentResize
from master.controllers.deployment_status import deployment_status
from master.controllers.deployment_story import story
from master.controllers.ownership import carry_out, controller_key, plan_claims, selecting
from master.controllers.strategies.sets import RECREATE, Sets
from master.controllers.strategies.steps import CreateSet, DeploymentPlan, DropSet, EditSet, LabelPod, Step
from master.reconcile.protocol import After, Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.errors import AlreadyExists, Conflict, NotFound, PodiumError
from podium.objects.config import pins_of
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.owners import controller_of, is_controlled_by
from podium.objects.pod import is_terminal
from podium.objects.problems import told_problems
from podium.objects.revisions import REVISION, ROLE, current_of, revision_of
from podium.objects.selectors import from_label_selector
from podium.objects.template import same_template
from podium.v1.apps_pb2 import Deployment, DeploymentStatus, ReplicaSet
from podium.v1.core_pb2 import ConfigMap, Pod, Secret
from podium.v1.meta_pb2 import DeleteOptions, Preconditions

_BY = component("controller:deployment")


class DeploymentController:
    """See the module."""

    name = "deployment"
    workers = 5

    def __init__(self, *, reader: Reader, writer: Writer, events: EventRecorder, clock: Clock) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._config = ConfigRollout(
            Deployment, ReplicaSet, reader=reader, writer=writer, events=events, clock=clock, by=_BY
        )
        self._resize = DeploymentResize(
            reader=reader, writer=writer, events=events, clock=clock, by=_BY, pods_of=self._pods_of
        )
        self.triggers = (
            Trigger(Deployment, self._keys_of_deployment),
            Trigger(ReplicaSet, self._keys_of_set),
            Trigger(Pod, self._keys_of_pod, controller="ReplicaSet"),
            Trigger(Pod, self._resize.keys, controller="ReplicaSet"),
            Trigger(ConfigMap, self._config.keys),
            Trigger(Secret, self._config.keys),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Take the next step of one Deployment, and bring its status up to date."""
        deployment = self._reader.get(Deployment, key.namespace, key.name)
        if deployment is None:
            self._config.forget(key)
            return Done("is gone")
        sets = await self._claim(deployment)
        config = Settled() if is_terminating(deployment) else await self._config.settle(deployment, sets)
        if config.changed:
            return Done("takes its configuration as it is now")
        refused = await self._config.pin(deployment, sets)
        plan = DeploymentPlan(because="waits for copies of its configuration")
        if refused is None:
            plan = await self._take_step(deployment, sets)
        wait = await self._write_status(deployment)
        if refused is not None:
            raise refused
        waits = [seconds for seconds in (wait, config.wait) if seconds is not None]
        return After(min(waits), plan.because) if waits else Done(plan.because)

    async def _take_step(self, deployment: Deployment, sets: Sequence[ReplicaSet]) -> DeploymentPlan:
        plan = plan_deployment(
            deployment,
            sets,
            old_pods_exist=self._old_pods_exist(deployment, sets),
            around=self._resize.surroundings(),
        )
        for step in plan.steps:
            if isinstance(step, CreateSet):
                self._config.prepare(deployment, step.replica_set, sets)
                if pins_of(step.replica_set):
                    step.replica_set.spec.replicas = 0  # it grows when its copies are there
        if plan.moves:
            await self._resize.hand_over(deployment, plan.moves, [_write(step) for step in plan.steps])
        else:
            await self._carry_out(deployment, plan)
        if plan.resizes:
            await self._resize.resize(deployment, plan.resizes)
        await self._label(deployment)
        await self._note_revision(deployment, plan.revision)
        return plan

    async def _claim(self, deployment: Deployment) -> list[ReplicaSet]:
        controlled = self._controlled(deployment)
        orphans = self._reader.orphans(ReplicaSet, deployment.metadata.namespace)
        claims = plan_claims(deployment, from_label_selector(deployment.spec.selector), controlled, orphans)
        if not claims.adopt and not claims.release:
            return controlled
        await carry_out(claims, deployment, self._writer, _BY)
        return self._controlled(deployment)

    def _controlled(self, deployment: Deployment) -> list[ReplicaSet]:
        owned = self._reader.owned_by(ReplicaSet, deployment.metadata.uid)
        return [rs for rs in owned if is_controlled_by(rs, deployment)]

    def _old_pods_exist(self, deployment: Deployment, sets: Sequence[ReplicaSet]) -> bool:
        if deployment.spec.strategy.type != RECREATE:
            return False
        old = Sets.of(deployment, sets).others
        pods = (pod for rs in old for pod in self._reader.owned_by(Pod, rs.metadata.uid))
        return any(not is_terminal(pod) for pod in pods)

    async def _carry_out(self, deployment: Deployment, plan: DeploymentPlan) -> None:
        if not plan.steps:
            return
        results = await self._writer.write_many([_write(step) for step in plan.steps], by=_BY)
        for step, result in zip(plan.steps, results, strict=True):
            if not isinstance(result, PodiumError):
                self._announce(deployment, step)
            elif isinstance(step, CreateSet) and isinstance(result, AlreadyExists):
                await self._resolve_collision(deployment, step.replica_set)
            elif not (isinstance(step, DropSet) and isinstance(result, NotFound)):
                raise result

    async def _resolve_collision(self, deployment: Deployment, wanted: ReplicaSet) -> None:
        there = self._reader.get(ReplicaSet, wanted.metadata.namespace, wanted.metadata.name)
        if (
            there is not None
            and is_controlled_by(there, deployment)
            and same_template(there.spec.template, wanted.spec.template)
        ):
            return
        count = deployment.status.collision_count + 1

        def change(obj: Deployment) -> None:
            obj.status.collision_count = count

        meta = deployment.metadata
        await self._writer.mutate(Deployment, meta.namespace, meta.name, change, by=_BY, subresource="status")
        raise Conflict(f"the name {wanted.metadata.name} is taken by another template; trying another name")

    def _announce(self, deployment: Deployment, step: Step) -> None:
        match step:
            case CreateSet(replica_set=made):
                name, before, after = made.metadata.name, 0, made.spec.replicas
            case EditSet(replica_set=rs, replicas=int(size)):
                name, before, after = rs.metadata.name, rs.spec.replicas, size
            case EditSet() | DropSet():
                return
            case _:
                assert_never(step)
        if before == after:
            return
        direction = "up" if after >= before else "down"
        sentence = f"Scaled {direction} replica set {name} from {before} to {after}"
        self._events.normal(deployment, "ScalingReplicaSet", sentence)

    async def _note_revision(self, deployment: Deployment, revision: int) -> None:
        if not revision or revision_of(deployment) == revision:
            return

        def change(obj: Deployment) -> None:
            obj.metadata.annotations[REVISION] = str(revision)

        meta = deployment.metadata
        await self._writer.mutate(Deployment, meta.namespace, meta.name, change, by=_BY)

    async def _label(self, deployment: Deployment) -> None:
        """Give pods their ReplicaSet's role, all in one batch."""
        labels = plan_labels(deployment, self._controlled(deployment), self._pods_of)
        if labels:
            results = await self._writer.write_many([_relabel(label) for label in labels], by=_BY)
            for result in results:
                if isinstance(result, PodiumError) and not isinstance(result, NotFound):
                    raise result

    def _pods_of(self, replica_set: ReplicaSet) -> list[Pod]:
        return [p for p in self._reader.owned_by(Pod, replica_set.metadata.uid) if is_controlled_by(p, replica_set)]

    async def _write_status(self, seen: Deployment) -> float | None:
        """Take the strategy's state on, from the status as it is when it is written: users write there too."""
        deployment = self._reader.get(Deployment, seen.metadata.namespace, seen.metadata.name)
        if deployment is None or deployment.metadata.uid != seen.metadata.uid:
            return None
        status, wait = self._status(deployment)
        if status == deployment.status:
            return wait

        def change(obj: Deployment) -> None:
            if obj.status != deployment.status or obj.spec != deployment.spec:
                raise Conflict(f"{obj.metadata.name} was changed while its status was being made; looking again")
            obj.status.CopyFrom(status)

        meta = deployment.metadata
        written = await self._writer.mutate(Deployment, meta.namespace, meta.name, change, by=_BY, subresource="status")
        for type_, reason, message in story(deployment, status):
            tell = self._events.warning if type_ == "Warning" else self._events.normal
            tell(written, reason, message)
        return wait

    def _status(self, deployment: Deployment) -> tuple[DeploymentStatus, float | None]:
        sets = self._controlled(deployment)
        status, wait = deployment_status(deployment, sets, now=self._clock.now())
        newest = current_of(deployment, sets)
        if status.HasField("aborted") and newest is not None and not deployment.status.HasField("aborted"):
            # Soon its pods are gone, and with them what they suffered from.
            status.aborted.problems.extend(told_problems(self._pods_of(newest)))
        return status, wait

    def _keys_of_deployment(self, change: Change[Deployment]) -> Iterable[Key]:
        self._resize.note(change)
        return (key_of(change.new),)

    def _keys_of_set(self, change: Change[ReplicaSet]) -> Iterable[Key]:
        keys = {controller_key(rs, Deployment) for rs in (change.old, change.new) if rs is not None}
        if change.type is not ChangeType.DELETED and controller_of(change.new) is None:
            keys.update(selecting(self._reader.list(Deployment, change.new.metadata.namespace), change.new))
        return [key for key in keys if key is not None]

    def _keys_of_pod(self, change: Change[Pod]) -> Iterable[Key]:
        """One that ends may be the last that a Recreate waits for; one of another role than its set's is relabelled."""
        pod = change.new
        ended = change.type is ChangeType.DELETED or is_terminal(pod)
        if not ended and change.type is not ChangeType.ADDED:
            return ()
        owner = controller_key(pod, ReplicaSet)
        replica_set = self._reader.get(ReplicaSet, owner.namespace, owner.name) if owner is not None else None
        if replica_set is None or not (ended or replica_set.metadata.labels.get(ROLE) != pod.metadata.labels.get(ROLE)):
            return ()
        key = controller_key(replica_set, Deployment)
        deployment = self._reader.get(Deployment, key.namespace, key.name) if key is not None else None
        if key is None or deployment is None or (ended and deployment.spec.strategy.type != RECREATE):
            return ()
        return [key]


def _write(step: Step) -> Write:
    match step:
        case CreateSet(replica_set=made):
            return Create(made)
        case EditSet():
            return Mutate(key_of(step.replica_set), lambda obj: _apply(step, obj))
        case DropSet(replica_set=rs):
            return Delete(key_of(rs), DeleteOptions(preconditions=Preconditions(uid=rs.metadata.uid)))
        case _:
            assert_never(step)


def _apply(edit: EditSet, obj: ReplicaSet) -> None:
    if obj.metadata.uid != edit.replica_set.metadata.uid:
        raise Conflict(f"{obj.metadata.name} is another ReplicaSet now")
    if edit.replicas is not None:
        obj.spec.replicas = edit.replicas
    obj.spec.min_ready_seconds = edit.min_ready_seconds
    if edit.role is not None:
        _set_role(obj, edit.role)
    for name, text in edit.annotations.items():
        if text:
            obj.metadata.annotations[name] = text
        else:
            obj.metadata.annotations.pop(name, None)


def _relabel(label: LabelPod) -> Write:
    uid = label.pod.metadata.uid

    def change(obj: Pod) -> None:
        if obj.metadata.uid == uid:
            _set_role(obj, label.role)

    return Mutate(key_of(label.pod), change)


def _set_role(obj: ReplicaSet | Pod, role: str) -> None:
    if role:
        obj.metadata.labels[ROLE] = role
    else:
        obj.metadata.labels.pop(ROLE, None)
