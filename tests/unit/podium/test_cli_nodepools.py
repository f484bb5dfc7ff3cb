"""Node pools in words: the page, and the sentences that explain why one did or did not grow."""

from __future__ import annotations

import datetime

import pytest

from podium.cli.describe.nodepools import explanation, node_pool
from podium.cli.describe.page import Page
from podium.cli.output.columns import cells, columns_of
from podium.objects.conditions import set_condition
from podium.objects.kinds import BY_NAME
from podium.objects.meta import timestamp
from podium.v1.nodepool_pb2 import NodePool

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def pool() -> NodePool:
    made = NodePool()
    made.metadata.name, made.metadata.generation = "batch", 3
    for number in range(4):
        made.spec.hosts.add(name=f"b{number}", address=f"192.0.2.{number}", port=22, user="admin")
    made.spec.max = 3
    made.spec.credentials.secret_ref.name, made.spec.credentials.secret_ref.namespace = "ssh", "podium-system"
    made.spec.scale_down.idle_seconds, made.spec.scale_down.utilization_percent = 600, 50
    status = made.status
    status.observed_generation, status.ready, status.provisioning, status.failed = 3, 1, 1, 1
    status.decision = "does not grow: 3 hosts are in use, and max is 3"
    since = timestamp(NOW - datetime.timedelta(seconds=42))
    status.hosts.add(name="b0", phase="Ready", since=since, message="its pods request 90 % of its cpu")
    status.hosts.add(name="b1", phase="Provisioning", since=since, message="2 waiting pods fit it")
    failed = status.hosts.add(name="b2", phase="Failed", since=since, failures=2, message="unreachable: timed out")
    failed.retry_after.CopyFrom(timestamp(NOW + datetime.timedelta(seconds=18)))
    status.hosts.add(name="b3", phase="Standby")
    set_condition(status.conditions, "GrowthLimited", "True", now=NOW, reason="AtMaximum", message="at max")
    return made


def test_explanation(pool: NodePool) -> None:
    assert explanation(pool, NOW) == (
        "Pool batch has 1 of 4 hosts ready, between 0 and 3. "
        "Last decision: does not grow: 3 hosts are in use, and max is 3.\n"
        "  b0 is needed: its pods request 90 % of its cpu.\n"
        "  b1 is provisioning for 42s: 2 waiting pods fit it.\n"
        "  b2 failed 2 times (unreachable: timed out) and rests for 18 s more."
    )


def test_explanation_of_what_was_not_looked_at() -> None:
    fresh = NodePool()
    fresh.metadata.name = "new"
    assert "has not looked at it yet" in explanation(fresh, NOW)


def test_explanation_of_an_idle_host(pool: NodePool) -> None:
    pool.status.hosts[0].ClearField("message")
    pool.status.hosts[0].idle_since.CopyFrom(timestamp(NOW - datetime.timedelta(seconds=90)))
    pool.metadata.generation = 4
    said = explanation(pool, NOW)
    assert "b0 is idle for 90s." in said
    assert "has not looked at its last change yet" in said


def test_page(pool: NodePool) -> None:
    page = Page()
    node_pool(page, pool, NOW)
    text = str(page)
    assert "after 600 s without use, also with pods that request less than 50 %" in text
    assert "admin@192.0.2.2:22" in text
    assert "unreachable: timed out" in text
    assert "GrowthLimited" in text


def test_columns(pool: NodePool) -> None:
    columns = columns_of(BY_NAME["NodePool"], wide=False, namespaces=False, labels=False)
    assert [c.header for c in columns] == ["NAME", "HOSTS", "READY", "COMING", "FAILED", "MIN", "MAX", "AGE"]
    assert cells(pool, columns, NOW)[:7] == ["batch", "4", "1", "1", "1", "0", "3"]
