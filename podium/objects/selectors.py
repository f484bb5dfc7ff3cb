"""Label and field selectors: parsed once, matched often, printed back in canonical order.

    environment=production,tier!=frontend,partition in (a,b),!canary,replicas>3        label selector
    spec.nodeName=node1,status.phase!=Running                                          field selector

`!=` and `notin` also match objects without the label, as in Kubernetes. Field selectors know a fixed list of paths a
kind, each read by a plain function: no reflection while a list or a watch is filtered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any

from podium.errors import BadRequest
from podium.v1.meta_pb2 import LabelSelector


class Operator(Enum):
    """How a requirement compares; the value is how it is written."""

    EQUALS = "="
    NOT_EQUALS = "!="
    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    NOT_EXISTS = "!"
    GREATER = ">"
    LESS = "<"


_POSITIVE_SETS = (Operator.IN, Operator.EQUALS)
_NEGATIVE_SETS = (Operator.NOT_IN, Operator.NOT_EQUALS)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet the requirement."""
        present = self.key in labels
        operator = self.operator
        if operator in _POSITIVE_SETS:
            return present and labels[self.key] in self.values
        if operator in _NEGATIVE_SETS:
            return not present or labels[self.key] not in self.values
        if operator is Operator.EXISTS:
            return present
        if operator is Operator.NOT_EXISTS:
            return not present
        return present and self._compare(labels[self.key])

    def _compare(self, actual: str) -> bool:
        (bound,) = self.values
        try:
            number = int(actual)
        except ValueError:
            return False
        return number > int(bound) if self.operator is Operator.GREATER else number < int(bound)

    def __str__(self) -> str:
        listed = ",".join(sorted(self.values))
        if self.operator is Operator.EXISTS:
            return self.key
        if self.operator is Operator.NOT_EXISTS:
            return f"!{self.key}"
        if self.operator in (Operator.IN, Operator.NOT_IN):
            return f"{self.key} {self.operator.value} ({listed})"
        return f"{self.key}{self.operator.value}{listed}"


