"""The composition root: the one place that knows every concrete part, and the order in which they start and stop.

    folder lock → CA, ports bound → store → watch cache loaded → doors (reader, writer) → namespaces, admin.yaml
      → scheduler, controllers, dispatcher, events, token file as one supervised group → API, join, HTTP serving

Stopping is the reverse: first no new calls, then the group, then the store. A part that fails takes the group, and so
the process, with it: a supervisor starts it again, and everything is level-triggered.
"""

from __future__ import annotations

import asyncio
import datetime
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import podium
from master import controllers
from master.access.addresses import ServiceRanges
from master.access.events import Recorder
from master.access.reader import CacheReader
from master.access.writer import StoreWriter
from master.api.cluster import ClusterFacts, ClusterServicer
from master.api.identity import caller
from master.api.interceptors import Instrumentation
from master.api.join import JoinServicer
from master.api.node_session import NodeSessionServicer
from master.api.objects import ObjectsServicer, add_objects_to_server
from master.api.pods import PodsServicer
from master.api.rollouts import RolloutsServicer
from master.api.server import ApiServer
from master.auth import rotation
from master.auth.authorizer import Authorizer
from master.auth.ca import CertificateAuthority, Lifetimes
from master.auth.limiter import FailureLimiter
from master.auth.serving import ServingCertificate
from master.auth.token_file import JoinTokenFile, TokenCleaner
from master.auth.tokens import TokenBook
from master.autoscaler.ansible import AnsibleProvisioner, AnsibleSettings
from master.autoscaler.controller import HorizontalController
from master.autoscaler.facts import Tuning
from master.autoscaler.nodepool_facts import PoolTuning
from master.autoscaler.nodepools import NodePoolController
from master.autoscaler.provision import Provisioner
from master.bootstrap import ensure_admin_config, ensure_namespaces, ensure_priority_classes, ensure_storage_class
from master.cache.cache import WatchCache
from master.controllers.fleet import FleetSettings
from master.dispatcher.dispatcher import Dispatcher, DispatcherSettings
from master.http import HttpServer
from master.reconcile.runtime import ControllerRuntime
from master.scheduler.scheduler import Scheduler
from master.settings import PKI_FOLDER, STORE_FILE, MasterSettings
from master.signals.prometheus import Prometheus, PrometheusSettings
from master.signals.recent import RecentQueries
from master.store.compaction import Compactor
from master.store.keyring import KEY_FILE, Keyring
from master.store.sealed import SealedStore
from master.store.sqlite import SqliteStore
from podium import collector
from podium.aio.clock import Clock
from podium.aio.tasks import forever
from podium.files import exclusive, make_private_directory
from podium.telemetry.log import get_logger
from podium.telemetry.loopwatch import LoopWatch
from podium.v1 import (
    cluster_service_pb2_grpc,
    node_session_pb2_grpc,
    pods_service_pb2_grpc,
    rollouts_service_pb2_grpc,
)

ADMIN_CONFIG = "admin.yaml"
NODEPOOLS_FOLDER = "nodepools"
QUERY_SECONDS = 5.0
"""An autoscaler asks Prometheus the same no more often; scrapes are seldom closer."""
JOIN_REQUEST_BYTES = 64 * 1024
"""Callers of the join port are strangers; a token and a certificate request are small."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every part stands on."""

    settings: MasterSettings
    clock: Clock
    ca: CertificateAuthority
    store: SealedStore
    cache: WatchCache
    reader: CacheReader
    writer: StoreWriter
    authorizer: Authorizer
    tokens: TokenBook
    prometheus: Prometheus
    provisioner: Provisioner
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Master:
    """A master that runs."""

    ground: Ground
    events: Recorder
    scheduler_events: Recorder
    dispatcher: Dispatcher
    scheduler: Scheduler
    runtime: ControllerRuntime
    loop_watch: LoopWatch
    api: ApiServer
    join: ApiServer
    started: datetime.datetime

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where its API is, `host:port` each."""
        return self.ground.endpoints

    @property
    def admin_config(self) -> Path:
        """The administrator's client configuration."""
        return self.ground.settings.data_dir / ADMIN_CONFIG

    def state(self) -> Mapping[str, object]:
        """Facts for /statez."""
        return {
            "version": podium.__version__,
            "cluster": self.ground.ca.cluster_id,
            "started": self.started.isoformat(),
            "revision": self.ground.reader.revision,
            "endpoints": self.endpoints,
            "tasks": len(asyncio.all_tasks()),
            "worst_loop_lag_seconds": self.loop_watch.worst,
        }


