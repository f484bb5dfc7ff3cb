"""JSONPath templates as kubectl takes them, such as `{range .items[*]}{.metadata.name}{"\\n"}{end}`.

Supported: fields (`.a.b`, `['a']`), indexes and slices (`[0]`, `[-1]`, `[1:3]`), wildcards (`[*]`, `.*`), recursive
descent (`..name`), filters (`[?(@.type=="Ready")]` with == != < <= > >=, or bare existence), unions of names,
`range`/`end` and string literals. A field that is missing prints nothing.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from podium.errors import BadRequest

_PIECE = re.compile(
    r"""
    \.\.(?P<deep>[\w-]+)
  | \.\[\s*'(?P<dotted>[^']+)'\s*\]
  | \.(?P<field>\*|(?:[\w/-]|\\.)+)
  | \[\s*(?P<quoted>(?:'[^']*'|"[^"]*")(?:\s*,\s*(?:'[^']*'|"[^"]*"))*)\s*\]
  | \[\s*\?\(\s*(?P<filter>.*?)\s*\)\s*\]
  | \[\s*(?P<index>\*|-?\d+|-?\d*:-?\d*)\s*\]
    """,
    re.VERBOSE,
)
_FILTER = re.compile(r"@(?P<path>[^=!<>\s]*)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+))?$")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def evaluate(template: str, data: Any) -> str:
    """The text that a template gives for an object.

    Raises:
        BadRequest: The template is not understood; shows where.
    """
    text = template if "{" in template else "{" + template + "}"
    out, rest = _block(_tokens(text), data, data)
    if rest:
        raise BadRequest("jsonpath: {end} without {range}")
    return out


def select(path: str, data: Any) -> list[Any]:
    """Every value that a path such as `.status.conditions[?(@.type=="Ready")].status` leads to."""
    path = path.removeprefix("$").removeprefix("@")
    if path and path[0] not in ".[":
        path = "." + path
    values, at = [data], 0
    while at < len(path):
        match = _PIECE.match(path, at)
        if match is None:
            if path[at:] == ".":
                break
            raise BadRequest(f"jsonpath: not understood at {path[at:]!r}")
        values = [found for value in values for found in _step(match, value)]
        at = match.end()
    return values


def _step(piece: re.Match[str], value: Any) -> list[Any]:
    groups = {name: text for name, text in piece.groupdict().items() if text is not None}
    (name, text), *_ = groups.items()
    match name:
        case "deep":
            return _descend(text, value)
        case "field" if text == "*":
            return _children(value)
        case "field":
            return _member(value, text.replace("\\", ""))
        case "dotted":
            return _member(value, text)
        case "quoted":
            return [
                found
                for part in re.findall(r"'([^']*)'|\"([^\"]*)\"", text)
                for found in _member(value, part[0] or part[1])
            ]
        case "filter":
            return [item for item in _children(value) if _passes(text, item)]
        case _:
            return _indexed(value, text)


def _member(value: Any, name: str) -> list[Any]:
    return [value[name]] if isinstance(value, dict) and name in value else []


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _descend(name: str, value: Any) -> list[Any]:
    return _member(value, name) + [found for child in _children(value) for found in _descend(name, child)]


def _indexed(value: Any, text: str) -> list[Any]:
    if text == "*":
        return _children(value)
    if not isinstance(value, list):
        return []
    if ":" in text:
        start, _, end = text.partition(":")
        return value[int(start) if start else None : int(end) if end else None]
    index = int(text)
    return [value[index]] if -len(value) <= index < len(value) else []


def _passes(text: str, item: Any) -> bool:
    match = _FILTER.match(text)
    if match is None:
        raise BadRequest(f"jsonpath: filter not understood: {text!r}")
    found = select(match["path"], item)
    if match["op"] is None:
        return bool(found)
    wanted = _literal(match["value"].strip())
    return any(type(value) is type(wanted) and _COMPARE[match["op"]](value, wanted) for value in found)


def _literal(text: str) -> Any:
    if text[:1] == text[-1:] == "'":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        raise BadRequest(f"jsonpath: not a literal: {text}") from None


def _tokens(template: str) -> list[tuple[str, str]]:
    """(`text` or `code`, content) pieces of a template."""
    pieces: list[tuple[str, str]] = []
    for match in re.finditer(r"""\{((?:"(?:\\.|[^"])*"|'[^']*'|[^{}])*)\}|([^{}]+)|([{}])""", template):
        if match[3] is not None:
            raise BadRequest(f"jsonpath: unbalanced {match[3]!r}")
        pieces.append(("code", match[1].strip()) if match[2] is None else ("text", match[2]))
    return pieces


def _block(tokens: Sequence[tuple[str, str]], here: Any, root: Any) -> tuple[str, Sequence[tuple[str, str]]]:
    """Evaluate up to the matching `end`; returns the text and what follows `end`."""
    out: list[str] = []
    while tokens:
        (sort, text), tokens = tokens[0], tokens[1:]
        if sort == "text":
            out.append(text)
        elif text == "end":
            return "".join(out), [("end", ""), *tokens]
        elif text.startswith("range "):
            rest: Sequence[tuple[str, str]] = _skip(tokens)
            items = select(text.removeprefix("range ").strip(), here)
            out.extend(_block(tokens, item, root)[0] for item in items)
            tokens = rest
        elif text[:1] in "\"'" and text:
            out.append(str(_literal(text)))
        else:
            source = root if text.startswith("$") else here
            out.append(" ".join(_print(value) for value in select(text, source)))
    return "".join(out), []


def _skip(tokens: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    depth = 1
    for index, (sort, text) in enumerate(tokens):
        depth += (sort == "code" and text.startswith("range ")) - (sort == "code" and text == "end")
        if depth == 0:
            return tokens[index + 1 :]
    raise BadRequest("jsonpath: {range} without {end}")


def _print(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
