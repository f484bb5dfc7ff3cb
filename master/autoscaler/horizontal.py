"""How many replicas an autoscaler's target should have now, and why. Pure.

    each metric proposes ─► the greatest counts ─► stabilized over the past ─► no faster than the rules ─► within bounds

What cannot be read proposes nothing; while something cannot be read, nothing goes down. A target outside its bounds is
brought within them whatever the metrics say; one that was set to 0 by hand is left alone, unless its bounds begin at 0.
Every decision comes with conditions whose messages say how it came about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from master.autoscaler.behavior import History, down_limit, stabilize, up_limit
from master.autoscaler.facts import Observation, Tuning, Unread
from master.autoscaler.proposals import Proposal, Proposed, propose
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscalerSpec, HPAScalingRules, MetricStatus

ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition: what holds, Kubernetes' reason, and a message for people."""

    type: str
    status: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done.

    Attributes:
        replicas: The target's, from now on.
        because: Why they change; empty when they do not.
        fault: Why no figure could be had; empty when one could.
        findings: Conditions that hold now; others do not.
        metrics: Each metric with its figure, where there is one.
        history: To decide by the next time, once this is done.
    """

    replicas: int
    because: str = ""
    fault: str = ""
    findings: tuple[Finding, ...] = ()
    metrics: tuple[MetricStatus, ...] = ()
    history: History = field(default_factory=History)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """An autoscaler's rules, completed by the defaults."""

    least: int
    most: int
    up: HPAScalingRules
    down: HPAScalingRules

    @classmethod
    def of(cls, spec: HorizontalPodAutoscalerSpec, tuning: Tuning) -> Rules:
        """Of a spec that was admitted: with `behavior`, it is whole but for the window down."""
        up, down = HPAScalingRules(), HPAScalingRules()
        if spec.HasField("behavior"):
            up.CopyFrom(spec.behavior.scale_up)
            down.CopyFrom(spec.behavior.scale_down)
        else:
            up.policies.add(type="Pods", value=4, period_seconds=15)
            up.policies.add(type="Percent", value=100, period_seconds=15)
            down.policies.add(type="Percent", value=100, period_seconds=15)
        if not down.HasField("stabilization_window_seconds"):
            down.stabilization_window_seconds = round(tuning.downscale_stabilization)
        return cls(least=spec.min_replicas, most=spec.max_replicas, up=up, down=down)


def plan_scale(seen: Observation, history: History, *, now: float, tuning: Tuning) -> Decision:
    """Decide.

    Args:
        history: What this autoscaler wanted and did; begins with what the target had when it was first seen.
        now: On the history's clock.
    """
    rules = Rules.of(seen.spec, tuning)
    if seen.wanted == 0 and rules.least > 0:
        message = "scaling is disabled since the replica count of the target is zero"
        return Decision(
            replicas=0, findings=(_able(), Finding(ACTIVE, False, "ScalingDisabled", message)), history=history
        )
    proposed = [
        propose(spec, reading, seen, tuning) for spec, reading in zip(seen.spec.metrics, seen.readings, strict=True)
    ]
    metrics = tuple(one.status for one in proposed)
    if (forced := _out_of_bounds(seen.wanted, rules)) is not None:
        replicas, because, finding = forced
        return _decided(seen, replicas, because, (_able(), finding), metrics, history, now)
    best = _greatest(proposed, seen.wanted)
    if isinstance(best, Unread):
        active = Finding(ACTIVE, False, best.reason, best.message)
        return Decision(
            replicas=seen.wanted, fault=best.message, findings=(_able(), active), metrics=metrics, history=history
        )
    return _within_rules(seen, best, rules, metrics, history, now)


def _able() -> Finding:
    return Finding(ABLE, True, "SucceededGetScale", "the HPA controller was able to get the target's current scale")


def _out_of_bounds(wanted: int, rules: Rules) -> tuple[int, str, Finding] | None:
    if wanted > rules.most:
        message = f"the target has {wanted} replicas, more than maxReplicas, {rules.most}"
        return rules.most, "Current number of replicas above Spec.MaxReplicas", _limited("TooManyReplicas", message)
    if wanted < rules.least:
        message = f"the target has {wanted} replicas, fewer than minReplicas, {rules.least}"
        return rules.least, "Current number of replicas below Spec.MinReplicas", _limited("TooFewReplicas", message)
    return None


