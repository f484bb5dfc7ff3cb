"""Rules of LimitRange and ResourceQuota (amounts that can be read, of resources that can be bounded; bounds that leave
room between them), PriorityClass and PodDisruptionBudget."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from fractions import Fraction

from google.protobuf.message import Message

from master.admission.defaults.pods import SYSTEM_PRIORITIES
from master.admission.validation import names
from master.admission.validation.amounts import readable
from master.admission.validation.walk import FieldRule, Findings, MessageRule
from podium.errors import Violation
from podium.objects import quotas
from podium.v1.meta_pb2 import IntOrString
from podium.v1.policy_pb2 import (
    LimitRangeItem,
    LimitRangeSpec,
    PodDisruptionBudgetSpec,
    PriorityClass,
    ResourceQuota,
    ResourceQuotaSpec,
    ScopedResourceSelectorRequirement,
)

_OF_CONTAINERS = frozenset(("cpu", "memory", "ephemeral-storage"))
_OF_CLAIMS = frozenset(("storage",))

# ---------------------------------------------------------------- LimitRange


def _limit_range(spec: LimitRangeSpec, path: str, findings: Findings) -> None:
    seen: set[str] = set()
    for index, item in enumerate(spec.limits):
        if item.type in seen:
            findings.append(Violation(f"{path}.limits[{index}].type", f'must be once: "{item.type}" is there already'))
        seen.add(item.type)


def _limit_range_item(item: LimitRangeItem, path: str, findings: Findings) -> None:
    _resource_names(item, path, findings)
    least = readable(item.min, f"{path}.min", findings)
    most = readable(item.max, f"{path}.max", findings)
    usual = readable(item.default, f"{path}.default", findings)
    asked = readable(item.default_request, f"{path}.defaultRequest", findings)
    if item.type == "Pod":
        for amounts, name in ((item.default, "default"), (item.default_request, "defaultRequest")):
            if amounts:
                findings.append(Violation(f"{path}.{name}", 'must not be set when type is "Pod"', "use Container"))
        usual, asked = {}, {}
    elif item.type == "PersistentVolumeClaim" and "storage" not in item.min and "storage" not in item.max:
        findings.append(Violation(path, "must have min[storage] or max[storage]"))
    told: set[str] = set()
    for low, high, where, bound in (
        (least, most, "min", "max"),
        (usual, most, "default", "max"),
        (asked, usual, "defaultRequest", "default"),
        (asked, most, "defaultRequest", "max"),
        (least, asked, "min", "defaultRequest"),
        (least, usual, "min", "default"),
    ):
        for name in sorted(low.keys() & high.keys()):
            place = f"{path}.{where}[{name}]"
            if low[name] > high[name] and place not in told:  # a default that came of another bound is no second fault
                told.add(place)
                said = f"must be at most {bound}, {_text(item, bound, name)}, not {_text(item, where, name)}"
                findings.append(Violation(place, said))
    _ratios(item, least, most, path, findings)


def _text(item: LimitRangeItem, field: str, name: str) -> str:
    amounts = {"min": item.min, "max": item.max, "default": item.default, "defaultRequest": item.default_request}
    return amounts[field][name]


def _ratios(
    item: LimitRangeItem, least: Mapping[str, Fraction], most: Mapping[str, Fraction], path: str, findings: Findings
) -> None:
    where = f"{path}.maxLimitRequestRatio"
    for name, ratio in readable(item.max_limit_request_ratio, where, findings).items():
        text = item.max_limit_request_ratio[name]
        if ratio < 1:
            findings.append(Violation(f"{where}[{name}]", f"must be at least 1, not {text}"))
        low, high = least.get(name), most.get(name)
        if low and high is not None and ratio > high / low:
            findings.append(Violation(f"{where}[{name}]", f"must be at most max by min, {float(high / low):g}: {text}"))


def _resource_names(item: LimitRangeItem, path: str, findings: Findings) -> None:
    known = _OF_CLAIMS if item.type == "PersistentVolumeClaim" else _OF_CONTAINERS
    for field, amounts in (
        ("max", item.max),
        ("min", item.min),
        ("default", item.default),
        ("defaultRequest", item.default_request),
        ("maxLimitRequestRatio", item.max_limit_request_ratio),
    ):
        for name in sorted(amounts):
            extended = known is _OF_CONTAINERS and "/" in name and not names.qualified_name(name)
            if name not in known and not extended:
                findings.append(Violation(f"{path}.{field}[{name}]", f"must be one of {', '.join(sorted(known))}"))


# ---------------------------------------------------------------- ResourceQuota

_COMPUTE_NAMES = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
_STORAGE_NAMES = ("ephemeral-storage", "requests.ephemeral-storage", "limits.ephemeral-storage", "requests.storage")
_KNOWN = ("pods", *_COMPUTE_NAMES, *_STORAGE_NAMES, quotas.NODE_PORTS, quotas.LOAD_BALANCERS, *quotas.COUNTS)
_OF_SCOPE = {quotas.BEST_EFFORT: ("pods",)}
_OPPOSITES = ((quotas.TERMINATING, quotas.NOT_TERMINATING), (quotas.BEST_EFFORT, quotas.NOT_BEST_EFFORT))


def _quota(spec: ResourceQuotaSpec, path: str, findings: Findings) -> None:
    for name, amount in readable(spec.hard, f"{path}.hard", findings).items():
        if quotas.kind_using(name) is None:
            near = get_close_matches(name, _KNOWN, n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(sorted(_KNOWN))}"
            findings.append(Violation(f"{path}.hard[{name}]", "is nothing that a quota can bound", hint))
        elif quotas.is_counted(name) and amount.denominator != 1:
            findings.append(Violation(f"{path}.hard[{name}]", f"must be a whole number, not {spec.hard[name]}"))
    _scopes(spec, path, findings)


def _scopes(spec: ResourceQuotaSpec, path: str, findings: Findings) -> None:
    named: list[tuple[str, str]] = []
    for index, scope in enumerate(spec.scopes):
        where = f"{path}.scopes[{index}]"
        if scope not in quotas.SCOPES:
            findings.append(Violation(where, f'must be one of {", ".join(quotas.SCOPES)}, not "{scope}"'))
        elif scope in spec.scopes[:index]:
            findings.append(Violation(where, f'must be once: "{scope}" is there already'))
        named.append((scope, where))
    named += [
        (requirement.scope_name, f"{path}.scopeSelector.matchExpressions[{index}].scopeName")
        for index, requirement in enumerate(spec.scope_selector.match_expressions)
    ]
    present = {scope for scope, _ in named}
    for scope, opposite in _OPPOSITES:
        if {scope, opposite} <= present:
            findings.append(Violation(f"{path}.scopes", f"must not hold both {scope} and {opposite}"))
    for scope, where in named:
        allowed = _OF_SCOPE.get(scope, ("pods", *_COMPUTE_NAMES))
        strange = sorted(set(spec.hard) - set(allowed))
        if strange and scope in quotas.SCOPES:
            said = f"{scope} is a scope of {', '.join(allowed)} only, not of {', '.join(strange)}"
            findings.append(Violation(where, said))


def _scope_requirement(requirement: ScopedResourceSelectorRequirement, path: str, findings: Findings) -> None:
    name, operator, values = requirement.scope_name, requirement.operator, requirement.values
    if name != quotas.PRIORITY_CLASS and operator != "Exists":
        findings.append(Violation(f"{path}.operator", f'must be "Exists" for the scope {name}, not "{operator}"'))
    if operator in ("In", "NotIn") and not values:
        findings.append(Violation(f"{path}.values", f"is required with the operator {operator}"))
    elif operator in ("Exists", "DoesNotExist") and values:
        findings.append(Violation(f"{path}.values", f"must be empty with the operator {operator}"))


def update_resource_quota(new: ResourceQuota, old: ResourceQuota, findings: Findings) -> None:
    """The bounds may change, for whom they hold may not."""
    if set(quotas.scopes_of(new)) != set(quotas.scopes_of(old)):
        findings.append(Violation(".spec.scopes", "is immutable", "delete the quota and create it anew"))


# ---------------------------------------------------------------- PriorityClass

HIGHEST_USER_PRIORITY = 1_000_000_000
_RESERVED = "system-"


def _priority_class(cls: PriorityClass, path: str, findings: Findings) -> None:
    name, value = cls.metadata.name, cls.value
    built_in = SYSTEM_PRIORITIES.get(name)
    if built_in is not None:
        if value != built_in:
            findings.append(Violation(f"{path}.value", f"must be {built_in} in the built-in class {name}, not {value}"))
    elif name.startswith(_RESERVED):
        known = ", ".join(SYSTEM_PRIORITIES)
        said = f'must not begin with "{_RESERVED}", which is for the built-in classes {known}'
        findings.append(Violation(f"{path}.metadata.name", said))
    elif value > HIGHEST_USER_PRIORITY:
        findings.append(Violation(f"{path}.value", f"must be at most {HIGHEST_USER_PRIORITY}, not {value}"))


def update_priority_class(new: PriorityClass, old: PriorityClass, findings: Findings) -> None:
    """Pods have copied value and policy: they stay."""
    hint = "delete the class and create it anew; pods that there are keep theirs"
    if new.value != old.value:
        findings.append(Violation(".value", f"is immutable: must be {old.value}", hint))
    if new.preemption_policy != old.preemption_policy:
        findings.append(Violation(".preemptionPolicy", f'is immutable: must be "{old.preemption_policy}"', hint))


# ---------------------------------------------------------------- PodDisruptionBudget


def _budget(spec: PodDisruptionBudgetSpec, path: str, findings: Findings) -> None:
    bounds = ("min_available", "minAvailable"), ("max_unavailable", "maxUnavailable")
    given = [(getattr(spec, name), json) for name, json in bounds if spec.HasField(name)]  # type: ignore[arg-type]
    if not given:
        findings.append(Violation(path, "must have minAvailable or maxUnavailable"))
    if len(given) == 2:
        findings.append(Violation(f"{path}.maxUnavailable", "must not be set beside minAvailable: one bound only"))
    for value, json in given:
        _pods_or_percent(value, f"{path}.{json}", findings)


def _pods_or_percent(value: IntOrString, path: str, findings: Findings) -> None:
    if value.WhichOneof("value") != "str_value":
        if value.int_value < 0:
            findings.append(Violation(path, f"must be at least 0, not {value.int_value}"))
        return
    percent = names.percentage(value.str_value)
    if percent is None:
        findings.append(Violation(path, f'must be an integer, or a percentage such as 25%, not "{value.str_value}"'))
    elif percent > 100:
        findings.append(Violation(path, f"must be at most 100%, not {percent}%"))


MESSAGES: dict[type[Message], MessageRule] = {
    PodDisruptionBudgetSpec: _budget,
    PriorityClass: _priority_class,
    LimitRangeSpec: _limit_range,
    LimitRangeItem: _limit_range_item,
    ResourceQuotaSpec: _quota,
    ScopedResourceSelectorRequirement: _scope_requirement,
}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {}
