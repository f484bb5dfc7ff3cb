"""`podium logs`: one container's output, or that of all pods of a workload, across hosts, new pods included."""

from __future__ import annotations

import asyncio
import datetime
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

import click

from podium.aio.clock import SystemClock
from podium.cli.complete import pods
from podium.cli.options import seconds
from podium.cli.session import Session, command, is_coloured, print_error
from podium.cli.workloads import POD, containers_of, one_target, pod_selector, pods_of
from podium.errors import BadRequest, NotFound, PodiumError
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
  podium logs -l app=web --all-containers --prefix
"""
)
@click.argument("what", default="", metavar="POD | KIND/NAME", shell_complete=pods)
@click.option("-l", "--selector", default="", help="All pods with these labels.")
@click.option("-c", "--container", default="", help="Container; the default one when not given.")
@click.option("--all-containers", is_flag=True, help="All containers of each pod.")
@click.option("-f", "--follow", is_flag=True, help="Go on as more is written.")
@click.option("-p", "--previous", is_flag=True, help="Of the previous run of the container.")
@click.option("--tail", type=int, help="Only the last lines.")
@click.option("--since", default="", metavar="DURATION", help="Only what is newer than this.")
@click.option("--since-time", default="", metavar="TIME", help="Only what is newer, e.g. 2026-03-01T12:00:00Z.")
@click.option("--timestamps", is_flag=True, help="Write the time before each line.")
@click.option("--prefix", is_flag=True, help="Write pod and container before each line.")
@command
async def logs(
    session: Session, what: str, selector: str, container: str, all_containers: bool, follow: bool, previous: bool,
    tail: int | None, since: str, since_time: str, timestamps: bool, prefix: bool,
) -> int:  # fmt: skip
    """Show what containers wrote."""
    if bool(what) == bool(selector):
        raise BadRequest("name a pod or a workload (`podium logs deploy/web`), or give -l SELECTOR")
    request = Request(
        container=container, all_containers=all_containers, follow=follow, previous=previous, tail=tail,
        since=parse_start(since, since_time, SystemClock().now()), timestamps=timestamps,
    )  # fmt: skip
    target = one_target(what) if what else None
    if target is not None and target.kind is not POD:
        selector = await pod_selector(session, target)
    if follow and selector:
        await _follow_selected(session, selector, request)
        return 0
    pods = await session.client.list(Pod, selector=selector) if selector else await pods_of(session, one_target(what))
    if not pods:
        raise NotFound(f"{what or selector} has no pods")
    sources = [(pod, name) for pod in pods for name in _containers(pod, request)]
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


def parse_start(since: str, since_time: str, now: datetime.datetime) -> datetime.datetime | None:
    """From when on to show, of `--since` and `--since-time`.

    Raises:
        BadRequest: Both are given, or one is not of its form.
    """
    if since and since_time:
        raise BadRequest("give --since or --since-time, not both")
    if since:
        return now - datetime.timedelta(seconds=seconds(since))
    if not since_time:
        return None
    try:
        start = datetime.datetime.fromisoformat(since_time)
    except ValueError:
        raise BadRequest(f'"{since_time}" is not a time; write for example 2026-03-01T12:00:00Z') from None
    return start if start.tzinfo else start.replace(tzinfo=datetime.UTC)


def _containers(pod: Pod, request: Request) -> list[str]:
    return containers_of(pod, all_containers=request.all_containers, container=request.container)


async def _follow_all(session: Session, sources: Iterable[tuple[Pod, str]], request: Request) -> None:
    async with asyncio.TaskGroup() as group:
        for pod, name in sources:
            group.create_task(_follow(session, pod, name, request))


async def _follow_selected(session: Session, selector: str, request: Request) -> None:
    """Follow every run of every container of every pod that the selector picks; a run that is not over when we come
    is shown from where `--tail` and `--since` say, a later one from its beginning.
    """
    following: set[tuple[str, str, str]] = set()
    objects, revision = await session.client.list_at(Pod, selector=selector)
    async with asyncio.TaskGroup() as group:
        for pod in objects:
            for name, run in _runs(pod, request):
                following.add((pod.metadata.uid, name, run))
                group.create_task(_follow(session, pod, name, request))
        later = replace(request, tail=None, since=None)
        async for change in session.client.watch(Pod, selector=selector, resource_version=revision, known=objects):
            pod = change.object
            for name, run in _runs(pod, request) if change.type != "DELETED" else ():
                if (pod.metadata.uid, name, run) not in following:
                    following.add((pod.metadata.uid, name, run))
                    group.create_task(_follow(session, pod, name, later))


async def _follow(session: Session, pod: Pod, name: str, request: Request) -> None:
    """Copy to the end; one source that fails ends no other."""
    try:
        await _copy(session, pod, name, request, _label(pod, name))
    except PodiumError as error:
        print_error(error, f"{pod.metadata.name}/{name}")


def _runs(pod: Pod, request: Request) -> list[tuple[str, str]]:
    """The wanted containers that have something to show, each with the id of its present run."""
    runs = {
        s.name: s.container_id
        for s in [*pod.status.init_container_statuses, *pod.status.container_statuses]
        if s.state.HasField("running") or s.state.HasField("terminated")
    }
    try:
        wanted = _containers(pod, request)
    except BadRequest:
        return []
    return [(name, runs[name]) for name in wanted if name in runs]


def _label(pod: Pod, container: str) -> str:
    text = f"[{pod.metadata.name}{'/' + container if len(pod.spec.containers) > 1 else ''}] "
    if not is_coloured():
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
