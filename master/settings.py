"""What can be set on a master. See `podium.settings` for where from; `podium-master --help` lists it all."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from podium.settings import Duration, SettingsError, option
from podium.tls import API_PORT, JOIN_PORT, MASTER_HTTP_PORT, format_endpoint, parse_endpoint
from podium.urls import parse_base

STORE_FILE = "store.db"  # in data_dir
PKI_FOLDER = "pki"

_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 (recognised, not bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterSettings:
    """Settings of one master."""

    data_dir: Path = option(Path("/var/lib/podium/master"), doc="Folder of the store, the CA and admin.yaml.")
    listen: tuple[str, ...] = option((f"0.0.0.0:{API_PORT}",), doc="Addresses of the API (mutual TLS).")
    join_listen: tuple[str, ...] = option((f"0.0.0.0:{JOIN_PORT}",), doc="Addresses where new hosts join (TLS).")
    http_listen: str = option(
        f"0.0.0.0:{MASTER_HTTP_PORT}", doc="Address of /metrics, /healthz, /readyz (plain HTTP); empty for none."
    )
    advertise: tuple[str, ...] = option(
        (),
        doc="host:port under which clients and nodes reach the API; default: what it listens on, or this host's name.",
    )
    tls_names: tuple[str, ...] = option((), doc="Further names and addresses for the serving certificate.")
    pod_cidr: str = option("10.64.0.0/10", doc="Address range of the cluster's pods.")
    pod_cidr_node_prefix: int = option(24, doc="Length of the prefix of each node's slice of the pod range.")
    service_cidr: str = option("10.63.0.0/16", doc="Address range of services.")
    node_ports: str = option("30000-32767", doc="Ports that services may have on every node.")
    cluster_domain: str = option("cluster.local", doc="DNS domain of the cluster's names.")
    heartbeat: Duration = option(1.0, doc="How often a nodelet says that it is there.")
    lease: Duration = option(4.0, doc="Silence after which a node is held for lost.")
    join_token_file: Path | None = option(
        None, doc="Keep a valid join token in this file (mode 0600), for tools that add hosts."
    )
    join_token_lifetime: Duration = option(24 * 3600.0, doc="How long the token in join_token_file lasts.")
    node_certificate_lifetime: Duration = option(30 * 86400.0, doc="How long a node's certificate lasts.")
    server_certificate_lifetime: Duration = option(90 * 86400.0, doc="How long the serving certificate lasts.")
    call_deadline: Duration = option(60.0, doc="Time allowed to a call whose client set no deadline.")
    history: Duration = option(300.0, doc="How far back a watch may resume before it must list again.")
    prometheus_url: str = option(
        "", doc="Base address of the Prometheus that autoscalers and rollouts may query, as http://prometheus:9090."
    )
    prometheus_timeout: Duration = option(5.0, doc="Time allowed to one query of Prometheus.")
    prometheus_token_file: Path | None = option(None, doc="File with a bearer token for Prometheus.")
    prometheus_ca_file: Path | None = option(None, doc="Certificates to trust for an https prometheus_url.")
    hpa_tolerance: float = option(0.1, doc="How far from its target a metric lets an autoscaler's replicas be.")
    hpa_downscale_stabilization: Duration = option(
        300.0, doc="How long what was wanted before holds up an autoscaler that says nothing else from going down."
    )
    hpa_cpu_initialization: Duration = option(
        300.0, doc="For so long after its start, a pod's CPU counts only while it is ready, and what it took since."
    )
    hpa_readiness_delay: Duration = option(
        30.0, doc="A pod not ready for so long after its start is held for never having been, as to its CPU."
    )
    nodepool_variables: Path | None = option(
        None, doc="File (YAML) with variables of the playbooks' roles for hosts of node pools, as podium_wheelhouse."
    )
    nodepool_hooks: Path = option(
        Path("/etc/podium/hooks"), doc="Folder of programs and playbooks that turn hosts of node pools on and off."
    )
    nodepool_backoff: Duration = option(
        30.0, doc="How long a node pool's host rests after it could not be set up; twice as long each further time."
    )
    stop_grace: Duration = option(1.0, doc="Time that running calls get when the master stops.")
    log_level: Literal["debug", "info", "warning", "error"] = option("info", doc="Least level that is logged.")
    log_format: Literal["logfmt", "json"] = option("logfmt", doc="Form of log lines.")

    def node_port_range(self) -> tuple[int, int]:
        """The first and the last port of `node_ports`.

        Raises:
            ValueError: It is not FIRST-LAST.
        """
        first, dash, last = self.node_ports.partition("-")
        if not dash or not first.isdigit() or not last.isdigit() or not 0 < int(first) <= int(last) < 65536:
            raise ValueError(f'"{self.node_ports}" is not a range of ports: expected FIRST-LAST, such as 30000-32767')
        return int(first), int(last)

    def endpoints(self, ports: Sequence[int] = ()) -> tuple[str, ...]:
        """Where clients and nodes reach the API, `host:port` each.

        Args:
            ports: The ports bound for each of `listen`, where those say 0.
        """
        if self.advertise:
            return tuple(format_endpoint(*parse_endpoint(text)) for text in self.advertise)
        bound = [parse_listen(text) for text in self.listen]
        actual = [port or given for (_, port), given in zip(bound, ports or [0] * len(bound), strict=True)]
        return tuple(format_endpoint(_reachable(host), port) for (host, _), port in zip(bound, actual, strict=True))

    def server_names(self) -> tuple[str, ...]:
        """Names and addresses for the serving certificate, besides `master.podium.internal`."""
        hosts = [parse_listen(text)[0] for text in (*self.listen, *self.join_listen)]
        hosts += [parse_endpoint(text)[0] for text in self.advertise]
        named = [host for host in hosts if host not in _WILDCARDS]
        return tuple(dict.fromkeys([*named, socket.gethostname(), "127.0.0.1", "::1", *self.tls_names]))


def check(settings: MasterSettings) -> None:
    """Check what types cannot say.

    Raises:
        SettingsError: Names the setting.
    """
    for name in ("listen", "join_listen", "advertise"):
        for text in getattr(settings, name):
            _address(name, text)
    _ranges(settings)
    if settings.http_listen:
        _address("http_listen", settings.http_listen)
    if settings.prometheus_url:
        _base("prometheus_url", settings.prometheus_url)
    if settings.hpa_tolerance < 0:
        raise SettingsError(f"setting hpa_tolerance: must be at least 0, not {settings.hpa_tolerance:g}")
    if settings.lease <= 2 * settings.heartbeat:
        raise SettingsError(
            f"setting lease: {settings.lease:g}s must be more than two heartbeats ({settings.heartbeat:g}s each)"
        )


def _ranges(settings: MasterSettings) -> None:
    found = {}
    for name in ("pod_cidr", "service_cidr"):
        try:
            found[name] = ipaddress.IPv4Network(getattr(settings, name))
        except ValueError as error:
            raise SettingsError(f"setting {name}: {error}") from error
    if found["pod_cidr"].overlaps(found["service_cidr"]):
        raise SettingsError(f"setting service_cidr: {settings.service_cidr} overlaps pod_cidr {settings.pod_cidr}")
    try:
        settings.node_port_range()
    except ValueError as error:
        raise SettingsError(f"setting node_ports: {error}") from error


def parse_listen(text: str) -> tuple[str, int]:
    """As `podium.tls.parse_endpoint`, with port 0 (take a free one) allowed."""
    host, colon, port = text.rpartition(":")
    if colon and port == "0":
        return host.removeprefix("[").removesuffix("]"), 0
    return parse_endpoint(text)


def _address(name: str, text: str) -> None:
    try:
        parse_listen(text)
    except ValueError as error:
        raise SettingsError(f"setting {name}: {error}") from error


def _base(name: str, text: str) -> None:
    try:
        parse_base(text)
    except ValueError as error:
        raise SettingsError(f"setting {name}: {error}") from error


def _reachable(host: str) -> str:
    return socket.gethostname() if host in _WILDCARDS else host
