"""The nodelet's plain-HTTP port: /metrics, /healthz (the process lives), /readyz (runtime and master answer), and
/lease, by which other nodes learn whether this one hears the master."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from nodelet.session.peers import PATH, answer
from podium.telemetry.http import Answer, HttpPort


def http_port(
    host: str, port: int, *, waiting_for: Callable[[], str], silence: Callable[[], float | None] = lambda: None
) -> HttpPort:
    """The port, not started yet.

    Args:
        host: Where to listen.
        port: Where to listen.
        waiting_for: Empty when the nodelet is ready, else what it waits for.
        silence: For how many seconds no master has heard the node, for its peers.
    """

    async def metrics() -> Answer:
        return Answer(await asyncio.to_thread(generate_latest), content_type=CONTENT_TYPE_LATEST)

    async def healthz() -> Answer:
        return Answer(b"ok\n")

    async def readyz() -> Answer:
        waiting = waiting_for()
        status = HTTPStatus.SERVICE_UNAVAILABLE if waiting else HTTPStatus.OK
        return Answer(f"{waiting or 'ok'}\n".encode(), status)

    async def lease() -> Answer:
        return Answer(answer(silence()))

    return HttpPort(host, port, {"/metrics": metrics, "/healthz": healthz, "/readyz": readyz, PATH: lease})
