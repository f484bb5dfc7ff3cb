"""Reading and writing objects of every kind, typed by their message class."""

# Generated from podium/client/_async by `make sync-client`; do not edit.

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from podium.client._sync.connection import Connection
from podium.client.failures import from_parts
from podium.client.types import Watched, pack, unpack
from podium.codec.json import to_dict
from podium.errors import BadRequest, DeadlineExceeded, Expired, PodiumError, TooSlow, Unavailable
from podium.objects.kinds import Kind, kind_of
from podium.v1 import objects_service_pb2 as wire
from podium.v1.apps_pb2 import Scale, ScaleSpec
from podium.v1.meta_pb2 import DeleteOptions

M = TypeVar("M", bound=Message)

_PAGE = 500
_FRAME_WRITES = 100
_FRAME_BYTES = 512 * 1024


class Objects:
    """The generic verbs. `namespace` defaults to the context's; pass `all_namespaces` to lists and watches instead."""

    def __init__(self, connection: Connection, *, manager: str) -> None:
        self._connection = connection
        self._manager = manager

    def _key(self, kind: Kind, name: str, namespace: str | None) -> wire.ObjectKey:
        chosen = (namespace or self._connection.context.namespace) if kind.namespaced else ""
        return wire.ObjectKey(kind=kind.name, namespace=chosen, name=name)

    def _scope(self, kind: Kind, namespace: str | None, all_namespaces: bool) -> str:
        if all_namespaces or not kind.namespaced:
            return ""
        return namespace or self._connection.context.namespace

    def get(self, kind: type[M], name: str, *, namespace: str | None = None) -> M:
        """Read one object.

        Raises: NotFound, Forbidden, Unavailable.
        """
        request = wire.GetRequest(key=self._key(kind_of(kind), name, namespace))
        response = self._connection.call(lambda s, t: s.objects.Get(request, timeout=t), repeatable=True)
        return unpack(response.object, kind)

    def list(
        self, kind: type[M], *, namespace: str | None = None, all_namespaces: bool = False, selector: str = "",
        field_selector: str = "",
    ) -> builtins.list[M]:  # fmt: skip
        """Every object of a kind (that matches), fetched in pages."""
        items, _ = self.list_at(
            kind, namespace=namespace, all_namespaces=all_namespaces, selector=selector, field_selector=field_selector
        )
        return items

    def list_at(
        self, kind: type[M], *, namespace: str | None = None, all_namespaces: bool = False, selector: str = "",
        field_selector: str = "",
    ) -> tuple[builtins.list[M], str]:  # fmt: skip
        """As `list`, and the resourceVersion from which a watch goes on."""
        return self._list(kind, self._scope(kind_of(kind), namespace, all_namespaces), selector, field_selector)

    def _list(
        self, kind: type[M], scope: str, selector: str, field_selector: str
    ) -> tuple[builtins.list[M], str]:  # fmt: skip
        request = wire.ListRequest(
            kind=kind_of(kind).name,
            namespace=scope,
            label_selector=selector,
            field_selector=field_selector,
            limit=_PAGE,
        )
        items: builtins.list[M] = []
        while True:
            page = self._connection.call(lambda s, t: s.objects.List(request, timeout=t), repeatable=True)
            items.extend(unpack(item, kind) for item in page.items)
            if not page.continue_token:
                return items, page.resource_version
            request.continue_token = page.continue_token

    def watch(
        self, kind: type[M], *, namespace: str | None = None, all_namespaces: bool = False, selector: str = "",
        field_selector: str = "", resource_version: str = "", known: Iterable[M] = (),
    ) -> Iterator[Watched[M]]:  # fmt: skip
        """Changes for ever; without `resource_version`, first what exists as ADDED.

        Survives a master's restart and lost history: it resumes where it was, or lists again and reports the
        difference, so that a reader which applies every change has the true state. To go on after `list_at`, pass
        both of what it gave: without `known` the difference cannot tell what was deleted.

        Raises: BadRequest (a selector), Forbidden, Unauthenticated; never Unavailable: it waits for a master.
        """
        request = wire.WatchRequest(
            kind=kind_of(kind).name, namespace=self._scope(kind_of(kind), namespace, all_namespaces),
            label_selector=selector, field_selector=field_selector, resource_version=resource_version,
            allow_bookmarks=True,
        )  # fmt: skip
        seen = {_name_of(obj): obj for obj in known}
        attempt = 0
        while True:
            try:
                for frame in self._connection.stream(lambda s: s.objects.Watch(request), repeatable=True):
                    attempt = 0
                    for event in frame.events:
                        if event.type != wire.WatchEvent.BOOKMARK:
                            yield _remember(seen, _watched(event, kind))
                    request.resource_version = frame.resource_version or request.resource_version
            except (Expired, TooSlow, Unavailable) as error:
                if not isinstance(error, Unavailable):
                    request.resource_version = ""
            self._connection.pause(attempt)
            attempt += 1
            if not request.resource_version:  # history is lost, or the first listing broke off in the middle
                items, request.resource_version = self._list_patiently(request, kind)
                for change in _difference(seen, items):
                    yield _remember(seen, change)

    def _list_patiently(self, watch: wire.WatchRequest, kind: type[M]) -> tuple[builtins.list[M], str]:
        """What a watch selects, and from where it goes on; waits for a master that is away."""
        attempt = 0
        while True:
            try:
                return self._list(kind, watch.namespace, watch.label_selector, watch.field_selector)
            except (Unavailable, DeadlineExceeded):
                self._connection.pause(attempt)
                attempt += 1

    def create(self, obj: M, *, dry_run: bool = False) -> M:
        """Create an object; its namespace defaults to the context's.

        Raises: AlreadyExists, Invalid, Forbidden, NotFound (the namespace).
        """
        request = wire.CreateRequest(object=pack(self._placed(obj)), dry_run=dry_run, field_manager=self._manager)
        response = self._connection.call(lambda s, t: s.objects.Create(request, timeout=t), repeatable=False)
        return unpack(response.object, type(obj))

    def create_in(
        self, parent: type[Message], name: str, subresource: str, obj: Message, *, namespace: str | None = None
    ) -> None:
        """Create a sub-resource, such as a pod's `eviction`."""
        obj.metadata.name = name  # type: ignore[attr-defined]
        obj.metadata.namespace = self._key(kind_of(parent), name, namespace).namespace  # type: ignore[attr-defined]
        request = wire.CreateRequest(object=pack(obj), subresource=subresource, field_manager=self._manager)
        self._connection.call(lambda s, t: s.objects.Create(request, timeout=t), repeatable=False)

    def update(self, obj: M, *, subresource: str = "", dry_run: bool = False) -> M:
        """Replace an object. With its resourceVersion set, only if nobody changed it since.

        Raises: Conflict, NotFound, Invalid, Forbidden.
        """
        request = wire.UpdateRequest(
            object=pack(self._placed(obj)), dry_run=dry_run, field_manager=self._manager, subresource=subresource
        )
        response = self._connection.call(lambda s, t: s.objects.Update(request, timeout=t), repeatable=False)
        return unpack(response.object, type(obj))

    def patch(
        self, kind: type[M], name: str, patch: object, *, namespace: str | None = None,
        type: str = "strategic", subresource: str = "", dry_run: bool = False,
    ) -> M:  # fmt: skip
        """Change part of an object. `type`: `strategic`, `merge` or `json`; `patch`: its JSON value, or text.

        Raises: NotFound, Invalid, Conflict (a failed `test` of a JSON patch), Forbidden.
        """
        types = {
            "strategic": wire.PatchRequest.STRATEGIC_MERGE,
            "merge": wire.PatchRequest.MERGE,
            "json": wire.PatchRequest.JSON,
        }
        if type not in types:
            raise BadRequest(f'unknown patch type "{type}": expected strategic, merge or json')
        text = patch if isinstance(patch, str) else json.dumps(patch)
        request = wire.PatchRequest(
            key=self._key(kind_of(kind), name, namespace), type=types[type], patch=text.encode(), dry_run=dry_run,
            field_manager=self._manager, subresource=subresource,
        )  # fmt: skip
        response = self._connection.call(lambda s, t: s.objects.Patch(request, timeout=t), repeatable=False)
        return unpack(response.object, kind)

    def apply(
        self, manifest: Message | Mapping[str, Any], *, manager: str = "", force: bool = False, dry_run: bool = False
    ) -> Message:
        """Server-side apply: what the manifest names becomes so, and owned by `manager` (default: this client's).

        Raises: Conflict (another manager owns a field; `force` takes it), Invalid, Forbidden.
        """
        data = to_dict(manifest) if isinstance(manifest, Message) else dict(manifest)
        request = wire.ApplyRequest(
            manifest=json.dumps(data).encode(), field_manager=manager or self._manager, force=force, dry_run=dry_run
        )
        response = self._connection.call(lambda s, t: s.objects.Apply(request, timeout=t), repeatable=True)
        return unpack(response.object, None)

    def delete(
        self, kind: type[M], name: str, *, namespace: str | None = None, options: DeleteOptions | None = None,
        dry_run: bool = False,
    ) -> M:  # fmt: skip
        """Delete an object, or begin to; returns its last state.

        Raises: NotFound, Conflict (a precondition), Forbidden.
        """
        request = wire.DeleteRequest(
            key=self._key(kind_of(kind), name, namespace), options=options or DeleteOptions(), dry_run=dry_run
        )
        response = self._connection.call(lambda s, t: s.objects.Delete(request, timeout=t), repeatable=False)
        return unpack(response.object, kind)

    def delete_collection(
        self, kind: type[M], *, namespace: str | None = None, selector: str = "", field_selector: str = "",
        options: DeleteOptions | None = None,
    ) -> builtins.list[M]:  # fmt: skip
        """Delete every object that matches, in one namespace."""
        request = wire.DeleteCollectionRequest(
            kind=kind_of(kind).name, namespace=self._scope(kind_of(kind), namespace, False), label_selector=selector,
            field_selector=field_selector, options=options or DeleteOptions(),
        )  # fmt: skip
        response = self._connection.call(lambda s, t: s.objects.DeleteCollection(request, timeout=t), repeatable=False)
        return [unpack(item, kind) for item in response.items]

    def scale(
        self, kind: type[Message], name: str, replicas: int, *, namespace: str | None = None, dry_run: bool = False
    ) -> None:
        """Set the number of replicas through the `scale` sub-resource; with `dry_run`, only check it.

        Raises: NotFound, BadRequest (nothing to scale), Forbidden.
        """
        key = self._key(kind_of(kind), name, namespace)
        wanted = Scale(spec=ScaleSpec(replicas=replicas))
        wanted.metadata.name, wanted.metadata.namespace = key.name, key.namespace
        request = wire.UpdateRequest(
            object=pack(wanted), key=key, subresource="scale", field_manager=self._manager, dry_run=dry_run
        )
        self._connection.call(lambda s, t: s.objects.Update(request, timeout=t), repeatable=True)

    def create_many(self, objects: Sequence[Message]) -> builtins.list[Message | PodiumError]:
        """Create many objects over one stream; each is answered in its place, a failure stops no other."""
        requests = [
            wire.BatchRequest(create=wire.CreateRequest(object=pack(self._placed(o)), field_manager=self._manager))
            for o in objects
        ]
        results = self.batch(requests)
        return [from_parts(r.code, r.message, r.details) if r.code else unpack(r.object, None) for r in results]

    def batch(self, requests: Sequence[wire.BatchRequest]) -> builtins.list[wire.BatchResponse.Result]:
        """A stream of writes, committed in groups; the results in the order of the requests."""
        results: builtins.list[wire.BatchResponse.Result] = []
        for frame in self._connection.stream(lambda s: s.objects.Batch(_frames(requests)), repeatable=True):
            results.extend(frame.results)
        return results

    def _placed(self, obj: M) -> M:
        kind = kind_of(obj)
        if kind.namespaced and not obj.metadata.namespace:  # type: ignore[attr-defined]
            copy = type(obj)()
            copy.CopyFrom(obj)
            copy.metadata.namespace = self._connection.context.namespace  # type: ignore[attr-defined]
            return copy
        return obj


