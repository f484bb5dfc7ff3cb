"""The Objects service over plain gRPC: real store, cache and writer; who calls is said by a header."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from master.access.protocol import Principal
from master.access.reader import CacheReader
from master.access.writer import StoreWriter
from master.api.interceptors import Instrumentation
from master.api.objects import ObjectsServicer, add_objects_to_server
from master.api.server import ApiServer
from master.auth.authorizer import Authorizer
from master.auth.principal import MASTERS
from master.cache.cache import WatchCache
from master.store.protocol import Store
from podium.aio.clock import Clock, SystemClock
from podium.client.failures import from_rpc_error
from podium.objects.kinds import BY_TYPE_URL, kind_of
from podium.v1 import objects_service_pb2 as wire
from podium.v1.core_pb2 import Namespace, Pod
from podium.v1.meta_pb2 import DeleteOptions
from podium.v1.objects_service_pb2_grpc import ObjectsStub

M = TypeVar("M", bound=Message)

ADMIN = Principal("admin", frozenset({MASTERS}))


def identify(context: Any) -> Principal:
    """The principal that the headers `user` and `groups` name."""
    headers = dict(context.invocation_metadata())
    groups = headers.get("groups", MASTERS)
    return Principal(headers.get("user", "admin"), frozenset(groups.split(",")))


@dataclass
class Api:
    """A served API and the parts behind it."""

    store: Store
    cache: WatchCache
    reader: CacheReader
    writer: StoreWriter
    stub: Any
    port: int

    async def create(self, obj: M, **options: Any) -> M:
        """Create over the wire."""
        return unpacked(await self.stub.Create(wire.CreateRequest(object=packed(obj), **options)), type(obj))

    async def update(self, obj: M, **options: Any) -> M:
        """Update over the wire."""
        return unpacked(await self.stub.Update(wire.UpdateRequest(object=packed(obj), **options)), type(obj))

    async def get(self, kind: type[M], name: str, namespace: str = "default") -> M:
        """Get over the wire."""
        return unpacked(await self.stub.Get(wire.GetRequest(key=key(kind, name, namespace))), kind)

    async def delete(self, kind: type[M], name: str, namespace: str = "default", **options: Any) -> M:
        """Delete over the wire; `options` are DeleteOptions."""
        request = wire.DeleteRequest(key=key(kind, name, namespace), options=DeleteOptions(**options))
        return unpacked(await self.stub.Delete(request), kind)


class TranslatingStub:
    """A stub whose unary calls raise Podium's errors."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.raw: Any = ObjectsStub(channel)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.raw, name)

        async def call(request: Any, **options: Any) -> Any:
            try:
                return await method(request, **options)
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from None

        return call


def key(kind: type[Message], name: str, namespace: str = "default") -> wire.ObjectKey:
    """The key of an object, as requests name it."""
    entry = kind_of(kind)
    return wire.ObjectKey(kind=entry.name, namespace=namespace if entry.namespaced else "", name=name)


def packed(obj: Message) -> Any:
    """An object as it travels."""
    holder = wire.ObjectResponse()
    holder.object.Pack(obj)
    return holder.object


def unpacked(response: Any, kind: type[M]) -> M:
    """The object in an ObjectResponse or an event."""
    message = kind()
    assert response.object.Unpack(message), response.object.type_url
    return message


def any_unpacked(item: Any) -> Any:
    """The object in an Any, of whatever kind."""
    return BY_TYPE_URL[item.type_url].message.FromString(item.value)


def pod(name: str = "", namespace: str = "default", **labels: str) -> Pod:
    """A small pod."""
    made = Pod()
    made.metadata.name, made.metadata.namespace = name, namespace
    made.metadata.labels.update(labels)
    made.spec.containers.add(name="main", image="busybox:1")
    return made


def namespace(name: str) -> Namespace:
    """A namespace."""
    made = Namespace()
    made.metadata.name = name
    return made


@asynccontextmanager
async def objects_api(store: Store, clock: Clock | None = None) -> AsyncIterator[Api]:
    """Serve a store, with namespace `default`; every object is checked for changes by readers at the end."""
    clock = clock or SystemClock()
    async with WatchCache(store, detect_mutation=True) as cache:
        reader, authorizer = CacheReader(cache), Authorizer()
        writer = StoreWriter(store=store, cache=cache, authorizer=authorizer, clock=clock)
        server = ApiServer(listen=["127.0.0.1:0"], credentials=None, instrumentation=Instrumentation(SystemClock()))
        servicer = ObjectsServicer(reader=reader, writer=writer, authorizer=authorizer, identify=identify)
        server.add(add_objects_to_server, servicer)
        [port] = server.bind()
        await server.start()
        if reader.get(Namespace, "", "default") is None:
            await writer.create(namespace("default"), by=ADMIN)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Api(store, cache, reader, writer, TranslatingStub(channel), port)
        finally:
            await server.stop(0)
        cache.verify()
