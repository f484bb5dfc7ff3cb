"""The client library against a real master: typed verbs, watches that outlive masters, fail-over, deadlines."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from podium.client import AsyncClient, Client, Context, Watched
from podium.client.config import load
from podium.errors import AlreadyExists, BadRequest, Conflict, DeadlineExceeded, Expired, Invalid, NotFound, Unavailable
from podium.v1.apps_pb2 import Deployment
from podium.v1.core_pb2 import Container, Namespace, Pod, Secret
from tests.support.command_world import command_world
from tests.support.master import running_master
from tests.support.master_process import MasterProcess, free_port
from tests.support.waiting import until


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    async with running_master(tmp_path) as master:
        yield load(master.admin_config).context()


@pytest.fixture
async def client(context: Context) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(context) as made:
        yield made


def secret(name: str, **data: bytes) -> Secret:
    made = Secret(type="Opaque", data=data)
    made.metadata.name = name
    return made


def deployment(replicas: int = 1) -> Deployment:
    made = Deployment()
    made.metadata.name = "web"
    made.spec.replicas = replicas
    made.spec.selector.match_labels["app"] = "web"
    made.spec.template.metadata.labels["app"] = "web"
    made.spec.template.spec.containers.append(Container(name="main", image="lines:1"))
    return made


# ---------------------------------------------------------------- verbs


async def test_objects_are_written_and_read_by_their_type(client: AsyncClient) -> None:
    made = await client.create(secret("db", password=b"one"))
    assert made.metadata.namespace == "default"
    with pytest.raises(AlreadyExists):
        await client.create(secret("db"))
    made.data["password"] = b"two"
    updated = await client.update(made)
    with pytest.raises(Conflict):
        await client.update(made)  # its resourceVersion is of before
    assert (await client.get(Secret, "db")).data["password"] == b"two"
    patched = await client.patch(Secret, "db", {"metadata": {"labels": {"tier": "data"}}}, type="merge")
    assert patched.metadata.resource_version != updated.metadata.resource_version
    assert [s.metadata.name for s in await client.list(Secret, selector="tier=data")] == ["db"]
    assert await client.list(Secret, field_selector="metadata.name=other") == []
    assert (await client.delete(Secret, "db")).metadata.uid == made.metadata.uid
    with pytest.raises(NotFound, match='Secret "db" not found'):
        await client.get(Secret, "db")
    with pytest.raises(BadRequest, match="unknown patch type"):
        await client.patch(Secret, "db", {}, type="fancy")


async def test_the_synchronous_client_has_the_same_verbs(context: Context) -> None:
    def work() -> None:
        with Client(context) as client:
            made = client.create(secret("db", password=b"one"))
            assert client.get(Secret, "db") == made
            changes = client.watch(Secret, resource_version=made.metadata.resource_version, known=[made])
            client.delete(Secret, "db")
            change = next(changes)
            assert (change.type, change.key) == ("DELETED", ("default", "db"))
            with pytest.raises(NotFound):
                client.get(Secret, "db")
            results = client.create_many([secret("a"), secret("a"), secret("b")])
            assert [type(r) for r in results] == [Secret, AlreadyExists, Secret]
            assert client.cluster.who_am_i().user == "admin"
            client.apply(deployment())
            client.scale(Deployment, "web", 3)
            assert client.get(Deployment, "web").spec.replicas == 3

    await asyncio.to_thread(work)


async def test_a_long_list_comes_in_pages(client: AsyncClient) -> None:
    await client.create_many([secret(f"s{number:04}") for number in range(1203)])
    names = [s.metadata.name for s in await client.list(Secret)]
    assert names == [f"s{number:04}" for number in range(1203)]


async def test_a_batch_fails_in_places_only(client: AsyncClient) -> None:
    bad = secret("Not-A-Name")
    results = await client.create_many([secret("a"), bad, secret("a"), secret("b")])
    assert [type(r) for r in results] == [Secret, Invalid, AlreadyExists, Secret]
    invalid = results[1]
    assert isinstance(invalid, Invalid)
    assert [v.field for v in invalid.violations] == ["metadata.name"]


async def test_errors_name_every_field_at_fault(client: AsyncClient) -> None:
    wrong = deployment(replicas=-1)
    wrong.spec.template.metadata.labels["app"] = "other"
    with pytest.raises(Invalid) as caught:
        await client.create(wrong)
    assert {v.field for v in caught.value.violations} >= {"spec.replicas", "spec.template.metadata.labels"}
    assert caught.value.reason == "Invalid"


async def test_apply_conflicts_name_field_and_owner(client: AsyncClient) -> None:
    await client.apply(deployment(2), manager="one")
    with pytest.raises(Conflict, match=r'spec\.replicas is owned by "one"'):
        await client.apply(deployment(3), manager="two")
    stored = await client.apply(deployment(3), manager="two", force=True)
    assert isinstance(stored, Deployment)
    assert stored.spec.replicas == 3
    dry = await client.apply(deployment(5), manager="two", dry_run=True)
    assert isinstance(dry, Deployment)
    assert (await client.get(Deployment, "web")).spec.replicas == 3


# ---------------------------------------------------------------- watches


async def _follow(client: AsyncClient, state: dict[str, Secret], seen: list[Watched[Secret]]) -> None:
    async for change in client.watch(Secret):
        seen.append(change)
        if change.type == "DELETED":
            del state[change.key[1]]
        else:
            state[change.key[1]] = change.object


async def test_a_watch_outlives_the_masters_death(tmp_path: Path) -> None:
    master = MasterProcess(tmp_path)
    await master.start()
    state: dict[str, Secret] = {}
    seen: list[Watched[Secret]] = []
    async with master.client() as watcher, master.client() as writer:
        following = asyncio.create_task(_follow(watcher, state, seen))
        await writer.create_many([secret(f"s{number}") for number in range(50)])
        await until(lambda: len(state) == 50)
        for ending in (signal.SIGKILL, signal.SIGTERM):
            await master.end(ending)
            await master.start()
            await writer.delete(Secret, f"s{ending.value}")
            await writer.patch(Secret, "s1", {"data": {"after": "MQ=="}}, type="merge")
            await writer.create(secret(ending.name.lower()))
            await until(lambda: ending.name.lower() in state, seconds=20)  # noqa: B023 - awaited here
        stored = {s.metadata.name: s for s in await writer.list(Secret)}
        assert state == stored
        assert not following.done()
        following.cancel()
    versions = [(c.type, c.key, c.object.metadata.resource_version) for c in seen]
    assert len(versions) == len(set(versions)), "a change came twice"
    assert await master.end() == 0


async def test_a_watch_whose_history_is_gone_lists_again(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was changed, made and deleted meanwhile is told all the same."""
    for name in ("kept", "changed", "deleted"):
        await client.create(secret(name))
    objects, revision = await client.list_at(Secret)
    await client.delete(Secret, "deleted")
    await client.patch(Secret, "changed", {"data": {"a": "MQ=="}}, type="merge")
    await client.create(secret("made"))
    stream, expired = client.connection.stream, asyncio.Event()

    def once_expired(*args: object, **options: object) -> object:
        if expired.is_set():
            return stream(*args, **options)  # type: ignore[arg-type]
        expired.set()
        return _expired()

    monkeypatch.setattr(client.connection, "stream", once_expired)
    changes = client.watch(Secret, resource_version=revision, known=objects)
    got = {c.key[1]: c.type for c in [await anext(changes) for _ in range(3)]}
    assert got == {"deleted": "DELETED", "changed": "MODIFIED", "made": "ADDED"}
    await client.delete(Secret, "kept")
    change = await anext(changes)
    assert (change.type, change.key[1]) == ("DELETED", "kept")


