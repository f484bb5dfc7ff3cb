"""Log lines: their two forms."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from podium.telemetry import log


@pytest.fixture(autouse=True)
def restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_logfmt_quotes_only_what_needs_it() -> None:
    out = io.StringIO()
    log.configure("info", "logfmt", out)
    log.get_logger("master.scheduler").info("bound pod", pod="default/web-1", seconds=0.25, why='a "b"')
    assert out.getvalue().split(" ", 1)[1] == (
        'level=info logger=master.scheduler msg="bound pod" pod=default/web-1 seconds=0.25 why="a \\"b\\""\n'
    )


def test_json_carries_fields_and_traceback() -> None:
    out = io.StringIO()
    log.configure("info", "json", out)
    try:
        raise ValueError("broken")
    except ValueError:
        log.get_logger("x").bind(node="n1").exception("failed", attempt=2)
    line = json.loads(out.getvalue())
    assert (line["msg"], line["level"], line["node"], line["attempt"]) == ("failed", "error", "n1", 2)
    assert "ValueError: broken" in line["traceback"]


def test_lines_below_the_level_are_not_written() -> None:
    out = io.StringIO()
    log.configure("warning", "logfmt", out)
    log.get_logger("x").info("unheard")
    logging.getLogger("other.library").warning("heard %d", 1)
    assert "unheard" not in out.getvalue()
    assert 'msg="heard 1"' in out.getvalue()


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="debug, info"):
        log.configure("loud")
