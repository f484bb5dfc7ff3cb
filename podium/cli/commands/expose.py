"""`podium expose`: a service for what runs already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from podium.cli.commands.create_service import MadePort, service_of
from podium.cli.complete import targets
from podium.cli.output.printer import Style, name_of, print_objects
from podium.cli.resources import parse_targets
from podium.cli.session import Session, command
from podium.errors import BadRequest
from podium.objects.kinds import kind_of
from podium.v1.core_pb2 import Pod, PodSpec
from podium.v1.networking_pb2 import Service


@click.command(
    epilog="""
\b
Examples:
  podium expose deploy/web --port=80 --target-port=8080
  podium expose deploy/web --port=80 --type=LoadBalancer --name=shop
  podium expose pod/db-0 --port=5432
"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the service; the containers' own by default.")
@click.option("--target-port", default="", metavar="PORT|NAME", help="Port of the pods, if another one.")
@click.option("--protocol", type=click.Choice(["TCP", "UDP"]), default="TCP", show_default=True)
@click.option(
    "--type", "type_", type=click.Choice(["ClusterIP", "NodePort", "LoadBalancer"]), help="How it is reached."
)
@click.option("--cluster-ip", default="", metavar="ADDRESS|None", help="Its address; None leads to the pods' own.")
@click.option("--name", default="", help="Of the service, if not the workload's.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the result so.")
@command
async def expose(
    session: Session, what: tuple[str, ...], port: int | None, target_port: str, protocol: str, type_: str | None,
    cluster_ip: str, name: str, dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Make a service that leads to a workload's pods."""
    target = parse_targets(what)[0]
    if len(target.names) != 1:
        raise BadRequest("name one object: KIND/NAME")
    found: Any = await session.client.get(target.kind.message, target.names[0])
    chosen = [MadePort(port, target_port, protocol)] if port else ports_of(found, target_port)
    made = service_of(
        name or target.names[0], type_ or "ClusterIP", selector_to(found), chosen, cluster_ip=cluster_ip,
        labels=dict(found.metadata.labels),
    )  # fmt: skip
    created = await session.client.create(made, dry_run=dry_run)
    if output:
        print_objects([(kind_of(created), [created])], Style(format=output), single=True)
    else:
        click.echo(f"{name_of(created)} exposed{' (dry run)' if dry_run else ''}")


def selector_to(obj: Any) -> Mapping[str, str]:
    """Labels that select the pods of a workload, or the one pod.

    Raises:
        BadRequest: It has no pods, or a service cannot select them.
    """
    what = f"{kind_of(obj).qualified}/{obj.metadata.name}"
    if isinstance(obj, Pod):
        labels: Mapping[str, str] = obj.metadata.labels
    elif isinstance(obj, Service) or kind_of(obj).name == "ReplicationController":
        labels = obj.spec.selector
    elif _pod_spec(obj) is None or not hasattr(obj.spec, "selector"):
        raise BadRequest(f"{what} has no pods to lead to; name a pod or a workload such as deploy/NAME")
    elif obj.spec.selector.match_expressions:
        raise BadRequest(f"{what} selects its pods by expressions, which a service cannot: create the service by hand")
    else:
        labels = obj.spec.selector.match_labels
    if not labels:
        raise BadRequest(f"{what} has no labels that a service could select by")
    return dict(labels)


def ports_of(obj: Any, target_port: str) -> Sequence[MadePort]:
    """The ports of its containers, each once.

    Raises:
        BadRequest: There is none, or there are several and one target.
    """
    if isinstance(obj, Service):
        return [MadePort(p.port, target_port, p.protocol or "TCP", p.name) for p in obj.spec.ports]
    spec = obj.spec if isinstance(obj, Pod) else _pod_spec(obj)
    declared = [port for container in (spec.containers if spec is not None else ()) for port in container.ports]
    found = {(p.container_port, p.protocol or "TCP"): p.name for p in declared}
    if not found:
        raise BadRequest("the containers do not say at which port they listen: give --port")
    if target_port and len(found) > 1:
        raise BadRequest("--target-port is of one port: give --port")
    several = len(found) > 1
    return [
        MadePort(number, target_port, protocol, (name or f"port-{index}") if several else name)
        for index, ((number, protocol), name) in enumerate(found.items(), start=1)
    ]


def _pod_spec(obj: Any) -> PodSpec | None:
    spec = getattr(obj, "spec", None)
    template = getattr(spec, "template", None)
    found = getattr(template, "spec", None)
    return found if isinstance(found, PodSpec) else None
