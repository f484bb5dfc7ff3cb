"""`podium create`: from manifests, or small objects from the command line."""

from __future__ import annotations

import click

from podium.cli import manifests
from podium.cli.commands import create_config, create_ingress, create_jobs, create_policy, create_service
from podium.cli.commands.apply import check
from podium.cli.output.created import show
from podium.cli.session import Session, command, session_options
from podium.codec.json import object_from_dict
from podium.v1.core_pb2 import Namespace


@click.group(
    invoke_without_command=True,
    epilog="""
\b
Examples:
  podium create -f job.yaml
  podium create namespace team-a
  podium create deployment web --image=nginx:1.14.2 --replicas=3 --port=80
  podium create job pi --image=perl:5.34 -- perl -Mbignum=bpi -wle 'print bpi(2000)'
  podium create cronjob nightly --image=busybox --schedule='30 2 * * *' -- date
  podium create configmap app --from-file=settings/
  podium create service clusterip web --tcp=80:8080
  podium create ingress web --rule='shop.example.com/*=web:80,tls=shop-tls'
  podium create quota team --hard=pods=20,requests.cpu=8
  podium create secret docker-registry pull --server=registry.example.com --username=ci --password-file=p.txt
""",
)
@click.option("-f", "--filename", "files", multiple=True, help="File, directory or - for standard input.")
@click.option("-R", "--recursive", is_flag=True, help="Directories with all below them.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the results so.")
@session_options
@click.pass_context
def create(ctx: click.Context, files: tuple[str, ...], recursive: bool, dry_run: bool, output: str) -> int | None:
    """Create objects."""
    if ctx.invoked_subcommand is not None:
        return None
    if not files:
        raise click.UsageError("give -f FILE, or say what to create: namespace, deployment, job, cronjob, configmap …")
    return _from_files(files=files, recursive=recursive, dry_run=dry_run, output=output)


@command
async def _from_files(session: Session, files: tuple[str, ...], recursive: bool, dry_run: bool, output: str) -> None:
    made = [
        await session.client.create(item.obj, dry_run=dry_run)
        for item in check(manifests.read(files, recursive=recursive), session.namespace, warn=False)
    ]
    show(made, dry_run, output)


@create.command(epilog="\b\nExamples:\n  podium create namespace team-a")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@command
async def namespace(session: Session, name: str, dry_run: bool) -> None:
    """Create a namespace."""
    obj = Namespace()
    obj.metadata.name = name
    show([await session.client.create(obj, dry_run=dry_run)], dry_run)


@create.command(
    epilog="""
\b
Examples:
  podium create deployment web --image=nginx:1.14.2 --replicas=3 --port=80
  podium create deployment idle --image=busybox -- sleep 1d
"""
)
@click.argument("name")
@click.option("--image", required=True, help="Image of the one container.")
@click.option("--replicas", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--port", type=int, help="Port that the container listens at.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the result so.")
@click.argument("words", nargs=-1, metavar="[-- COMMAND [ARG...]]")
@command
async def deployment(
    session: Session, name: str, image: str, replicas: int, port: int | None, dry_run: bool, output: str,
    words: tuple[str, ...],
) -> None:  # fmt: skip
    """Create a deployment of one container."""
    container: dict[str, object] = {"name": name, "image": image}
    if port:
        container["ports"] = [{"containerPort": port}]
    if words:
        container["command"] = list(words)
    labels = {"app": name}
    manifest = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }  # fmt: skip
    show([await session.client.create(object_from_dict(manifest), dry_run=dry_run)], dry_run, output)


create.add_command(create_jobs.job)
create.add_command(create_jobs.cronjob)
create.add_command(create_config.secret)
create.add_command(create_config.configmap)
create.add_command(create_service.service)
create.add_command(create_service.service, "svc")
create.add_command(create_ingress.ingress)
create.add_command(create_ingress.ingress, "ing")
create.add_command(create_policy.quota)
create.add_command(create_policy.priorityclass)
create.add_command(create_policy.poddisruptionbudget)
create.add_command(create_policy.poddisruptionbudget, "pdb")
