"""Whether a host is idle: what keeps it, in a few words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from master.autoscaler.nodepool_hosts import to_be_moved
from podium.objects.budgets import selector_of
from podium.objects.meta import qualified_name
from podium.objects.nodepool import SAFE_TO_EVICT
from podium.objects.owners import controller_of
from podium.objects.pod import CPU, MEMORY, amounts, requests
from podium.v1.core_pb2 import Node, Pod, Volume
from podium.v1.policy_pb2 import PodDisruptionBudget


def what_keeps(node: Node, pods: Sequence[Pod], percent: int, budgets: Iterable[PodDisruptionBudget]) -> str:
    """Why a node is not idle; empty when it is. Whether its pods could go elsewhere is asked of the scheduler.

    Args:
        node: The node.
        pods: What is bound to it.
        percent: Of CPU and of memory; pods that request less of both do not keep their node.
        budgets: Every disruption budget.
    """
    moving = to_be_moved(list(pods))
    if not moving:
        return ""
    if not percent:
        return f"{len(moving)} pods run there"
    used, what = _utilization(node, moving)
    if used >= percent:
        return f"its pods request {used:.0f} % of its {what}"
    return next(filter(None, (_what_ties(pod, budgets) for pod in moving)), "")


def _utilization(node: Node, pods: Iterable[Pod]) -> tuple[float, str]:
    """The greatest share in percent, and of what."""
    offer, total = amounts(node.status.allocatable), dict.fromkeys((CPU, MEMORY), 0)
    for pod in pods:
        wanted = requests(pod.spec)
        for name in total:
            total[name] += wanted.get(name, 0)
    return max((100 * total[name] / offer[name] if offer.get(name) else 100.0, name) for name in total)


def _what_ties(pod: Pod, budgets: Iterable[PodDisruptionBudget]) -> str:
    name, wish = qualified_name(pod), pod.metadata.annotations.get(SAFE_TO_EVICT, "")
    if wish == "false":
        return f"pod {name} says that it is not safe to evict"
    if controller_of(pod) is None and wish != "true":
        return f"pod {name} has no controller to make it again"
    if wish != "true" and (local := _local_volume(pod)):
        return f"pod {name} has data on the host, in volume {local}"
    for budget in budgets:
        mine = budget.metadata.namespace == pod.metadata.namespace
        if mine and budget.status.disruptions_allowed < 1 and selector_of(budget).matches(pod.metadata.labels):
            return f"budget {qualified_name(budget)} lets no pod go"
    return ""


def _local_volume(pod: Pod) -> str:
    return next((volume.name for volume in pod.spec.volumes if _is_local(volume)), "")


def _is_local(volume: Volume) -> bool:
    """What would be lost. Of volumes of claims the scheduler says whether their pods may go elsewhere."""
    return volume.HasField("host_path") or (volume.HasField("empty_dir") and volume.empty_dir.medium != "Memory")
