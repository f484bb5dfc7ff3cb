"""Nodelets reduced to their session: what they are told is recorded, what they say is the test's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from nodelet.session.dial import Dialer
from nodelet.session.events import EventBuffer
from nodelet.session.fence import Fence, Fenceable, FenceTools
from nodelet.session.reporter import Reporter
from nodelet.session.session import Session
from nodelet.volumes.hollow import HollowLocalVolumes
from podium.aio.clock import Clock
from podium.objects.references import Objects
from podium.v1.core_pb2 import NodeStatus, Pod, PodStatus
from podium.v1.node_session_pb2 import Assignments, Hello, NetworkUpdate, OpenStream, UsageReport, Welcome

D = TypeVar("D", bound=Dialer)


def ready_status(cpu: str = "4") -> NodeStatus:
    """The status of a healthy node."""
    status = NodeStatus(capacity={"cpu": cpu, "memory": "8Gi", "pods": "110"})
    status.allocatable.update(status.capacity)
    status.conditions.add(type="Ready", status="True", reason="NodeletReady")
    status.node_info.operating_system, status.node_info.architecture = "linux", "amd64"
    return status


class RecordingNode(Generic[D]):
    """A session with recorders at its ends."""

    def __init__(
        self, dialer: D, clock: Clock, *, name: str = "n1", machine_id: str = "m1", fence: FenceTools | None = None
    ) -> None:
        self.name, self.machine_id, self.dialer = name, machine_id, dialer
        self.reporter, self.events = Reporter(), EventBuffer(node=name, clock=clock)
        self.assigned: Mapping[str, Pod] = {}
        self.objects: Objects = {}
        self.node_status = ready_status()
        self.node_usage: UsageReport | None = None
        self.usage_asked = 0
        self.welcome: Welcome | None = None
        self.network_updates: list[NetworkUpdate] = []
        self.in_force: Callable[[], None] = lambda: None
        """Says that what was told last is in force; the test's to call."""
        self.drained_pods: dict[str, bool] = {}
        self.opened: list[OpenStream] = []
        self.kept: list[Assignments] = []
        self.volumes = HollowLocalVolumes()
        self.running: list[Fenceable] = []
        """What the fence may stop; the test's to fill."""
        self.fence = Fence(
            pods=lambda: self.running, clock=clock, tools=fence or FenceTools(since_boot=clock.monotonic)
        )
        self.session = Session(
            dialer=dialer, node=self, pods=self, reporter=self.reporter, events=self.events, streams=self, store=self,
            volumes=self.volumes, lease=self.fence, clock=clock,
        )  # fmt: skip

        self.fence.hurry = self.session.hurry

    def names(self) -> set[str]:
        """Names of the assigned pods."""
        return {pod.metadata.name for pod in self.assigned.values()}

    def report(self, name: str, phase: str, *, gone: bool = False) -> None:
        """Say that an assigned pod is in a phase."""
        pod = next(p for p in self.assigned.values() if p.metadata.name == name)
        self.reporter.report(pod, PodStatus(phase=phase), gone=gone)

    # AboutNode
    async def hello(self) -> Hello:
        return Hello(status=self.node_status, machine_id=self.machine_id, boot_id="b1", version="test")

    async def status(self) -> NodeStatus:
        return self.node_status

    async def usage(self) -> UsageReport | None:
        self.usage_asked += 1
        return self.node_usage

    def network(self, update: NetworkUpdate, in_force: Callable[[], None] | None) -> None:
        self.network_updates.append(update)
        self.in_force = in_force or self.in_force

    def welcomed(self, welcome: Welcome) -> None:
        self.welcome = welcome

    # Assignable
    def assign(self, pods: Mapping[str, Pod], objects: Objects) -> None:
        self.assigned, self.objects = pods, objects

    def resume(self, pods: Mapping[str, Pod], objects: Objects) -> None:
        self.assign(pods, objects)

    def drained(self, pods: Mapping[str, bool]) -> None:
        self.drained_pods.update(pods)

    # StreamServer
    def open(self, request: OpenStream) -> None:
        self.opened.append(request)

    # AssignmentStore
    def keep(self, assignments: Callable[[], Assignments]) -> None:
        self.kept.append(assignments())
