"""Reaching into running containers: logs, exec, attach, port-forward, copy."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Sequence

from podium.client._async.connection import Connection
from podium.client.types import ExecResult
from podium.errors import Internal, by_reason
from podium.v1.pods_service_pb2 import ExecRequest, LogsRequest, PodKey, StreamFrame


class Pods:
    """See the module. Low-level calls take and give `StreamFrame`s; `logs` and `run` are made of them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def key(self, name: str, *, namespace: str | None = None, container: str = "") -> PodKey:
        """Names a container of a pod; the default container when empty."""
        return PodKey(namespace=namespace or self._connection.context.namespace, name=name, container=container)

    async def logs(
        self, name: str, *, namespace: str | None = None, container: str = "", follow: bool = False,
        previous: bool = False, tail: int | None = None, since: datetime.datetime | None = None,
        timestamps: bool = False,
    ) -> AsyncIterator[tuple[int, bytes]]:  # fmt: skip
        """Pieces of a container's output: (1, stdout) or (2, stderr), oldest first.

        Raises: NotFound, BadRequest (which container?), Forbidden, Unavailable (its node is away).
        """
        request = LogsRequest(
            pod=self.key(name, namespace=namespace, container=container), follow=follow, previous=previous,
            tail_lines=tail, timestamps=timestamps,
        )  # fmt: skip
        if since is not None:
            request.since_time.FromDatetime(since)
        async for frame in self._connection.stream(lambda s: s.pods.Logs(request), repeatable=True):
            if frame.WhichOneof("frame") == "data":
                yield 1, frame.data
            elif frame.WhichOneof("frame") == "stderr":
                yield 2, frame.stderr
            else:
                raise_error(frame)

    async def run(
        self, name: str, command: Sequence[str], *, namespace: str | None = None, container: str = "",
        stdin: bytes = b"",
    ) -> ExecResult:  # fmt: skip
        """Run a command in a container to its end and gather what it wrote."""
        pod = self.key(name, namespace=namespace, container=container)
        first = StreamFrame(exec=ExecRequest(pod=pod, command=command, stdin=bool(stdin)))
        out, err = bytearray(), bytearray()
        async for frame in self.exec(_frames(first, stdin)):
            match frame.WhichOneof("frame"):
                case "data":
                    out += frame.data
                case "stderr":
                    err += frame.stderr
                case "exit":
                    return ExecResult(exit_code=frame.exit.code, stdout=bytes(out), stderr=bytes(err))
                case _:
                    raise_error(frame)
        raise Internal("the stream ended without an exit status")

    def exec(self, frames: AsyncIterator[StreamFrame]) -> AsyncIterator[StreamFrame]:
        """Exec; the first frame says what. Raises PodiumError while iterating."""
        return self._connection.stream(lambda s: s.pods.Exec(frames))

    def attach(self, frames: AsyncIterator[StreamFrame]) -> AsyncIterator[StreamFrame]:
        """Attach to the container's own process."""
        return self._connection.stream(lambda s: s.pods.Attach(frames))

    def port_forward(self, frames: AsyncIterator[StreamFrame]) -> AsyncIterator[StreamFrame]:
        """One TCP connection to a port of the pod."""
        return self._connection.stream(lambda s: s.pods.PortForward(frames))

    def copy(self, frames: AsyncIterator[StreamFrame]) -> AsyncIterator[StreamFrame]:
        """A tar archive into or out of a container."""
        return self._connection.stream(lambda s: s.pods.Copy(frames))


async def _frames(first: StreamFrame, stdin: bytes) -> AsyncIterator[StreamFrame]:
    yield first
    if stdin:
        yield StreamFrame(data=stdin)
        yield StreamFrame(close=True)


def raise_error(frame: StreamFrame) -> None:
    """Raise the error that a frame carries, if it carries one."""
    if frame.WhichOneof("frame") == "error":
        raise by_reason(frame.error.code, "")(frame.error.message)
