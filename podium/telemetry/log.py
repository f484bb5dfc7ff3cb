"""Structured logs: one event a line, a sentence and its fields.

    log = get_logger(__name__)
    log.info("bound pod", pod="default/web-1", node="node1")

Lines are logfmt for people (`time=… level=info logger=… msg="bound pod" pod=default/web-1 node=node1`) or JSON for
machines. It stands on the standard library's logging, so lines of other libraries take the same form.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

Format = Literal["logfmt", "json"]
LEVELS = ("debug", "info", "warning", "error")

_FIELDS = "podium_fields"
_CHATTY = ("asyncio", "docker", "grpc", "urllib3")  # libraries whose debug lines would drown ours
_BARE = re.compile(r'[^\s"=\\]+')

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class Logger:
    """Logs sentences with fields. Cheap when the level is off: fields are only rendered for lines that are written."""

    __slots__ = ("_fields", "_logger")

    def __init__(self, logger: logging.Logger, fields: Mapping[str, object] | None = None) -> None:
        self._logger = logger
        self._fields = dict(fields or {})

    def bind(self, **fields: object) -> Logger:
        """A logger that adds these fields to every line."""
        return Logger(self._logger, {**self._fields, **fields})

    def debug_enabled(self) -> bool:
        """Whether debug lines are written; ask before gathering costly fields."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def debug(self, message: str, **fields: object) -> None:
        """For a developer following one call."""
        self._write(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: object) -> None:
        """Something happened that an operator may want to know later."""
        self._write(logging.INFO, message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """Something is off, and Podium copes."""
        self._write(logging.WARNING, message, fields)

    def error(self, message: str, *, error: BaseException | None = None, **fields: object) -> None:
        """Something failed that somebody should look at; `error` adds its traceback."""
        self._write(logging.ERROR, message, fields, error)

    def exception(self, message: str, **fields: object) -> None:
        """As `error`, with the exception being handled."""
        self._write(logging.ERROR, message, fields, sys.exc_info()[1])

    def _write(self, level: int, message: str, fields: dict[str, object], error: BaseException | None = None) -> None:
        if not self._logger.isEnabledFor(level):
            return
        exc_info: ExcInfo | None = (type(error), error, error.__traceback__) if error is not None else None
        record = self._logger.makeRecord(self._logger.name, level, "", 0, message, (), exc_info)
        record.__dict__[_FIELDS] = {**self._fields, **fields}
        self._logger.handle(record)


def get_logger(name: str) -> Logger:
    """The logger of a module."""
    return Logger(logging.getLogger(name))


def configure(level: str = "info", format: Format = "logfmt", stream: TextIO | None = None) -> None:
    """Send all lines of at least `level` to `stream` (standard error) in `format`. Call once, in main.

    Raises:
        ValueError: An unknown level.
    """
    if level not in LEVELS:
        raise ValueError(f'unknown log level "{level}": one of {", ".join(LEVELS)}')
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else LogfmtFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(root.level, logging.INFO))
    logging.raiseExceptions = False  # a closed stderr must not break the program


class LogfmtFormatter(logging.Formatter):
    """`key=value` pairs; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = " ".join(f"{key}={_logfmt(value)}" for key, value in _facts(record).items())
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a traceback is the field `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        facts = _facts(record)
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(facts, default=str, ensure_ascii=False)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    facts: dict[str, Any] = {
        "time": time,
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": record.getMessage(),
    }
    for key, value in record.__dict__.get(_FIELDS, {}).items():
        facts[key if key not in facts else f"{key}_"] = value
    return facts


def _logfmt(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
