"""Any kind of probe, one attempt: `check(probe, target)` never raises but for a runtime that is down."""

from __future__ import annotations

from dataclasses import dataclass

from nodelet.probes.answer import Answer
from nodelet.probes.exec import exec_check
from nodelet.probes.grpc import grpc_check
from nodelet.probes.http import Request, http_check
from nodelet.probes.tcp import tcp_check
from nodelet.runtime.protocol import Exec
from podium.v1.core_pb2 import Container, ExecAction, HTTPGetAction, Probe
from podium.v1.meta_pb2 import IntOrString


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is probed: a running container, its pod's address, and the runtime if it can run commands."""

    container: Container
    container_id: str
    address: str
    runtime: Exec | None


async def check(probe: Probe, target: Target) -> Answer:
    """Ask once, within the probe's timeout (default 1 s)."""
    timeout = float(probe.timeout_seconds or 1)
    if probe.HasField("exec"):
        return await run_exec(probe.exec, target, timeout)
    if probe.HasField("http_get"):
        return await run_http(probe.http_get, target, timeout)
    if probe.HasField("tcp_socket"):
        port = resolve_port(probe.tcp_socket.port, target.container)
        if port is None:
            return _no_port(probe.tcp_socket.port)
        return await tcp_check(probe.tcp_socket.host or target.address, port, timeout)
    if probe.HasField("grpc"):
        return await grpc_check(target.address, probe.grpc.port, probe.grpc.service, timeout)
    return Answer(healthy=True)


async def run_exec(action: ExecAction, target: Target, timeout: float) -> Answer:
    """Run a command in the container."""
    if target.runtime is None:
        return Answer(healthy=False, message="this node's runtime cannot run commands in containers")
    return await exec_check(target.runtime, target.container_id, tuple(action.command), timeout)


async def run_http(action: HTTPGetAction, target: Target, timeout: float) -> Answer:
    """GET from the container."""
    port = resolve_port(action.port, target.container)
    if port is None:
        return _no_port(action.port)
    request = Request(
        host=action.host or target.address,
        port=port,
        path=action.path or "/",
        tls=action.scheme == "HTTPS",
        headers={header.name: header.value for header in action.http_headers},
    )
    return await http_check(request, timeout)


def resolve_port(port: IntOrString, container: Container) -> int | None:
    """A port by number, or by the name of one of the container's ports."""
    if port.WhichOneof("value") != "str_value":
        return port.int_value
    if port.str_value.isdigit():
        return int(port.str_value)
    return next((p.container_port for p in container.ports if p.name == port.str_value), None)


def _no_port(port: IntOrString) -> Answer:
    return Answer(healthy=False, message=f'the container has no port named "{port.str_value}"')
