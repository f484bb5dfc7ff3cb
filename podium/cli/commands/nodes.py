"""`podium cordon`, `uncordon`, `drain`, `taint`: taking hosts out of use and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from podium.cli.complete import nodes
from podium.cli.eviction import evict_all
from podium.cli.options import done, dry_run_option, seconds
from podium.cli.session import Session, command
from podium.cli.waiting import Deadline, until
from podium.errors import BadRequest
from podium.objects.kinds import BY_NAME
from podium.objects.owners import controller_of
from podium.objects.pod import is_terminal
from podium.v1.core_pb2 import Node, Pod

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_TAINT = re.compile(r"(?P<key>[^=:]+)(=(?P<value>[^:]*))?(:(?P<effect>\w+))?(?P<minus>-)?$")


@click.command(epilog="\b\nExamples:\n  podium cordon node2\n  podium cordon node2 --dry-run")
@click.argument("names", nargs=-1, required=True, metavar="NODE...", shell_complete=nodes)
@dry_run_option
@command
async def cordon(session: Session, names: tuple[str, ...], dry_run: bool) -> None:
    """Place no more pods on nodes; those there stay."""
    await _set_unschedulable(session, names, unschedulable=True, dry_run=dry_run)


@click.command(epilog="\b\nExamples:\n  podium uncordon node2\n  podium uncordon node2 --dry-run")
@click.argument("names", nargs=-1, required=True, metavar="NODE...", shell_complete=nodes)
@dry_run_option
@command
async def uncordon(session: Session, names: tuple[str, ...], dry_run: bool) -> None:
    """Place pods on nodes again."""
    await _set_unschedulable(session, names, unschedulable=False, dry_run=dry_run)


async def _set_unschedulable(session: Session, names: tuple[str, ...], *, unschedulable: bool, dry_run: bool) -> None:
    patch = {"spec": {"unschedulable": unschedulable or None}}
    for name in (n.removeprefix("node/") for n in names):
        await session.client.patch(Node, name, patch, type="merge", dry_run=dry_run)
        click.echo(done(f"node/{name} {'cordoned' if unschedulable else 'uncordoned'}", dry_run=dry_run))


@click.command(
    epilog="""
\b
Examples:
  podium drain node2                      move everything elsewhere, then wait
  podium drain node2 --force              also pods that nothing will replace
  podium drain node2 --dry-run            which pods that would be
"""
)
@click.argument("names", nargs=-1, required=True, metavar="NODE...", shell_complete=nodes)
@click.option("--force", is_flag=True, help="Also pods without a controller: nothing makes them again.")
@click.option("--grace-period", type=int, help="Seconds each pod gets; its own time when not given.")
@click.option("--timeout", default="5m", show_default=True, metavar="DURATION", help="Give up after this long.")
@click.option("-l", "--pod-selector", default="", help="Only pods with these labels.")
@click.option(
    "--ignore-daemonsets/--no-ignore-daemonsets",
    default=True,
    show_default=True,
    help="Leave the pods of DaemonSets, which would come back at once; or refuse when there are any.",
)
@dry_run_option
@command
async def drain(
    session: Session, names: tuple[str, ...], force: bool, grace_period: int | None, timeout: str, pod_selector: str,
    ignore_daemonsets: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Cordon nodes and evict their pods; returns when they have gone.

    Disruption budgets are kept to: pods that one holds back are tried again until the time is up.
    """
    deadline = Deadline(seconds(timeout))
    for name in (n.removeprefix("node/") for n in names):
        pods = await _evictable(session, name, pod_selector, force, ignore_daemonsets)
        await _set_unschedulable(session, (name,), unschedulable=True, dry_run=dry_run)
        if dry_run:
            for pod in pods:
                click.echo(done(f"evicting pod/{pod.metadata.namespace}/{pod.metadata.name}", dry_run=True))
            continue
        await evict_all(session, pods, grace_period, deadline)
        for namespace in sorted({p.metadata.namespace for p in pods}):
            uids = {p.metadata.name: p.metadata.uid for p in pods if p.metadata.namespace == namespace}
            await until(
                session, BY_NAME["Pod"], list(uids), partial(_gone, uids), deadline=deadline, what="eviction",
                namespace=namespace, on_met=partial(_say_gone, namespace),
            )  # fmt: skip
        click.echo(f"node/{name} drained")


