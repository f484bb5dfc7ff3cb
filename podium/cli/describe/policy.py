"""What a namespace must keep to."""

from __future__ import annotations

import datetime

from podium.cli.describe.page import Page, header
from podium.v1.policy_pb2 import LimitRange


def limit_range(page: Page, obj: LimitRange, now: datetime.datetime) -> None:
    """Each bounded resource in a row."""
    header(page, obj)
    rows: list[list[str]] = []
    for item in obj.spec.limits:
        columns = (item.min, item.max, item.default_request, item.default, item.max_limit_request_ratio)
        names = sorted({name for column in columns for name in column})
        rows += [[item.type, name, *(column.get(name, "-") for column in columns)] for name in names]
    with page.section("Limits"):
        page.table(["TYPE", "RESOURCE", "MIN", "MAX", "DEFAULT REQUEST", "DEFAULT LIMIT", "MAX LIMIT/REQUEST"], rows)
