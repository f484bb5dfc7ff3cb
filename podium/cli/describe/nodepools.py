"""A NodePool: its hosts and what becomes of them; and in a few sentences, why it did or did not grow."""

from __future__ import annotations

import datetime

from podium.cli.describe.page import Page, conditions, header
from podium.cli.output.age import age
from podium.objects.meta import seconds_since
from podium.objects.nodepool import at_most, status_of
from podium.v1.nodepool_pb2 import NodePool, NodePoolHost, NodePoolHostStatus


def node_pool(page: Page, obj: NodePool, now: datetime.datetime) -> None:
    """Bounds, hosts, conditions."""
    header(page, obj)
    spec, status = obj.spec, obj.status
    page.field("Min", spec.min)
    page.field("Max", at_most(obj))
    page.field("Credentials", f"secret {spec.credentials.secret_ref.namespace}/{spec.credentials.secret_ref.name}")
    page.field("Node labels", "\n".join(f"{key}={value}" for key, value in sorted(spec.labels.items())))
    page.field("Taints", "\n".join(f"{t.key}{f'={t.value}' if t.value else ''}:{t.effect}" for t in spec.taints))
    page.field("Lets go", _lets_go(obj))
    page.field("Power on by", spec.power.start)
    page.field("Power off by", spec.power.stop)
    page.field("Decision", status.decision)
    with page.section("Hosts"):
        page.table(
            ["HOST", "ADDRESS", "PHASE", "SINCE", "FAILURES", "WHY"], [_row(obj, host, now) for host in spec.hosts]
        )
    conditions(page, status.conditions, now)


def _lets_go(pool: NodePool) -> str:
    rules = pool.spec.scale_down
    if rules.disabled:
        return "never"
    under = (
        f", also with pods that request less than {rules.utilization_percent} %" if rules.utilization_percent else ""
    )
    return f"after {rules.idle_seconds} s without use{under}"


def _row(pool: NodePool, host: NodePoolHost, now: datetime.datetime) -> list[str]:
    status = status_of(pool, host.name)
    since = age(status.since, now) if status.HasField("since") else "-"
    where = f"{host.user}@{host.address}:{host.port}"
    return [host.name, where, status.phase, since, str(status.failures), status.message or "-"]


def explanation(pool: NodePool, now: datetime.datetime) -> str:
    """Why the pool has the hosts that it has."""
    status, spec = pool.status, pool.spec
    sentences = [
        f"Pool {pool.metadata.name} has {status.ready} of {len(spec.hosts)} hosts ready, "
        f"between {spec.min} and {at_most(pool)}."
    ]
    if not status.conditions:
        return f"{sentences[0]} The master has not looked at it yet."
    if status.observed_generation != pool.metadata.generation:
        sentences.append("The master has not looked at its last change yet.")
    sentences.append(f"Last decision: {status.decision}.")
    lines = [line for host in spec.hosts if (line := _about(status_of(pool, host.name), now))]
    return "\n".join([" ".join(sentences), *lines])


def _about(status: NodePoolHostStatus, now: datetime.datetime) -> str:
    """What is worth knowing of a host; nothing of one that stands by."""
    since = f"for {age(status.since, now)}" if status.HasField("since") else ""
    match status.phase:
        case "Standby" | "":
            return ""
        case "Ready" if status.HasField("idle_since"):
            return f"  {status.name} is idle for {age(status.idle_since, now)}."
        case "Ready":
            return f"  {status.name} is needed: {status.message}." if status.message else f"  {status.name} is ready."
        case "Failed":
            rest = max(0.0, -seconds_since(status.retry_after, now))
            return f"  {status.name} failed {status.failures} times ({status.message}) and rests for {rest:.0f} s more."
        case _:
            because = f": {status.message}" if status.message else ""
            return f"  {status.name} is {status.phase.lower()} {since}{because}."
