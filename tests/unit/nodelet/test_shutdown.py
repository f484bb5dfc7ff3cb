"""A host that shuts down: announced, replaced, ended in order; and how the nodelet is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nodelet.control import SOCKET, ControlSocket, ask
from nodelet.drain_host import COMMAND, drain_host
from nodelet.settings import NodeletSettings, check
from nodelet.shutdown import HostShutdown, ShutdownTimes
from podium.aio.tasks import TaskScope
from podium.errors import Unavailable
from podium.settings import SettingsError
from podium.v1.core_pb2 import NodeStatus, Pod
from podium.v1.meta_pb2 import OwnerReference
from tests.support.clock import VirtualClock
from tests.support.waiting import until


def pod(name: str, owner: str = "ReplicaSet", *, priority: int = 0) -> Pod:
    made = Pod()
    made.metadata.namespace, made.metadata.name = "default", name
    if owner:
        made.metadata.owner_references.append(OwnerReference(kind=owner, name="o", uid="o", controller=True))
    made.spec.priority = priority
    return made


@dataclass
class FakePods:
    """Implements `nodelet.shutdown.Pods`."""

    pods: list[Pod]
    calls: list[object] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def alive(self) -> list[Pod]:
        return self.pods

    async def assigned(self) -> None:
        self.calls.append("waits")
        await self.changed.wait()

    def close(self) -> None:
        self.calls.append("closed")

    async def shut_down(self, grace: float, critical_grace: float) -> None:
        self.calls.append((grace, critical_grace))
        self.pods = []


def shutdown(pods: FakePods, *, connected: bool = True, grace: float = 30, critical: float = 10) -> HostShutdown:
    made = HostShutdown(pods=pods, clock=VirtualClock(), times=ShutdownTimes(grace=grace, critical=critical))
    made.connected = lambda: connected
    made.announce = lambda: pods.calls.append("announced")
    return made


async def _ended(made: HostShutdown, while_it_runs: Callable[[], None] = lambda: None) -> list[str]:
    said: list[str] = []
    task = asyncio.get_running_loop().create_task(made.run(said.append))
    await asyncio.sleep(0.05)
    while_it_runs()
    await asyncio.wait_for(task, 10)
    return said


async def test_pods_end_once_the_master_has_asked_for_the_end_of_those_that_it_replaces() -> None:
    pods = FakePods([pod("web"), pod("agent", "DaemonSet"), pod("alone", ""), pod("dns", priority=2_000_000_000)])

    def deleted() -> None:
        assert pods.calls == ["closed", "announced", "waits"]
        pods.pods[0].metadata.deletion_timestamp.seconds = 1
        pods.changed.set()

    said = await _ended(shutdown(pods), deleted)
    assert pods.calls[3:] == [(20, 10)]
    assert said[:2] == ["4 pods end within 30 s", "1 pods are to be replaced elsewhere"]


async def test_a_master_that_replaces_nothing_is_not_waited_for_long() -> None:
    pods = FakePods([pod("web")])
    said = await _ended(shutdown(pods, grace=0.2, critical=0.1))
    assert "some are not replaced yet" in said
    assert pods.pods == []


async def test_without_a_master_pods_end_at_once() -> None:
    pods = FakePods([pod("web")])
    said = await _ended(shutdown(pods, connected=False))
    assert "waits" not in pods.calls
    assert said[1] == "no master is connected: pods end without being replaced first"


def test_the_node_is_not_ready_while_it_shuts_down() -> None:
    status = NodeStatus()
    status.conditions.add(type="MemoryPressure", status="False")
    status.conditions.add(type="Ready", status="True", reason="NodeletReady")
    made = shutdown(FakePods([]))
    assert made.mark(status) is status
    made.under_way = True
    marked = made.mark(status)
    assert [(c.type, c.status, c.reason) for c in marked.conditions] == [
        ("MemoryPressure", "False", ""),
        ("Ready", "False", "NodeShutdown"),
    ]
    assert status.conditions[1].status == "True", "what was measured is not touched"


# ---------------------------------------------------------------- the socket


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def test_a_command_answers_line_by_line_and_runs_once(folder: Path) -> None:
    began, go_on = [0], asyncio.Event()

    async def work(tell: Callable[[str], None]) -> None:
        began[0] += 1
        tell("begun")
        await go_on.wait()
        tell("done")

    async def lines() -> list[str]:
        return [line async for line in ask(folder / SOCKET, "work")]

    async with TaskScope(on_error=lambda name, error: None) as scope:
        _ = scope.start(ControlSocket(folder / SOCKET, {"work": work}).run(), name="control")
        await until(lambda: (folder / SOCKET).exists())
        first = scope.start(lines(), name="first")
        await until(lambda: began == [1])
        second = ask(folder / SOCKET, "work")
        assert await anext(second) == "it is under way already"
        go_on.set()
        assert await first == ["begun", "done"]
        assert [line async for line in second] == []
        assert began == [1]
        assert [line async for line in ask(folder / SOCKET, "dance")] == [
            'unknown command "dance": expected one of work'
        ]
        assert (folder / SOCKET).stat().st_mode & 0o777 == 0o600


async def test_nobody_listens(folder: Path) -> None:
    with pytest.raises(Unavailable, match="no nodelet answers at"):
        _ = [line async for line in ask(folder / SOCKET, "work")]


# ---------------------------------------------------------------- the command


def _systemctl(folder: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    program = folder / "systemctl"
    program.write_text(f"#!/bin/sh\necho {says}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("state", "now", "ends"), [("running", False, False), ("degraded", False, False), ("stopping", False, True),
                               ("running", True, True)]
)  # fmt: skip
async def test_only_a_host_that_shuts_down_loses_its_pods(
    folder: Path, monkeypatch: pytest.MonkeyPatch, state: str, now: bool, ends: bool
) -> None:
    _systemctl(folder, monkeypatch, state)
    told: list[str] = []
    said: list[str] = []

    async def end(tell: Callable[[str], None]) -> None:
        told.append("ended")
        tell("done")

    async with TaskScope(on_error=lambda name, error: None) as scope:
        _ = scope.start(ControlSocket(folder / SOCKET, {COMMAND: end}).run(), name="control")
        await until(lambda: (folder / SOCKET).exists())
        await drain_host(NodeletSettings(data_dir=folder), now=now, say=said.append)
    assert told == (["ended"] if ends else [])
    assert said == (["done"] if ends else [f"the host is not shutting down (systemd says: {state}): its pods stay. "
                                           "--now ends them all the same."])  # fmt: skip


async def test_without_a_nodelet_there_is_nothing_to_wait_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _systemctl(folder, monkeypatch, "stopping")
    said: list[str] = []
    await drain_host(NodeletSettings(data_dir=folder), now=False, say=said.append)
    assert len(said) == 1
    assert "pods end with their engine" in said[0]


def test_critical_pods_get_a_part_of_the_whole() -> None:
    with pytest.raises(SettingsError, match="shutdown_grace_period_critical_pods: 40s must not be more"):
        check(NodeletSettings(master=("m",), shutdown_grace_period_critical_pods=40))
