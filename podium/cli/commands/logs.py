"""`podium logs`: one container's output, or that of all pods of a workload, across hosts, new pods included."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import click

from podium.aio.clock import SystemClock
from podium.aio.tasks import TaskScope
from podium.cli.options import seconds
from podium.cli.session import Session, command, is_terminal, print_error
from podium.cli.workloads import POD, containers_of, one_target, pod_selector, pods_of
from podium.errors import BadRequest, PodiumError
from podium.v1.core_pb2 import Pod

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to show of each container."""

    container: str
    all_containers: bool
    follow: bool
    previous: bool
    tail: int | None
    since: datetime.datetime | None
    timestamps: bool


@click.command(
    epilog="""
\b
Examples:
  podium logs web-7c9f8-x2k4q             what a pod wrote
  podium logs -f deploy/web               all pods of a deployment, new ones too
  podium logs web-1 -c proxy --previous   of the container's run before this one
  podium logs web-1 --since=10m --tail=100
"""
)
@click.argument("what", required=True, metavar="POD | KIND/NAME")
@click.option("-c", "--container", default="", help="Container; the default one when not given.")
@click.option("--all-containers", is_flag=True, help="All containers of each pod.")
@click.option("-f", "--follow", is_flag=True, help="Go on as more is written.")
@click.option("-p", "--previous", is_flag=True, help="Of the previous run of the container.")
@click.option("--tail", type=int, help="Only the last lines.")
@click.option("--since", default="", metavar="DURATION", help="Only what is newer than this.")
@click.option("--timestamps", is_flag=True, help="Write the time before each line.")
@click.option("--prefix", is_flag=True, help="Write pod and container before each line.")
@command
async def logs(
    session: Session, what: str, container: str, all_containers: bool, follow: bool, previous: bool, tail: int | None,
    since: str, timestamps: bool, prefix: bool,
) -> int:  # fmt: skip
    """Show what containers wrote."""
    target = one_target(what)
    start = SystemClock().now() - datetime.timedelta(seconds=seconds(since)) if since else None
    request = Request(
        container=container, all_containers=all_containers, follow=follow, previous=previous, tail=tail, since=start,
        timestamps=timestamps,
    )  # fmt: skip
    if follow and target.kind is not POD:
        await _follow_workload(session, await pod_selector(session, target), request)
        return 0
    sources = [
        (pod, name)
        for pod in await pods_of(session, target)
        for name in containers_of(pod, all_containers=all_containers, container=container)
    ]
    if follow and len(sources) > 1:
        await _follow_all(session, sources, request)
        return 0
    failed = False
    for pod, name in sources:
        try:
            await _copy(session, pod, name, request, _label(pod, name) if prefix or len(sources) > 1 else "")
        except PodiumError as error:
            print_error(error, f"{pod.metadata.name}/{name}" if len(sources) > 1 else "")
            failed = True
    return 1 if failed else 0


async def _follow_all(session: Session, sources: Iterable[tuple[Pod, str]], request: Request) -> None:
    async with TaskScope(_report) as scope:
        for task in [
            scope.start(_copy(session, pod, name, request, _label(pod, name)), name=f"{pod.metadata.name}/{name}")
            for pod, name in sources
        ]:
            await task


async def _follow_workload(session: Session, selector: str, request: Request) -> None:
    """Follow every container of every pod that the selector picks, from when it runs."""
    following: set[tuple[str, str]] = set()
    async with TaskScope(_report) as scope:
        async for change in session.client.watch(Pod, selector=selector):
            pod = change.object
            for name in _started(pod, request):
                source = (f"{pod.metadata.uid}/{name}", _run_of(pod, name))
                if source not in following:
                    following.add(source)
                    _ = scope.start(
                        _copy(session, pod, name, request, _label(pod, name)), name=f"{pod.metadata.name}/{name}"
                    )


def _started(pod: Pod, request: Request) -> list[str]:
    running = {
        s.name
        for s in [*pod.status.init_container_statuses, *pod.status.container_statuses]
        if s.state.HasField("running") or s.state.HasField("terminated")
    }
    try:
        wanted = containers_of(pod, all_containers=request.all_containers, container=request.container)
    except BadRequest:
        return []
    return [name for name in wanted if name in running]


def _run_of(pod: Pod, name: str) -> str:
    statuses = [*pod.status.init_container_statuses, *pod.status.container_statuses]
    return next((s.container_id for s in statuses if s.name == name), "")


def _report(name: str, error: BaseException) -> None:
    if not isinstance(error, PodiumError):
        raise error
    print_error(error, name)


def _label(pod: Pod, container: str) -> str:
    text = f"[{pod.metadata.name}{'/' + container if len(pod.spec.containers) > 1 else ''}] "
    if not is_terminal():
        return text
    return click.style(text, fg=_COLOURS[sum(pod.metadata.name.encode()) % len(_COLOURS)])


async def _copy(session: Session, pod: Pod, container: str, request: Request, label: str) -> None:
    """Write a container's output to standard output; with a label, whole lines only."""
    waiting = b""
    async for _, data in session.client.pods.logs(
        pod.metadata.name, container=container, follow=request.follow, previous=request.previous, tail=request.tail,
        since=request.since, timestamps=request.timestamps,
    ):  # fmt: skip
        if not label:
            _write(data)
            continue
        *whole, waiting = (waiting + data).split(b"\n")
        _write(b"".join(label.encode() + line + b"\n" for line in whole))
    if waiting:
        _write(label.encode() + waiting + b"\n")


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
