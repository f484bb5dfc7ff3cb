"""Rules of Service, EndpointSlice and NetworkPolicy."""

from __future__ import annotations

import ipaddress

from google.protobuf.message import Message

from master.admission.validation import meta, names
from master.admission.validation.walk import FieldRule, Findings, MessageRule, between, by_syntax, each_by_syntax
from podium.errors import Violation
from podium.objects.address_pool import parse_range
from podium.objects.service import EXTERNAL_NAME, HEADLESS, LOAD_BALANCER, TCP, wants_health_port, wants_node_ports
from podium.v1.meta_pb2 import IntOrString
from podium.v1.networking_pb2 import (
    AddressPoolSpec,
    ClientIPConfig,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    IPBlock,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
    Service,
    ServicePort,
    ServiceSpec,
)

_PORT = between(1, 65535)
MOST_OF_A_POOL = 65536


# ---------------------------------------------------------------- Service


def _service_spec(spec: ServiceSpec, path: str, findings: Findings) -> None:
    if spec.type == EXTERNAL_NAME:
        _external_name(spec, path, findings)
        return
    if not spec.ports and spec.cluster_ip != HEADLESS:
        findings.append(Violation(f"{path}.ports", "is required"))
    if spec.cluster_ip not in ("", HEADLESS) and (problem := names.ipv4_address(spec.cluster_ip)):
        findings.append(Violation(f"{path}.clusterIP", f'"{spec.cluster_ip}" {problem}, or None'))
    if spec.cluster_ips and list(spec.cluster_ips) != [spec.cluster_ip]:
        findings.append(Violation(f"{path}.clusterIPs", f'must be [clusterIP], which is "{spec.cluster_ip}"'))
    if spec.cluster_ip == HEADLESS and wants_node_ports(spec):
        findings.append(Violation(f"{path}.clusterIP", f'must not be None with type "{spec.type}"'))
    if spec.external_name:
        findings.append(Violation(f"{path}.externalName", f'must only be set with type "{EXTERNAL_NAME}"'))
    if spec.external_traffic_policy and not (wants_node_ports(spec) or spec.external_ips):
        what = "must only be set with type NodePort or LoadBalancer, or with externalIPs"
        findings.append(Violation(f"{path}.externalTrafficPolicy", what))
    if spec.health_check_node_port and not wants_health_port(spec):
        what = "must only be set with type LoadBalancer and externalTrafficPolicy Local"
        findings.append(Violation(f"{path}.healthCheckNodePort", what))
    for field, said in (("loadBalancerClass", spec.load_balancer_class), ("loadBalancerIP", spec.load_balancer_ip)):
        if said and spec.type != LOAD_BALANCER:
            findings.append(Violation(f"{path}.{field}", f'must only be set with type "{LOAD_BALANCER}"'))
    _ports(spec, path, findings)


def _external_name(spec: ServiceSpec, path: str, findings: Findings) -> None:
    if problem := names.dns_subdomain(spec.external_name):
        findings.append(Violation(f"{path}.externalName", f'"{spec.external_name}" {problem}'))
    if spec.cluster_ip not in ("", HEADLESS):
        findings.append(Violation(f"{path}.clusterIP", f'must not be set with type "{EXTERNAL_NAME}"'))


def _ports(spec: ServiceSpec, path: str, findings: Findings) -> None:
    sockets, named = set[tuple[int, str]](), set[str]()
    nodes = {(spec.health_check_node_port, TCP)}
    for index, port in enumerate(spec.ports):
        where = f"{path}.ports[{index}]"
        if not port.name and len(spec.ports) > 1:
            findings.append(Violation(f"{where}.name", "is required when there are several ports"))
        if port.name in named:
            findings.append(Violation(f"{where}.name", f'must be once, but "{port.name}" names another port too'))
        if (port.port, port.protocol) in sockets:
            findings.append(Violation(where, f"must be once: {port.port}/{port.protocol}"))
        if port.node_port and not wants_node_ports(spec):
            findings.append(Violation(f"{where}.nodePort", "must only be set with type NodePort or LoadBalancer"))
        if port.node_port and (port.node_port, port.protocol) in nodes:
            findings.append(Violation(f"{where}.nodePort", f"must be once: {port.node_port}/{port.protocol}"))
        named.add(port.name)
        sockets.add((port.port, port.protocol))
        nodes.add((port.node_port, port.protocol))


def _target_port(port: ServicePort, path: str, findings: Findings) -> None:
    _int_or_name(port.target_port, f"{path}.targetPort", findings)


def _int_or_name(value: IntOrString, path: str, findings: Findings) -> None:
    match value.WhichOneof("value"):
        case "int_value":
            _PORT(value.int_value, path, findings)
        case "str_value":
            if problem := names.port_name(value.str_value):
                findings.append(Violation(path, f'"{value.str_value}" {problem}'))


def update_service(new: Service, old: Service, findings: Findings) -> None:
    """Its address stays, unless it gives it up to be but a name."""
    before, after = old.spec.cluster_ip, new.spec.cluster_ip
    if before and after != before and EXTERNAL_NAME not in (new.spec.type, old.spec.type):
        findings.append(Violation(".spec.clusterIP", f'is immutable: must be "{before}"', "create another service"))
    if new.spec.type == old.spec.type == LOAD_BALANCER and new.spec.load_balancer_class != old.spec.load_balancer_class:
        what = f'is immutable while the type is "{LOAD_BALANCER}": must be "{old.spec.load_balancer_class}"'
        findings.append(Violation(".spec.loadBalancerClass", what))
    health = old.spec.health_check_node_port
    if health and wants_health_port(new.spec) and new.spec.health_check_node_port != health:
        findings.append(Violation(".spec.healthCheckNodePort", f"is immutable: must be {health}"))


