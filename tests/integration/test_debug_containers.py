"""Ephemeral containers on hollow nodes: added to a running pod, looked at, and never started again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podium.errors import Invalid
from podium.v1.core_pb2 import Pod
from tests.support.cluster import ADMIN
from tests.support.command_world import World, command_world
from tests.support.waiting import until


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with command_world(tmp_path) as running:
        yield running


async def test_a_running_pod_is_looked_into(world: World) -> None:
    podium = await world.podium()
    pod = (await world.run_web(podium, replicas=2))[0]
    name, reader = pod.metadata.name, world.cluster.reader

    ran = await podium("debug", name, "--image=tools:1", "-c", "tools", "--target=main", "--", "top")
    assert ran.lines == [f"container tools of pod/{name}"]

    def stored() -> Pod:
        found = reader.get(Pod, podium.namespace, name)
        assert found is not None
        return found

    (debugger,) = stored().spec.ephemeral_containers
    assert (debugger.image, list(debugger.command), debugger.target_container_name) == ("tools:1", ["top"], "main")
    (status,) = stored().status.ephemeral_container_statuses
    assert status.state.HasField("running")
    assert stored().status.container_statuses[0].restart_count == 0
    assert "hollow" in (await podium("logs", name, "-c", "tools")).out
    assert "Ephemeral Containers" in (await podium("describe", "pod", name)).out
    attached = await podium("debug", "-i", name, "--image=tools:2", stdin="ping", code=3)  # a lively container's answer
    assert "bye" in attached.err

    member = world.cluster.members[pod.spec.node_name]
    before = [c for c in (await member.runtime.listing()).containers if c.name == "tools"]
    member.runtime.crash(before[0].id, 3)
    await until(lambda: stored().status.ephemeral_container_statuses[0].state.terminated.exit_code == 3)
    assert stored().status.phase == "Running"
    assert len([c for c in (await member.runtime.listing()).containers if c.name == "tools"]) == 1

    def remove(found: Pod) -> None:
        del found.spec.ephemeral_containers[:]

    with pytest.raises(Invalid, match="must not be removed"):
        await world.cluster.writer.mutate(
            Pod, podium.namespace, name, remove, by=ADMIN, subresource="ephemeralcontainers"
        )
    refused = await podium("debug", name, "--image=tools:1", "-c", "tools", code=1)
    assert "tools" in refused.err
