"""A gRPC probe: grpc.health.v1.Health/Check, healthy when SERVING.

The two messages have one field each, so they are written and read by hand: a node needs no generated health stubs.
`HealthCheckRequest.service` is field 1, a string; `HealthCheckResponse.status` is field 1, an enum.
"""

from __future__ import annotations

import grpc

from nodelet.probes.answer import Answer, shown

_METHOD = "/grpc.health.v1.Health/Check"
_STATUS_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVICE_TAG, _STATUS_TAG = 0x0A, 0x08
_MALFORMED = -1


async def grpc_check(host: str, port: int, service: str, timeout: float) -> Answer:
    """Ask within `timeout` seconds, without TLS."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        check = channel.unary_unary(_METHOD, request_serializer=encode_request, response_deserializer=decode_status)
        try:
            status: int = await check(service, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return Answer(healthy=False, message=_explain(error, target, timeout))
    if status == 1:
        return Answer(healthy=True)
    name = _STATUS_NAMES.get(status, "a status that is not one")
    return Answer(healthy=False, message=f"service unhealthy (responded with {name})")


def _explain(error: grpc.aio.AioRpcError, target: str, timeout: float) -> str:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer from {target} within {timeout:g}s"
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
    return f"{error.code().name}: {shown(error.details() or '')}"


def encode_request(service: str) -> bytes:
    """HealthCheckRequest."""
    name = service.encode()
    return bytes((_SERVICE_TAG,)) + _varint(len(name)) + name if name else b""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode_status(data: bytes) -> int:
    """HealthCheckResponse.status; an empty message is UNKNOWN, anything else than the one field is no status."""
    if not data:
        return 0
    if len(data) == 2 and data[0] == _STATUS_TAG:
        return data[1]
    return _MALFORMED
