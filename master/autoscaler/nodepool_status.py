"""What a pool says of itself after a look. Pure."""

from __future__ import annotations

import datetime

from master.autoscaler.nodepool_plan import PoolPlan
from podium.objects.conditions import FALSE, TRUE, set_condition
from podium.objects.nodepool import COMING, CREDENTIALS_VALID, FAILED, GROWTH_LIMITED, HOSTS_HEALTHY, READY, STANDBY
from podium.v1.nodepool_pb2 import NodePoolStatus


def pool_status(plan: PoolPlan, now: datetime.datetime) -> NodePoolStatus:
    """The next status."""
    pool = plan.view.pool
    status = NodePoolStatus(
        observed_generation=pool.metadata.generation,
        hosts=[made.status for made in plan.hosts.values()],
        ready=plan.count({READY}),
        provisioning=plan.count(COMING),
        standby=plan.count({STANDBY}),
        failed=plan.count({FAILED}),
        pending_pods=plan.taken,
        decision=plan.decision,
        conditions=pool.status.conditions,
    )
    _credentials(plan, status, now)
    _health(plan, status, now)
    limited = bool(plan.limit)
    set_condition(
        status.conditions, GROWTH_LIMITED, TRUE if limited else FALSE, now=now,
        reason=plan.reason or "NotNeeded", message=plan.limit,
    )  # fmt: skip
    return status


def _credentials(plan: PoolPlan, status: NodePoolStatus, now: datetime.datetime) -> None:
    wrong = plan.view.credentials
    set_condition(
        status.conditions, CREDENTIALS_VALID, FALSE if wrong else TRUE, now=now,
        reason="CredentialsInvalid" if wrong else "CredentialsFound", message=wrong,
    )  # fmt: skip


def _health(plan: PoolPlan, status: NodePoolStatus, now: datetime.datetime) -> None:
    ill = [f"{made.status.name}: {made.status.message}" for made in plan.hosts.values() if made.status.failures]
    set_condition(
        status.conditions, HOSTS_HEALTHY, FALSE if ill else TRUE, now=now,
        reason="HostsFailed" if ill else "NoHostFailed", message="; ".join(ill),
    )  # fmt: skip
