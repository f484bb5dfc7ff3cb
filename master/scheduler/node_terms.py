"""What pods ask of the labels of nodes: `nodeSelector` and required and preferred node affinity, as values and masks.

A node must match the whole `nodeSelector` and at least one required term; a term matches when all its expressions do,
and an empty one never does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from master.scheduler.columns import ALL, NOT_A_NUMBER, Bools
from podium.v1.core_pb2 import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod

if TYPE_CHECKING:
    from master.scheduler.snapshot import Snapshot

NAME_FIELD = "metadata.name"


class Expression(NamedTuple):
    """One requirement on a label or, when `field`, on the node's name."""

    key: str
    operator: str
    values: tuple[str, ...]
    field: bool = False


Term = tuple[Expression, ...]


class Demand(NamedTuple):
    """What the pod asks of labels; `terms` None: nothing required beyond `labels`."""

    labels: Term
    terms: tuple[Term, ...] | None
    preferred: tuple[tuple[int, Term], ...]


def demand_of(pod: Pod) -> Demand | None:
    """Read what a pod asks; None when any node will do."""
    labels = tuple(Expression(k, "In", (v,)) for k, v in sorted(pod.spec.node_selector.items()))
    affinity = pod.spec.affinity.node_affinity
    terms = None
    if affinity.HasField("required_during_scheduling_ignored_during_execution"):
        terms = terms_of(affinity.required_during_scheduling_ignored_during_execution)
    preferred = tuple(
        (choice.weight, term)
        for choice in affinity.preferred_during_scheduling_ignored_during_execution
        if (term := _term(choice.preference)) and choice.weight > 0
    )
    return Demand(labels, terms, preferred) if labels or terms is not None or preferred else None


def matching(demand: Demand, cluster: Snapshot) -> Bools:
    """The rows whose labels are as required."""
    mask = all_of(demand.labels, cluster)
    if demand.terms is not None:
        mask &= any_of(demand.terms, cluster)
    return mask


def terms_of(selector: NodeSelector) -> tuple[Term, ...]:
    """Read a selector."""
    return tuple(_term(term) for term in selector.node_selector_terms)


def _term(term: NodeSelectorTerm) -> Term:
    return (*_expressions(term.match_expressions, False), *_expressions(term.match_fields, True))


def _expressions(requirements: Iterable[NodeSelectorRequirement], field: bool) -> Iterable[Expression]:
    return (Expression(r.key, r.operator, tuple(sorted(r.values)), field) for r in requirements)


def any_of(terms: tuple[Term, ...], cluster: Snapshot) -> Bools:
    """The rows that match one of the terms."""
    found = np.zeros(cluster.capacity, dtype=np.bool_)
    for term in terms:
        if term:
            found |= all_of(term, cluster)
    return found


def all_of(term: Term, cluster: Snapshot) -> Bools:
    """The rows that match every expression."""
    found = np.ones(cluster.capacity, dtype=np.bool_)
    for expression in term:
        found &= _by_name(expression, cluster) if expression.field else _by_label(expression, cluster)
    return found


def _by_name(expression: Expression, cluster: Snapshot) -> Bools:
    named = np.zeros(cluster.capacity, dtype=np.bool_)
    if expression.key == NAME_FIELD:
        named[[row for row in map(cluster.row, expression.values) if row is not None]] = True
    return ~named if expression.operator == "NotIn" else named


def _by_label(expression: Expression, cluster: Snapshot) -> Bools:
    column = cluster.labels.get(expression.key)
    if column is None:
        return np.full(cluster.capacity, expression.operator in ("NotIn", "DoesNotExist"), dtype=np.bool_)
    match expression.operator:
        case "In":
            return column.has(expression.values)
        case "NotIn":
            return ~column.has(expression.values)
        case "Exists":
            return column.present()
        case "DoesNotExist":
            return ~column.present()
        case "Gt" | "Lt":
            return _compared(expression, column.numbers(ALL))
        case _:
            return np.zeros(cluster.capacity, dtype=np.bool_)


def _compared(expression: Expression, numbers: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Bools:
    try:
        bound = int(expression.values[0])
    except (IndexError, ValueError):
        return np.zeros(numbers.size, dtype=np.bool_)
    known = numbers != NOT_A_NUMBER
    found: Bools = known & (numbers > bound if expression.operator == "Gt" else numbers < bound)
    return found
