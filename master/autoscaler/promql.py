"""From a metric's name and selector to the query that is asked of Prometheus. Pure.

    Pods      sum by (pod) (NAME{namespace="…", SELECTOR})       each pod's figure by its label `pod`
    Object    sum(NAME{namespace="…", service="web", SELECTOR})  the object's own: a label of its kind, in lower case
    External  sum(NAME{SELECTOR})

A NAME that ends in `_total` is a counter, so its rate over the last minute is meant. A metric's own `query` is taken as
it is. Characters that labels in Prometheus cannot have (`app.kubernetes.io/name`) are `_` there, as its own exporters
have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from podium.v1.autoscaling_pb2 import MetricIdentifier, MetricSpec
from podium.v1.meta_pb2 import LabelSelector, LabelSelectorRequirement

RATE_WINDOW = "1m"
POD_LABEL = "pod"
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def query_of(spec: MetricSpec, namespace: str) -> str:
    """The query of a metric that Prometheus tells; an autoscaler's namespace is its target's."""
    here = _equals("namespace", namespace)
    match spec.type:
        case "Pods":
            return _query(spec.pods.metric, f"sum by ({POD_LABEL}) ", [here])
        case "Object":
            about = spec.object.described_object
            if about.kind == "Namespace":
                return _query(spec.object.metric, "sum", [_equals("namespace", about.name)])
            return _query(spec.object.metric, "sum", [here, _equals(_label(about.kind.lower()), about.name)])
        case "External":
            return _query(spec.external.metric, "sum", [])
        case _:
            raise ValueError(f"a metric of type {spec.type} is not asked of Prometheus")


def _query(metric: MetricIdentifier, aggregate: str, matchers: list[str]) -> str:
    if metric.query:
        return metric.query
    series = f"{metric.name}{{{', '.join([*matchers, *_matchers(metric.selector)])}}}"
    if metric.name.endswith("_total"):
        series = f"rate({series}[{RATE_WINDOW}])"
    return f"{aggregate}({series})"


def _matchers(selector: LabelSelector) -> Iterable[str]:
    for key, value in sorted(selector.match_labels.items()):
        yield _equals(_label(key), value)
    for requirement in selector.match_expressions:
        yield _expression(requirement)


def _expression(requirement: LabelSelectorRequirement) -> str:
    label = _label(requirement.key)
    match requirement.operator:
        case "In":
            return f"{label}=~{_any_of(requirement.values)}"
        case "NotIn":
            return f"{label}!~{_any_of(requirement.values)}"
        case "Exists":
            return f'{label}!=""'
        case _:
            return f'{label}=""'


def _any_of(values: Iterable[str]) -> str:
    return _text("|".join(re.escape(value) for value in values))


def _equals(label: str, value: str) -> str:
    return f"{label}={_text(value)}"


def _label(key: str) -> str:
    return _NO_LABEL.sub("_", key)


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
