"""Answers `podium explain pod`: what the scheduler makes of a pod at this moment."""

from __future__ import annotations

from master.scheduler import explain, preempt
from master.scheduler.engine import Engine
from master.scheduler.ledger import Entry, PodKey, State
from master.scheduler.shape import Shape
from podium.objects import pod as pods
from podium.v1.cluster_service_pb2 import ExplainPodResponse
from podium.v1.core_pb2 import Pod

BOUND, FINISHED, TERMINATING = "Bound", "Finished", "Terminating"
GATED = "SchedulingGated"
BINDING, QUEUED, PREEMPTING, UNSCHEDULABLE = "Binding", "Queued", "Preempting", "Unschedulable"


def explain_pod(engine: Engine, pod: Pod, nodes: bool) -> ExplainPodResponse:
    """What became of `pod`, why, and with `nodes` what each node says to it."""
    settled = _settled(pod)
    if settled is not None:
        return settled
    entry = engine.ledger.entries.get(PodKey(pod.metadata.namespace, pod.metadata.name))
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
        answer.preemption = f"Pods of lower priority are leaving node {entry.claim} to make room."
    elif diagnosis.fitting:
        answer.state = QUEUED
    else:
        answer.state = UNSCHEDULABLE
        answer.preemption = preempt.why_not(engine.profile, shape, engine.cluster)
    return answer
