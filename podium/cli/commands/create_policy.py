"""`podium create quota`, `priorityclass` and `poddisruptionbudget`."""

from __future__ import annotations

from typing import Any

import click

from podium.cli.output.created import show
from podium.cli.session import Session, command
from podium.codec.json import object_from_dict

_DRY_RUN = click.option("--dry-run", is_flag=True, help="Change nothing.")
_OUTPUT = click.option("-o", "--output", default="", metavar="FORMAT", help="Print the result so.")


@click.command(
    epilog="""
\b
Examples:
  podium create quota team --hard=pods=20,requests.cpu=8,limits.memory=16Gi
  podium create quota idle --hard=pods=5 --scopes=BestEffort
"""
)
@click.argument("name")
@click.option("--hard", required=True, metavar="RESOURCE=AMOUNT,...", help="What may be used at most.")
@click.option("--scopes", default="", metavar="SCOPE,...", help="Count only pods of these scopes.")
@_DRY_RUN
@_OUTPUT
@command
async def quota(session: Session, name: str, hard: str, scopes: str, dry_run: bool, output: str) -> None:
    """Create a ResourceQuota."""
    spec: dict[str, Any] = {"hard": _pairs(hard, "--hard")}
    if scopes:
        spec["scopes"] = scopes.split(",")
    await _make(session, _object("ResourceQuota", "v1", name, spec=spec), dry_run, output)


@click.command(
    epilog="""
\b
Examples:
  podium create priorityclass high --value=1000 --description='For what customers wait for'
  podium create priorityclass usual --value=10 --global-default
"""
)
@click.argument("name")
@click.option("--value", type=int, required=True, help="The priority of its pods.")
@click.option("--global-default", is_flag=True, help="Pods that name no class are of this one.")
@click.option("--preemption-policy", type=click.Choice(["PreemptLowerPriority", "Never"]), help="May its pods evict?")
@click.option("--description", default="", help="What it is for.")
@_DRY_RUN
@_OUTPUT
@command
async def priorityclass(
    session: Session, name: str, value: int, global_default: bool, preemption_policy: str | None, description: str,
    dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Create a PriorityClass."""
    said: dict[str, Any] = {"globalDefault": global_default, "description": description}
    if preemption_policy:
        said["preemptionPolicy"] = preemption_policy
    made = _object("PriorityClass", "scheduling.k8s.io/v1", name, value=value, **said)
    await _make(session, made, dry_run, output)


@click.command(
    epilog="""
\b
Examples:
  podium create poddisruptionbudget web --selector=app=web --max-unavailable=1
  podium create pdb db --selector=app=db --min-available=50%
"""
)
@click.argument("name")
@click.option("--selector", required=True, metavar="KEY=VALUE,...", help="Labels of the pods.")
@click.option("--min-available", metavar="N|N%", help="Pods that must stay.")
@click.option("--max-unavailable", metavar="N|N%", help="Pods that may be missing.")
@_DRY_RUN
@_OUTPUT
@command
async def poddisruptionbudget(
    session: Session, name: str, selector: str, min_available: str | None, max_unavailable: str | None,
    dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Create a PodDisruptionBudget."""
    if (min_available is None) == (max_unavailable is None):
        raise click.UsageError("give either --min-available or --max-unavailable")
    spec: dict[str, Any] = {"selector": {"matchLabels": _pairs(selector, "--selector")}}
    for bound, amount in (("minAvailable", min_available), ("maxUnavailable", max_unavailable)):
        if amount is not None:
            spec[bound] = int(amount) if amount.isdecimal() else amount
    await _make(session, _object("PodDisruptionBudget", "policy/v1", name, spec=spec), dry_run, output)


def _pairs(text: str, option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise click.UsageError(f'{option} is a list of NAME=VALUE, and "{part}" is none')
        pairs[key.strip()] = value.strip()
    return pairs


def _object(kind: str, api_version: str, name: str, **body: Any) -> Any:
    return object_from_dict({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **body})


async def _make(session: Session, made: Any, dry_run: bool, output: str) -> None:
    show([await session.client.create(made, dry_run=dry_run)], dry_run, output)
