"""`podium ingress`: the proxy that serves Ingresses."""

from __future__ import annotations

import click

from podium.cli.ingress_proxy import IMAGE, manifests
from podium.cli.options import seconds
from podium.cli.output.printer import Style, name_of, print_objects
from podium.cli.output.rollout import follow
from podium.cli.session import Session, command
from podium.cli.waiting import Deadline
from podium.codec.json import object_from_dict
from podium.objects.kinds import BY_NAME, kind_of

_MANAGER = "podium-ingress-install"


@click.group(epilog="\b\nExamples:\n  podium ingress install")
def ingress() -> None:
    """Install what serves Ingresses: HAProxy on the hosts, told by the master what to do."""


@ingress.command(
    epilog="""
\b
Examples:
  podium ingress install                                       on every node
  podium ingress install --node-selector=edge=true --wait
  podium ingress install --image=registry.example.com/haproxy:2.8
  podium ingress install --dry-run -o yaml > ingress.yaml      its manifests, to be kept
  podium ingress install --dry-run -o yaml | podium delete -f -
"""
)
@click.option("--image", default=IMAGE, show_default=True, help="With HAProxy 2.6 or later, and a shell.")
@click.option("--node-selector", "selector", multiple=True, metavar="KEY=VALUE", help="Only nodes with this label.")
@click.option("--not-default", is_flag=True, help="Only Ingresses that name its class are served.")
@click.option("--wait", "wait_done", is_flag=True, help="Wait until a proxy runs on each node.")
@click.option("--timeout", default="5m", show_default=True, metavar="DURATION", help="How long --wait waits.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the objects so.")
@command
async def install(
    session: Session, image: str, selector: tuple[str, ...], not_default: bool, wait_done: bool, timeout: str,
    dry_run: bool, output: str,
) -> int:  # fmt: skip
    """Serve Ingresses at ports 80 and 443 of the nodes; run again, it brings the proxy up to date."""
    wanted = dict(text.partition("=")[::2] for text in selector)
    made = manifests(image=image, node_selector=wanted, default=not not_default)
    if dry_run and output:
        objects = [object_from_dict(manifest) for manifest in made]
        print_objects([(kind_of(obj), [obj]) for obj in objects], Style(format=output))
        return 0
    applied = [await session.client.apply(manifest, manager=_MANAGER, force=True, dry_run=dry_run) for manifest in made]
    if output:
        print_objects([(kind_of(obj), [obj]) for obj in applied], Style(format=output))
    else:
        for obj in applied:
            click.echo(f"{name_of(obj)} installed{' (dry run)' if dry_run else ''}")
    if not wait_done or dry_run:
        return 0
    meta = made[-1]["metadata"]
    return await follow(
        session, BY_NAME["DaemonSet"], meta["name"], watch=True, deadline=Deadline(seconds(timeout)),
        namespace=meta["namespace"],
    )  # fmt: skip
