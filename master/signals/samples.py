"""What Prometheus' HTTP API answers to an instant query, as values. Pure.

It is JSON, {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {…}, "value": [t, "v"]}]}}.
Numbers come as text, so that NaN and infinities fit. See https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from podium.errors import BadRequest, Unavailable

_SHOWN = 200


class QueryRefused(BadRequest):
    """Prometheus does not accept the query, or it gives something that is no number; asking again will not help."""


class QueryFailed(Unavailable):
    """Prometheus was not reached in time, or could not compute the query; asking again may help."""


class NoData(Unavailable):
    """The query is in order and gives no sample now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One series at one moment. `value` may be NaN or infinite: 0/0 is what a ratio without traffic gives."""

    value: float
    time: float
    """Seconds since 1970."""
    labels: Mapping[str, str] = field(default_factory=dict)


def parse_answer(status: int, body: bytes) -> tuple[Sample, ...]:
    """The samples of an instant query: those of a vector, or the one of a scalar.

    Raises:
        QueryRefused: The query is wrong, or its result is neither vector nor scalar.
        QueryFailed: Prometheus could not answer, or this is not Prometheus.
    """
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise QueryFailed(f"HTTP {status} and no JSON: {_shown(body)}") from error
    if not isinstance(answer, dict) or "status" not in answer:
        raise QueryFailed(f"HTTP {status} and an answer that is not Prometheus': {_shown(body)}")
    if answer["status"] != "success":
        raise _refusal(answer)
    try:
        return _samples(answer["data"])
    except (KeyError, TypeError, ValueError) as error:
        raise QueryFailed(f"an answer that is not Prometheus': {_shown(body)}") from error


def only(samples: Sequence[Sample]) -> float:
    """The value of a query that must give exactly one.

    Raises:
        NoData: It gives none.
        QueryRefused: It gives several.
    """
    if not samples:
        raise NoData("the query gives no sample: no series matches it now")
    if len(samples) > 1:
        first = ", ".join(_series(sample) for sample in samples[:2])
        raise QueryRefused(f"the query gives {len(samples)} series ({first}, …): aggregate them, as with sum(…)")
    return samples[0].value


def _refusal(answer: Mapping[str, Any]) -> QueryRefused | QueryFailed:
    kind, message = answer.get("errorType", "unknown"), answer.get("error", "no reason given")
    # bad_data: it does not parse. execution: it parses, and cannot be computed (as many-to-many matches).
    return (QueryRefused if kind in ("bad_data", "execution") else QueryFailed)(f"{kind}: {message}")


def _samples(data: Mapping[str, Any]) -> tuple[Sample, ...]:
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return (Sample(time=float(result[0]), value=float(result[1])),)
    if kind == "vector":
        # A native histogram has no "value"; it is no number.
        return tuple(_sample(series) for series in result if "value" in series)
    raise QueryRefused(f"the query gives a {kind}; it must give a vector or a scalar")


def _sample(series: Mapping[str, Any]) -> Sample:
    time, value = series["value"]
    return Sample(time=float(time), value=float(value), labels=dict(series["metric"]))


def _series(sample: Sample) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items())) + "}"


def _shown(body: bytes) -> str:
    return body[:_SHOWN].decode(errors="replace").strip() or "nothing"