# ---------------------------------------------------------------- AddressPool


def _pool(spec: AddressPoolSpec, path: str, findings: Findings) -> None:
    total = 0
    for index, text in enumerate(spec.addresses):
        where = f"{path}.addresses[{index}]"
        try:
            found = parse_range(text)
        except ValueError as error:
            findings.append(Violation(where, f'"{text}" {error}'))
            continue
        total += len(found)
        for number in (found.first, found.last):
            if problem := _special(str(ipaddress.IPv4Address(number))):
                findings.append(Violation(where, f'"{text}" {problem}'))
                break
    if total > MOST_OF_A_POOL:
        findings.append(Violation(f"{path}.addresses", f"must be at most {MOST_OF_A_POOL} addresses, not {total}"))


# ---------------------------------------------------------------- EndpointSlice


def _slice(obj: EndpointSlice, path: str, findings: Findings) -> None:
    if len(obj.endpoints) > 1000:
        what = f"must be at most 1000, not {len(obj.endpoints)}"
        findings.append(Violation(f"{path}.endpoints", what, "use several slices"))


def update_slice(new: EndpointSlice, old: EndpointSlice, findings: Findings) -> None:
    """The type of addresses stays."""
    if new.address_type != old.address_type:
        findings.append(Violation(".addressType", "is immutable"))


def _endpoint(endpoint: Endpoint, path: str, findings: Findings) -> None:
    for index, text in enumerate(endpoint.addresses):
        if problem := names.ipv4_address(text) or _special(text):
            findings.append(Violation(f"{path}.addresses[{index}]", f'"{text}" {problem}'))


def _special(text: str) -> str:
    address = ipaddress.IPv4Address(text)
    special = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    return "must be an address that other hosts can reach" if special else ""


# ---------------------------------------------------------------- NetworkPolicy


def _policy_spec(spec: NetworkPolicySpec, path: str, findings: Findings) -> None:
    for index, type_ in enumerate(spec.policy_types):
        if type_ not in ("Ingress", "Egress"):
            where = f"{path}.policyTypes[{index}]"
            findings.append(Violation(where, f'must be one of Ingress, Egress, not "{type_}"'))
    if spec.egress and "Egress" not in spec.policy_types:
        findings.append(Violation(f"{path}.egress", "must only be set when policyTypes has Egress"))
    for index, rule in enumerate(spec.egress):
        for number, port in enumerate(rule.ports):
            if port.port.WhichOneof("value") == "str_value":
                where = f"{path}.egress[{index}].ports[{number}].port"
                findings.append(Violation(where, "must be a number: a name means something else in each pod"))
    if spec.ingress and "Ingress" not in spec.policy_types:
        findings.append(Violation(f"{path}.ingress", "must only be set when policyTypes has Ingress"))


def _peer(peer: NetworkPolicyPeer, path: str, findings: Findings) -> None:
    selects = peer.HasField("pod_selector") or peer.HasField("namespace_selector")
    if selects == peer.HasField("ip_block"):
        findings.append(Violation(path, "must have either podSelector or namespaceSelector (or both), or ipBlock"))


def _block(block: IPBlock, path: str, findings: Findings) -> None:
    outer = _network(block.cidr)
    if outer is None:
        if block.cidr:
            findings.append(Violation(f"{path}.cidr", f'"{block.cidr}" must be an IPv4 range such as 192.0.2.0/24'))
        return
    for index, text in enumerate(block.excluded):
        inner = _network(text)
        if inner is None or not inner.subnet_of(outer) or inner == outer:
            findings.append(Violation(f"{path}.except[{index}]", f'"{text}" must be a range within {block.cidr}'))


def _policy_port(port: NetworkPolicyPort, path: str, findings: Findings) -> None:
    if port.HasField("port"):
        _int_or_name(port.port, f"{path}.port", findings)
    if not port.HasField("end_port"):
        return
    if port.port.WhichOneof("value") != "int_value":
        findings.append(Violation(f"{path}.endPort", "must only be set with a port that is a number"))
    elif not port.port.int_value <= port.end_port <= 65535:
        findings.append(Violation(f"{path}.endPort", f"must be between port and 65535, not {port.end_port}"))


def _network(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError:
        return None


MESSAGES: dict[type[Message], MessageRule] = {
    ServiceSpec: _service_spec,
    ServicePort: _target_port,
    AddressPoolSpec: _pool,
    EndpointSlice: _slice,
    Endpoint: _endpoint,
    NetworkPolicySpec: _policy_spec,
    NetworkPolicyPeer: _peer,
    NetworkPolicyPort: _policy_port,
    IPBlock: _block,
}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (ServiceSpec, "selector"): meta.labels,
    (ClientIPConfig, "timeout_seconds"): between(1, 86400),
    (ServiceSpec, "external_ips"): each_by_syntax(names.ipv4_address),
    (ServiceSpec, "load_balancer_class"): by_syntax(names.qualified_name),
    (ServiceSpec, "load_balancer_ip"): by_syntax(names.ipv4_address),
    (ServicePort, "port"): _PORT,
    (ServicePort, "node_port"): _PORT,
    (ServicePort, "app_protocol"): by_syntax(names.qualified_name),
    (EndpointPort, "app_protocol"): by_syntax(names.qualified_name),
    (ServiceSpec, "health_check_node_port"): _PORT,
    (ServicePort, "name"): by_syntax(names.dns_label),
    (EndpointPort, "port"): _PORT,
    (Endpoint, "hostname"): by_syntax(names.dns_label),
}