async def serve(settings: MasterSettings, *, clock: Clock, stopping: asyncio.Event) -> None:
    """Run a master until `stopping` is set, with this process to itself.

    Raises:
        PodiumError: It cannot start: the folder is in use, a port is taken, the CA is damaged.
        ExceptionGroup: A part failed.
    """
    async with running(settings, clock=clock) as master:
        collector.forget_start()
        gc.set_threshold(50_000, 20, 50)
        log.info(
            "the master serves",
            version=podium.__version__,
            cluster=master.ground.ca.cluster_id,
            endpoints=",".join(master.endpoints),
            revision=master.ground.reader.revision,
        )
        await stopping.wait()
        log.info("stopping")


@asynccontextmanager
async def running(
    settings: MasterSettings, *, clock: Clock, provisioner: Provisioner | None = None
) -> AsyncIterator[Master]:
    """A master, started on entering and stopped on leaving. `provisioner` makes nodes of hosts; default: Ansible."""
    readiness = _Readiness()
    make_private_directory(settings.data_dir)
    with exclusive(settings.data_dir):
        ca, serving = await asyncio.to_thread(_identity, settings, clock)
        async with (
            _servers(settings, clock, serving) as (api, join),
            _ground(settings, clock, ca, api, provisioner) as ground,
        ):
            await ensure_namespaces(ground.reader, ground.writer)
            await ensure_priority_classes(ground.reader, ground.writer)
            await ensure_storage_class(ground.reader, ground.writer)
            path = settings.data_dir / ADMIN_CONFIG
            await asyncio.to_thread(ensure_admin_config, path, ca, clock, ground.endpoints)
            master = _assemble(ground, api, join)
            async with _supervised(_parts(master)), _http(settings, readiness, master.state):
                _register(master)
                await api.start()
                await join.start()
                readiness.waiting = None
                yield master
                readiness.waiting = "the master is stopping"
                await asyncio.gather(api.stop(settings.stop_grace), join.stop(settings.stop_grace))


class _Readiness:
    """What /readyz tells: what is still waited for, or None."""

    waiting: str | None = "the master is starting"

    def __call__(self) -> str | None:
        return self.waiting


# ---------------------------------------------------------------- what everything stands on


def _identity(settings: MasterSettings, clock: Clock) -> tuple[CertificateAuthority, ServingCertificate]:
    lifetimes = Lifetimes(
        server=datetime.timedelta(seconds=settings.server_certificate_lifetime),
        node=datetime.timedelta(seconds=settings.node_certificate_lifetime),
    )
    rotation.complete(settings.data_dir / PKI_FOLDER)
    ca = CertificateAuthority.open(settings.data_dir / PKI_FOLDER, clock, lifetimes)
    return ca, ServingCertificate(ca, clock, settings.server_names())


@asynccontextmanager
async def _servers(
    settings: MasterSettings, clock: Clock, serving: ServingCertificate
) -> AsyncIterator[tuple[ApiServer, ApiServer]]:
    """The two gRPC servers, their ports bound: who connects while the cache loads is kept waiting, not turned away."""
    instrumentation = Instrumentation(clock, default_deadline=settings.call_deadline)
    api = ApiServer(
        listen=settings.listen,
        credentials=serving.credentials(client_certificates=True),
        instrumentation=instrumentation,
    )
    join = ApiServer(
        listen=settings.join_listen,
        credentials=serving.credentials(client_certificates=False),
        instrumentation=instrumentation,
        max_request_bytes=JOIN_REQUEST_BYTES,
    )
    try:
        api.bind()
        join.bind()
        yield api, join
    finally:
        await api.stop(0)
        await join.stop(0)


async def _sealed_store(settings: MasterSettings, clock: Clock) -> SealedStore:
    """The store, with all that is to be sealed sealed with the newest key: also what an interrupted rotation left."""
    keyring = await asyncio.to_thread(Keyring.open, settings.data_dir / KEY_FILE, clock.now())
    store = SealedStore(await SqliteStore.open(settings.data_dir / STORE_FILE), keyring)
    try:
        async for progress in store.reseal():
            if progress.done == progress.total > 0:
                log.info("sealed secrets anew", count=progress.total)
    except BaseException:
        await store.close()
        raise
    return store


