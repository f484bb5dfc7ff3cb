"""The small plain-HTTP port: /metrics for Prometheus, /healthz and /readyz for supervisors, /statez for people.

It holds nothing secret: numbers and names of parts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from master.settings import parse_listen
from podium.telemetry.http import Answer, HttpPort


class HttpServer(HttpPort):
    """Serves what it is given.

    Args:
        ready: None when the master serves; else the sentence that says what it still waits for.
        state: Facts for /statez; must be quick, and JSON can hold them.
    """

    def __init__(
        self, *, listen: str, ready: Callable[[], str | None], state: Callable[[], Mapping[str, object]]
    ) -> None:
        async def metrics() -> Answer:
            return Answer(await asyncio.to_thread(generate_latest), content_type=CONTENT_TYPE_LATEST)

        async def healthz() -> Answer:
            return Answer(b"ok\n")

        async def readyz() -> Answer:
            waiting = ready()
            status = HTTPStatus.SERVICE_UNAVAILABLE if waiting else HTTPStatus.OK
            return Answer(f"{waiting or 'ok'}\n".encode(), status)

        async def statez() -> Answer:
            text = json.dumps(state(), indent=1, default=str)
            return Answer(text.encode(), content_type="application/json")

        routes = {"/metrics": metrics, "/healthz": healthz, "/readyz": readyz, "/statez": statez}
        super().__init__(*parse_listen(listen), routes)
