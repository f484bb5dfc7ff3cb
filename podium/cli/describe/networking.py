"""Services, who answers them, and who may connect to whom."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from podium.cli.describe.page import Page, header
from podium.objects.address_pool import gives_unasked
from podium.objects.selectors import from_label_selector, from_labels
from podium.objects.service import EXTERNAL_NAME, HEADLESS, LOCAL, wants_address
from podium.v1.meta_pb2 import IntOrString, LabelSelector
from podium.v1.networking_pb2 import (
    AddressPool,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    Service,
    ServicePort,
    ServiceSpec,
    TrafficSplit,
)


def service(page: Page, obj: Service, now: datetime.datetime) -> None:
    """Where it is reached, and which pods answer."""
    header(page, obj)
    spec = obj.spec
    page.field("Type", spec.type)
    page.field("External Name", spec.external_name if spec.type == EXTERNAL_NAME else "")
    if spec.type != EXTERNAL_NAME:
        page.field("Selector", from_labels(spec.selector) if spec.selector else "<none>")
    page.field("Address", (spec.cluster_ip or "<none>") if wants_address(spec) else "")
    page.field("Headless", "its name leads to its pods" if spec.cluster_ip == HEADLESS else "")
    page.field("External Addresses", ", ".join(spec.external_ips))
    if spec.type == "LoadBalancer":
        page.field("Load Balancer", ", ".join(i.ip for i in obj.status.load_balancer.ingress) or "<pending>")
        page.field("Load Balancer Class", spec.load_balancer_class)
        page.field("Announced By", obj.status.announcer)
    if spec.ports:
        with page.section("Ports"):
            page.table(["NAME", "PORT", "TARGET", "NODE PORT", "SPOKEN"], [_port(port) for port in spec.ports])
    page.field("Session Affinity", _affinity(spec))
    page.field("External Traffic", "only to the asked node's pods" if spec.external_traffic_policy == LOCAL else "")
    page.field("Health Check Node Port", str(spec.health_check_node_port or ""))
    page.field("Internal Traffic", "only to the client's node's pods" if spec.internal_traffic_policy == LOCAL else "")
    page.field("Distribution", spec.traffic_distribution)
    page.field("Not Ready Pods", "answer too" if spec.publish_not_ready_addresses else "")


def address_pool(page: Page, obj: AddressPool, now: datetime.datetime) -> None:
    """Which addresses it has, and who gets them."""
    header(page, obj)
    page.field("Addresses", "\n".join(obj.spec.addresses))
    page.field("Assigned", f"{obj.status.assigned} of {obj.status.total}")
    page.field("Given Unasked", "Yes" if gives_unasked(obj) else "No")
    if obj.spec.HasField("namespace_selector"):
        page.field("Namespaces", str(from_label_selector(obj.spec.namespace_selector)))


def endpoint_slice(page: Page, obj: EndpointSlice, now: datetime.datetime) -> None:
    """Each endpoint, with whether it is asked."""
    header(page, obj)
    page.field("Address Type", obj.address_type)
    page.field("Ports", "\n".join(_slice_port(port) for port in obj.ports))
    with page.section("Endpoints"):
        rows = [
            [", ".join(e.addresses), _state(e), e.node_name or "-", e.target_ref.name or "-"] for e in obj.endpoints
        ]
        page.table(["ADDRESS", "STATE", "NODE", "POD"], rows)


def network_policy(page: Page, obj: NetworkPolicy, now: datetime.datetime) -> None:
    """In words: whom it is about, and what it lets through."""
    header(page, obj)
    spec = obj.spec
    page.field("Pods", _pods(spec.pod_selector))
    if "Ingress" in spec.policy_types:
        rules = [_rule("from", rule.from_peers, rule.ports) for rule in spec.ingress]
        page.field("Ingress", "\n".join(rules) or "nothing is let in")
    if "Egress" in spec.policy_types:
        rules = [_rule("to", rule.to, rule.ports) for rule in spec.egress]
        page.field("Egress", "\n".join(rules) or "nothing is let out")


def _port(port: ServicePort) -> list[str]:
    target = _value(port.target_port) or str(port.port)
    number = f"{port.port}/{port.protocol or 'TCP'}"
    return [port.name or "<unnamed>", number, target, str(port.node_port or "-"), port.app_protocol or "-"]


def _slice_port(port: EndpointPort) -> str:
    spoken = f", speaks {port.app_protocol}" if port.app_protocol else ""
    return f"{port.name or '<unnamed>'} {port.port}/{port.protocol or 'TCP'}{spoken}"


def _affinity(spec: ServiceSpec) -> str:
    if spec.session_affinity == "None":
        return ""
    seconds = spec.session_affinity_config.client_ip.timeout_seconds
    return f"{spec.session_affinity}, remembered for {seconds}s" if seconds else spec.session_affinity


def _state(endpoint: Endpoint) -> str:
    found = endpoint.conditions
    if found.terminating:
        return "ending, answers" if found.serving else "ending"
    state = "ready" if found.ready or not found.HasField("ready") else "not ready"
    return f"{state}, {_part(endpoint.split)}" if endpoint.HasField("split") else state


def _part(split: TrafficSplit) -> str:
    if split.canary:
        return f"of the {split.weight}% for the canary of {split.deployment}"
    return f"of the {100 - split.weight}% for what is stable of {split.deployment}"


def _rule(way: str, peers: Iterable[NetworkPolicyPeer], ports: Iterable[NetworkPolicyPort]) -> str:
    whom = " or ".join(map(_peer, peers)) or "everywhere"
    return f"{way} {whom}, {', '.join(map(_policy_port, ports)) or 'all ports'}"


def _peer(peer: NetworkPolicyPeer) -> str:
    if peer.HasField("ip_block"):
        but = f" but {', '.join(peer.ip_block.excluded)}" if peer.ip_block.excluded else ""
        return f"{peer.ip_block.cidr}{but}"
    where = f" of namespaces {_chosen(peer.namespace_selector)}" if peer.HasField("namespace_selector") else ""
    return f"{_pods(peer.pod_selector)}{where}"


def _pods(selector: LabelSelector) -> str:
    return f"pods {_chosen(selector)}"


def _chosen(selector: LabelSelector) -> str:
    return f"({from_label_selector(selector)})" if selector.ByteSize() else "(all)"


def _policy_port(port: NetworkPolicyPort) -> str:
    last = f"-{port.end_port}" if port.HasField("end_port") else ""
    return f"{_value(port.port) or 'all ports'}{last}/{port.protocol or 'TCP'}"


def _value(value: IntOrString) -> str:
    return value.str_value if value.WhichOneof("value") == "str_value" else str(value.int_value or "")
