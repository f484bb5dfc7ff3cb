"""`podium exec` and `podium attach`."""

from __future__ import annotations

import click

from podium.cli import terminal
from podium.cli.complete import pods
from podium.cli.session import Session, command
from podium.cli.workloads import best_pod, containers_of, one_target
from podium.objects.pod import every_container
from podium.v1.pods_service_pb2 import AttachRequest, ExecRequest, PodKey, StreamFrame


class _ExecCommand(click.Command):
    """Knows what is amiss when the remote command's options are taken for ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        separated = "--" in args
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if separated:
                raise
            hint = "options of the remote command go after --: podium exec POD -- ls -l"
            raise click.UsageError(f"no such option: {error.option_name}; {hint}", ctx) from None


@click.command(
    "exec",
    cls=_ExecCommand,
    epilog="""
\b
Examples:
  podium exec web-1 -- ls /               run a command
  podium exec -it deploy/web -- sh        a shell in a pod of a deployment
  podium exec -i db-0 -- psql < dump.sql  with standard input
  podium exec web-1 -c proxy -- ps -ef    in one of several containers
""",
)
@click.argument("what", required=True, metavar="POD | KIND/NAME", shell_complete=pods)
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND [ARG...]")
@click.option("-c", "--container", default="", help="Container; the default one when not given.")
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@command
async def exec(session: Session, what: str, words: tuple[str, ...], container: str, stdin: bool, tty: bool) -> int:
    """Run a command in a container; exits with its exit code."""
    key = await _container(session, what, container)
    request = ExecRequest(pod=key, command=words, stdin=stdin, tty=tty, size=terminal.size() if tty else None)
    with terminal.raw(tty):
        sent = terminal.frames(StreamFrame(exec=request), stdin=stdin, tty=tty)
        return await terminal.pump(session.client.pods.exec(sent))


@click.command(
    epilog="""
\b
Examples:
  podium attach web-1                     see what the container writes from now on
  podium attach -it shell-1               and type into it: a container with `tty: true` and `stdin: true`
"""
)
@click.argument("what", required=True, metavar="POD | KIND/NAME", shell_complete=pods)
@click.option("-c", "--container", default="", help="Container; the default one when not given.")
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Join your terminal to the container's (`tty: true`).")
@command
async def attach(session: Session, what: str, container: str, stdin: bool, tty: bool) -> int:
    """Attach to a container's own process."""
    pod = await best_pod(session, one_target(what))
    (name,) = containers_of(pod, all_containers=False, container=container)
    if tty and not next(c.tty for c in every_container(pod.spec) if c.name == name):
        click.echo(f"container {name} was made without a terminal (`tty: true`): attached without one", err=True)
        tty = False
    key = session.client.pods.key(pod.metadata.name, container=name)
    request = AttachRequest(pod=key, stdin=stdin, size=terminal.size() if tty else None)
    with terminal.raw(tty):
        sent = terminal.frames(StreamFrame(attach=request), stdin=stdin, tty=tty)
        return await terminal.pump(session.client.pods.attach(sent))


async def _container(session: Session, what: str, container: str) -> PodKey:
    pod = await best_pod(session, one_target(what))
    if container:
        containers_of(pod, all_containers=False, container=container)
    return session.client.pods.key(pod.metadata.name, container=container)
