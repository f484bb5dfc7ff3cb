"""A Deployment that resizes its pods in place, as its planner's tests need it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from master.controllers.deployment_plan import plan_deployment
from master.controllers.strategies.inplace import Surroundings
from master.controllers.strategies.steps import DeploymentPlan, EditSet
from podium.objects.resizing import take_resources
from podium.objects.revisions import DESIRED_REPLICAS
from podium.v1.apps_pb2 import ReplicaSet
from podium.v1.core_pb2 import Node, Pod
from tests.support.workloads import at, deployment, node, replica_set
from tests.support.workloads import pod as a_pod


class World:
    """A Deployment of four ready replicas on two nodes of four cores, whose template has come to ask for other CPU."""

    def __init__(self, *, unavailable: int = 1, cpu: str = "2") -> None:
        self.deployment = deployment(replicas=4, unavailable=unavailable)
        self.deployment.spec.strategy.resize = "InPlace"
        self.old, self.new = self._set("old", 4, "1"), self._set("new", 0, cpu)
        self.deployment.spec.template.spec.CopyFrom(self.new.spec.template.spec)
        self.sets = [self.old, self.new]
        self.nodes = {name: node(name) for name in ("n1", "n2")}
        for each in self.nodes.values():
            each.status.allocatable["cpu"] = "4"
        self.pods = [self.pod(f"p{i}", self.old, f"n{i % 2 + 1}") for i in range(4)]

    def _set(self, name: str, replicas: int, cpu: str) -> ReplicaSet:
        made = replica_set(name, replicas=replicas, available=replicas, owner=self.deployment)
        made.spec.template.spec.containers[0].resources.requests["cpu"] = cpu
        made.metadata.annotations[DESIRED_REPLICAS] = "4"
        return made

    def pod(self, name: str, rs: ReplicaSet, where: str) -> Pod:
        """A pod of a ReplicaSet that is ready."""
        made = a_pod(name, owner=rs, node=where, ready=True)
        take_resources(made, rs.spec.template)
        self.grant(made)
        return made

    def grant(self, found: Pod) -> None:
        """Its node has done what the pod asks for."""
        del found.status.container_statuses[:]
        told = found.status.container_statuses.add(name="c")
        told.resources.CopyFrom(found.spec.containers[0].resources)

    def refuse(self, found: Pod) -> None:
        """Its node has no room for what the pod asks for."""
        found.status.conditions.add(type="PodResizePending", status="True", reason="Deferred", message="full")

    def ask(self, found: Pod) -> None:
        """It was asked for the new resources."""
        take_resources(found, self.new.spec.template)

    def of(self, rs: ReplicaSet) -> Iterator[Pod]:
        """The pods of a ReplicaSet."""
        return (p for p in self.pods if p.metadata.owner_references[0].uid == rs.metadata.uid)

    def plan(self) -> DeploymentPlan:
        """The next step."""
        nodes: Mapping[str, Node] = self.nodes
        around = Surroundings(
            pods_of=self.of,
            pods_on=lambda name: [p for p in self.pods if p.spec.node_name == name],
            node=nodes.get,
            now=at(100),
        )
        return plan_deployment(self.deployment, self.sets, around=around)

    def asked(self) -> list[str]:
        """The pods that are asked for the new template's resources."""
        assert not self.plan().moves
        return [r.pod.metadata.name for r in self.plan().resizes if r.template == self.new.spec.template]


def sizes(plan: DeploymentPlan) -> dict[str, int]:
    """How many replicas a plan has each ReplicaSet want, where it changes that."""
    edits = [step for step in plan.steps if isinstance(step, EditSet)]
    return {edit.replica_set.metadata.name: edit.replicas for edit in edits if edit.replicas is not None}
