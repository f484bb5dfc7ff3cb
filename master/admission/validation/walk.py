"""The walk: goes through the fields that an object sets, once, and asks the rules of each message and field.

What the contract itself says needs no code: `(required)` fields must be there and `(one_of)` strings must be of the
set. All else is a rule:

    FieldRule     judges one field's value wherever its message occurs
    MessageRule   judges a whole message: what its fields must be together

A plan a message type is compiled on first use. The walk costs what is set, not what could be: a pod with one
container sets some forty of four hundred fields.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from podium.errors import Violation
from podium.objects.schema import Field, Form, schema_of

Findings = list[Violation]
FieldRule = Callable[[Any, str, Findings], None]
MessageRule = Callable[[Any, str, Findings], None]
_Step = Callable[[Any, str, Findings], None]


@dataclass(frozen=True, slots=True)
class _Plan:
    required: tuple[Field, ...]
    steps: dict[int, _Step]
    rule: MessageRule | None


_MOST_REMEMBERED = 1024
_LONGEST_REMEMBERED = 16 * 1024


class Walk:
    """All rules, compiled."""

    def __init__(
        self,
        messages: Mapping[type[Message], MessageRule],
        fields: Mapping[tuple[type[Message], str], FieldRule],
        remembered: Collection[type[Message]] = (),
    ) -> None:
        """Take the rules.

        Args:
            messages: By message class.
            fields: By message class and protobuf field name.
            remembered: Classes of messages that come in many equal copies. Their verdict must not depend on their path.
        """
        self._remembered = frozenset(cls.DESCRIPTOR for cls in remembered)
        self._sound: dict[bytes, None] = {}
        self._messages = {cls.DESCRIPTOR: rule for cls, rule in messages.items()}
        self._fields = {(cls.DESCRIPTOR, name): rule for (cls, name), rule in fields.items()}
        unknown = [f"{d.name}.{name}" for d, name in self._fields if name not in d.fields_by_name]
        assert not unknown, f"rules for fields that do not exist: {unknown}"
        self._plans: dict[Any, _Plan] = {}

    def __call__(self, message: Message, path: str, findings: Findings) -> None:
        """Judge a message and all below it. `path` names it, and is empty for an object; paths begin with a dot."""
        descriptor = message.DESCRIPTOR
        plan = self._plans.get(descriptor)
        if plan is None:
            plan = self._plans[descriptor] = self._compile(descriptor)
        for field in plan.required:
            if _absent(message, field):
                findings.append(Violation(f"{path}.{field.json}", "is required"))
        steps = plan.steps
        for set_field, value in message.ListFields():
            step = steps.get(set_field.number)
            if step is not None:
                step(value, path, findings)
        if plan.rule is not None:
            plan.rule(message, path, findings)

    def _compile(self, descriptor: Any) -> _Plan:
        schema = schema_of(descriptor)
        steps = {field.number: self._step(descriptor, field) for field in schema.fields.values()}
        return _Plan(
            required=tuple(field for field in schema.fields.values() if field.required),
            steps={number: step for number, step in steps.items() if step is not None},
            rule=self._messages.get(descriptor),
        )

    def _step(self, descriptor: Descriptor, field: Field) -> _Step | None:
        rule = self._fields.get((descriptor, field.name))
        if rule is not None:
            return _with_name(rule, field.json)
        if field.one_of:
            return _membership(field.one_of, field.json)
        if field.message_type in self._remembered and not field.repeated:
            return _with_name(self._once, field.json)
        if field.form is Form.MESSAGE and not field.is_map:
            return self._each(field.json) if field.repeated else _with_name(self, field.json)
        return None

    def _once(self, message: Message, path: str, findings: Findings) -> None:
        """Judge a message unless an equal one was found sound."""
        content = message.SerializeToString()
        if content in self._sound:
            return
        before = len(findings)
        self(message, path, findings)
        if len(findings) == before and len(content) <= _LONGEST_REMEMBERED:
            if len(self._sound) >= _MOST_REMEMBERED:
                self._sound.pop(next(iter(self._sound)))
            self._sound[content] = None

    def _each(self, name: str) -> _Step:
        def step(values: Any, path: str, findings: Findings) -> None:
            for index, value in enumerate(values):
                self(value, f"{path}.{name}[{index}]", findings)

        return step


def _with_name(rule: FieldRule, name: str) -> _Step:
    suffix = f".{name}"
    return lambda value, path, findings: rule(value, path + suffix, findings)


def _membership(allowed: tuple[str, ...], name: str) -> _Step:
    listed = ", ".join(allowed)
    known = frozenset(allowed)

    def step(value: str, path: str, findings: Findings) -> None:
        if value not in known:
            findings.append(Violation(f"{path}.{name}", f'must be one of {listed}, not "{value}"'))

    return step


def _absent(message: Message, field: Field) -> bool:
    if field.repeated or field.is_map or not field.presence:
        return not getattr(message, field.name)
    return not message.HasField(field.name)


def by_syntax(check: Callable[[Any], str]) -> FieldRule:
    """The rule that a field's value passes a check of `names`."""

    def rule(value: Any, path: str, findings: Findings) -> None:
        problem = check(value)
        if problem:
            findings.append(Violation(path, problem if isinstance(value, int) else f'"{value}" {problem}'))

    return rule


def each_by_syntax(check: Callable[[str], str]) -> FieldRule:
    """The rule that every element of a list passes a check of `names`."""
    one = by_syntax(check)

    def rule(values: Any, path: str, findings: Findings) -> None:
        for index, value in enumerate(values):
            one(value, f"{path}[{index}]", findings)

    return rule


def between(least: int, most: int = 2**63 - 1) -> FieldRule:
    """The rule that a number is in a range."""
    form = f"must be between {least} and {most}" if most < 2**31 - 1 else f"must be at least {least}"

    def rule(value: int, path: str, findings: Findings) -> None:
        if not least <= value <= most:
            findings.append(Violation(path, f"{form}, not {value}"))

    return rule
