"""Pods and pod templates."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from podium.cli.describe import config
from podium.cli.describe.page import Page, conditions, header, when
from podium.cli.describe.placement import placement
from podium.cli.output.pods import phase_word
from podium.objects.pod import ephemeral_containers
from podium.v1.core_pb2 import Container, ContainerState, Pod, PodSpec, Probe


def describe(page: Page, pod: Pod, now: datetime.datetime) -> None:
    """A pod, its containers and how they are."""
    header(page, pod)
    page.field("Node", f"{pod.spec.node_name or '<none>'}{'/' + pod.status.host_ip if pod.status.host_ip else ''}")
    page.field("Nominated Node", pod.status.nominated_node_name)
    page.field("Status", phase_word(pod))
    page.field("Reason", pod.status.reason)
    page.field("Message", pod.status.message)
    page.field("IP", pod.status.pod_ip)
    page.field("Priority", pod.spec.priority if pod.spec.HasField("priority") else "")
    page.field("QoS Class", pod.status.qos_class)
    of = pod.status
    told = (*of.init_container_statuses, *of.container_statuses, *of.ephemeral_container_statuses)
    statuses = {s.name: s for s in told}
    containers(page, pod.spec, statuses)
    config.volumes(page, pod.spec)
    conditions(page, pod.status.conditions, now)
    placement(page, pod.spec)


def template(page: Page, spec: PodSpec, labels: Mapping[str, str]) -> None:
    """A workload's pod template."""
    with page.section("Pod Template"):
        page.mapping("Labels", labels)
        containers(page, spec, {})
        config.volumes(page, spec)
        placement(page, spec)


def containers(page: Page, spec: PodSpec, statuses: Mapping[str, Any]) -> None:
    """Init containers, containers, then ephemeral ones."""
    groups: tuple[tuple[str, Sequence[Container]], ...] = (
        ("Init Containers", spec.init_containers),
        ("Containers", spec.containers),
        ("Ephemeral Containers", ephemeral_containers(spec)),
    )
    for title, group in groups:
        if group:
            with page.section(title):
                for container in group:
                    with page.section(container.name):
                        _container(page, container, statuses.get(container.name))


def _container(page: Page, container: Container, status: Any | None) -> None:
    page.field("Image", container.image)
    page.field("Command", " ".join(container.command))
    page.field("Args", " ".join(container.args))
    page.field("Ports", ", ".join(_port(p) for p in container.ports))
    if status is not None:
        page.field("Container ID", status.container_id)
        page.field("State", state(status.state))
        page.field("Last State", state(status.last_state) if status.last_state.ByteSize() else "")
        page.field("Ready", status.ready)
        page.field("Restart Count", status.restart_count)
    page.field("Limits", _amounts(container.resources.limits))
    page.field("Requests", _amounts(container.resources.requests))
    for name in ("liveness_probe", "readiness_probe", "startup_probe"):
        if container.HasField(name):
            page.field(name.partition("_")[0].capitalize(), probe(getattr(container, name)))
    page.field("Environment", config.environment(container))
    page.field("Mounts", config.mounts(container))


def state(found: ContainerState) -> str:
    """A container's state in a few lines."""
    if found.HasField("running"):
        return f"Running since {when(found.running.started_at)}"
    if found.HasField("terminated"):
        ended = found.terminated
        lines = [f"Terminated: {ended.reason}, exit code {ended.exit_code}", ended.message,
                 f"{when(ended.started_at)} to {when(ended.finished_at)}"]  # fmt: skip
        return "\n".join(line for line in lines if line)
    waiting = found.waiting
    return f"Waiting: {waiting.reason}\n{waiting.message}".rstrip() if waiting.reason else "Waiting"


def probe(found: Probe) -> str:
    """A probe in one line, as kubectl writes it."""
    numbers = (
        f"delay={found.initial_delay_seconds}s timeout={found.timeout_seconds}s period={found.period_seconds}s "
        f"#success={found.success_threshold} #failure={found.failure_threshold}"
    )
    if found.HasField("http_get"):
        get = found.http_get
        return f"http-get {get.scheme.lower()}://{get.host}:{_int_or_string(get.port)}{get.path} {numbers}"
    if found.HasField("tcp_socket"):
        return f"tcp-socket {found.tcp_socket.host}:{_int_or_string(found.tcp_socket.port)} {numbers}"
    if found.HasField("grpc"):
        return f"grpc :{found.grpc.port} {found.grpc.service} {numbers}"
    return f"exec [{' '.join(found.exec.command)}] {numbers}"


def _int_or_string(value: Any) -> str:
    return value.str_value if value.HasField("str_value") else str(value.int_value)


def _port(port: Any) -> str:
    host = f" (host {port.host_port})" if port.host_port else ""
    return f"{port.container_port}/{port.protocol or 'TCP'}{host}"


def _amounts(amounts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(amounts.items()))
