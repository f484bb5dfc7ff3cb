"""A nodelet's dialer that reaches a dispatcher in this process, over links in memory that a test can cut."""

from __future__ import annotations

from collections.abc import Sequence

from master.dispatcher.dispatcher import Dispatcher
from podium.aio.link import Link, LinkClosed, MemoryLink, memory_pair
from podium.aio.tasks import TaskScope
from podium.errors import PodiumError
from podium.v1.cluster_service_pb2 import CertificateResponse
from podium.v1.node_session_pb2 import MasterMessage, NodeMessage
from podium.v1.pods_service_pb2 import StreamFrame


class MemoryDialer:
    """Implements `nodelet.session.dial.Dialer`. `master` None is a master that is down."""

    target = "memory"

    def __init__(self, node: str, master: Dispatcher | None, scope: TaskScope) -> None:
        self.node, self.master = node, master
        self.refusals: list[str] = []
        self.link: MemoryLink[NodeMessage, MasterMessage] | None = None
        self._scope = scope

    async def connect(self) -> Link[NodeMessage, MasterMessage]:
        if self.master is None:
            raise LinkClosed("the master is down")
        ours, theirs = memory_pair(NodeMessage, MasterMessage)
        _ = self._scope.start(self._serve(self.master, theirs), name=f"serve {self.node}")
        self.link = ours
        return ours

    async def _serve(self, master: Dispatcher, link: MemoryLink[MasterMessage, NodeMessage]) -> None:
        try:
            await master.serve(self.node, link)
        except PodiumError as error:
            self.refusals.append(error.message)
        finally:
            await link.finish()

    async def stream(self, stream_id: str) -> MemoryLink[StreamFrame, StreamFrame]:
        if self.master is None:
            raise LinkClosed("the master is down")
        ours, theirs = memory_pair(StreamFrame, StreamFrame)
        _ = self._scope.start(self._accept(self.master, stream_id, theirs), name=f"accept {stream_id}")
        return ours

    async def _accept(self, master: Dispatcher, stream_id: str, link: MemoryLink[StreamFrame, StreamFrame]) -> None:
        try:
            await master.streams.accept(self.node, stream_id, link)
        except PodiumError as error:
            self.refusals.append(error.message)
        finally:
            await link.close()

    async def renew(self, csr: bytes) -> CertificateResponse:
        raise LinkClosed("no certificates in memory")

    async def next_master(self) -> None:
        return

    def learn(self, endpoints: Sequence[str]) -> None:
        return

    async def close(self) -> None:
        if self.link is not None:
            await self.link.close()
