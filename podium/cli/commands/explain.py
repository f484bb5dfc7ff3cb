"""`podium explain`: why a pod waits, an autoscaler wants so many, a node pool grew; what the fields of a kind are."""

from __future__ import annotations

from collections.abc import Sequence

import click

from podium.aio.clock import SystemClock
from podium.cli.output import table
from podium.cli.session import Session, command
from podium.errors import BadRequest, NotFound
from podium.objects.kinds import named
from podium.objects.traffic import Socket
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler
from podium.v1.cluster_service_pb2 import NodeVerdict
from podium.v1.nodepool_pb2 import NodePool

_PODS = ("pod", "pods", "po")
_INGRESSES = ("ing", "ingress", "ingresses")
_POOLS = ("nodepool", "nodepools", "pool")
_AUTOSCALERS = ("hpa", "horizontalpodautoscaler", "horizontalpodautoscalers")


@click.command(
    epilog="""
\b
Examples:
  podium explain pod web-7c9f8-x2k4q      why it is where it is, or nowhere
  podium explain pod web-7c9f8-x2k4q --nodes      what each node says, with its score by plugin
  podium explain hpa web                  why its target has so many replicas
  podium explain nodepool batch           why it did or did not grow
  podium explain network web-1 svc/db     whether a pod reaches a service's pods, and by which rule
  podium explain network web-1 db-0 --port=5432 --to-namespace=shop
  podium explain ingress shop             where its rules lead, and which do not hold
  podium explain ingress https://shop.example.com/pay
  podium explain deployment.spec.strategy what a field means
"""
)
@click.argument(
    "what",
    nargs=-1,
    required=True,
    metavar="pod NAME | hpa NAME | nodepool NAME | network POD POD|svc/NAME | ingress NAME|URL | KIND[.FIELD...]",
)
@click.option("--nodes", is_flag=True, help="Node by node.")
@click.option("--port", type=click.IntRange(1, 65535), help="With network: the port that is asked.")
@click.option("--protocol", type=click.Choice(["TCP", "UDP"]), default="TCP", help="With network: and its protocol.")
@click.option("--to-namespace", default="", metavar="NAMESPACE", help="With network: where the other end is.")
@command
async def explain(
    session: Session, what: tuple[str, ...], nodes: bool, port: int | None, protocol: str, to_namespace: str
) -> None:
    """Say why a pod is pending, why an autoscaler wants so many, why a node pool did not grow; what a field means."""
    if what[0] == "network" and len(what) == 3:
        from podium.cli.output.traffic import explain_network

        asked = Socket(protocol, port) if port else None
        click.echo(await explain_network(session, what[1], what[2], asked, to_namespace))
        return
    if what[0] in _INGRESSES and len(what) == 2 and "://" in what[1]:
        from podium.cli.output.ingress import explain_address

        click.echo(await explain_address(session, what[1]))
        return
    words = [w for word in what for w in (word.split("/", 1) if "/" in word else (word,))]
    if len(words) == 1:
        from podium.cli.output.fields import explain_field

        click.echo(explain_field(words[0]))
        return
    if len(words) == 2 and words[0] in _PODS:
        await _explain_pod(session, words[1], nodes)
    elif len(words) == 2 and words[0] in _AUTOSCALERS:
        await _explain_autoscaler(session, words[1])
    elif len(words) == 2 and words[0] in _POOLS:
        await _explain_pool(session, words[1])
    elif len(words) == 2 and words[0] in _INGRESSES:
        from podium.cli.output.ingress import explain_ingress

        click.echo(await explain_ingress(session, words[1]))
    else:
        raise BadRequest(
            "explain a pod (`podium explain pod NAME`), an autoscaler (`podium explain hpa NAME`), a node pool "
            "(`podium explain nodepool NAME`), traffic (`podium explain network POD POD`), an Ingress "
            "(`podium explain ingress NAME`) or a field (`podium explain pod.spec.containers`)"
        )


async def _explain_pool(session: Session, name: str) -> None:
    from podium.cli.describe.nodepools import explanation

    click.echo(explanation(await session.client.get(NodePool, name), SystemClock().now()))


async def _explain_autoscaler(session: Session, name: str) -> None:
    from podium.cli.describe.autoscaling import explanation

    hpa = await session.client.get(HorizontalPodAutoscaler, name)
    ref = hpa.spec.scale_target_ref
    try:
        target = await session.client.get(named(ref.kind).message, ref.name)
    except NotFound:
        target = None
    click.echo(explanation(hpa, target, SystemClock().now()))


async def _explain_pod(session: Session, name: str, nodes: bool) -> None:
    answer = await session.client.cluster.explain_pod(name, nodes=nodes)
    click.echo(f"pod/{name}: {answer.state}" + (f" on {answer.node_name}" if answer.node_name else ""))
    if answer.message:
        click.echo(answer.message)
    if answer.reasons:
        rows = [[str(r.nodes), r.reason] for r in answer.reasons]
        click.echo("\n" + table.render(["NODES", "REASON"], rows))
    if answer.constraints:
        click.echo("\n" + "\n".join(answer.constraints))
    if answer.preemption:
        click.echo(f"\n{answer.preemption}")
    if answer.nodes:
        click.echo("\n" + _verdicts(answer.nodes))


def _verdicts(nodes: Sequence[NodeVerdict]) -> str:
    """A row for each node; of those that fit, a column for each plugin that has a score, with its weight."""
    plugins = list(dict.fromkeys((s.plugin, s.weight) for verdict in nodes for s in verdict.scores))
    headers = ["NODE", "FITS", "SCORE", *(f"{name}*{weight:g}" for name, weight in plugins), "WHY NOT"]
    return table.render(headers, [_verdict(verdict, plugins) for verdict in nodes])


def _verdict(verdict: NodeVerdict, plugins: Sequence[tuple[str, float]]) -> list[str]:
    scores = {score.plugin: f"{score.score:.1f}" for score in verdict.scores}
    total = f"{verdict.score:.1f}" if verdict.fits else "-"
    return [
        verdict.node,
        "yes" if verdict.fits else "no",
        total,
        *(scores.get(name, "-") for name, _ in plugins),
        "; ".join(verdict.reasons) or "-",
    ]