async def _expired() -> AsyncIterator[object]:
    for error in (Expired("compacted"),):
        raise error
    yield None


async def test_a_watch_does_not_hide_a_wrong_selector(client: AsyncClient) -> None:
    with pytest.raises(BadRequest, match="cannot be selected by"):
        await anext(client.watch(Secret, field_selector="spec.nope=1"))


# ---------------------------------------------------------------- several masters, deadlines


async def test_calls_fail_over_to_an_address_that_answers(context: Context) -> None:
    (alive,) = context.endpoints
    dead = f"127.0.0.1:{free_port()}"
    async with AsyncClient(replace(context, endpoints=(dead, alive)), timeout=10) as client:
        await client.create(secret("written-once"))  # no master saw the first attempt: a write may be repeated
    async with AsyncClient(replace(context, endpoints=(dead, alive)), timeout=10) as client:
        changes = client.watch(Secret)
        assert (await anext(changes)).key[1] == "written-once"
    async with AsyncClient(replace(context, endpoints=(dead, alive)), timeout=10) as client:
        results = await client.create_many([secret("a"), secret("b")])
        assert [type(r) for r in results] == [Secret, Secret]

    def synchronously() -> None:
        with Client(replace(context, endpoints=(dead, alive)), timeout=10) as client:
            client.create(secret("c"))

    await asyncio.to_thread(synchronously)


async def test_no_master_at_all_is_said_soon(context: Context) -> None:
    dead = tuple(f"127.0.0.1:{free_port()}" for _ in range(2))
    loop = asyncio.get_running_loop()
    async with AsyncClient(replace(context, endpoints=dead), timeout=30) as client:
        start = loop.time()
        with pytest.raises(Unavailable, match="no master answers"):
            await client.get(Secret, "x")
        assert loop.time() - start < 15


async def test_a_master_that_is_silent_costs_no_more_than_the_deadline(context: Context) -> None:
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes connections and says nothing
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        loop = asyncio.get_running_loop()
        async with AsyncClient(replace(context, endpoints=(address,)), timeout=0.5) as client:
            start = loop.time()
            with pytest.raises((DeadlineExceeded, Unavailable)):
                await client.get(Secret, "x")
            assert loop.time() - start < 2


# ---------------------------------------------------------------- reaching into pods


async def test_logs_exec_and_rollouts_reach_through(tmp_path: Path) -> None:
    async with command_world(tmp_path) as world:
        async with AsyncClient.from_config(world.cluster.master.admin_config) as client:
            await client.create(deployment(2))
            statuses = [s async for s in client.rollouts.status(Deployment, "web", watch=True)]
            assert statuses[-1].available == 2
            pods = await client.list(Pod, selector="app=web")
            name = pods[0].metadata.name
            logs = b"".join([data async for _, data in client.pods.logs(name, tail=2)])
            assert logs == b"line 9\nline 10\n"
            ran = await client.pods.run(name, ["cat"], stdin=b"typed")
            assert (ran.exit_code, ran.stdout, ran.stderr) == (3, b"typed", b"bye")
            with pytest.raises(NotFound):
                await client.pods.run("nobody", ["ls"])
            with pytest.raises(NotFound):
                [_ async for _ in client.pods.logs("nobody")]
            made = Namespace()
            made.metadata.name = "team"
            await client.create(made)
            assert {n.metadata.name for n in await client.list(Namespace)} >= {"default", "team"}

        def synchronously() -> None:
            with Client.from_config(world.cluster.master.admin_config) as client:
                assert b"".join(data for _, data in client.pods.logs(name, tail=1)) == b"line 10\n"
                assert client.pods.run(name, ["ls"]).stdout == b"ran ls\n"
                assert [r.revision for r in client.rollouts.history(Deployment, "web")] == [1]

        await asyncio.to_thread(synchronously)
