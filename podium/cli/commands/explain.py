"""`podium explain`: why a pod waits; and what the fields of a kind are."""

from __future__ import annotations

import click

from podium.cli.output import table
from podium.cli.session import Session, command
from podium.errors import BadRequest


@click.command(
    epilog="""
\b
Examples:
  podium explain pod web-7c9f8-x2k4q      why it is where it is, or nowhere
  podium explain pod web-7c9f8-x2k4q --nodes
  podium explain deployment.spec.strategy what a field means
"""
)
@click.argument("what", nargs=-1, required=True, metavar="pod NAME | pod/NAME | KIND[.FIELD...]")
@click.option("--nodes", is_flag=True, help="Node by node.")
@command
async def explain(session: Session, what: tuple[str, ...], nodes: bool) -> None:
    """Say why a pod is pending, or what a field means."""
    words = [w for word in what for w in (word.split("/", 1) if "/" in word else (word,))]
    if len(words) == 1:
        from podium.cli.output.fields import explain_field

        click.echo(explain_field(words[0]))
        return
    if len(words) != 2 or words[0] not in ("pod", "pods", "po"):
        raise BadRequest("explain a pod (`podium explain pod NAME`) or a field (`podium explain pod.spec.containers`)")
    await _explain_pod(session, words[1], nodes)


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
    if nodes and answer.nodes:
        rows = [
            [v.node, "yes" if v.fits else "no", f"{v.score:.1f}" if v.fits else "-", "; ".join(v.reasons) or "-"]
            for v in answer.nodes
        ]
        click.echo("\n" + table.render(["NODE", "FITS", "SCORE", "WHY NOT"], rows))
