"""What can be set on a nodelet. See `podium.settings` for where from; `podium-nodelet --help` lists it all."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from podium.settings import Duration, SettingsError, option
from podium.tls import API_PORT, JOIN_PORT, NODELET_HTTP_PORT, format_endpoint, parse_endpoint
from podium.v1.core_pb2 import Taint

_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeletSettings:
    """Settings of one nodelet."""

    node_name: str = option("", doc="Name of this node; by default the host's name.")
    master: tuple[str, ...] = option((), doc=f"Masters, HOST or HOST:PORT of the API (port {API_PORT} by default).")
    join: tuple[str, ...] = option(
        (), doc=f"Join ports, HOST:PORT; by default port {JOIN_PORT} of each master. Used until the node has joined."
    )
    join_token: str = option("", doc="Token to join with; prefer join_token_file, which no process list shows.")
    join_token_file: Path | None = option(None, doc="File that holds the join token; waited for until it is there.")
    data_dir: Path = option(Path("/var/lib/podium/nodelet"), doc="Folder of the node's identity and last assignments.")
    node_ip: str = option("", doc="Address of this host for other hosts; by default the one that reaches the master.")
    labels: Mapping[str, str] = option({}, doc="Labels of the Node object when it is first made.")
    taints: tuple[str, ...] = option((), doc="Taints, KEY[=VALUE]:EFFECT, of the Node object when it is first made.")
    runtime: Literal["docker", "hollow"] = option("docker", doc="What runs containers; `hollow` only pretends to.")
    docker_host: str = option("", doc="Address of the Docker Engine; by default its usual socket, or $DOCKER_HOST.")
    pod_network: Literal["auto", "direct", "vxlan"] = option(
        "auto",
        doc="How pods of other nodes are reached: by routes on a shared link and VXLAN otherwise (auto), always by "
        "routes, which the routers in between must know (direct), or always through VXLAN. The same on every node.",
    )
    max_pods: int = option(110, doc="Most pods on this node.")
    system_reserved: Mapping[str, str] = option(
        {"cpu": "100m", "memory": "128Mi"}, doc="Resources kept for the system, not given to pods."
    )
    http_listen: str = option(
        f"0.0.0.0:{NODELET_HTTP_PORT}", doc="Address of /metrics, /healthz, /readyz (plain HTTP); empty for none."
    )
    usage_period: Duration = option(5.0, doc="How often usage is reported until the master says how often.")
    status_period: Duration = option(10.0, doc="How often the node's own status is looked at.")
    shutdown_grace_period: Duration = option(
        30.0, doc="How long pods may take to end when the host shuts down (`podium-nodelet drain-host`)."
    )
    shutdown_grace_period_critical_pods: Duration = option(10.0, doc="Of that, what is kept for critical pods.")
    hollow: int = option(0, doc="Pretend to be this many nodes, NAME-0, NAME-1, … (for tests and benchmarks).")
    hollow_cpu: str = option("32", doc="CPU of a hollow node.")
    hollow_memory: str = option("256Gi", doc="Memory of a hollow node.")
    log_level: Literal["debug", "info", "warning", "error"] = option("info", doc="Least level that is logged.")
    log_format: Literal["logfmt", "json"] = option("logfmt", doc="Form of log lines.")

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node_name or socket.gethostname().lower()

    def api_endpoints(self) -> list[str]:
        """The masters' APIs, `host:port` each."""
        return [format_endpoint(*parse_endpoint(text)) for text in self.master]

    def join_endpoints(self) -> list[str]:
        """The masters' join ports, `host:port` each."""
        if self.join:
            return [format_endpoint(*parse_endpoint(text, default_port=JOIN_PORT)) for text in self.join]
        return [format_endpoint(parse_endpoint(text)[0], JOIN_PORT) for text in self.master]

    def taint_messages(self) -> list[Taint]:
        """The taints, read."""
        return [parse_taint(text) for text in self.taints]


def parse_taint(text: str) -> Taint:
    """Read `KEY[=VALUE]:EFFECT`.

    Raises:
        ValueError: It is not that.
    """
    pair, colon, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    if not colon or not key or effect not in _EFFECTS:
        raise ValueError(f'"{text}" is not a taint: expected KEY[=VALUE]:EFFECT, EFFECT one of {", ".join(_EFFECTS)}')
    return Taint(key=key, value=value, effect=effect)


def check(settings: NodeletSettings) -> None:
    """Check what types can't say.

    Raises:
        SettingsError: Names the setting.
    """
    if not settings.master and not settings.join:
        raise SettingsError("setting master: which master to join? Set --master HOST")
    if not _NODE_NAME.fullmatch(settings.name):
        raise SettingsError(f'setting node_name: "{settings.name}" is not a DNS name in lower case')
    _checked("master", settings.api_endpoints)
    _checked("join", settings.join_endpoints)
    _checked("taints", settings.taint_messages)
    if settings.node_ip:
        _checked("node_ip", lambda: ipaddress.ip_address(settings.node_ip))
    if settings.shutdown_grace_period_critical_pods > settings.shutdown_grace_period:
        critical, total = settings.shutdown_grace_period_critical_pods, settings.shutdown_grace_period
        raise SettingsError(
            f"setting shutdown_grace_period_critical_pods: {critical:g}s must not be more than shutdown_grace_period, "
            f"{total:g}s"
        )
    if settings.hollow and settings.runtime != "hollow":
        raise SettingsError("setting hollow: many nodes in one process need --runtime hollow")
    if settings.runtime == "hollow" and settings.hollow < 1:
        raise SettingsError("setting runtime: hollow nodes come in fleets; say how many with --hollow N")


def _checked(name: str, read: Callable[[], object]) -> None:
    try:
        read()
    except ValueError as error:
        raise SettingsError(f"setting {name}: {error}") from error
