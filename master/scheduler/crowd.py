"""Whom a pod speaks of when it wants to be near other pods, or far from them: terms, and what they can see of a pod.

A *crowd* is a set of pods given by labels and namespaces; a *term* is a crowd and the label of nodes that says what
"near" means. A pod's terms are read once, with `matchLabelKeys` and `mismatchLabelKeys` merged into the selector, and
are plain values from then on.

What terms can see of a pod is its *kin*: its namespace, and those of its labels that some selector in the cluster
mentions. Labels that nobody asks about (a replica's number, a template's hash) do not make pods different.

Some terms work in both directions: an existing pod keeps away the pods that its required anti-affinity names, and is
more or less attractive to those that its other terms name. Such a pod *holds* these terms where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from podium.objects.selectors import Operator, Requirement, Selector, from_label_selector
from podium.v1.core_pb2 import Pod, PodAffinityTerm, TopologySpreadConstraint, WeightedPodAffinityTerm
from podium.v1.meta_pb2 import LabelSelector

# How much an existing pod attracts the pods that its required affinity names (kube-scheduler's hardPodAffinityWeight).
REQUIRED_PULL = 1


Labels = tuple[tuple[str, str], ...]
"""Keys and values, in order of the keys."""


class Kin(NamedTuple):
    """What selectors can see of a pod. `leaving`: its deletion was asked for."""

    namespace: str
    labels: Labels
    leaving: bool = False


class Crowd(NamedTuple):
    """Pods with certain labels in certain namespaces: those listed, and those that `namespace_selector` selects.

    With `staying`, pods that are being deleted do not count.
    """

    selector: Selector
    namespaces: frozenset[str]
    namespace_selector: Selector | None = None
    staying: bool = False

    def __str__(self) -> str:
        who = f"pods matching {self.selector}" if self.selector.requirements else "pods"
        return f"{'no pods' if self.selector.never else who}{self._where()}"

    def _where(self) -> str:
        if self.namespace_selector is not None and self.namespace_selector.empty:
            return " in any namespace"
        places = [f"namespace {name}" for name in sorted(self.namespaces)]
        if self.namespace_selector is not None:
            places.append(f"namespaces matching {self.namespace_selector}")
        return f" in {' or '.join(places)}"


Crowds = tuple[Crowd, ...]
"""Pods that are in every one of these."""


class Term(NamedTuple):
    """A crowd, and the node label whose equal values mean being near to it."""

    crowd: Crowd
    topology_key: str


class Held(NamedTuple):
    """A term of a pod that is somewhere already. `pull` 0 keeps the crowd away; else it attracts or repels (< 0)."""

    term: Term
    pull: int


class Weighted(NamedTuple):
    """A preference: positive weights attract, negative ones repel."""

    term: Term
    weight: int


class Ties(NamedTuple):
    """What a pod's affinity says about other pods."""

    near: tuple[Term, ...] = ()
    apart: tuple[Term, ...] = ()
    preferred: tuple[Weighted, ...] = ()

    def held(self) -> tuple[Held, ...]:
        """What keeps working when the pod has its node."""
        return (
            *(Held(term, 0) for term in self.apart),
            *(Held(term, REQUIRED_PULL) for term in self.near),
            *(Held(term, weight) for term, weight in self.preferred),
        )


_NO_TIES = Ties()


def ties_of(pod: Pod) -> Ties:
    """Read a pod's affinity and anti-affinity to other pods."""
    affinity = pod.spec.affinity
    near, apart = affinity.pod_affinity, affinity.pod_anti_affinity
    if not near.ByteSize() and not apart.ByteSize():
        return _NO_TIES
    return Ties(
        near=tuple(_term(t, pod) for t in near.required_during_scheduling_ignored_during_execution),
        apart=tuple(_term(t, pod) for t in apart.required_during_scheduling_ignored_during_execution),
        preferred=(
            *_preferences(near.preferred_during_scheduling_ignored_during_execution, pod, 1),
            *_preferences(apart.preferred_during_scheduling_ignored_during_execution, pod, -1),
        ),
    )


def _preferences(terms: Iterable[WeightedPodAffinityTerm], pod: Pod, sign: int) -> Iterator[Weighted]:
    return (Weighted(_term(t.pod_affinity_term, pod), sign * t.weight) for t in terms if t.weight)


def _term(term: PodAffinityTerm, pod: Pod) -> Term:
    selector = selector_of(term.label_selector if term.HasField("label_selector") else None)
    selector = with_keys(selector, term.match_label_keys, pod.metadata.labels, Operator.IN)
    selector = with_keys(selector, term.mismatch_label_keys, pod.metadata.labels, Operator.NOT_IN)
    among = selector_of(term.namespace_selector) if term.HasField("namespace_selector") else None
    namespaces = frozenset(term.namespaces)
    if not namespaces and among is None:
        namespaces = frozenset((pod.metadata.namespace,))
    return Term(Crowd(selector, namespaces, among), term.topology_key)


def selector_of(selector: LabelSelector | None) -> Selector:
    """The selector in one order of requirements, so that equal ones are equal; an absent one selects nothing."""
    found = from_label_selector(selector)
    if len(found.requirements) < 2:
        return found
    return Selector(tuple(sorted(found.requirements, key=_order)), found.never)


def _order(requirement: Requirement) -> tuple[str, str, list[str]]:
    return requirement.key, requirement.operator.value, sorted(requirement.values)


def with_keys(selector: Selector, keys: Iterable[str], labels: Mapping[str, str], operator: Operator) -> Selector:
    """The selector narrowed by the pod's own values of some labels (KEP-3633, KEP-3243); keys it lacks say nothing."""
    added = [Requirement(key, operator, frozenset((labels[key],))) for key in keys if key in labels]
    if not added or selector.never:
        return selector
    return Selector(tuple(sorted((*selector.requirements, *added), key=_order)))


def mentioned(pod: Pod) -> frozenset[str] | None:
    """The label keys of pods that this one's terms look at; None when it has no terms."""
    keys: set[str] = set()
    terms: list[PodAffinityTerm | TopologySpreadConstraint] = [*_terms(pod), *pod.spec.topology_spread_constraints]
    for term in terms:
        keys.update(requirement.key for requirement in selector_of(term.label_selector).requirements)
        keys.update(term.match_label_keys)
        if isinstance(term, PodAffinityTerm):
            keys.update(term.mismatch_label_keys)
    return frozenset(keys) if terms else None


def _terms(pod: Pod) -> Iterator[PodAffinityTerm]:
    for affinity in (pod.spec.affinity.pod_affinity, pod.spec.affinity.pod_anti_affinity):
        yield from affinity.required_during_scheduling_ignored_during_execution
        for choice in affinity.preferred_during_scheduling_ignored_during_execution:
            yield choice.pod_affinity_term


def crowds_of(terms: Sequence[Term]) -> Crowds:
    """The crowds of all these terms together."""
    return tuple(dict.fromkeys(term.crowd for term in terms))
