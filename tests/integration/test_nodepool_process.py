"""A master in a process of its own starts programs for its pools while it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from podium.v1.nodepool_pb2 import NodePool
from tests.support.master_process import MasterProcess
from tests.support.nodepools import credentials, node_pool

SAID = "hook wake ended with exit code 1: no such host"


class WithHooks(MasterProcess):
    """A master that has hooks."""

    @property
    def arguments(self) -> list[str]:
        return [*super().arguments, "--nodepool-hooks", str(self.folder.parent / "hooks")]


async def test_hooks_run_and_no_handler_of_grpc_runs_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between fork and exec, what gRPC would do in the child of a busy master can crash it."""
    monkeypatch.delenv("GRPC_ENABLE_FORK_SUPPORT", raising=False)  # this process has it from the nodelet's package
    mark = tmp_path / "woken"
    (tmp_path / "hooks").mkdir()
    hook = tmp_path / "hooks" / "wake"
    hook.write_text(
        f"#!/bin/sh\necho $PODIUM_HOST $GRPC_ENABLE_FORK_SUPPORT >> {mark}\necho no such host >&2\nexit 1\n"
    )
    hook.chmod(0o755)
    master = WithHooks(tmp_path / "master")
    await master.start()
    try:
        async with master.client() as client:
            pool = node_pool(least=1)
            pool.metadata.ClearField("uid")
            pool.spec.power.start = "wake"
            await client.create(credentials())
            await client.create(pool)
            async for event in client.watch(NodePool):
                if any(host.message == SAID for host in event.object.status.hosts):
                    break
    finally:
        _ = await master.end()
    assert mark.read_text().splitlines()[0] == "pool-0 false"
