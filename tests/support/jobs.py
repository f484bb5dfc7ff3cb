"""Jobs and their pods as tests need them, and a small world in which a planned Job lives."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from master.admission import apply_defaults
from master.controllers.job_plan import JobPlan, plan_job
from master.controllers.job_pods import job_pod
from podium.objects.job import GIVEN_UP, TRACKING_FINALIZER, is_tracked
from podium.objects.meta import timestamp
from podium.objects.pod import is_terminal
from podium.v1.batch_pb2 import Job, JobStatus
from podium.v1.core_pb2 import Pod
from tests.support.workloads import at, uid


def job(name: str = "work", *, image: str = "busybox", policy: str = "Never", **spec: object) -> Job:
    """A Job with its defaults written out. `spec`: fields of JobSpec by their protobuf names."""
    made = Job()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, "default", uid()
    made.metadata.creation_timestamp.CopyFrom(timestamp(at(0)))
    made.spec.template.spec.containers.add(name="c", image=image)
    made.spec.template.spec.restart_policy = policy
    for field_name, value in spec.items():
        setattr(made.spec, field_name, value)
    apply_defaults(made)
    return made


def ended(pod: Pod, phase: str, at_second: float = 0, exit_code: int | None = None) -> Pod:
    """The pod when it is over."""
    pod.status.phase = phase
    status = pod.status.container_statuses.add(name="c")
    status.state.terminated.exit_code = exit_code if exit_code is not None else (0 if phase == "Succeeded" else 1)
    status.state.terminated.finished_at.CopyFrom(timestamp(at(at_second)))
    return pod


@dataclass
class World:
    """One Job and its pods; plans are carried out as the controller does, up to any point of it.

    Attributes:
        began: Uids of all pods ever made, with what became of each: "", "Succeeded", "Failed" or "given up".
    """

    job: Job
    pods: dict[str, Pod] = field(default_factory=dict)
    now: float = 0
    began: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> JobStatus:
        return self.job.status

    @property
    def moment(self) -> datetime.datetime:
        return at(self.now)

    def conditions(self) -> dict[str, str]:
        """Reasons of the conditions that are True."""
        return {c.type: c.reason for c in self.status.conditions if c.status == "True"}

    def plan(self) -> JobPlan:
        return plan_job(self.job, list(self.pods.values()), self.moment)

    def step(self, writes: int = 10**9) -> JobPlan:
        """Plan and carry out, but die after so many writes."""
        plan = self.plan()
        effects = self._effects(plan)
        for effect in list(effects)[:writes]:
            effect()
        return plan

    def settle(self, rounds: int = 20) -> None:
        """Plan until nothing is left to do."""
        for _ in range(rounds):
            plan = self.step()
            if not (plan.create or plan.release or plan.delete or plan.give_up or plan.status != self.status):
                again = self.plan()
                if not (again.create or again.release or again.delete or again.give_up):
                    return
        raise AssertionError("the plan does not come to rest")

    def _effects(self, plan: JobPlan) -> Iterable[Callable[[], None]]:
        if plan.create:
            for new in plan.create:
                yield lambda new=new: self._add(job_pod(self.job, new))  # type: ignore[misc]
            return  # the controller plans again with what it has created
        yield lambda: self.status.CopyFrom(plan.status)
        aside = plan.set_aside
        for pod in aside:
            yield lambda pod=pod: self._set_aside(pod)  # type: ignore[misc]
        for pod in (*plan.release, *(pod for pod in plan.give_up if pod not in aside)):
            yield lambda pod=pod: self._release(pod, "given up" if pod in plan.give_up else "")  # type: ignore[misc]
        for pod in (*plan.delete, *plan.give_up):
            yield lambda pod=pod: self.delete(pod)  # type: ignore[misc]

    def _add(self, pod: Pod) -> None:
        pod.metadata.uid = uid()
        pod.metadata.name = f"{pod.metadata.generate_name}{pod.metadata.uid}"
        pod.metadata.creation_timestamp.CopyFrom(timestamp(self.moment))
        pod.status.phase = "Pending"
        pod.spec.node_name = "n1"
        self.pods[pod.metadata.uid] = pod
        self.began[pod.metadata.uid] = ""

    def _set_aside(self, pod: Pod) -> None:
        found = self.pods.get(pod.metadata.uid)
        if found is not None and is_tracked(found) and not is_terminal(found):
            found.metadata.annotations[GIVEN_UP] = "true"
            self.began[pod.metadata.uid] = "given up"

    def _release(self, pod: Pod, fate: str) -> None:
        found = self.pods.get(pod.metadata.uid)
        if found is not None and is_tracked(found):
            found.metadata.finalizers.remove(TRACKING_FINALIZER)
            if fate:
                self.began[pod.metadata.uid] = fate
            self._sweep(found)

    def delete(self, pod: Pod, grace: int = 30) -> None:
        """Somebody deletes a pod."""
        found = self.pods.get(pod.metadata.uid)
        if found is None:
            return
        if is_terminal(found):
            grace = 0
        if found.metadata.HasField("deletion_timestamp"):  # a second delete can only shorten the time that is left
            grace = min(grace, found.metadata.deletion_grace_period_seconds)
        found.metadata.deletion_timestamp.CopyFrom(timestamp(self.moment))
        found.metadata.deletion_grace_period_seconds = grace
        self._sweep(found)

    def confirm(self, pod: Pod) -> None:
        """The node says that a pod that is being deleted is gone."""
        pod.metadata.deletion_grace_period_seconds = 0
        self._sweep(pod)

    def _sweep(self, pod: Pod) -> None:
        meta = pod.metadata
        if meta.HasField("deletion_timestamp") and not meta.deletion_grace_period_seconds and not meta.finalizers:
            del self.pods[meta.uid]

    def active(self) -> list[Pod]:
        """Pods that run."""
        return [p for p in self.pods.values() if not is_terminal(p) and not p.metadata.HasField("deletion_timestamp")]

    def end(self, pod: Pod, phase: str, exit_code: int | None = None) -> None:
        """A pod comes to its end."""
        ended(pod, phase, self.now, exit_code)
        if self.began[pod.metadata.uid] != "given up":
            self.began[pod.metadata.uid] = phase
