"""`podium debug`: an ephemeral container in a running pod (KEP-277), and a terminal in it."""

from __future__ import annotations

import secrets

import click

from podium.cli import terminal
from podium.cli.complete import pods
from podium.cli.session import Session, command
from podium.cli.waiting import Deadline, until
from podium.cli.workloads import best_pod, one_target
from podium.errors import Conflict
from podium.objects.kinds import kind_of
from podium.v1.core_pb2 import ContainerStatus, Pod
from podium.v1.pods_service_pb2 import AttachRequest, StreamFrame

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' for generated names: no vowels, so no words."""


@click.command(
    epilog="""
\b
Examples:
  podium debug -it web-1 --image=busybox                      a shell beside the pod's containers
  podium debug -it web-1 --image=busybox --target=app         that sees the processes of one of them
  podium debug web-1 --image=busybox -- nslookup db           one command; its output: podium logs web-1 -c NAME
"""
)
@click.argument("what", required=True, metavar="POD | KIND/NAME", shell_complete=pods)
@click.argument("words", nargs=-1, metavar="[-- COMMAND [ARG...]]")
@click.option("--image", required=True, help="Image of the debug container.")
@click.option("--target", default="", metavar="CONTAINER", help="Container whose processes it sees.")
@click.option("-c", "--container", default="", metavar="NAME", help="Its name; made up when not given.")
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input on, and attach.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("--timeout", default=60.0, show_default=True, metavar="SECONDS", help="How long its start may take.")
@command
async def debug(
    session: Session, what: str, words: tuple[str, ...], image: str, target: str, container: str, stdin: bool,
    tty: bool, timeout: float,
) -> int:  # fmt: skip
    """Start a debug container in a running pod; it stays part of the pod and is never started again."""
    pod = await best_pod(session, one_target(what))
    name = container or f"debugger-{''.join(secrets.choice(_ALPHABET) for _ in range(5))}"
    # Without a terminal the end of our input must be the end of its; with one, the shell may be attached to again.
    pod.spec.ephemeral_containers.add(
        name=name, image=image, command=words, stdin=stdin, stdin_once=stdin and not tty, tty=tty,
        target_container_name=target,
    )  # fmt: skip
    added = await session.client.update(pod, subresource="ephemeralcontainers")
    click.echo(f"container {name} of pod/{pod.metadata.name}", err=stdin)
    await _begun(session, added, name, Deadline(timeout))
    if not stdin:
        return 0
    key = session.client.pods.key(pod.metadata.name, container=name)
    request = AttachRequest(pod=key, stdin=stdin, size=terminal.size() if tty else None)
    with terminal.raw(tty):
        sent = terminal.frames(StreamFrame(attach=request), stdin=stdin, tty=tty)
        return await terminal.pump(session.client.pods.attach(sent))


async def _begun(session: Session, pod: Pod, name: str, deadline: Deadline) -> None:
    """Return once the container has started, and maybe ended.

    Raises:
        Conflict: It can't start, or the pod went.
    """

    def met(found: Pod | None) -> bool:
        if found is None or found.metadata.uid != pod.metadata.uid:
            raise Conflict(f"pod {pod.metadata.name} went away")
        status = next((s for s in found.status.ephemeral_container_statuses if s.name == name), ContainerStatus())
        if status.state.waiting.message:
            raise Conflict(
                f"container {name} can't start: {status.state.waiting.reason}: {status.state.waiting.message}"
            )
        return status.state.HasField("running") or status.state.HasField("terminated")

    await until(session, kind_of(Pod), [pod.metadata.name], met, deadline=deadline, what=f"the start of {name}")