def _gone(uids: dict[str, str], obj: Any | None) -> bool:
    return obj is None or obj.metadata.uid != uids[obj.metadata.name]


def _say_gone(namespace: str, pod: str) -> None:
    click.echo(f"pod/{namespace}/{pod} gone")


async def _evictable(session: Session, node: str, selector: str, force: bool, ignore_daemonsets: bool) -> list[Pod]:
    await session.client.get(Node, node)
    found = await session.client.list(
        Pod, all_namespaces=True, selector=selector, field_selector=f"spec.nodeName={node}"
    )
    pods = [p for p in found if _owner_kind(p) != "DaemonSet"]
    daemons = [f"{p.metadata.namespace}/{p.metadata.name}" for p in found if _owner_kind(p) == "DaemonSet"]
    if daemons and not ignore_daemonsets:
        raise BadRequest(f"{', '.join(daemons)} would come back at once: --ignore-daemonsets leaves them there")
    alone = [f"{p.metadata.namespace}/{p.metadata.name}" for p in pods if not _owner_kind(p) and not is_terminal(p)]
    if alone and not force:
        raise BadRequest(f"nothing would replace {', '.join(alone)} (no controller owns them); --force evicts them too")
    return pods


def _owner_kind(pod: Pod) -> str:
    owner = controller_of(pod)
    return owner.kind if owner is not None else ""


@click.command(
    epilog="""
\b
Examples:
  podium taint node1 dedicated=db:NoSchedule
  podium taint node1 dedicated-           remove it
  podium taint node1 dedicated=db:NoExecute --dry-run
"""
)
@click.argument("name", metavar="NODE", shell_complete=nodes)
@click.argument("changes", nargs=-1, required=True, metavar="KEY[=VALUE]:EFFECT... | KEY[:EFFECT]-...")
@dry_run_option
@command
async def taint(session: Session, name: str, changes: Sequence[str], dry_run: bool) -> None:
    """Set or remove taints of a node."""
    if name in ("node", "nodes", "no") and len(changes) > 1:  # as kubectl wants it: `taint nodes node1 …`
        name, *changes = changes
    node = await session.client.get(Node, name.removeprefix("node/"))
    taints = [{"key": t.key, "value": t.value, "effect": t.effect} for t in node.spec.taints]
    for change in changes:
        taints = apply_taint(taints, change)
    patch = {"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": taints or None}}
    await session.client.patch(Node, node.metadata.name, patch, type="merge", dry_run=dry_run)
    click.echo(done(f"node/{node.metadata.name} taints changed", dry_run=dry_run))


def apply_taint(taints: list[dict[str, str]], change: str) -> list[dict[str, str]]:
    """The taints after one change such as `key=value:NoSchedule` or `key-`.

    Raises:
        BadRequest: Not of that form.
    """
    match = _TAINT.match(change)
    if match is None:
        raise BadRequest(f'"{change}" is not KEY[=VALUE]:EFFECT or KEY[:EFFECT]-')
    key, value, effect = match["key"].removesuffix("-"), match["value"] or "", match["effect"] or ""
    removes = bool(match["minus"]) or match["key"].endswith("-")
    if effect and effect not in _EFFECTS:
        raise BadRequest(f'"{effect}" is not a taint effect; expected one of {", ".join(_EFFECTS)}')
    if not removes and not effect:
        raise BadRequest(f'"{change}" needs an effect: {key}={value}:NoSchedule')
    kept = [t for t in taints if t["key"] != key or (effect and t["effect"] != effect)]
    return kept if removes else [*kept, {"key": key, "value": value, "effect": effect}]
