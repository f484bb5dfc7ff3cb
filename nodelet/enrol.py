"""From settings to an identity: the one on disk, or a new one by joining, for as long as that takes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from nodelet.settings import NodeletSettings
from nodelet.state.directory import StateDirectory
from nodelet.state.identity import Identity
from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.errors import BadRequest, PodiumError
from podium.telemetry.log import get_logger

if TYPE_CHECKING:
    from nodelet.session.join import Token

log = get_logger(__name__)

RETRY = Backoff(initial=0.5, maximum=10.0)
TOKEN_LOOK_SECONDS = 0.5


def has_identity(settings: NodeletSettings, state: StateDirectory) -> bool:
    """Whether there is no need to join. Blocks for a look at the disk."""
    known = state.load_identity()
    return known is not None and known.node_name == settings.name


async def identity_of(settings: NodeletSettings, state: StateDirectory, clock: Clock) -> Identity:
    """The node's identity; joins when there is none for its name.

    One whose certificate has ended (the host was off for long) will do to begin with: pods need no master, and the
    renewer joins anew.
    """
    known = await asyncio.to_thread(state.load_identity)
    if known is not None and known.node_name == settings.name:
        return known
    identity = await join_anew(settings, state, clock)
    await asyncio.to_thread(state.save_identity, identity)
    return identity


async def join_anew(settings: NodeletSettings, state: StateDirectory, clock: Clock) -> Identity:
    """A new identity, for as long as it takes: masters come up late, tokens are replaced, names become free."""
    from nodelet.session.join import join  # what joining needs is large, and needed once

    machine_id, failures = await asyncio.to_thread(state.machine_id), 0
    while True:
        try:
            token = await token_of(settings, clock)
            identity = await join(settings.join_endpoints(), token, node_name=settings.name, machine_id=machine_id)
        except PodiumError as error:
            failures += 1
            log.warning("could not join; trying again", why=error.message, failures=failures)
            await clock.sleep(RETRY.delay(failures))
        else:
            log.info("joined the cluster", node=identity.node_name, certificate_ends=identity.not_after)
            return identity


async def token_of(settings: NodeletSettings, clock: Clock) -> Token:
    """The join token; its file is waited for.

    Raises:
        BadRequest: It is malformed, or no setting says where it is.
    """
    from nodelet.session.join import parse_token

    if settings.join_token:
        return parse_token(settings.join_token)
    if settings.join_token_file is None:
        raise BadRequest("this node has not joined yet: set join_token_file (or join_token), and start it again")
    said = False
    while not (text := await asyncio.to_thread(_read, settings.join_token_file)):
        if not said:
            log.info("waiting for the join token", file=settings.join_token_file)
            said = True
        await clock.sleep(TOKEN_LOOK_SECONDS)
    return parse_token(text)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
