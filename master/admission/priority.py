"""PriorityClasses resolved: a new pod that names one gets its priority and whether it may preempt, once and for all.

A pod that names none, and no priority of its own, is of the class that is the global default, if there is one. (A
priority without a class is Podium's own: a number says it all.) Templates are left as they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Protocol

from master.admission.defaults.pods import SYSTEM_PRIORITIES
from podium.errors import Violation
from podium.v1.core_pb2 import Pod
from podium.v1.policy_pb2 import PriorityClass

USUAL_POLICY = "PreemptLowerPriority"


class PriorityClasses(Protocol):
    """The classes of the cluster."""

    def named(self, name: str) -> PriorityClass | None:
        """The class of this name."""
        ...

    def default(self) -> PriorityClass | None:
        """The class of pods that name none."""
        ...

    def names(self) -> Sequence[str]:
        """All names."""
        ...


def resolve_priority(pod: Pod, classes: PriorityClasses) -> list[Violation]:
    """Give a new pod what its class says, in place; what it says itself must agree."""
    spec = pod.spec
    chosen = _chosen(pod, classes)
    if chosen is None:
        return [_unknown(spec.priority_class_name, classes)] if spec.priority_class_name else []
    violations: list[Violation] = []
    policy = chosen.preemption_policy or USUAL_POLICY
    if spec.HasField("priority") and spec.priority != chosen.value:
        said = f"must be {chosen.value}, as of class {chosen.metadata.name}, not {spec.priority}"
        violations.append(Violation("spec.priority", said, "leave it out"))
    if spec.preemption_policy and spec.preemption_policy != policy:
        said = f'must be "{policy}", as of class {chosen.metadata.name}, not "{spec.preemption_policy}"'
        violations.append(Violation("spec.preemptionPolicy", said, "leave it out"))
    spec.priority_class_name, spec.priority, spec.preemption_policy = chosen.metadata.name, chosen.value, policy
    return violations


def _chosen(pod: Pod, classes: PriorityClasses) -> PriorityClass | None:
    name = pod.spec.priority_class_name
    if not name:
        return None if pod.spec.HasField("priority") else classes.default()
    found = classes.named(name)
    if found is None and name in SYSTEM_PRIORITIES:
        found = built_in(name)
    return found


def built_in(name: str) -> PriorityClass:
    """One of the classes that every cluster has."""
    cls = PriorityClass(value=SYSTEM_PRIORITIES[name], preemption_policy=USUAL_POLICY)
    cls.metadata.name = name
    what = "that must not be moved from its node" if "node" in name else "that may be moved to another node"
    cls.description = f"For pods that the cluster needs, {what}."
    return cls


def check_only_default(cls: PriorityClass, classes: PriorityClasses) -> list[Violation]:
    """That a class is the only global default, if it is one."""
    other = classes.default() if cls.global_default else None
    if other is None or other.metadata.name == cls.metadata.name:
        return []
    return [Violation("globalDefault", f"must be true of one class only, and is of {other.metadata.name}")]


def _unknown(name: str, classes: PriorityClasses) -> Violation:
    names = sorted({*classes.names(), *SYSTEM_PRIORITIES})
    near = get_close_matches(name, names, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(names)}"
    return Violation("spec.priorityClassName", f'must name a PriorityClass: there is no "{name}"', hint)
