"""What every command starts from: the client, the namespace, and one place where errors become words and exit codes."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from podium.client._async.client import AsyncClient
from podium.client.config import Context, load
from podium.errors import BadRequest, Invalid, PodiumError, Unavailable

P = ParamSpec("P")
R = TypeVar("R")

MANAGER = "podium"
INTERRUPTED = 130
BROKEN_PIPE = 141


class Session:
    """The global options of one invocation, and the client made from them when it is first needed."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    @property
    def config_path(self) -> Path | None:
        """The configuration file that `--config` names."""
        return Path(self._options["config"]) if self._options["config"] else None

    def configured_by(self, path: Path) -> Session:
        """The same options with a configuration file of a command's own choice; to be closed by the caller."""
        return Session({**self._options, "config": str(path)})

    @functools.cached_property
    def context(self) -> Context:
        """The chosen context of the configuration file, with `--namespace` applied."""
        from dataclasses import replace

        context = load(self.config_path).context(self._options["context"] or "")
        return replace(context, namespace=self._options["namespace"]) if self._options["namespace"] else context

    @functools.cached_property
    def client(self) -> AsyncClient:
        """The client; closed when the command ends."""
        return AsyncClient(self.context, timeout=self._options["timeout"], manager=MANAGER)

    @property
    def namespace(self) -> str:
        """The namespace where none is given."""
        return self.context.namespace

    async def close(self) -> None:
        """Close the client if one was made."""
        if "client" in self.__dict__:
            await self.client.close()


def command(body: Callable[Concatenate[Session, P], Awaitable[int | None]]) -> Callable[P, int]:
    """Make an `async def(session, **options)` a click callback: runs it, prints errors, returns the exit code.

    The command also takes the options of `session_options`, wherever the user writes them.
    """

    @session_options
    @functools.wraps(body)
    @click.pass_context
    def run(ctx: click.Context, /, *args: P.args, **kwargs: P.kwargs) -> int:
        return execute(lambda session: body(session, *args, **kwargs), ctx.find_root().obj)

    return run


def session_options(body: Callable[P, R]) -> Callable[P, R]:
    """Take `-n` and `--context` after the command's name too: `podium get pods -n kube`."""
    for option in (
        click.option("--context", metavar="NAME", help="Context of the configuration.", **_GLOBAL),
        click.option("-n", "--namespace", metavar="NAME", help="Namespace of the request.", **_GLOBAL),
    ):
        body = option(body)
    return body


def _remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None and parameter.name is not None:
        root = ctx.find_root()
        (root.params if root.obj is None else root.obj)[parameter.name] = value  # without obj a shell asks to complete


_GLOBAL: dict[str, Any] = {"expose_value": False, "callback": _remember}


def execute(body: Callable[[Session], Awaitable[int | None]], options: dict[str, Any]) -> int:
    """Run a command's body on a fresh event loop; errors become `error: …` on standard error and exit code 1."""

    async def whole() -> int:
        session = Session(options)
        try:
            return await body(session) or 0
        except Unavailable as error:
            if why := await asyncio.to_thread(_refusal, session.context):
                raise Unavailable(why) from error
            raise
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            await session.close()

    try:
        return _run(whole())
    except PodiumError as error:
        print_error(error)
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            click.echo(err=True)  # after the terminal's ^C
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`podium get … | head`): no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:  # a file of ours that cannot be read or written
        print_error(BadRequest(f"{error.filename or 'input or output'}: {error.strerror or error}"))
    return 1


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first among tasks that ran together."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _refusal(context: Context) -> str:
    """Why no master lets us in; empty when one does, and so the failure was another. gRPC itself cannot tell."""
    from podium.aio.clock import SystemClock
    from podium.tls import explain_refusal, parse_endpoint

    now = SystemClock().now()
    found = [explain_refusal(*parse_endpoint(endpoint), context.tls, now) for endpoint in context.endpoints]
    return "; ".join(found) if all(found) else ""


def _run(main: Coroutine[Any, Any, int]) -> int:
    with asyncio.Runner() as runner:
        return runner.run(main)


def print_error(error: PodiumError, subject: str = "") -> None:
    """Say on standard error what is wrong; field violations one a line."""
    prefix = f"{subject}: " if subject else ""
    click.echo(click.style("error: ", fg="red", bold=True) + prefix + str(error), err=True)
    if isinstance(error, Invalid):
        for violation in error.violations:
            line = str(violation)
            if line not in str(error):
                click.echo(f"  {line}", err=True)


def is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def is_coloured() -> bool:
    """Whether to colour what is written past click, which does so by itself."""
    return is_terminal() and not os.environ.get("NO_COLOR")
