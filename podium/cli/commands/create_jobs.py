"""`podium create job` and `podium create cronjob`."""

from __future__ import annotations

from typing import Any

import click

from podium.cli.output.created import show
from podium.cli.resources import parse_targets
from podium.cli.session import Session, command
from podium.codec.json import object_from_dict
from podium.errors import BadRequest
from podium.objects.owners import owner_reference
from podium.v1.batch_pb2 import CronJob, Job

INSTANTIATE = "cronjob.kubernetes.io/instantiate"


@click.command(
    epilog="""
\b
Examples:
  podium create job pi --image=perl:5.34 -- perl -Mbignum=bpi -wle 'print bpi(2000)'
  podium create job now --from=cronjob/nightly
"""
)
@click.argument("name")
@click.option("--image", default="", help="Image of the one container.")
@click.option("--from", "source", default="", metavar="cronjob/NAME", help="Start a Job of a CronJob now.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the result so.")
@click.argument("words", nargs=-1, metavar="[-- COMMAND [ARG...]]")
@command
async def job(
    session: Session, name: str, image: str, source: str, dry_run: bool, output: str, words: tuple[str, ...]
) -> None:
    """Create a Job of one container, or one of a CronJob."""
    if bool(image) == bool(source):
        raise click.UsageError("give either --image or --from")
    if source and words:
        raise click.UsageError("a Job of a CronJob has that one's command")
    made = await _of_cronjob(session, name, source) if source else _job(name, image, words)
    show([await session.client.create(made, dry_run=dry_run)], dry_run, output)


async def _of_cronjob(session: Session, name: str, source: str) -> Job:
    [target] = parse_targets([source])
    if target.kind.name != "CronJob" or len(target.names) != 1:
        raise BadRequest(f'--from must be cronjob/NAME, not "{source}"')
    cron: Any = await session.client.get(CronJob, target.names[0])
    template = cron.spec.job_template
    made = Job()
    made.metadata.name = name
    made.metadata.labels.update(template.metadata.labels)
    made.metadata.annotations.update(template.metadata.annotations)
    made.metadata.annotations[INSTANTIATE] = "manual"
    made.metadata.owner_references.append(owner_reference(cron))
    made.spec.CopyFrom(template.spec)
    return made


def _job(name: str, image: str, words: tuple[str, ...]) -> Any:
    return object_from_dict({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": _pod(name, image, words, "Never")}},
    })  # fmt: skip


@click.command(
    epilog="""
\b
Examples:
  podium create cronjob nightly --image=busybox --schedule='30 2 * * *' -- date
  podium create cronjob tick --image=busybox --schedule=@hourly --time-zone=Europe/Berlin -- date
"""
)
@click.argument("name")
@click.option("--image", required=True, help="Image of the one container.")
@click.option("--schedule", required=True, help="Five fields: minute, hour, day of month, month, day of week.")
@click.option("--time-zone", default="", help="Such as Europe/Berlin; UTC by default.")
@click.option(
    "--restart", type=click.Choice(["OnFailure", "Never"]), default="OnFailure", show_default=True,
    help="What happens when the container fails.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the result so.")
@click.argument("words", nargs=-1, metavar="[-- COMMAND [ARG...]]")
@command
async def cronjob(
    session: Session, name: str, image: str, schedule: str, time_zone: str, restart: str, dry_run: bool, output: str,
    words: tuple[str, ...],
) -> None:  # fmt: skip
    """Create a CronJob of one container."""
    spec: dict[str, Any] = {
        "schedule": schedule, "jobTemplate": {"spec": {"template": {"spec": _pod(name, image, words, restart)}}}
    }  # fmt: skip
    if time_zone:
        spec["timeZone"] = time_zone
    manifest = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}
    show([await session.client.create(object_from_dict(manifest), dry_run=dry_run)], dry_run, output)


def _pod(name: str, image: str, words: tuple[str, ...], restart: str) -> dict[str, Any]:
    container: dict[str, Any] = {"name": name, "image": image}
    if words:
        container["command"] = list(words)
    return {"containers": [container], "restartPolicy": restart}
