"""Objects as YAML: files of several documents, `kind: List`, and JSON, which is YAML too.

Reading is what Kubernetes' own reader does, and safe: no tags that make Python objects, no duplicate keys, no aliases
that blow up, `yes` and `on` are booleans, but `12:30` and `2026-01-01` are text. All objects of a text are checked
before anything is refused, and everything wrong is in one error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import yaml
from google.protobuf.message import Message

from podium.codec.json import object_from_dict, parse_json, to_dict
from podium.errors import BadRequest, Invalid, Violation
from podium.objects.kinds import BY_NAME

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

MAX_BYTES = 16 * 1024 * 1024
"""Longest text that is read."""

_MAX_DEPTH = 100
"""Deepest nesting; libyaml's composer recurses in C and would crash the process on a hundred thousand brackets."""

_MAX_NODES = 1_000_000
"""Most values that aliases may expand to."""


class _Loader(_BaseLoader):  # type: ignore[misc]  # the base is chosen at run time
    """A safe loader with Kubernetes' idea of scalars, and no duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        explicit: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = _key(self.construct_object(key_node, deep=True), key_node)
            if key in explicit:
                raise yaml.constructor.ConstructorError(None, None, f'key "{key}" appears twice', key_node.start_mark)
            explicit.add(key)
        return {_key(key, node): value for key, value in super().construct_mapping(node, deep=True).items()}


def _key(key: Any, node: yaml.Node) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, (int, float)):
        return str(key)
    raise yaml.constructor.ConstructorError(None, None, "a key must be a string", node.start_mark)


_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)$")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$")  # noqa: E501  # fmt: skip
_REPLACED_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp", "value"))


def _integer(loader: Any, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    sign, digits = (-1 if text.startswith("-") else 1), text.lstrip("+-")
    if digits[:2] in ("0x", "0b", "0o"):
        return sign * int(digits, 0)
    return sign * int(digits, 8 if len(digits) > 1 and digits[0] == "0" else 10)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED_TAGS]
    for first, resolvers in _BaseLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def parse(text: str | bytes) -> list[Any]:
    """The non-empty documents of a YAML or JSON text as plain data.

    Raises:
        BadRequest: Not YAML, a duplicate key, too long; says at which line.
    """
    if len(text) > MAX_BYTES:
        raise BadRequest(f"the manifest is {len(text)} bytes long: must be at most {MAX_BYTES}")
    if text[:1] in ("{", b"{"):
        with suppress(BadRequest):  # YAML in flow style begins so too, and its reader names the line of a mistake
            return [parse_json(text)]
    try:
        _refuse_depth(text)
        documents = [data for data in yaml.load_all(text, Loader=_Loader) if data is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadRequest(f"not YAML: {_where(error)}") from None
    if _may_have_aliases(text):
        _refuse_explosion(documents)
    return documents


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark is not None else str(problem)


def _refuse_depth(text: str | bytes) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_BaseLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise BadRequest(f"not YAML that is accepted: nested more than {_MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _may_have_aliases(text: str | bytes) -> bool:
    return "*" in text if isinstance(text, str) else b"*" in text


def _refuse_explosion(documents: Sequence[Any]) -> None:
    pending, seen = list(documents), 0
    while pending:
        seen += 1
        if seen > _MAX_NODES:
            raise BadRequest(f"not YAML that is accepted: its aliases expand to more than {_MAX_NODES} values")
        value = pending.pop()
        if isinstance(value, (dict, list)):
            pending.extend(value.values() if isinstance(value, dict) else value)


def load_all(text: str | bytes, *, warnings: list[Violation] | None = None) -> list[Any]:
    """All objects of a YAML or JSON text, lists unfolded.

    Args:
        text: One or more documents.
        warnings: Takes unknown and unsupported fields, which are then dropped instead of refused.

    Raises:
        BadRequest: Not YAML.
        Invalid: Names every field of every object at fault.
    """
    manifests = list(unfold(parse(text)))
    objects: list[Any] = []
    refused: list[tuple[str, Invalid]] = []
    for manifest in manifests:
        noted: list[Violation] | None = None if warnings is None else []
        try:
            objects.append(object_from_dict(manifest, warnings=noted))
        except Invalid as error:
            refused.append((_label(manifest), error))
        if warnings is not None and noted:
            warnings.extend(_prefixed(_label(manifest), noted) if len(manifests) > 1 else noted)
    if refused:
        raise refused[0][1] if len(manifests) == 1 else _together(refused)
    return objects


def unfold(documents: Sequence[Any]) -> Iterator[Any]:
    """Manifests, with every `kind: List` (or `DeploymentList`) replaced by its items."""
    for document in documents:
        kind = document.get("kind") if isinstance(document, dict) else None
        items = document.get("items") if isinstance(document, dict) else None
        if not isinstance(kind, str) or not kind.endswith("List") or not (isinstance(items, list) or items is None):
            yield document
            continue
        implied = BY_NAME.get(kind.removesuffix("List"))
        for item in items or []:
            if implied is not None and isinstance(item, dict):
                item = {"apiVersion": implied.api_version, "kind": implied.name} | item
            yield from unfold([item])


def _label(manifest: Any) -> str:
    if not isinstance(manifest, dict):
        return "manifest"
    metadata = manifest.get("metadata")
    name = metadata.get("name") or metadata.get("generateName") if isinstance(metadata, dict) else None
    return f"{str(manifest.get('kind') or 'manifest').lower()}/{name or '?'}"


def _prefixed(label: str, violations: Sequence[Violation]) -> list[Violation]:
    return [Violation(f"{label}: {v.field}", v.description, v.hint) for v in violations]


def _together(refused: Sequence[tuple[str, Invalid]]) -> Invalid:
    violations = tuple(v for label, error in refused for v in _prefixed(label, error.violations))
    return Invalid("; ".join(error.message for _, error in refused), violations=violations)


class _Dumper(_BaseDumper):  # type: ignore[misc]  # the base is chosen at run time
    """Block style without aliases; text of several lines as a literal block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else '"' if _reads_as_other(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_BOOLEAN_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"))


def _reads_as_other(text: str) -> bool:
    """Whether other YAML readers would not take this for text."""
    return text.lower() in _BOOLEAN_WORDS or bool(re.fullmatch(r"[-+.]?\d[\d_.:eETZ+-]*", text))


_Dumper.add_representer(str, _represent_text)


def dump(obj: Message | Sequence[Message]) -> str:
    """An object as YAML; several as documents of one text."""
    objects = [obj] if isinstance(obj, Message) else obj
    return "---\n".join(dump_data(to_dict(o)) for o in objects)


def dump_data(data: Any) -> str:
    """Plain data as YAML."""
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=4096
    )
    return text
