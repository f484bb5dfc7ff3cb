"""The pod manager from assignment to gone, on a scripted runtime in virtual time."""

from __future__ import annotations

from tests.support.kept_pods import deleted, kept, make_pod


async def test_a_simple_pod_starts_with_as_few_calls_as_there_can_be_and_runs() -> None:
    async with kept() as node:
        await node.assign(make_pod())
        assert node.status().phase == "Running"
        assert node.status().pod_ip == "10.0.0.2"
        assert node.of("app").ready
        assert [call.split()[0] for call in node.runtime.calls] == [
            "listing", "find_image", "create_sandbox", "create_container", "start_container",
        ]  # fmt: skip
        assert len(node.history) == 1


async def test_a_deleted_pod_ends_gracefully_and_leaves_nothing() -> None:
    async with kept() as node:
        pod = make_pod()
        await node.assign(pod)
        await node.assign(deleted(pod))
        assert node.gone == ["u1"]
        assert (node.runtime.containers, node.runtime.sandboxes, node.network.addresses) == ({}, {}, {})
        assert node.status().phase == "Failed"
        assert node.of("app").state.terminated.exit_code == 143