@asynccontextmanager
async def _ground(
    settings: MasterSettings,
    clock: Clock,
    ca: CertificateAuthority,
    api: ApiServer,
    provisioner: Provisioner | None,
) -> AsyncIterator[Ground]:
    store = await _sealed_store(settings, clock)
    try:
        async with WatchCache(store) as cache:
            authorizer = Authorizer()
            reader = CacheReader(cache)
            services = ServiceRanges(cidr=settings.service_cidr, node_ports=settings.node_port_range())
            writer = StoreWriter(store=store, cache=cache, authorizer=authorizer, clock=clock, services=services)
            yield Ground(
                settings=settings,
                clock=clock,
                ca=ca,
                store=store,
                cache=cache,
                reader=reader,
                writer=writer,
                authorizer=authorizer,
                tokens=TokenBook(reader=reader, writer=writer, clock=clock, pin=ca.pin),
                prometheus=_prometheus(settings, clock),
                provisioner=provisioner or _ansible(settings, clock, settings.endpoints(api.ports)),
                endpoints=settings.endpoints(api.ports),
            )
    finally:
        await store.close()


def _ansible(settings: MasterSettings, clock: Clock, endpoints: Sequence[str]) -> AnsibleProvisioner:
    """Ansible itself is not loaded here, nor ever in this process."""
    return AnsibleProvisioner(
        AnsibleSettings(
            variables=settings.nodepool_variables,
            hooks=settings.nodepool_hooks,
            work=settings.data_dir / NODEPOOLS_FOLDER,
            masters=endpoints,
        ),
        clock,
    )


def _prometheus(settings: MasterSettings, clock: Clock) -> Prometheus:
    return Prometheus(
        PrometheusSettings(
            url=settings.prometheus_url,
            timeout=settings.prometheus_timeout,
            token_file=settings.prometheus_token_file,
            ca_file=settings.prometheus_ca_file,
        ),
        clock=clock,
    )


# ---------------------------------------------------------------- parts


def _assemble(ground: Ground, api: ApiServer, join: ApiServer) -> Master:
    settings, reader, writer, clock = ground.settings, ground.reader, ground.writer, ground.clock
    scheduler_events = Recorder(writer=writer, clock=clock, component="scheduler")
    dispatcher = Dispatcher(
        reader=reader,
        writer=writer,
        clock=clock,
        settings=DispatcherSettings(
            heartbeat=settings.heartbeat,
            lease=settings.lease,
            pod_cidr=settings.pod_cidr,
            node_prefix=settings.pod_cidr_node_prefix,
            service_cidr=settings.service_cidr,
            cluster_domain=settings.cluster_domain,
            endpoints=ground.endpoints,
            trust=ground.ca.digest,
        ),
    )
    return Master(
        ground=ground,
        events=Recorder(writer=writer, clock=clock, component="controller-manager"),
        scheduler_events=scheduler_events,
        dispatcher=dispatcher,
        scheduler=Scheduler(reader=reader, writer=writer, events=scheduler_events, clock=clock),
        runtime=ControllerRuntime(reader=reader, clock=clock),
        loop_watch=LoopWatch(clock),
        api=api,
        join=join,
        started=clock.now(),
    )


