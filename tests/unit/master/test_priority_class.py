"""PriorityClasses: which are refused, and what pods become by them."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from master.admission import admit, apply_defaults, validate
from master.admission.surroundings import Surroundings
from podium.errors import Invalid
from podium.v1.policy_pb2 import PriorityClass
from tests.support.policies import bounded_pod, priority_class


class Classes:
    """The classes of a cluster."""

    def __init__(self, *classes: PriorityClass) -> None:
        self.all = {cls.metadata.name: cls for cls in classes}

    def named(self, name: str) -> PriorityClass | None:
        return self.all.get(name)

    def default(self) -> PriorityClass | None:
        return next((cls for cls in self.all.values() if cls.global_default), None)

    def names(self) -> Sequence[str]:
        return list(self.all)


HIGH = priority_class("high", 1000, preemptionPolicy="Never")
DEFAULT = priority_class("usual", 5, globalDefault=True)


def admitted(obj: Any, *classes: Any) -> Any:
    admit(obj, around=Surroundings(priority_classes=Classes(*classes)))
    return obj


def outcome(pod: Any) -> tuple[str, int, str]:
    return pod.spec.priority_class_name, pod.spec.priority, pod.spec.preemption_policy


@pytest.mark.parametrize(
    ("spec", "classes", "becomes"),
    [
        ({"priorityClassName": "high"}, [HIGH, DEFAULT], ("high", 1000, "Never")),
        ({}, [HIGH, DEFAULT], ("usual", 5, "PreemptLowerPriority")),
        ({}, [HIGH], ("", 0, "PreemptLowerPriority")),
        ({"priority": 7}, [HIGH, DEFAULT], ("", 7, "PreemptLowerPriority")),
        ({"priorityClassName": "high", "priority": 1000}, [HIGH], ("high", 1000, "Never")),
        ({"priorityClassName": "system-node-critical"}, [], ("system-node-critical", 2_000_001_000, "PreemptLowerPriority")),
    ],
)  # fmt: skip
def test_a_pod_gets_what_its_class_says(
    spec: dict[str, Any], classes: list[Any], becomes: tuple[str, int, str]
) -> None:
    assert outcome(admitted(bounded_pod(spec=spec), *classes)) == becomes


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"priorityClassName": "hihg"}, 'spec.priorityClassName: must name a PriorityClass: there is no "hihg" (did you mean "high"?)'),
        ({"priorityClassName": "zzz"}, "there are high, system-cluster-critical, system-node-critical, usual"),
        ({"priorityClassName": "high", "priority": 3}, "spec.priority: must be 1000, as of class high, not 3"),
        ({"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"}, 'spec.preemptionPolicy: must be "Never"'),
    ],
)  # fmt: skip
def test_a_pod_that_contradicts_its_class_is_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as refused:
        admitted(bounded_pod(spec=spec), HIGH, DEFAULT)
    assert words in refused.value.message


def test_a_pod_keeps_its_priority_when_its_class_is_gone() -> None:
    pod = admitted(bounded_pod(spec={"priorityClassName": "high"}), HIGH)
    changed = copy.deepcopy(pod)
    changed.metadata.labels["a"] = "b"
    admit(changed, pod, Surroundings(priority_classes=Classes()))
    assert outcome(changed) == ("high", 1000, "Never")


@pytest.mark.parametrize(
    ("cls", "field", "words"),
    [
        (priority_class("x", 1_000_000_001), "value", "must be at most 1000000000, not 1000000001"),
        (priority_class("system-mine"), "metadata.name", 'must not begin with "system-"'),
        (priority_class("system-node-critical", 5), "value", "must be 2000001000"),
        (priority_class("x", preemptionPolicy="Always"), "preemptionPolicy", "must be one of PreemptLowerPriority, Never"),
        (priority_class("other", globalDefault=True), "globalDefault", "must be true of one class only, and is of usual"),
    ],
)  # fmt: skip
def test_classes_that_are_refused(cls: Any, field: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        admitted(cls, DEFAULT)
    assert [violation.field for violation in refused.value.violations] == [field]
    assert words in refused.value.message


def test_value_and_policy_stay() -> None:
    old = priority_class("x")
    apply_defaults(old)
    new = copy.deepcopy(old)
    new.value, new.preemption_policy, new.description = 11, "Never", "may change"
    assert [violation.field for violation in validate(new, old)] == ["value", "preemptionPolicy"]


def test_the_global_default_may_be_written_again() -> None:
    assert admitted(copy.deepcopy(DEFAULT), DEFAULT).global_default
