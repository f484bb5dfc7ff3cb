"""The controllers: each compares what is with what should be, and writes the difference. See docs/controllers.md."""

from __future__ import annotations

from master.access.protocol import EventRecorder, Reader
from master.access.writes import ApiWriter
from master.controllers.analysis import AnalysisController
from master.controllers.balancer import BalancerController
from master.controllers.cronjob import CronJobController
from master.controllers.daemonset import DaemonSetController
from master.controllers.deployment import DeploymentController
from master.controllers.disruption import DisruptionController
from master.controllers.endpoints import EndpointsController
from master.controllers.event_ttl import EventTtlController
from master.controllers.fleet import FleetSettings
from master.controllers.garbage import GarbageController
from master.controllers.ingress.controller import IngressController
from master.controllers.job import JobController
from master.controllers.job_ttl import JobTtlController
from master.controllers.liveness import Liveness
from master.controllers.namespace import NamespaceController
from master.controllers.node_lifecycle import NodeLifecycleController
from master.controllers.pod_gc import PodGcController
from master.controllers.quota import QuotaController, QuotaUsage
from master.controllers.replicaset import ReplicaSetController
from master.controllers.statefulset import StatefulSetController
from master.controllers.storage import StorageController
from master.reconcile.protocol import Controller
from master.signals.prometheus import Queries
from podium.aio.clock import Clock
from podium.v1.apps_pb2 import ReplicaSet, ReplicationController


def build(
    *,
    reader: Reader,
    writer: ApiWriter,
    events: EventRecorder,
    clock: Clock,
    liveness: Liveness,
    prometheus: Queries,
    quotas: QuotaUsage,
    fleet: FleetSettings | None = None,
) -> list[Controller]:
    """Every controller, for `master.reconcile.runtime.ControllerRuntime.run`."""
    return [
        DeploymentController(reader=reader, writer=writer, events=events, clock=clock),
        AnalysisController(reader=reader, writer=writer, clock=clock, prometheus=prometheus),
        ReplicaSetController(ReplicaSet, reader=reader, writer=writer, events=events, clock=clock),
        ReplicaSetController(ReplicationController, reader=reader, writer=writer, events=events, clock=clock),
        StatefulSetController(reader=reader, writer=writer, events=events, clock=clock),
        DaemonSetController(reader=reader, writer=writer, events=events, clock=clock),
        JobController(reader=reader, writer=writer, events=events, clock=clock),
        CronJobController(reader=reader, writer=writer, events=events, clock=clock),
        JobTtlController(reader=reader, writer=writer, clock=clock),
        NodeLifecycleController(
            reader=reader, writer=writer, events=events, clock=clock, liveness=liveness, settings=fleet
        ),
        StorageController(reader=reader, writer=writer, events=events, clock=clock),
        EndpointsController(reader=reader, writer=writer),
        BalancerController(reader=reader, writer=writer, events=events),
        IngressController(reader=reader, writer=writer, events=events, clock=clock),
        PodGcController(reader=reader, writer=writer),
        NamespaceController(reader=reader, writer=writer, clock=clock),
        GarbageController(reader=reader, writer=writer),
        DisruptionController(reader=reader, writer=writer, clock=clock),
        QuotaController(reader=reader, writer=writer, quotas=quotas, clock=clock),
        EventTtlController(reader=reader, writer=writer, clock=clock),
    ]