def _parts(master: Master) -> Mapping[str, Callable[[], Awaitable[None]]]:
    """What runs for as long as the master does."""
    ground = master.ground
    settings, tokens, clock = ground.settings, ground.tokens, ground.clock
    made = controllers.build(
        reader=ground.reader,
        writer=ground.writer,
        events=master.events,
        clock=clock,
        liveness=master.dispatcher.sessions,
        prometheus=ground.prometheus,
        quotas=ground.writer.quotas,
        fleet=FleetSettings(lease=settings.lease),
    )
    autoscaler = HorizontalController(
        reader=ground.reader,
        writer=ground.writer,
        events=master.events,
        clock=clock,
        usages=master.dispatcher.usage,
        queries=RecentQueries(ground.prometheus, clock=clock, seconds=QUERY_SECONDS),
        tuning=_tuning(settings),
    )
    pools = NodePoolController(
        reader=ground.reader,
        writer=ground.writer,
        events=master.events,
        clock=clock,
        simulator=master.scheduler,
        provisioner=ground.provisioner,
        tokens=tokens,
        tuning=PoolTuning(first_backoff=settings.nodepool_backoff),
    )
    parts: dict[str, Callable[[], Awaitable[None]]] = {
        "events": master.events.run,
        "scheduler events": master.scheduler_events.run,
        "dispatcher": master.dispatcher.run,
        "scheduler": master.scheduler.run,
        "controllers": lambda: master.runtime.run([*made, autoscaler, pools]),
        "compactor": Compactor(store=ground.store, clock=clock, interval=settings.history).run,
        "cache cooling": lambda: ground.cache.cool(clock),
        "token cleaner": TokenCleaner(tokens=tokens, clock=clock).run,
        "loop watch": master.loop_watch.run,
    }
    if settings.join_token_file is not None:
        lifetime = datetime.timedelta(seconds=settings.join_token_lifetime)
        path = settings.join_token_file
        parts["join token file"] = JoinTokenFile(path=path, tokens=tokens, clock=clock, lifetime=lifetime).run
    return parts


def _tuning(settings: MasterSettings) -> Tuning:
    return Tuning(
        tolerance=Fraction(str(settings.hpa_tolerance)),
        downscale_stabilization=settings.hpa_downscale_stabilization,
        cpu_initialization=settings.hpa_cpu_initialization,
        readiness_delay=settings.hpa_readiness_delay,
    )


@asynccontextmanager
async def _supervised(parts: Mapping[str, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run parts that never end; the failure of one ends them all, and whatever runs within."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(forever(name, body), name=name) for name, body in parts.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


# ---------------------------------------------------------------- servers


def _register(master: Master) -> None:
    ground, dispatcher, api, join = master.ground, master.dispatcher, master.api, master.join
    api.add(
        add_objects_to_server,
        ObjectsServicer(reader=ground.reader, writer=ground.writer, authorizer=ground.authorizer),
    )
    api.add(
        pods_service_pb2_grpc.add_PodsServicer_to_server,
        PodsServicer(reader=ground.reader, relay=dispatcher.streams, authorizer=ground.authorizer, identify=caller),
    )
    api.add(
        rollouts_service_pb2_grpc.add_RolloutsServicer_to_server,
        RolloutsServicer(reader=ground.reader, writer=ground.writer, authorizer=ground.authorizer),
    )
    api.add(
        node_session_pb2_grpc.add_NodeSessionServicer_to_server,
        NodeSessionServicer(
            sessions=dispatcher,
            streams=dispatcher.streams,
            signer=ground.ca,
            authorizer=ground.authorizer,
            identify=caller,
            endpoints=ground.endpoints,
        ),
    )
    api.add(cluster_service_pb2_grpc.add_ClusterServicer_to_server, _cluster_servicer(master))
    join.add(
        cluster_service_pb2_grpc.add_JoinServicer_to_server,
        JoinServicer(
            tokens=ground.tokens,
            signer=ground.ca,
            reader=ground.reader,
            limiter=FailureLimiter(ground.clock),
            endpoints=ground.endpoints,
        ),
    )


def _cluster_servicer(master: Master) -> ClusterServicer:
    ground = master.ground
    return ClusterServicer(
        facts=ClusterFacts(
            version=podium.__version__,
            endpoints=ground.endpoints,
            pod_cidr=ground.settings.pod_cidr,
            started=master.started,
        ),
        reader=ground.reader,
        authorizer=ground.authorizer,
        ca=ground.ca,
        tokens=ground.tokens,
        explainer=master.scheduler,
        usage=master.dispatcher.usage,
        backup=ground.store,
        scratch=ground.settings.data_dir,
        sealing=ground.store,
        clock=ground.clock,
    )


@asynccontextmanager
async def _http(
    settings: MasterSettings, ready: Callable[[], str | None], state: Callable[[], Mapping[str, object]]
) -> AsyncIterator[None]:
    if not settings.http_listen:
        yield
        return
    http = HttpServer(listen=settings.http_listen, ready=ready, state=state)
    await http.start()
    try:
        yield
    finally:
        await http.stop()
