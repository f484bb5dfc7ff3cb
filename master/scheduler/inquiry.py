"""Answers `podium explain pod`: what the scheduler makes of a pod at this moment."""

from __future__ import annotations

from collections.abc import Iterator

from master.scheduler import explain, preempt
from master.scheduler.engine import Engine
from master.scheduler.ledger import Entry, PodKey, State
from master.scheduler.shape import Shape
from podium.objects import pod as pods
from podium.v1.cluster_service_pb2 import ExplainPodResponse, PreemptionVictim
from podium.v1.core_pb2 import Pod

BOUND, FINISHED, TERMINATING = "Bound", "Finished", "Terminating"
GATED = "SchedulingGated"
BINDING, QUEUED, PREEMPTING, UNSCHEDULABLE = "Binding", "Queued", "Preempting", "Unschedulable"


def explain_pod(engine: Engine, pod: Pod, nodes: bool) -> ExplainPodResponse:
    """What became of `pod`, why, and with `nodes` what each node says to it."""
    settled = _settled(pod)
    entry = engine.ledger.entries.get(PodKey(pod.metadata.namespace, pod.metadata.name))
    if settled is not None and settled.state == BOUND and nodes:
        return _bound(engine, pod, entry, settled)
    if settled is not None:
        return settled
    if entry is not None and entry.state is State.ASSUMED:
        return ExplainPodResponse(
            state=BINDING, message=_binding(entry), node_name=entry.node,
            total_nodes=len(engine.cluster),
        )  # fmt: skip
    return _waiting(engine, engine.shape_of(pod), entry, nodes)


def _binding(entry: Entry) -> str:
    if not entry.promises:
        return f"Node {entry.node} was chosen; the binding is being written."
    claims = ", ".join(promise.claim.name for promise in entry.promises)
    return f"Node {entry.node} was chosen; persistentvolumeclaim(s) {claims} are being bound for it."


def _settled(pod: Pod) -> ExplainPodResponse | None:
    node = pod.spec.node_name
    if pods.is_terminal(pod):
        return ExplainPodResponse(state=FINISHED, message=f"The pod is over: {pod.status.phase}.", node_name=node)
    if pods.is_terminating(pod):
        return ExplainPodResponse(state=TERMINATING, message="The pod is being deleted.", node_name=node)
    if node:
        return ExplainPodResponse(state=BOUND, message=f"Bound to node {node}.", node_name=node)
    if pods.is_gated(pod):
        gates = ", ".join(gate.name for gate in pod.spec.scheduling_gates)
        return ExplainPodResponse(state=GATED, message=f"{pods.GATED_MESSAGE}: {gates}.")
    return None


def _bound(engine: Engine, pod: Pod, entry: Entry | None, answer: ExplainPodResponse) -> ExplainPodResponse:
    """What nodes would say if it had to be placed now, without it: the scores that it was placed by are not kept."""
    unplaced = Pod()
    unplaced.CopyFrom(pod)
    unplaced.spec.ClearField("node_name")
    shape, cluster = engine.shape_of(unplaced), engine.cluster
    row = cluster.row(entry.node) if entry is not None else None
    with preempt.without(cluster, row or 0, [entry] if entry is not None and row is not None else []):
        answer.nodes.extend(explain.verdicts(engine.profile, shape, cluster))
    answer.message += " What nodes say is as if it had to be placed now."
    answer.total_nodes = len(cluster)
    return answer


def _waiting(engine: Engine, shape: Shape, entry: Entry | None, nodes: bool) -> ExplainPodResponse:
    with engine.without_claim(entry):
        diagnosis = explain.diagnose(engine.profile, shape, engine.cluster)
        answer = ExplainPodResponse(
            message=str(diagnosis),
            total_nodes=diagnosis.total,
            reasons=explain.reason_counts(diagnosis),
            constraints=engine.profile.recount(shape, engine.cluster),
            nodes=explain.verdicts(engine.profile, shape, engine.cluster) if nodes else (),
        )
    if entry is not None and entry.claim:
        answer.state, answer.node_name = PREEMPTING, entry.claim
        answer.victims.extend(_victims(engine, entry))
        answer.preemption = _leaving(answer)
    elif diagnosis.fitting:
        answer.state = QUEUED
    else:
        answer.state = UNSCHEDULABLE
        answer.preemption = preempt.why_not(engine.profile, shape, engine.cluster)
    return answer


def _victims(engine: Engine, entry: Entry) -> Iterator[PreemptionVictim]:
    """Who goes for a pod; after a restart: who is going on its node, of a lower priority."""
    eviction, entries = engine.eviction_for(entry), engine.ledger.entries
    if eviction is None:
        there = (e for e in engine.ledger.on(entry.claim) if e.footprint.priority < entry.footprint.priority)
        leaving = sorted((e for e in there if e.terminating), key=lambda e: e.key)
        eviction = preempt.Eviction(node=entry.claim, victims=tuple(leaving))
    for victim in eviction.victims:
        yield PreemptionVictim(
            namespace=victim.key.namespace,
            name=victim.key.name,
            priority=victim.footprint.priority,
            overdraws_budget=victim.uid in eviction.overdrawing,
            gone=entries.get(victim.key) is not victim,
        )


def _leaving(answer: ExplainPodResponse) -> str:
    if not answer.victims:
        return f"Pods of lower priority are leaving node {answer.node_name} to make room."
    victims = ", ".join(_victim(victim) for victim in answer.victims)
    return f"These pods of lower priority are leaving node {answer.node_name} to make room: {victims}."


def _victim(victim: PreemptionVictim) -> str:
    said = [f"priority {victim.priority}"]
    said += ["overdraws a disruption budget"] if victim.overdraws_budget else []
    said += ["gone"] if victim.gone else []
    return f"{victim.namespace}/{victim.name} ({', '.join(said)})"
