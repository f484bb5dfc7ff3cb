"""The composition root: the one place that knows every concrete part of a nodelet, and the order in which they start.

    state on disk → runtime (waited for) → network with its old leases → pods with the last assignments
      → identity (joining if there is none) → session, certificate renewal, HTTP as one supervised group

Pods of before run again before any master is asked. Stopping leaves containers, addresses and rules as they are.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from enum import Enum

from nodelet import memory
from nodelet.enrol import has_identity, identity_of, token_of
from nodelet.http import http_port
from nodelet.linux import real_node
from nodelet.session.session import SessionTimes
from nodelet.settings import NodeletSettings
from nodelet.state.directory import StateDirectory
from podium import collector
from podium.aio.clock import Clock
from podium.aio.tasks import forever
from podium.telemetry.log import get_logger
from podium.tls import parse_endpoint

log = get_logger(__name__)


async def serve(settings: NodeletSettings, *, clock: Clock, stopping: asyncio.Event) -> None:
    """Be a node (or many hollow ones) until `stopping` is set.

    Raises:
        PodiumError: It can't start.
        ExceptionGroup: A part failed.
    """
    async with asyncio.TaskGroup() as group:
        life = group.create_task(_live(settings, clock), name="life")
        await stopping.wait()
        life.cancel()
    log.info("stopped; pods stay as they are")


class Enrolment(Enum):
    """How enrolling ended."""

    KNOWN = "this host had joined before"
    JOINED = "it joined now"
    STOPPED = "it was stopped before it could join"


async def enrol(settings: NodeletSettings, *, clock: Clock, stopping: asyncio.Event) -> Enrolment:
    """Join the cluster if this host has not, for as long as that takes.

    Raises:
        PodiumError: The token is malformed, or there is none.
    """
    state = await asyncio.to_thread(StateDirectory, settings.data_dir)
    if await asyncio.to_thread(has_identity, settings, state):
        return Enrolment.KNOWN
    async with asyncio.TaskGroup() as group:
        joining = group.create_task(identity_of(settings, state, clock), name="join")
        halted = group.create_task(stopping.wait(), name="wait for a signal")
        await asyncio.wait({joining, halted}, return_when=asyncio.FIRST_COMPLETED)
        joining.cancel()
        halted.cancel()
    return Enrolment.STOPPED if joining.cancelled() else Enrolment.JOINED


async def _live(settings: NodeletSettings, clock: Clock) -> None:
    """Be it until cancelled, which may come at any moment: also while the engine or a master is still waited for."""
    async with _fleet(settings, clock) if settings.runtime == "hollow" else _real(settings, clock):
        collector.forget_start()
        memory.give_back()
        await asyncio.get_running_loop().create_future()


@asynccontextmanager
async def _real(settings: NodeletSettings, clock: Clock) -> AsyncIterator[None]:
    async with (
        real_node(settings, clock) as real,
        _supervised(real.parts),
        _http(settings, real.waiting_for, real.node.fence.silence),
    ):
        # `systemctl reload`: a new certificate now.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, real.renewer.ask)
        yield


@asynccontextmanager
async def _fleet(settings: NodeletSettings, clock: Clock) -> AsyncIterator[None]:
    from nodelet.hollow import HollowSize, join_fleet, run_fleet  # for tests and benchmarks only

    token = await token_of(settings, clock)
    identities = await join_fleet(max(settings.hollow, 1), settings.name, settings.join_endpoints(), token)
    log.info("joined as hollow nodes", nodes=len(identities))
    size = HollowSize(cpu=settings.hollow_cpu, memory=settings.hollow_memory, pods=settings.max_pods)
    times = SessionTimes(status=settings.status_period, usage=settings.usage_period)

    async def fleet() -> None:
        await run_fleet(identities, settings.api_endpoints(), clock=clock, size=size, times=times)

    async with _supervised({"fleet": fleet}), _http(settings, lambda: ""):
        yield


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


@asynccontextmanager
async def _http(
    settings: NodeletSettings, waiting_for: Callable[[], str], silence: Callable[[], float | None] = lambda: None
) -> AsyncIterator[None]:
    if not settings.http_listen:
        yield
        return
    port = http_port(*parse_endpoint(settings.http_listen), waiting_for=waiting_for, silence=silence)
    await port.start()
    try:
        yield
    finally:
        await port.stop()
