"""Writing and reading objects over gRPC: Kubernetes' semantics, and the errors that say what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from master.access.authorship import CHANGED_BY
from master.access.protocol import Create, Mutate
from master.access.reader import Selection
from master.cache.retention import Retention
from master.store.memory import MemoryStore
from master.store.sqlite import SqliteStore
from podium.codec.json import dumps
from podium.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
)
from podium.objects import meta
from podium.objects.conditions import is_true
from podium.objects.kinds import Key
from podium.v1 import objects_service_pb2 as wire
from podium.v1.apps_pb2 import Deployment, Scale
from podium.v1.core_pb2 import Binding, Event, Eviction, Namespace, Node, Pod, Secret
from podium.v1.meta_pb2 import DeleteOptions
from tests.support.objects_api import ADMIN, Api, any_unpacked, key, namespace, objects_api, packed, pod, unpacked


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with objects_api(MemoryStore()) as served:
        yield served


def deployment(name: str = "web", replicas: int = 2) -> Deployment:
    made = Deployment()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.spec.replicas = replicas
    made.spec.selector.match_labels["app"] = name
    made.spec.template.metadata.labels["app"] = name
    made.spec.template.spec.containers.add(name="main", image="busybox:1")
    return made


async def bind(api: Api, name: str, node: str = "n1", uid: str = "") -> Pod:
    binding = Binding()
    binding.metadata.name, binding.metadata.namespace, binding.metadata.uid = name, "default", uid
    binding.target.name = node
    return await api_bind(api, binding)


async def api_bind(api: Api, binding: Binding) -> Pod:
    request = wire.CreateRequest(object=packed(binding), subresource="binding")
    return unpacked(await api.stub.Create(request), Pod)


# ---------------------------------------------------------------- create


async def test_create_completes_an_object_and_get_reads_it(api: Api) -> None:
    created = await api.create(pod("a"))
    assert created == await api.get(Pod, "a")
    metadata = created.metadata
    assert metadata.uid
    assert metadata.generation == 1
    assert metadata.creation_timestamp.seconds > 0
    assert int(metadata.resource_version) == api.reader.revision
    assert (created.spec.restart_policy, created.status.phase, created.status.qos_class) == (
        "Always", "Pending", "BestEffort",
    )  # fmt: skip


async def test_what_only_the_server_may_say_is_not_taken_from_the_author(api: Api) -> None:
    asked = pod("a")
    asked.metadata.uid, asked.metadata.generation = "mine", 7
    asked.metadata.deletion_timestamp.seconds = 5
    asked.status.phase = "Running"
    created = await api.create(asked)
    assert created.metadata.uid != "mine"
    assert created.metadata.generation == 1
    assert not created.metadata.HasField("deletion_timestamp")
    assert created.status.phase == "Pending"


async def test_a_node_brings_its_status(api: Api) -> None:
    node = Node()
    node.metadata.name = "n1"
    node.status.capacity["cpu"] = "4"
    assert (await api.create(node)).status.capacity["cpu"] == "4"


async def test_a_name_is_taken_once(api: Api) -> None:
    await api.create(pod("a"))
    with pytest.raises(AlreadyExists, match='Pod "a" already exists'):
        await api.create(pod("a"))


async def test_of_many_that_create_one_name_one_succeeds(api: Api) -> None:
    outcomes = await asyncio.gather(*(api.create(pod("a")) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(o, Pod) for o in outcomes) == 1
    assert sum(isinstance(o, AlreadyExists) for o in outcomes) == 19


async def test_generated_names_differ(api: Api) -> None:
    asked = pod()
    asked.metadata.generate_name = "web-"
    names = {(await api.create(asked)).metadata.name for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


async def test_a_generated_name_that_is_taken_is_made_up_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    suffixes = iter(["first", "first", "other", "twice", "twice", "third"])
    monkeypatch.setattr(meta, "random_suffix", lambda: next(suffixes))
    asked = pod()
    asked.metadata.generate_name = "web-"
    made = [(await api.create(asked)).metadata.name for _ in range(2)]
    # And two of one group, neither of which can know of the other's before it is committed.
    together: list[Any] = await api.writer.write_many([Create(asked), Create(asked)], by=ADMIN)
    made += [each.metadata.name for each in together]
    assert made == ["web-first", "web-other", "web-twice", "web-third"]
    monkeypatch.setattr(meta, "random_suffix", lambda: "first")
    with pytest.raises(AlreadyExists, match="web-first"):
        await api.create(asked)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda p: setattr(p.metadata, "resource_version", "1"), BadRequest, "resourceVersion must be empty"),
        (lambda p: setattr(p.metadata, "namespace", "none"), NotFound, 'namespace "none" not found'),
        (lambda p: p.spec.ClearField("containers"), Invalid, "spec.containers"),
        (lambda p: setattr(p.metadata, "name", "Bad_Name"), Invalid, "metadata.name"),
        (lambda p: p.metadata.annotations.update(x="y" * 1_700_000), Invalid, "annotations"),
    ],
)
async def test_refused_creates(api: Api, change: Any, error: type[Exception], says: str) -> None:
    asked = pod("a")
    change(asked)
    with pytest.raises(error, match=says):
        await api.create(asked)
    with pytest.raises(NotFound):
        await api.get(Pod, "a")


async def test_an_object_that_is_too_large_is_refused_by_name(api: Api) -> None:
    huge = pod("a")
    huge.metadata.annotations["x"] = "y" * 1_900_000
    with pytest.raises(Invalid, match=r'Pod "a" is invalid: metadata.annotations: must be at most 262144 bytes'):
        await api.create(huge)
    huge = pod("a")
    huge.spec.containers[0].env.add(name="X", value="y" * 1_900_000)
    with pytest.raises(Invalid, match=r'Pod "a" is invalid.*must be at most 1572864 bytes'):
        await api.create(huge)


async def test_a_namespace_that_is_being_deleted_takes_nothing_new(api: Api) -> None:
    await api.create(namespace("going"))
    deleted = await api.delete(Namespace, "going")
    assert deleted.status.phase == "Terminating"
    with pytest.raises(Forbidden, match="is being deleted"):
        await api.create(pod("a", "going"))


async def test_dry_run_answers_and_writes_nothing(api: Api) -> None:
    before = api.reader.revision
    assert (await api.create(pod("a"), dry_run=True)).metadata.uid
    assert api.reader.revision == before
    stored = await api.create(deployment())
    stored.spec.replicas = 5
    would = await api.update(stored, dry_run=True)
    assert (would.spec.replicas, would.metadata.generation) == (5, 2)
    assert would.metadata.resource_version == stored.metadata.resource_version
    await api.stub.Delete(wire.DeleteRequest(key=key(Deployment, "web"), dry_run=True))
    assert (await api.get(Deployment, "web")).spec.replicas == 2


# ---------------------------------------------------------------- update


async def test_update_counts_generations_of_the_spec_only(api: Api) -> None:
    stored = await api.create(deployment())
    stored.metadata.labels["tier"] = "front"
    labelled = await api.update(stored)
    assert labelled.metadata.generation == 1
    labelled.spec.replicas = 5
    assert (await api.update(labelled)).metadata.generation == 2


async def test_a_stale_update_is_a_conflict(api: Api) -> None:
    stored = await api.create(deployment())
    first, second = Deployment(), Deployment()
    first.CopyFrom(stored)
    second.CopyFrom(stored)
    first.spec.replicas, second.spec.replicas = 3, 4
    await api.update(first)
    with pytest.raises(Conflict, match="read it again and retry"):
        await api.update(second)
    second.metadata.resource_version = ""
    assert (await api.update(second)).spec.replicas == 4


async def test_an_update_of_another_object_of_the_name_is_a_conflict(api: Api) -> None:
    old = await api.create(deployment())
    await api.delete(Deployment, "web")
    await api.create(deployment())
    old.metadata.resource_version = ""
    with pytest.raises(Conflict, match="another object"):
        await api.update(old)


async def test_an_update_that_changes_nothing_writes_nothing(api: Api) -> None:
    stored = await api.create(deployment())
    revision = api.reader.revision
    assert await api.update(stored) == stored
    assert api.reader.revision == revision


async def test_spec_and_status_are_written_apart(api: Api) -> None:
    stored = await api.create(deployment())
    changed = Deployment()
    changed.CopyFrom(stored)
    changed.spec.replicas, changed.status.replicas = 9, 3
    after_status = await api.update(changed, subresource="status")
    assert (after_status.spec.replicas, after_status.status.replicas) == (2, 3)
    changed.metadata.resource_version = after_status.metadata.resource_version
    changed.status.replicas = 77
    after_spec = await api.update(changed)
    assert (after_spec.spec.replicas, after_spec.status.replicas) == (9, 3)
    assert after_spec.metadata.creation_timestamp == stored.metadata.creation_timestamp


async def test_updating_what_is_not_there(api: Api) -> None:
    with pytest.raises(NotFound, match='Deployment "web" not found in namespace "default"'):
        await api.update(deployment())


async def test_the_author_of_a_template_is_noted(api: Api) -> None:
    metadata = (("user", "ann"),)
    created = await api.stub.Create(wire.CreateRequest(object=packed(deployment())), metadata=metadata)
    stored = unpacked(created, Deployment)
    assert stored.metadata.annotations[CHANGED_BY] == "ann"
    stored.spec.replicas, stored.metadata.annotations[CHANGED_BY] = 4, "mallory"
    stored = await api.update(stored)
    assert stored.metadata.annotations[CHANGED_BY] == "ann"
    stored.spec.template.spec.containers[0].image = "busybox:2"
    updated = await api.stub.Update(wire.UpdateRequest(object=packed(stored)), metadata=(("user", "bob"),))
    assert unpacked(updated, Deployment).metadata.annotations[CHANGED_BY] == "bob"


# ---------------------------------------------------------------- delete


async def test_an_unbound_pod_goes_at_once(api: Api) -> None:
    created = await api.create(pod("a"))
    assert (await api.delete(Pod, "a")).metadata.uid == created.metadata.uid
    with pytest.raises(NotFound):
        await api.get(Pod, "a")
    with pytest.raises(NotFound):
        await api.delete(Pod, "a")


async def test_a_bound_pod_has_its_grace(api: Api) -> None:
    await api.create(pod("a"))
    await bind(api, "a")
    dying = await api.delete(Pod, "a")
    assert dying.metadata.deletion_grace_period_seconds == 30
    assert dying.metadata.HasField("deletion_timestamp")
    again = await api.delete(Pod, "a", grace_period_seconds=60)
    assert again.metadata.deletion_timestamp == dying.metadata.deletion_timestamp, "grace is never made longer"
    shorter = await api.delete(Pod, "a", grace_period_seconds=5)
    assert shorter.metadata.deletion_grace_period_seconds == 5
    assert shorter.metadata.deletion_timestamp.seconds < dying.metadata.deletion_timestamp.seconds
    await api.delete(Pod, "a", grace_period_seconds=0)
    with pytest.raises(NotFound):
        await api.get(Pod, "a")


async def test_a_pod_that_is_over_needs_no_grace(api: Api) -> None:
    await api.create(pod("a"))
    done = Pod()
    done.CopyFrom(await bind(api, "a"))
    done.status.phase = "Succeeded"
    await api.update(done, subresource="status")
    await api.delete(Pod, "a")
    with pytest.raises(NotFound):
        await api.get(Pod, "a")


async def test_finalizers_hold_an_object(api: Api) -> None:
    asked = deployment()
    asked.metadata.finalizers.append("example.org/hold")
    await api.create(asked)
    held = await api.delete(Deployment, "web")
    assert held.metadata.HasField("deletion_timestamp")
    assert held.metadata.generation == 2
    del held.metadata.finalizers[:]
    await api.update(held)
    with pytest.raises(NotFound):
        await api.get(Deployment, "web")


async def test_propagation_becomes_a_finalizer(api: Api) -> None:
    await api.create(deployment())
    held = await api.delete(Deployment, "web", propagation_policy="Foreground")
    assert list(held.metadata.finalizers) == ["foregroundDeletion"]
    held = await api.delete(Deployment, "web", propagation_policy="Orphan")
    assert list(held.metadata.finalizers) == ["orphan"]
    await api.delete(Deployment, "web", propagation_policy="Background")
    with pytest.raises(NotFound):
        await api.get(Deployment, "web")
    await api.create(deployment())
    with pytest.raises(BadRequest, match="must be one of Foreground, Orphan, Background"):
        await api.delete(Deployment, "web", propagation_policy="Sideways")


async def test_preconditions_of_a_delete(api: Api) -> None:
    created = await api.create(pod("a"))
    for wrong in ({"uid": "other"}, {"resource_version": "1"}):
        with pytest.raises(Conflict):
            await api.delete(Pod, "a", preconditions=wrong)
    right = {"uid": created.metadata.uid, "resource_version": created.metadata.resource_version}
    await api.delete(Pod, "a", preconditions=right)


async def test_a_namespace_goes_when_its_finalizer_does(api: Api) -> None:
    await api.create(namespace("going"))
    dying = await api.delete(Namespace, "going")
    assert (list(dying.spec.finalizers), dying.status.phase) == (["kubernetes"], "Terminating")
    del dying.spec.finalizers[:]
    await api.update(dying)
    with pytest.raises(NotFound):
        await api.get(Namespace, "going")
    with pytest.raises(Forbidden, match="cluster needs it"):
        await api.delete(Namespace, "default")


async def test_delete_collection(api: Api) -> None:
    for i in range(5):
        await api.create(pod(f"a{i}", app="a" if i % 2 else "b"))
    request = wire.DeleteCollectionRequest(kind="Pod", namespace="default", label_selector="app=a")
    deleted = await api.stub.DeleteCollection(request)
    assert [any_unpacked(item).metadata.name for item in deleted.items] == ["a1", "a3"]
    assert [p.metadata.name for p in api.reader.list(Pod)] == ["a0", "a2", "a4"]


# ---------------------------------------------------------------- patches and apply


@pytest.mark.parametrize(
    ("type_", "patch"),
    [
        (wire.PatchRequest.MERGE, {"spec": {"replicas": 5}}),
        (wire.PatchRequest.JSON, [{"op": "replace", "path": "/spec/replicas", "value": 5}]),
        (wire.PatchRequest.STRATEGIC_MERGE, {"spec": {"replicas": 5}}),
    ],
)
async def test_patches(api: Api, type_: Any, patch: object) -> None:
    await api.create(deployment())
    request = wire.PatchRequest(key=key(Deployment, "web"), type=type_, patch=json.dumps(patch).encode())
    patched = unpacked(await api.stub.Patch(request), Deployment)
    assert (patched.spec.replicas, patched.metadata.generation) == (5, 2)


async def test_concurrent_patches_all_take_effect(api: Api) -> None:
    await api.create(deployment())

    def labelled(i: int) -> wire.PatchRequest:
        patch = json.dumps({"metadata": {"labels": {f"l{i}": "x"}}}).encode()
        return wire.PatchRequest(key=key(Deployment, "web"), type=wire.PatchRequest.MERGE, patch=patch)

    await asyncio.gather(*(api.stub.Patch(labelled(i)) for i in range(10)))
    assert len((await api.get(Deployment, "web")).metadata.labels) == 10


async def test_a_patch_cannot_rename(api: Api) -> None:
    await api.create(deployment())
    patch = json.dumps({"metadata": {"name": "other"}}).encode()
    with pytest.raises(BadRequest, match="name or namespace"):
        await api.stub.Patch(wire.PatchRequest(key=key(Deployment, "web"), type=wire.PatchRequest.MERGE, patch=patch))


async def apply(api: Api, obj: Deployment, manager: str, **options: Any) -> Deployment:
    request = wire.ApplyRequest(manifest=dumps(obj).encode(), field_manager=manager, **options)
    return unpacked(await api.stub.Apply(request), Deployment)


async def test_apply_creates_then_changes_then_conflicts(api: Api) -> None:
    assert (await apply(api, deployment(replicas=2), "ann")).metadata.generation == 1
    assert (await apply(api, deployment(replicas=3), "ann")).metadata.generation == 2
    revision = api.reader.revision
    await apply(api, deployment(replicas=3), "ann")
    assert api.reader.revision == revision, "applying the same again writes nothing"
    with pytest.raises(Conflict, match=r'spec.replicas is owned by "ann"'):
        await apply(api, deployment(replicas=4), "bob")
    assert (await apply(api, deployment(replicas=4), "bob", force=True)).spec.replicas == 4


async def test_a_scaled_workload_is_not_silently_scaled_back_by_another(api: Api) -> None:
    await apply(api, deployment(replicas=2), "ann")
    scale = Scale()
    scale.spec.replicas = 7
    request = wire.UpdateRequest(
        object=packed(scale), subresource="scale", key=key(Deployment, "web"), field_manager="scaler"
    )
    assert unpacked(await api.stub.Update(request), Scale).spec.replicas == 7
    with pytest.raises(Conflict, match="scaler"):
        await apply(api, deployment(replicas=2), "ann")


async def test_apply_needs_a_manager(api: Api) -> None:
    with pytest.raises(BadRequest, match="fieldManager"):
        await apply(api, deployment(), "")


def many_fields(count: int) -> bytes:
    """The manifest of a ConfigMap of that many small fields, each some 20 bytes long."""
    data = {f"key-{number:06}": "v" for number in range(count)}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"},
                       "data": data}).encode()  # fmt: skip


async def test_a_manifest_that_is_too_long_is_refused_with_its_size(api: Api) -> None:
    manifest = many_fields(560_000)
    assert len(manifest) > 10_000_000
    said = f"the manifest is {len(manifest)} bytes long: must be at most 2097152"
    with pytest.raises(BadRequest, match=said):
        await api.stub.Apply(wire.ApplyRequest(manifest=manifest, field_manager="ann"))
    batch = wire.BatchRequest(apply=wire.ApplyRequest(manifest=manifest, field_manager="ann"))
    (result,) = [result async for response in api.stub.raw.Batch(iter([batch])) for result in response.results]
    assert said in result.message


async def test_objects_and_patches_that_are_too_long_are_refused_before_they_are_read(api: Api) -> None:
    big = pod("a")
    big.metadata.annotations.update({f"key-{number:06}": "v" for number in range(150_000)})
    with pytest.raises(BadRequest, match=f"the Pod is {big.ByteSize()} bytes long: must be at most 2097152"):
        await api.create(big)
    await api.create(pod("a"))
    patch = b'{"metadata": {"annotations": %s}}' % json.dumps(dict(big.metadata.annotations)).encode()
    request = wire.PatchRequest(key=key(Pod, "a"), type=wire.PatchRequest.MERGE, patch=patch + b" " * 2_000_000)
    with pytest.raises(BadRequest, match="bytes long: must be at most 2097152"):
        await api.stub.Patch(request)


async def test_a_small_patch_cannot_make_a_huge_object(api: Api) -> None:
    await api.create(pod("a"))
    grow = [{"op": "add", "path": "/metadata/annotations", "value": {"a": "x" * 100_000}}]
    copies = [{"op": "copy", "from": "/metadata/annotations/a", "path": f"/metadata/annotations/b{n}"}
              for n in range(9_000)]  # fmt: skip
    patch = json.dumps(grow + copies).encode()
    request = wire.PatchRequest(key=key(Pod, "a"), type=wire.PatchRequest.JSON, patch=patch)
    with pytest.raises(BadRequest, match="must copy at most 1572864 bytes together"):
        await api.stub.Patch(request)


async def test_a_large_manifest_holds_up_nobody_elses_small_write(api: Api) -> None:
    request = wire.ApplyRequest(manifest=many_fields(30_000), field_manager="ann")
    for _ in range(2):  # created, then merged into what is there
        large = asyncio.create_task(api.stub.Apply(request))
        began = asyncio.get_running_loop().time()
        for number in range(3):
            await apply(api, deployment(f"small-{began:.6f}-{number}".replace(".", "-")), "bob")
        assert not large.done()
        await large
    [item] = api.reader.page(Selection(kind="ConfigMap")).items
    assert len(item.message.data) == 30_000


async def test_a_large_manifest_that_is_refused_says_why(api: Api) -> None:
    manifest = many_fields(3_000)
    await api.stub.Apply(wire.ApplyRequest(manifest=manifest, field_manager="ann"))
    others = wire.ApplyRequest(manifest=manifest.replace(b'"v"', b'"w"'), field_manager="bob")
    with pytest.raises(Conflict, match=r'3000 conflicts: .*is owned by "ann"'):
        await api.stub.Apply(others)
    misspelt = wire.ApplyRequest(manifest=manifest.replace(b'"data"', b'"dato"'), field_manager="ann")
    with pytest.raises(Invalid, match="dato"):
        await api.stub.Apply(misspelt)
    patch = json.dumps({"metadata": {"annotations": {f"key-{number}": "v" for number in range(3_000)}}}).encode()
    with pytest.raises(NotFound):
        await api.stub.Patch(wire.PatchRequest(key=key(Pod, "none"), type=wire.PatchRequest.MERGE, patch=patch))


# ---------------------------------------------------------------- sub-resources


async def test_binding_places_a_pod_once(api: Api) -> None:
    created = await api.create(pod("a"))
    with pytest.raises(Conflict, match="another pod"):
        await bind(api, "a", uid="other")
    bound = await bind(api, "a", uid=created.metadata.uid)
    assert bound.spec.node_name == "n1"
    assert is_true(bound.status.conditions, "PodScheduled")
    assert [p.metadata.name for p in api.reader.pods_on("n1")] == ["a"]
    with pytest.raises(Conflict, match='on node "n1"'):
        await bind(api, "a", "n2")
    await api.delete(Pod, "a")
    with pytest.raises(Conflict, match="being deleted"):
        await bind(api, "a")
    with pytest.raises(NotFound):
        await bind(api, "b")


async def test_scale_is_read_and_written(api: Api) -> None:
    await api.create(deployment())
    got = unpacked(await api.stub.Get(wire.GetRequest(key=key(Deployment, "web"), subresource="scale")), Scale)
    assert (got.spec.replicas, got.status.selector) == (2, "app=web")
    got.spec.replicas = 0
    request = wire.UpdateRequest(object=packed(got), subresource="scale", key=key(Deployment, "web"))
    assert unpacked(await api.stub.Update(request), Scale).spec.replicas == 0
    with pytest.raises(Conflict):
        await api.stub.Update(request)
    with pytest.raises(BadRequest, match="cannot be scaled"):
        await api.stub.Get(wire.GetRequest(key=key(Pod, "web"), subresource="scale"))


async def test_eviction_deletes(api: Api) -> None:
    await api.create(pod("a"))
    await bind(api, "a")
    eviction = Eviction(delete_options=DeleteOptions(grace_period_seconds=3))
    eviction.metadata.name, eviction.metadata.namespace = "a", "default"
    request = wire.CreateRequest(object=packed(eviction), subresource="eviction")
    assert unpacked(await api.stub.Create(request), Pod).metadata.deletion_grace_period_seconds == 3


# ---------------------------------------------------------------- lists


async def test_lists_select_and_sort(api: Api) -> None:
    await api.create(namespace("other"))
    for name, where, app in (("b", "default", "x"), ("a", "default", "y"), ("c", "other", "x")):
        await api.create(pod(name, where, app=app))
    await bind(api, "a")

    async def names(**request: Any) -> list[str]:
        response = await api.stub.List(wire.ListRequest(kind="Pod", **request))
        assert int(response.resource_version) == api.reader.revision
        return [any_unpacked(item).metadata.name for item in response.items]

    assert await names() == ["a", "b", "c"]
    assert await names(namespace="default") == ["a", "b"]
    assert await names(label_selector="app=x") == ["b", "c"]
    assert await names(label_selector="app notin (x)") == ["a"]
    assert await names(field_selector="spec.nodeName=n1") == ["a"]
    assert await names(field_selector="spec.nodeName!=n1") == ["b", "c"]
    assert await names(field_selector="metadata.name=b", namespace="default") == ["b"]
    assert await names(field_selector="status.phase=Pending", label_selector="app=y") == ["a"]
    with pytest.raises(BadRequest, match="did you mean"):
        await names(field_selector="spec.nodename=x")
    with pytest.raises(BadRequest, match="did you mean"):
        await api.stub.List(wire.ListRequest(kind="Podd"))


async def test_pages_are_of_one_revision(api: Api) -> None:
    for i in range(10):
        await api.create(pod(f"p{i}"))
    first = await api.stub.List(wire.ListRequest(kind="Pod", limit=4))
    assert (len(first.items), first.remaining_item_count) == (4, 6)
    # The world goes on between the pages: they must not show it.
    await api.delete(Pod, "p5")
    await api.create(pod("p45"))
    changed = await api.get(Pod, "p7")
    changed.metadata.labels["new"] = "x"
    await api.update(changed)
    items, token, revision = list(first.items), first.continue_token, first.resource_version
    while token:
        page = await api.stub.List(wire.ListRequest(kind="Pod", limit=4, continue_token=token))
        items += page.items
        token = page.continue_token
        assert page.resource_version == revision
    pods = [any_unpacked(item) for item in items]
    assert [p.metadata.name for p in pods] == [f"p{i}" for i in range(10)]
    assert not pods[7].metadata.labels


async def test_bad_continue_tokens(api: Api) -> None:
    for token in ("nonsense", "e30=", "WzEsMl0="):
        with pytest.raises(BadRequest, match="continue token"):
            await api.stub.List(wire.ListRequest(kind="Pod", limit=1, continue_token=token))


async def test_an_old_continue_token_expires(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.create(pod("a"))
    await api.create(pod("b"))
    page = await api.stub.List(wire.ListRequest(kind="Pod", limit=1))
    monkeypatch.setattr(api.cache.history("Pod"), "_retention", Retention(events=3))
    for i in range(10):
        await api.create(pod(f"c{i}"))
    with pytest.raises(Expired, match="list again"):
        await api.stub.List(wire.ListRequest(kind="Pod", limit=1, continue_token=page.continue_token))


# ---------------------------------------------------------------- batches


async def batch(api: Api, requests: list[wire.BatchRequest]) -> list[wire.BatchResponse.Result]:
    call = api.stub.raw.Batch(iter(requests))
    return [result async for response in call async for result in _each(response.results)]


async def _each(results: Any) -> AsyncIterator[wire.BatchResponse.Result]:
    for result in results:
        yield result


def creation(obj: Pod, **options: Any) -> wire.BatchRequest:
    return wire.BatchRequest(create=wire.CreateRequest(object=packed(obj)), **options)


async def test_a_batch_is_answered_in_order_and_failures_stop_nobody(api: Api) -> None:
    requests = [creation(pod(f"p{i}")) for i in range(1200)]
    requests[7] = creation(pod("Not_A_Name"))
    requests[600] = creation(pod("p599"))
    requests[900] = wire.BatchRequest()
    results = await batch(api, requests)
    assert [i for i, result in enumerate(results) if result.code] == [7, 600, 900]
    assert [results[i].code for i in (7, 600, 900)] == [3, 6, 3]
    assert results[7].details
    assert 'Pod "p599" already exists' in results[600].message
    assert any_unpacked(results[1199].object).metadata.name == "p1199"
    assert len(api.reader.list(Pod)) == 1197


async def test_a_frame_of_a_batch_may_hold_many_writes(api: Api) -> None:
    frames = [
        wire.BatchRequest(more=[creation(pod(f"a{i}")) for i in range(300)]),
        creation(pod("b")),
        wire.BatchRequest(create=creation(pod("c")).create, more=[creation(pod("c")), creation(pod("d"))]),
    ]
    results = await batch(api, frames)
    assert [result.name for result in results] == [*(f"a{i}" for i in range(300)), "b", "c", "", "d"]
    assert [i for i, result in enumerate(results) if result.code] == [302]


async def test_writes_of_a_batch_on_one_object_follow_each_other(api: Api) -> None:
    patches = [
        wire.BatchRequest(
            patch=wire.PatchRequest(
                key=key(Pod, "a"),
                type=wire.PatchRequest.MERGE,
                patch=json.dumps({"metadata": {"labels": {"n": str(i)}}}).encode(),
            ),
            omit_object=True,
        )
        for i in range(50)
    ]
    delete = wire.BatchRequest(delete=wire.DeleteRequest(key=key(Pod, "a")))
    results = await batch(api, [creation(pod("a")), *patches, delete, creation(pod("a", again="yes"))])
    assert [result.code for result in results] == [0] * 53
    revisions = [int(result.resource_version) for result in results]
    assert revisions == sorted(revisions)
    assert not results[1].HasField("object")
    assert (await api.get(Pod, "a")).metadata.labels == {"again": "yes"}


# ---------------------------------------------------------------- who may


async def test_viewers_read_all_but_secrets(api: Api) -> None:
    secret = Secret()
    secret.metadata.name, secret.metadata.namespace = "s", "default"
    secret.string_data["k"] = "v"
    assert (await api.create(secret)).data["k"] == b"v"
    viewer = (("user", "vic"), ("groups", "podium:viewers"))
    await api.stub.List(wire.ListRequest(kind="Pod"), metadata=viewer)
    for refused in (
        api.stub.List(wire.ListRequest(kind="Secret"), metadata=viewer),
        api.stub.Get(wire.GetRequest(key=key(Secret, "s")), metadata=viewer),
        api.stub.Create(wire.CreateRequest(object=packed(pod("a"))), metadata=viewer),
        api.stub.Delete(wire.DeleteRequest(key=key(Secret, "s")), metadata=viewer),
    ):
        with pytest.raises(Forbidden, match='user "vic"'):
            await refused


async def test_a_node_reads_itself_only(api: Api) -> None:
    for name in ("n1", "n2"):
        node = Node()
        node.metadata.name = name
        await api.create(node)
    me = (("user", "system:node:n1"), ("groups", "system:nodes"))
    await api.stub.Get(wire.GetRequest(key=key(Node, "n1")), metadata=me)
    with pytest.raises(Forbidden):
        await api.stub.Get(wire.GetRequest(key=key(Node, "n2")), metadata=me)
    with pytest.raises(Forbidden):
        await api.stub.List(wire.ListRequest(kind="Pod"), metadata=me)


# ---------------------------------------------------------------- inside the master


async def test_mutate_retries_and_skips_what_changes_nothing(api: Api) -> None:
    await api.create(deployment())

    def more(obj: Deployment) -> None:
        obj.spec.replicas += 1

    await asyncio.gather(*(api.writer.mutate(Deployment, "default", "web", more, by=ADMIN) for _ in range(10)))
    assert (await api.get(Deployment, "web")).spec.replicas == 12
    revision = api.reader.revision
    await api.writer.mutate(Deployment, "default", "web", lambda obj: None, by=ADMIN)
    assert api.reader.revision == revision


async def test_a_mutation_that_refuses_stops_no_other(api: Api) -> None:
    await api.create(deployment("a"))
    await api.create(deployment("b"))

    def refuse(_: Deployment) -> None:
        raise Conflict("not so")

    def scale(obj: Deployment) -> None:
        obj.spec.replicas = 9

    outcomes = await api.writer.write_many(
        [Mutate(Key("Deployment", "default", "a"), refuse), Mutate(Key("Deployment", "default", "b"), scale)], by=ADMIN
    )
    assert isinstance(outcomes[0], Conflict)
    assert (await api.get(Deployment, "b")).spec.replicas == 9


async def test_writes_together_are_made_all_or_none(api: Api) -> None:
    for name in ("a", "b"):
        await api.create(deployment(name))
    seen: list[tuple[int, int]] = []

    def sizes() -> tuple[int, int]:
        found = [api.reader.get(Deployment, "default", name) for name in ("a", "b")]
        return tuple(each.spec.replicas for each in found if each is not None)  # type: ignore[return-value]

    def scaled(replicas: int) -> Callable[[Deployment], None]:
        def change(obj: Deployment) -> None:
            obj.spec.replicas = replicas

        return change

    def refuse(_: Deployment) -> None:
        raise Conflict("not so")

    a, b = (Key("Deployment", "default", name) for name in ("a", "b"))
    with api.cache.listening(["Deployment"], lambda events: seen.append(sizes())):
        with pytest.raises(Conflict, match="not so"):
            await api.writer.write_together([Mutate(a, scaled(1)), Mutate(b, refuse)], by=ADMIN)
        assert (sizes(), seen) == ((2, 2), [])
        written = await api.writer.write_together([Mutate(a, scaled(1)), Mutate(b, scaled(3))], by=ADMIN)
    assert [obj.metadata.name for obj in written] == ["a", "b"]  # type: ignore[attr-defined]
    assert sizes() == (1, 3)
    assert set(seen) == {(1, 3)}, "nobody saw one without the other"
    unchanged = await api.writer.write_together([Mutate(a, scaled(1)), Mutate(b, scaled(3))], by=ADMIN)
    assert unchanged == written, "nothing to write"


async def test_writes_together_are_decided_anew_when_one_of_them_has_lost(api: Api) -> None:
    for name in ("a", "b"):
        await api.create(deployment(name))
    tries: list[int] = []

    def one_more(obj: Deployment) -> None:
        tries.append(obj.spec.replicas)
        obj.spec.replicas += 1

    a, b = (Key("Deployment", "default", name) for name in ("a", "b"))
    racing = [api.writer.write_together([Mutate(a, one_more), Mutate(b, one_more)], by=ADMIN) for _ in range(5)]
    await asyncio.gather(*racing)
    for name in ("a", "b"):
        assert (await api.get(Deployment, name)).spec.replicas == 7
    assert len(tries) > 10, "some had to be made again"


async def test_events_are_written_without_waiting_for_the_disk(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "podium.db")
    async with objects_api(store) as api:
        event = Event()
        event.metadata.name, event.metadata.namespace = "e", "default"
        event.reason, event.type = "Tested", "Normal"
        event.involved_object.kind, event.involved_object.namespace, event.involved_object.name = "Pod", "default", "a"
        await api.create(event)
        assert (await api.get(Event, "e")).reason == "Tested"
    await store.close()


async def test_objects_survive_a_restart(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "podium.db")
    async with objects_api(store) as api:
        created = await api.create(deployment())
    await store.close()
    store = await SqliteStore.open(tmp_path / "podium.db")
    async with objects_api(store) as api:
        assert await api.get(Deployment, "web") == created
    await store.close()


async def test_two_thousand_calls_at_once_are_all_answered(api: Api) -> None:
    await api.create(pod("p"))
    answers = await asyncio.gather(*(api.get(Pod, "p") for _ in range(2_000)), return_exceptions=True)
    assert sum(isinstance(answer, Pod) for answer in answers) == 2_000
