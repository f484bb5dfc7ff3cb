"""Why a pod is where it is, or nowhere: counted by reason in Kubernetes' words, and node by node.

The answer is computed from the snapshot when it is asked for, so it is never older than the nodes themselves. A node is
counted under the first plugin that refuses it, and under each resource of which it has too little; node by node, every
plugin's reasons are listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from master.scheduler.columns import Floats
from master.scheduler.framework import Detailed, Profile
from master.scheduler.preempt import listed
from master.scheduler.shape import Shape
from master.scheduler.snapshot import Cause, Snapshot
from podium.v1.cluster_service_pb2 import NodeVerdict, PluginScore, ReasonCount

NO_NODES = "no nodes available to schedule pods"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """How the nodes answered for a shape.

    Attributes:
        total: How many nodes there are.
        fitting: How many take such a pod.
        reasons: The others, by reason.
        waits_for: What could turn a no into a yes.
    """

    total: int
    fitting: int
    reasons: Counter[str]
    waits_for: Cause

    def __str__(self) -> str:
        """`0/3 nodes are available: 2 Insufficient cpu, 1 node(s) were unschedulable.`"""
        if not self.total:
            return NO_NODES
        because = f": {listed(self.reasons)}" if self.reasons else ""
        return f"{self.fitting}/{self.total} nodes are available{because}."


def diagnose(profile: Profile, shape: Shape, cluster: Snapshot) -> Diagnosis:
    """Ask every node."""
    rows = cluster.rows()
    unblamed = np.ones(rows.size, dtype=np.bool_)
    reasons: Counter[str] = Counter()
    waits_for = Cause.NODE_ADDED
    for plugin, need, refused in profile.refusals(shape, cluster, rows):
        waits_for |= plugin.wakes_on
        blamed = rows[refused & unblamed]
        if blamed.size:
            reasons.update(chain.from_iterable(plugin.explain(need, cluster, blamed)))
            unblamed &= ~refused
    return Diagnosis(total=rows.size, fitting=int(unblamed.sum()), reasons=reasons, waits_for=waits_for)


def reason_counts(diagnosis: Diagnosis) -> list[ReasonCount]:
    """The reasons, the most frequent first."""
    return [ReasonCount(reason=reason, nodes=count) for reason, count in diagnosis.reasons.most_common()]


def verdicts(profile: Profile, shape: Shape, cluster: Snapshot) -> list[NodeVerdict]:
    """Every node's answer, in order of name, with its score (0 to 100), also by plugin, where the pod fits."""
    rows = cluster.rows()
    reasons: list[list[str]] = [[] for _ in rows]
    for plugin, need, refused in profile.refusals(shape, cluster, rows):
        where = np.flatnonzero(refused)
        tell = plugin.detail if isinstance(plugin, Detailed) else plugin.explain
        for index, why in zip(where, tell(need, cluster, rows[where]), strict=True):
            reasons[index].extend(why)
    parts = profile.scores_by_plugin(shape, cluster, rows)
    found = [
        NodeVerdict(node=cluster.name(int(row)), reasons=why) if why else _fitting(cluster.name(int(row)), index, parts)
        for index, (row, why) in enumerate(zip(rows, reasons, strict=True))
    ]
    return sorted(found, key=lambda verdict: verdict.node)


def _fitting(node: str, index: int, parts: Sequence[tuple[str, float, Floats]]) -> NodeVerdict:
    weights = sum(weight for _, weight, _ in parts)
    total = sum(weight * float(scores[index]) for _, weight, scores in parts)
    return NodeVerdict(
        node=node,
        fits=True,
        score=round(total / max(weights, 0.01), 1),
        scores=[PluginScore(plugin=n, weight=w, score=round(float(scores[index]), 1)) for n, w, scores in parts],
    )
