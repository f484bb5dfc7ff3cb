"""From a workload or a service to its pods: `logs deploy/web` and `exec svc/web` mean the pods that it selects."""

from __future__ import annotations

from typing import Any

from podium.cli.resources import Target, parse_targets
from podium.cli.session import Session
from podium.errors import BadRequest, NotFound
from podium.objects.kinds import BY_NAME
from podium.objects.pod import every_container, is_ready
from podium.objects.selectors import workload_selector
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import Service

POD = BY_NAME["Pod"]
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def one_target(word: str) -> Target:
    """Read `web-1`, `pod/web-1` or `deploy/web`: a bare word names a pod.

    Raises:
        BadRequest: An unknown kind, or more than one name.
    """
    target = parse_targets([word])[0] if "/" in word else Target(POD, (word,))
    if len(target.names) != 1:
        raise BadRequest(f'"{word}" does not name one object')
    return target


async def pod_selector(session: Session, target: Target) -> str:
    """The label selector of a workload's or a service's pods, as text.

    Raises:
        BadRequest: This kind has no pods, or the service selects none.
        NotFound: No such object.
    """
    obj: Any = await session.client.get(target.kind.message, target.names[0])
    spec = getattr(obj, "spec", None)
    if isinstance(obj, Service):
        if not obj.spec.selector:
            raise BadRequest(f"service {target.names[0]} selects no pods: others write its EndpointSlices")
    elif spec is None or not hasattr(spec, "selector") or not hasattr(spec, "template"):
        raise BadRequest(f"a {target.kind.name} has no pods; name a pod or a workload such as deploy/NAME")
    return str(workload_selector(obj))


async def pods_of(session: Session, target: Target) -> list[Pod]:
    """The pods of a workload, or the one pod.

    Raises:
        NotFound: The object, or any pod of it, does not exist.
    """
    if target.kind is POD:
        return [await session.client.get(Pod, target.names[0])]
    pods = await session.client.list(Pod, selector=await pod_selector(session, target))
    if not pods:
        raise NotFound(f"{target.kind.qualified}/{target.names[0]} has no pods")
    return pods


async def best_pod(session: Session, target: Target) -> Pod:
    """The pod to reach into: a ready one before a running one before any other, the oldest of those."""
    return min(await pods_of(session, target), key=_rank)


def _rank(pod: Pod) -> tuple[bool, bool, bool, int]:
    return (
        pod.metadata.HasField("deletion_timestamp"),
        not is_ready(pod),
        pod.status.phase != "Running",
        pod.metadata.creation_timestamp.seconds,
    )


def containers_of(pod: Pod, *, all_containers: bool, container: str) -> list[str]:
    """Which containers' output to show.

    Raises:
        BadRequest: The pod has no container of that name.
    """
    everything = [c.name for c in every_container(pod.spec)]
    if container:
        if container not in everything:
            raise BadRequest(f'pod {pod.metadata.name} has no container "{container}"; it has {", ".join(everything)}')
        return [container]
    if all_containers:
        return everything
    return [pod.metadata.annotations.get(DEFAULT_CONTAINER) or pod.spec.containers[0].name]
