"""`podium autoscale`: an autoscaler for a workload, by CPU."""

from __future__ import annotations

from typing import Any

import click
from google.protobuf.message import Message

from podium.cli.complete import targets
from podium.cli.output.printer import Style, name_of, print_objects
from podium.cli.resources import parse_targets
from podium.cli.session import Session, command
from podium.codec.json import object_from_dict
from podium.errors import BadRequest
from podium.objects.kinds import KINDS, Kind, kind_of


@click.command(
    epilog="""
\b
Examples:
  podium autoscale deploy/web --min=2 --max=10 --cpu-percent=60
  podium autoscale rs/frontend --max=5
  podium autoscale deploy/web --max=10 -o yaml --dry-run
"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME...", shell_complete=targets)
@click.option("--min", "least", type=click.IntRange(min=1), default=1, show_default=True, help="Fewest replicas.")
@click.option("--max", "most", type=click.IntRange(min=1), required=True, help="Most replicas.")
@click.option(
    "--cpu-percent",
    type=click.IntRange(min=1),
    default=80,
    show_default=True,
    help="CPU to aim at, of what is requested.",
)
@click.option("--name", help="Of the autoscaler, if not the workload's.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the result so.")
@command
async def autoscale(
    session: Session,
    what: tuple[str, ...],
    least: int,
    most: int,
    cpu_percent: int,
    name: str | None,
    dry_run: bool,
    output: str,
) -> None:
    """Let the replicas of workloads follow their CPU."""
    wanted = [(target.kind, one) for target in parse_targets(what) for one in target.names]
    if not wanted or (name and len(wanted) > 1):
        raise BadRequest("name the workloads: KIND/NAME" if not wanted else "--name is for one workload")
    made: list[Message] = []
    for kind, one in wanted:
        _check_scalable(kind)
        await session.client.get(kind.message, one)
        obj = _autoscaler(kind, one, name or one, least=least, most=most, percent=cpu_percent)
        made.append(await session.client.create(obj, dry_run=dry_run))
    if output:
        print_objects([(kind_of(o), [o]) for o in made], Style(format=output), single=len(made) == 1)
        return
    for created in made:
        click.echo(f"{name_of(created)} autoscaled{' (dry run)' if dry_run else ''}")


def _check_scalable(kind: Kind) -> None:
    if "scale" not in kind.subresources:
        known = ", ".join(k.plural for k in KINDS if "scale" in k.subresources)
        raise BadRequest(f"{kind.plural} cannot be scaled: {known} can")


def _autoscaler(kind: Kind, target: str, name: str, *, least: int, most: int, percent: int) -> Any:
    aim = {"type": "Utilization", "averageUtilization": percent}
    return object_from_dict(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name},
            "spec": {
                "scaleTargetRef": {"apiVersion": kind.api_version, "kind": kind.name, "name": target},
                "minReplicas": least,
                "maxReplicas": most,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": aim}}],
            },
        }
    )