@dataclass(frozen=True, slots=True)
class Selector:
    """A conjunction of requirements. `never` selects nothing, whatever the requirements."""

    requirements: tuple[Requirement, ...] = ()
    never: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are selected."""
        if self.never:
            return False
        return all(requirement.matches(labels) for requirement in self.requirements)

    @property
    def empty(self) -> bool:
        """Whether everything is selected."""
        return not self.requirements and not self.never

    def __str__(self) -> str:
        return ",".join(str(r) for r in sorted(self.requirements, key=lambda r: (r.key, r.operator.value)))


_EVERYTHING = Selector()
_NOTHING = Selector(never=True)


def everything() -> Selector:
    """The selector that selects all."""
    return _EVERYTHING


def nothing() -> Selector:
    """The selector that selects none."""
    return _NOTHING


def from_labels(labels: Mapping[str, str]) -> Selector:
    """The selector of objects that carry all of these labels."""
    return Selector(tuple(Requirement(k, Operator.EQUALS, frozenset((v,))) for k, v in sorted(labels.items())))


_LABEL_SELECTOR_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.NOT_EXISTS,
}


def from_label_selector(selector: LabelSelector | None) -> Selector:
    """The selector that an object's `spec.selector` means: an empty one selects all, an absent one none.

    Raises:
        BadRequest: An operator that does not exist.
    """
    if selector is None:
        return _NOTHING
    if not selector.match_expressions:
        return from_labels(selector.match_labels)
    expressions = []
    for expression in selector.match_expressions:
        operator = _LABEL_SELECTOR_OPERATORS.get(expression.operator)
        if operator is None:
            known = ", ".join(_LABEL_SELECTOR_OPERATORS)
            raise BadRequest(f'"{expression.operator}" is not a label selector operator: must be one of {known}')
        expressions.append(Requirement(expression.key, operator, frozenset(expression.values)))
    return Selector((*from_labels(selector.match_labels).requirements, *expressions))


# ---------------------------------------------------------------- parsing

_TOKEN = re.compile(r"\s*(==|!=|=|!|>|<|\(|\)|,|[^\s=!<>(),]+)")
_NAME_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SYMBOLS = {"=": Operator.EQUALS, "==": Operator.EQUALS, "!=": Operator.NOT_EQUALS, ">": Operator.GREATER,
            "<": Operator.LESS}  # fmt: skip
_WORDS = {"in": Operator.IN, "notin": Operator.NOT_IN}
_PUNCTUATION = frozenset("=!><(),") | {"==", "!="}


def workload_selector(workload: Any) -> Selector:
    """Which pods a workload's `spec.selector` selects; a ReplicationController's is a plain map of labels.

    Raises:
        BadRequest: It is malformed.
    """
    selector = workload.spec.selector
    return from_label_selector(selector) if isinstance(selector, LabelSelector) else from_labels(selector)


def parse_selector(text: str) -> Selector:
    """Read a label selector; empty text selects everything.

    Raises:
        BadRequest: Not a selector; says where.
    """
    return _Parser(text).parse() if text.strip() else _EVERYTHING


class _Parser:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0

    def parse(self) -> Selector:
        requirements = [self._requirement()]
        while self._peek() == ",":
            self._take()
            requirements.append(self._requirement())
        if self._peek():
            raise self._error(f'unexpected "{self._peek()}", expected a comma')
        return Selector(tuple(requirements))

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._take()
            return Requirement(self._key(), Operator.NOT_EXISTS)
        key = self._key()
        token = self._peek()
        if token in ("", ","):
            return Requirement(key, Operator.EXISTS)
        self._take()
        if token in _SYMBOLS:
            return self._comparison(key, _SYMBOLS[token])
        if token in _WORDS:
            return Requirement(key, _WORDS[token], self._values())
        raise self._error(f'unexpected "{token}" after "{key}", expected one of =, ==, !=, in, notin, >, <')

    def _comparison(self, key: str, operator: Operator) -> Requirement:
        value = self._value()
        if operator in (Operator.GREATER, Operator.LESS) and not re.fullmatch(r"[+-]?\d+", value):
            raise self._error(f'"{key}{operator.value}" must be followed by an integer, not "{value}"')
        return Requirement(key, operator, frozenset((value,)))

    def _values(self) -> frozenset[str]:
        if self._take() != "(":
            raise self._error("expected an opening parenthesis after in or notin")
        values = {self._value()}
        while self._peek() == ",":
            self._take()
            values.add(self._value())
        if self._take() != ")":
            raise self._error("expected a closing parenthesis")
        return frozenset(values)

    def _value(self) -> str:
        if self._peek() in ("", ",", ")"):
            return ""
        value = self._take()
        if not _NAME_PART.fullmatch(value) or len(value) > 63:
            raise self._error(f'"{value}" is not a label value')
        return value

    def _key(self) -> str:
        key = self._take()
        prefix, slash, name = key.rpartition("/")
        if key in _PUNCTUATION or not _NAME_PART.fullmatch(name) or len(name) > 63 or (slash and not prefix):
            raise self._error(f'"{key}" is not a label key' if key else "a label key is missing")
        return key

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    def _error(self, problem: str) -> BadRequest:
        return BadRequest(f'label selector "{self._text}": {problem}')


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        assert match is not None, "the last alternative takes any other character"
        yield match.group(1)
        position = match.end()


# ---------------------------------------------------------------- field selectors

_Read = Callable[[Any], str]


def _boolean(value: bool) -> str:
    return "true" if value else "false"


_COMMON_FIELDS: dict[str, _Read] = {
    "metadata.name": lambda o: o.metadata.name,
    "metadata.namespace": lambda o: o.metadata.namespace,
}
_FIELDS: dict[str, dict[str, _Read]] = {
    "Pod": {
        "spec.nodeName": lambda o: o.spec.node_name,
        "spec.restartPolicy": lambda o: o.spec.restart_policy,
        "spec.hostNetwork": lambda o: _boolean(o.spec.host_network),
        "status.phase": lambda o: o.status.phase,
        "status.podIP": lambda o: o.status.pod_ip,
        "status.nominatedNodeName": lambda o: o.status.nominated_node_name,
    },
    "Node": {"spec.unschedulable": lambda o: _boolean(o.spec.unschedulable)},
    "Namespace": {"status.phase": lambda o: o.status.phase},
    "Secret": {"type": lambda o: o.type},
    "ReplicaSet": {"status.replicas": lambda o: str(o.status.replicas)},
    "ReplicationController": {"status.replicas": lambda o: str(o.status.replicas)},
    "Event": {
        "involvedObject.kind": lambda o: o.involved_object.kind,
        "involvedObject.namespace": lambda o: o.involved_object.namespace,
        "involvedObject.name": lambda o: o.involved_object.name,
        "involvedObject.uid": lambda o: o.involved_object.uid,
        "involvedObject.apiVersion": lambda o: o.involved_object.api_version,
        "involvedObject.fieldPath": lambda o: o.involved_object.field_path,
        "reason": lambda o: o.reason,
        "type": lambda o: o.type,
        "source": lambda o: o.source.component,
        "reportingComponent": lambda o: o.reporting_component,
    },
}


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One comparison of one field."""

    path: str
    value: str
    equal: bool
    read: _Read

    def __str__(self) -> str:
        return f"{self.path}{'=' if self.equal else '!='}{self.value}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """A conjunction of field comparisons on one kind."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: Any) -> bool:
        """Whether an object of the selector's kind is selected."""
        return all((r.read(obj) == r.value) is r.equal for r in self.requirements)

    def required(self, path: str) -> str | None:
        """The value that `path` must equal, when there is one: lets a list use an index."""
        return next((r.value for r in self.requirements if r.path == path and r.equal), None)

    @property
    def empty(self) -> bool:
        """Whether everything is selected."""
        return not self.requirements

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


def parse_field_selector(text: str, kind: str) -> FieldSelector:
    """Read a field selector for objects of `kind` (`Pod`); empty text selects everything.

    Raises:
        BadRequest: Not a selector, or a field that this kind cannot be selected by.
    """
    terms = [term for term in _split_unescaped(text) if term.strip()]
    return FieldSelector(tuple(_field_requirement(term.strip(), kind, text) for term in terms))


def _split_unescaped(text: str) -> list[str]:
    return re.split(r"(?<!\\),", text)


def _field_requirement(term: str, kind: str, text: str) -> FieldRequirement:
    match = re.fullmatch(r"([^=!]+?)\s*(!=|==|=)\s*(.*)", term)
    if match is None:
        raise BadRequest(f'field selector "{text}": "{term}" must be FIELD=VALUE or FIELD!=VALUE')
    path, operator, value = match.groups()
    fields = _COMMON_FIELDS | _FIELDS.get(kind, {})
    read = fields.get(path)
    if read is None:
        near = get_close_matches(path, fields, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"known fields: {', '.join(fields)}"
        raise BadRequest(f'field selector "{text}": {kind} cannot be selected by "{path}": {hint}')
    return FieldRequirement(path, re.sub(r"\\(.)", r"\1", value), operator != "!=", read)
