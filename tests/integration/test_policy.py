"""Policies of namespaces over gRPC: what they add, and what they refuse, however the writes come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from master.store.memory import MemoryStore
from podium.errors import Forbidden
from tests.support.objects_api import Api, objects_api
from tests.support.policies import bounded_pod, limit_range, named


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with objects_api(MemoryStore()) as served:
        yield served


def _described(obj: Any) -> str:
    from podium.aio.clock import SystemClock
    from podium.cli.describe.objects import describe
    from podium.cli.describe.page import Page

    page = Page()
    describe(page, obj, SystemClock().now())
    return str(page)


# ---------------------------------------------------------------- LimitRange


async def test_a_limit_range_holds_from_when_it_is_made_in_its_namespace_alone(api: Api) -> None:
    before = await api.create(bounded_pod("before"))
    made = await api.create(limit_range({"max": {"cpu": 1}, "defaultRequest": {"cpu": "100m"}}))
    pod = await api.create(bounded_pod("after"))
    assert dict(pod.spec.containers[0].resources.requests) == {"cpu": "100m"}
    with pytest.raises(Forbidden, match=r"requests\[cpu\]: must be at most 1, not 2"):
        await api.create(bounded_pod("big", requests={"cpu": "2"}, limits={"cpu": "2"}))
    before.metadata.labels["touched"] = "yes"
    await api.update(before)

    await api.create(named("Namespace", "other", metadata={"namespace": ""}))
    elsewhere = bounded_pod("big", requests={"cpu": "2"})
    elsewhere.metadata.namespace = "other"
    await api.create(elsewhere)

    assert "Container   cpu        -     1" in _described(made)
    await api.delete(type(made), "limits")
    await api.create(bounded_pod("big", requests={"cpu": "2"}))