def _frames(requests: Sequence[wire.BatchRequest]) -> Iterator[wire.BatchRequest]:
    """The writes, many a message: what a message costs is shared by all in it."""
    frame, room = wire.BatchRequest(), _FRAME_BYTES
    for request in requests:
        size = request.ByteSize()
        if frame.more and (size > room or len(frame.more) == _FRAME_WRITES):
            yield frame
            frame, room = wire.BatchRequest(), _FRAME_BYTES
        frame.more.append(request)
        room -= size
    if frame.more:
        yield frame


def _watched(event: wire.WatchEvent, kind: type[M]) -> Watched[M]:
    return Watched(wire.WatchEvent.Type.Name(event.type), unpack(event.object, kind))


def _name_of(obj: Any) -> tuple[str, str]:
    return obj.metadata.namespace, obj.metadata.name


def _remember(known: dict[tuple[str, str], M], change: Watched[M]) -> Watched[M]:
    if change.type == "DELETED":
        known.pop(change.key, None)
    else:
        known[change.key] = change.object
    return change


def _difference(known: Mapping[tuple[str, str], M], items: Sequence[M]) -> builtins.list[Watched[M]]:
    """The changes that lead from what a watcher knows to what is."""
    now = {_name_of(o): o for o in items}
    changes = [Watched("DELETED", old) for key, old in known.items() if key not in now]
    for key, obj in now.items():
        old = known.get(key)
        if old is None:
            changes.append(Watched("ADDED", obj))
        elif old.metadata.resource_version != obj.metadata.resource_version:  # type: ignore[attr-defined]
            changes.append(Watched("MODIFIED", obj))
    return changes
