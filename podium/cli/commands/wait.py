"""`podium wait`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from podium.cli.complete import targets
from podium.cli.options import seconds
from podium.cli.resources import parse_targets
from podium.cli.session import Session, command
from podium.cli.waiting import Deadline, until
from podium.errors import BadRequest
from podium.objects.conditions import get_condition


@click.command(
    epilog="""
\b
Examples:
  podium wait --for=condition=Available deploy/web
  podium wait --for=condition=Ready=false node/node2 --timeout=10s
  podium wait --for=delete pod/web-1
  podium wait --for=jsonpath='{.status.phase}'=Running pod -l app=web
  podium wait --for=create deploy/web ns/team-a
"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND NAME... | KIND/NAME...", shell_complete=targets)
@click.option(
    "--for",
    "goal",
    required=True,
    metavar="GOAL",
    help="condition=TYPE[=VALUE], create, delete or jsonpath='{PATH}'=VALUE.",
)
@click.option("--timeout", default="30s", show_default=True, metavar="DURATION", help="Give up after this long.")
@click.option("-l", "--selector", default="", help="Objects with these labels.")
@click.option("--all", "everything", is_flag=True, help="All objects of the kind.")
@command
async def wait(
    session: Session, what: tuple[str, ...], goal: str, timeout: str, selector: str, everything: bool
) -> None:
    """Wait for a condition of objects."""
    met, deadline = parse_goal(goal), Deadline(seconds(timeout))
    for target in parse_targets(what):
        if not target.names and not selector and not everything:
            raise BadRequest("name the objects, or give -l SELECTOR or --all")
        await until(
            session, target.kind, target.names, met, deadline=deadline, what=goal, selector=selector,
            everything=everything, on_met=partial(_say_met, target.kind.qualified),
        )  # fmt: skip


def _say_met(qualified: str, name: str) -> None:
    click.echo(f"{qualified}/{name} condition met")


def parse_goal(goal: str) -> Callable[[Any | None], bool]:
    """The predicate that `--for` names.

    Raises:
        BadRequest: Not one of the known forms.
    """
    sort, _, rest = goal.partition("=")
    if sort == "create":
        return lambda obj: obj is not None
    if sort == "delete":
        return lambda obj: obj is None
    if sort == "condition" and rest:
        type_, _, value = rest.partition("=")
        return lambda obj: obj is not None and _condition_is(obj, type_, value or "True")
    if sort == "jsonpath" and rest.startswith("{"):
        path, brace, value = rest[1:].partition("}")
        if brace:
            return lambda obj: obj is not None and _path_is(obj, path, value.removeprefix("="))
    raise BadRequest(
        f"unknown goal \"{goal}\": expected condition=TYPE[=VALUE], create, delete or jsonpath='{{PATH}}'=VALUE"
    )


def _condition_is(obj: Any, type_: str, value: str) -> bool:
    conditions = getattr(obj.status, "conditions", ())
    found = get_condition(conditions, type_) or next((c for c in conditions if c.type.lower() == type_.lower()), None)
    return found is not None and found.status.lower() == value.lower()


def _path_is(obj: Any, path: str, value: str) -> bool:
    from podium.cli.output.jsonpath import evaluate
    from podium.codec.json import to_dict

    text = evaluate("{" + path + "}", to_dict(obj))
    return text == value if value else bool(text)
