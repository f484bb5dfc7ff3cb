"""Asks Prometheus: instant queries over its HTTP API, for whoever decides by figures that the cluster itself lacks.

    prometheus = Prometheus(PrometheusSettings(url="http://prometheus:9090"), clock=clock)
    samples = await prometheus.query("sum by (pod) (rate(http_requests_total[1m]))")
    value = only(await prometheus.query("sum(up)"))

It promises an answer or an error within its time limit, and that a slow Prometheus holds up nobody but who asks: no
thread is taken, and at most `CONCURRENT` questions are under way. It keeps nothing: who asks often decides how often.
Every error says what to do about it, without the query's own text: who asks knows it.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prometheus_client import Counter, Histogram

from master.signals.fetch import BadAnswer, Reply, post_form
from master.signals.samples import QueryFailed, QueryRefused, Sample, parse_answer
from podium.aio.clock import Clock
from podium.errors import PodiumError
from podium.urls import Base, parse_base

CONCURRENT = 16
_PATH = "/api/v1/query"

QUERIES = Counter("podium_master_prometheus_queries_total", "Queries sent to Prometheus, by result.", ["result"])
SECONDS = Histogram(
    "podium_master_prometheus_seconds", "Time that Prometheus took.", buckets=(0.005, 0.02, 0.1, 0.5, 2, 10)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSettings:
    """Where it is. Files are read anew for each query, so that a rotated token needs no restart.

    Attributes:
        url: `http(s)://host[:port][/prefix]`; empty: there is none, and every query is refused.
        timeout: Seconds for a whole query.
        token_file: Holds a bearer token.
        ca_file: Certificates to trust for https, instead of the system's.
    """

    url: str = ""
    timeout: float = 5.0
    token_file: Path | None = None
    ca_file: Path | None = None


class Queries(Protocol):
    """What deciders see of it."""

    async def query(self, text: str) -> tuple[Sample, ...]:
        """The samples of an instant query in PromQL, at Prometheus' own now.

        Raises:
            QueryRefused: The query is wrong, or no Prometheus is set.
            QueryFailed: Not reached, too late, or failed there.
        """
        ...


class Prometheus:
    """See the module. Implements Queries."""

    def __init__(self, settings: PrometheusSettings, *, clock: Clock) -> None:
        """Raises: ValueError: the address is not of the right form."""
        self._settings, self._clock = settings, clock
        self._base = parse_base(settings.url) if settings.url else None
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def query(self, text: str) -> tuple[Sample, ...]:
        """See Queries."""
        if self._base is None:
            raise QueryRefused("the master knows no Prometheus; set prometheus_url (--prometheus-url) on it")
        if not text.strip():
            raise QueryRefused("the query is empty")
        try:
            samples = await self._timed(self._base, text)
        except PodiumError as error:
            QUERIES.labels("refused" if isinstance(error, QueryRefused) else "failed").inc()
            raise
        QUERIES.labels("ok").inc()
        return samples

    async def _timed(self, base: Base, text: str) -> tuple[Sample, ...]:
        limit = self._settings.timeout
        try:
            async with asyncio.timeout(limit), self._slots:
                began = self._clock.monotonic()
                reply = await self._ask(base, text)
                SECONDS.observe(self._clock.monotonic() - began)
        except TimeoutError as error:
            raise QueryFailed(f"Prometheus at {base.url} did not answer within {limit:g}s") from error
        except (OSError, BadAnswer, ValueError) as error:
            raise QueryFailed(f"Prometheus at {base.url}: {error}") from error
        return parse_answer(reply.status, reply.body)

    async def _ask(self, base: Base, text: str) -> Reply:
        secrets = _Secrets()
        if base.tls or self._settings.token_file is not None:
            secrets = await asyncio.to_thread(_read, self._settings, tls=base.tls)
        headers = {"Authorization": f"Bearer {secrets.token}"} if secrets.token else {}
        form = {"query": text, "timeout": f"{self._settings.timeout:g}s"}
        return await post_form(base, _PATH, form, headers=headers, trust=secrets.trust)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secrets:
    token: str = ""
    trust: ssl.SSLContext | None = None


def _read(settings: PrometheusSettings, *, tls: bool) -> _Secrets:
    token = settings.token_file.read_text().strip() if settings.token_file is not None else ""
    if "\n" in token or "\r" in token:
        raise ValueError(f"{settings.token_file} must hold one line, the token")
    trust = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None) if tls else None
    return _Secrets(token=token, trust=trust)
