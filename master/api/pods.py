"""Pods, served: what reaches into a running container is authorized here and relayed to the pod's node."""

from __future__ import annotations

from typing import Any, Protocol

from master.access.protocol import Principal, Reader
from master.api.links import ContextLink, ReplyLink
from master.api.node_session import Context, Identify
from podium.aio.link import Link
from podium.errors import BadRequest, Conflict, NotFound
from podium.objects.pod import every_container, is_terminal
from podium.v1 import pods_service_pb2_grpc
from podium.v1.core_pb2 import Pod
from podium.v1.pods_service_pb2 import LogsRequest, PodKey, StreamFrame

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"

# Frame → the sub-resource of Pod, and the verb that a caller must be allowed on it.
ACCESS = {
    "logs": ("log", "get"),
    "exec": ("exec", "create"),
    "attach": ("attach", "create"),
    "port_forward": ("portforward", "create"),
    "copy": ("copy", "create"),
}


class Relay(Protocol):
    """The stream broker, as this servicer sees it."""

    async def relay(self, node: str, first: StreamFrame, caller: Link[StreamFrame, StreamFrame]) -> None: ...


class PodAuthorizer(Protocol):
    """Says whether the caller may; raises Forbidden if not."""

    def check(
        self, principal: Principal, verb: str, kind: str, namespace: str = ..., name: str = ..., subresource: str = ...
    ) -> None: ...


def resolve_container(pod: Pod, asked: str) -> str:
    """The container that a call means.

    Raises:
        NotFound: The pod has no container of that name.
        BadRequest: The pod has several and none was named.
    """
    names = [c.name for c in every_container(pod.spec)]
    choice = ", ".join(names)
    pod_name = pod.metadata.name
    if asked:
        if asked not in names:
            raise NotFound(f'pod "{pod_name}" has no container "{asked}"; choose one of: {choice}')
        return asked
    default = pod.metadata.annotations.get(DEFAULT_CONTAINER, "")
    if default in names:
        return default
    if len(pod.spec.containers) != 1:
        raise BadRequest(f'pod "{pod_name}" has several containers; choose one of: {choice}')
    return pod.spec.containers[0].name


def check_reachable(pod: Pod, verb: str, container: str) -> None:
    """Whether a pod is in a state in which a call can be served.

    Raises:
        Conflict: It is not; says why, and what to look at.
    """
    name = f'pod "{pod.metadata.name}"'
    if not pod.spec.node_name:
        raise Conflict(f"{name} is not on a node yet; `podium explain pod {pod.metadata.name}` says why")
    if verb == "logs":
        return
    if is_terminal(pod):
        raise Conflict(f"{name} is over ({pod.status.phase}); only its logs can be read")
    if verb == "port_forward":
        if not pod.status.pod_ip:
            raise Conflict(f"{name} has no address yet ({pod.status.phase or 'Pending'})")
        return
    statuses = [
        *pod.status.init_container_statuses,
        *pod.status.container_statuses,
        *pod.status.ephemeral_container_statuses,
    ]
    status = next((s for s in statuses if s.name == container), None)
    if status is None or not status.state.HasField("running"):
        waiting = status.state.waiting.reason if status is not None and status.state.HasField("waiting") else ""
        ended = status.state.terminated.reason if status is not None and status.state.HasField("terminated") else ""
        why = waiting or ended or "it has not started yet"
        raise Conflict(f'container "{container}" of {name} is not running: {why}')


class PodsServicer(pods_service_pb2_grpc.PodsServicer):
    """See the module. Errors are PodiumErrors, made gRPC statuses by the server's interceptor."""

    def __init__(self, *, reader: Reader, relay: Relay, authorizer: PodAuthorizer, identify: Identify) -> None:
        self._reader, self._relay, self._authorizer, self._identify = reader, relay, authorizer, identify

    async def Logs(self, request: LogsRequest, context: Context) -> None:  # type: ignore[override]
        """Output of a container."""
        await self._serve(StreamFrame(logs=request), "logs", ReplyLink(context), context)

    async def Exec(self, request_iterator: Any, context: Context) -> None:  # type: ignore[override]
        """A process in a container."""
        await self._serve_stream("exec", context)

    async def Attach(self, request_iterator: Any, context: Context) -> None:  # type: ignore[override]
        """A container's own streams."""
        await self._serve_stream("attach", context)

    async def PortForward(self, request_iterator: Any, context: Context) -> None:  # type: ignore[override]
        """One TCP connection."""
        await self._serve_stream("port_forward", context)

    async def Copy(self, request_iterator: Any, context: Context) -> None:  # type: ignore[override]
        """Files, as a tar archive."""
        await self._serve_stream("copy", context)

    async def _serve_stream(self, verb: str, context: Context) -> None:
        caller: ContextLink[StreamFrame, StreamFrame] = ContextLink(context)
        first = await caller.receive()
        if first is None or first.WhichOneof("frame") != verb:
            raise BadRequest(f"the first frame of this call must be `{verb}`")
        await self._serve(first, verb, caller, context)

    async def _serve(
        self, first: StreamFrame, verb: str, caller: Link[StreamFrame, StreamFrame], context: Context
    ) -> None:
        key: PodKey = getattr(first, verb).pod
        subresource, access = ACCESS[verb]
        self._authorizer.check(self._identify(context), access, "Pod", key.namespace, key.name, subresource)
        pod = self._reader.get(Pod, key.namespace, key.name)
        if pod is None or (key.uid and key.uid != pod.metadata.uid):
            raise NotFound(f'pod "{key.name}" not found in namespace "{key.namespace}"')
        if verb != "port_forward":
            key.container = resolve_container(pod, key.container)
        check_reachable(pod, verb, key.container)
        key.uid = pod.metadata.uid
        await self._relay.relay(pod.spec.node_name, first, caller)
