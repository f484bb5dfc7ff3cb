"""The next step of a Deployment, decided: which ReplicaSet to make, to resize, to forget, whose pods to relabel. Pure.

Each strategy has a file in `strategies`; one call decides the whole step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from master.controllers.strategies import bluegreen, canary, rolling
from master.controllers.strategies.inplace import Surroundings
from master.controllers.strategies.sets import BLUE_GREEN, CANARY, Sets
from master.controllers.strategies.steps import DeploymentPlan, LabelPod
from podium.objects.meta import is_terminating
from podium.objects.revisions import ROLE
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import Pod


def plan_deployment(
    deployment: Deployment,
    replica_sets: Sequence[ReplicaSet],
    *,
    old_pods_exist: bool = False,
    around: Surroundings | None = None,
) -> DeploymentPlan:
    """Decide the next step.

    Args:
        deployment: What is asked for, defaults filled in, and the state that its strategy is in.
        replica_sets: Those that it controls.
        old_pods_exist: Whether pods of other templates are left, terminating ones included; Recreate waits for them.
        around: Where its pods run, to resize them there where it asks for that.
    """
    if is_terminating(deployment):
        return DeploymentPlan(because="is being deleted")
    sets = Sets.of(deployment, replica_sets)
    match deployment.spec.strategy.type:
        case "BlueGreen":
            return bluegreen.plan(sets)
        case "Canary":
            return canary.plan(sets)
        case _:
            return rolling.plan(sets, old_pods_exist=old_pods_exist, around=around)


def plan_labels(
    deployment: Deployment, replica_sets: Iterable[ReplicaSet], pods_of: Callable[[ReplicaSet], Iterable[Pod]]
) -> list[LabelPod]:
    """The pods whose role is not that of their ReplicaSet; they are asked for only where roles are given.

    Args:
        deployment: Whose they are.
        replica_sets: Those that it controls.
        pods_of: Those that a ReplicaSet controls.
    """
    if not _has_roles(deployment) or is_terminating(deployment):
        return []
    return [
        LabelPod(pod=pod, role=role)
        for rs in replica_sets
        if rs.spec.replicas or rs.status.replicas
        for role in [rs.metadata.labels.get(ROLE, "")]
        for pod in pods_of(rs)
        if pod.metadata.labels.get(ROLE, "") != role and not is_terminating(pod)
    ]


def _has_roles(deployment: Deployment) -> bool:
    """Whether its pods may carry roles: its strategy gives them, or did until a moment ago."""
    status = deployment.status
    gave = status.HasField("blue_green") or status.HasField("canary")
    return gave or deployment.spec.strategy.type in (BLUE_GREEN, CANARY)