def _greatest(proposed: Sequence[Proposed], wanted: int) -> Proposal | Unread:
    """The greatest proposal; a reason to do nothing when there is none, or when a lower one leaves something unread."""
    unread = [one.result for one in proposed if isinstance(one.result, Unread)]
    proposals = [one.result for one in proposed if isinstance(one.result, Proposal)]
    best = max(proposals, key=lambda proposal: proposal.replicas, default=None)
    if best is None or (unread and best.replicas < wanted):
        first = unread[0]
        if len(proposed) == 1:
            return first
        return Unread(first.reason, f"{len(unread)} of {len(proposed)} metrics could not be read; {first.message}")
    return best


def _within_rules(
    seen: Observation, best: Proposal, rules: Rules, metrics: tuple[MetricStatus, ...], history: History, now: float
) -> Decision:
    steady = stabilize(
        best.replicas,
        seen.wanted,
        history,
        up_window=rules.up.stabilization_window_seconds,
        down_window=rules.down.stabilization_window_seconds,
        now=now,
    )
    replicas, limited = _limit(steady, seen.wanted, rules, history, now)
    active = Finding(ACTIVE, True, "ValidMetricFound", best.because)
    findings = (_stability(best.replicas, steady, rules), active, limited)
    because = ""
    if replicas != seen.wanted:
        because = f"{best.metric} above target" if replicas > seen.wanted else "All metrics below target"
    return _decided(seen, replicas, because, findings, metrics, history.wants(best.replicas, now), now)


def _decided(
    seen: Observation,
    replicas: int,
    because: str,
    findings: tuple[Finding, ...],
    metrics: tuple[MetricStatus, ...],
    history: History,
    now: float,
) -> Decision:
    if replicas != seen.wanted:
        history = history.scales(replicas - seen.wanted, now)
        message = f"the HPA controller was able to update the target scale to {replicas}"
        findings = (Finding(ABLE, True, "SucceededRescale", message), *findings[1:])
    return Decision(replicas=replicas, because=because, findings=findings, metrics=metrics, history=history)


def _stability(proposed: int, steady: int, rules: Rules) -> Finding:
    if steady > proposed:
        window = rules.down.stabilization_window_seconds
        message = f"{proposed} would do now, but up to {steady} were recommended within the last {window} s"
        return Finding(ABLE, True, "ScaleDownStabilized", message)
    if steady < proposed:
        window = rules.up.stabilization_window_seconds
        message = f"{proposed} are recommended now, but within the last {window} s only {steady} were"
        return Finding(ABLE, True, "ScaleUpStabilized", message)
    return Finding(ABLE, True, "ReadyForNewScale", f"recommended size is {proposed}")


def _limit(steady: int, replicas: int, rules: Rules, history: History, now: float) -> tuple[int, Finding]:
    """The number that bounds and rules allow, and which of them limited it."""
    if steady > replicas:
        fastest = up_limit(rules.up, replicas, history, now)
        if steady > min(fastest, rules.most):
            if fastest < rules.most:
                return fastest, _limited("ScaleUpLimit", f"{steady} are wanted; scaleUp allows {fastest} for now")
            message = f"the desired replica count, {steady}, is more than maxReplicas, {rules.most}"
            return rules.most, _limited("TooManyReplicas", message)
    elif steady < replicas:
        fastest = down_limit(rules.down, replicas, history, now)
        if steady < max(fastest, rules.least):
            if fastest > rules.least:
                return fastest, _limited("ScaleDownLimit", f"{steady} are wanted; scaleDown allows {fastest} for now")
            message = f"the desired replica count, {steady}, is less than minReplicas, {rules.least}"
            return rules.least, _limited("TooFewReplicas", message)
    return steady, Finding(LIMITED, False, "DesiredWithinRange", "the desired count is within the acceptable range")


def _limited(reason: str, message: str) -> Finding:
    return Finding(LIMITED, True, reason, message)
