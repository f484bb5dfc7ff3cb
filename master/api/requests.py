"""From the messages of `Objects` to writes: what a request means, or why it means nothing."""

from __future__ import annotations

from typing import Any, assert_never

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from master.access.protocol import Bind, Create, Delete, Update
from master.access.writes import ApiWrite, Apply, Evict, Patch, Rescale, check_length
from podium.errors import BadRequest
from podium.objects.kinds import BY_TYPE_URL, POD_PARTS, TYPE_URL_PREFIX, Key, named
from podium.v1.apps_pb2 import Scale
from podium.v1.core_pb2 import Binding, Eviction
from podium.v1.objects_service_pb2 import (
    ApplyRequest,
    BatchRequest,
    CreateRequest,
    DeleteRequest,
    ObjectKey,
    PatchRequest,
    UpdateRequest,
)

_SUBRESOURCE_MESSAGES: dict[str, type[Message]] = {
    TYPE_URL_PREFIX + message.DESCRIPTOR.full_name: message for message in (Scale, Binding, Eviction)
}


def key_in(key: ObjectKey) -> Key:
    """The key that a request names.

    Raises:
        BadRequest: There is no such kind, no name, or a namespace too many or too few.
    """
    kind = named(key.kind)
    if not key.name:
        raise BadRequest(f"the request must name the {kind.name}")
    if kind.namespaced and not key.namespace:
        raise BadRequest(f'the request must name the namespace of {kind.name} "{key.name}"')
    if key.namespace and not kind.namespaced:
        raise BadRequest(f'{kind.name} "{key.name}" lives in no namespace, but the request names "{key.namespace}"')
    return Key(kind.name, key.namespace, key.name)


def create_in(request: CreateRequest) -> ApiWrite:
    """The write that a CreateRequest asks for."""
    obj = _unpacked(request.object)
    match request.subresource, obj:
        case "", _ if request.object.type_url in BY_TYPE_URL:
            return Create(obj, request.dry_run, request.field_manager, owned=True)
        case "binding", Binding():
            name, node = obj.metadata, obj.target.name
            if not node:
                raise BadRequest("a Binding must name its node in target.name")
            return Bind(name.namespace, name.name, name.uid, node, request.dry_run)
        case "eviction", Eviction():
            return Evict(
                namespace=obj.metadata.namespace,
                name=obj.metadata.name,
                options=obj.delete_options,
                dry_run=request.dry_run,
            )
    raise _misplaced(obj, request.subresource, "created")


def update_in(request: UpdateRequest) -> ApiWrite:
    """The write that an UpdateRequest asks for."""
    obj = _unpacked(request.object)
    if request.subresource == "scale" and isinstance(obj, Scale):
        key = key_in(request.key)
        return Rescale(key=key, scale=obj, dry_run=request.dry_run, field_manager=request.field_manager)
    if request.object.type_url in BY_TYPE_URL and request.subresource in ("", "status", *POD_PARTS):
        return Update(obj, request.subresource, request.dry_run, request.field_manager)
    raise _misplaced(obj, request.subresource, "updated")


def patch_in(request: PatchRequest) -> ApiWrite:
    """The write that a PatchRequest asks for."""
    return Patch(
        key=key_in(request.key),
        type=request.type,
        patch=request.patch,
        subresource=request.subresource,
        dry_run=request.dry_run,
        field_manager=request.field_manager,
    )


def apply_in(request: ApplyRequest) -> ApiWrite:
    """The write that an ApplyRequest asks for."""
    return Apply(
        manifest=request.manifest,
        field_manager=request.field_manager,
        force=request.force,
        subresource=request.subresource,
        dry_run=request.dry_run,
    )


def delete_in(request: DeleteRequest) -> ApiWrite:
    """The write that a DeleteRequest asks for."""
    return Delete(key_in(request.key), request.options, request.dry_run)


def batched_in(request: BatchRequest) -> ApiWrite:
    """The write that one request of a batch asks for.

    Raises:
        BadRequest: It asks for none, or is malformed.
    """
    match request.WhichOneof("write"):
        case "create":
            return create_in(request.create)
        case "update":
            return update_in(request.update)
        case "patch":
            return patch_in(request.patch)
        case "apply":
            return apply_in(request.apply)
        case "delete":
            return delete_in(request.delete)
        case None:
            raise BadRequest("a request of a batch must hold a write")
        case other:
            assert_never(other)


def _unpacked(packed: AnyMessage) -> Any:
    kind = BY_TYPE_URL.get(packed.type_url)
    message = kind.message if kind is not None else _SUBRESOURCE_MESSAGES.get(packed.type_url)
    if message is None:
        what = f'of type "{packed.type_url}", which is no kind of Podium' if packed.type_url else "missing"
        raise BadRequest(f"the object is {what}")
    check_length(f"the {message.DESCRIPTOR.name}", len(packed.value))
    try:
        return message.FromString(packed.value)
    except DecodeError as error:
        raise BadRequest(f"the object cannot be read as {message.DESCRIPTOR.name}: {error}") from None


def _misplaced(obj: Message, subresource: str, verb: str) -> BadRequest:
    through = f' through sub-resource "{subresource}"' if subresource else ""
    return BadRequest(f"a {obj.DESCRIPTOR.name} cannot be {verb}{through}")
