"""Whether a pod reaches another, as explained; and that nodes are told the same."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.dispatcher.network import NetworkBook, Told
from podium.objects.traffic import Passage, Socket, passage
from podium.v1.core_pb2 import Namespace, Pod
from podium.v1.meta_pb2 import IntOrString, LabelSelector
from podium.v1.networking_pb2 import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from podium.v1.node_session_pb2 import PodRules, TrafficRules

NAMESPACES = {"one": {"name": "one"}, "two": {"name": "two"}}
WEB = Socket("TCP", 8080)
IN, OUT = "Ingress", "Egress"


def _pod(name: str, namespace: str = "one", *, node: str = "n1", ip: str = "10.64.1.2", host: bool = False) -> Pod:
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, namespace, f"uid-{name}"
    made.metadata.labels["app"] = name
    made.spec.node_name, made.status.pod_ip, made.spec.host_network = node, ip, host
    made.spec.containers.add(name="c").ports.add(name="web", container_port=8080, protocol="TCP")
    return made


def _peer(app: str = "", namespace: str = "", cidr: str = "", excluded: Iterable[str] = ()) -> NetworkPolicyPeer:
    if cidr:
        return NetworkPolicyPeer(ip_block=IPBlock(cidr=cidr, excluded=excluded))
    made = NetworkPolicyPeer()
    if app:
        made.pod_selector.match_labels["app"] = app
    if namespace:
        made.namespace_selector.match_labels["name"] = namespace
    return made


def _port(port: int | str = 0, last: int = 0, protocol: str = "TCP") -> NetworkPolicyPort:
    made = NetworkPolicyPort(protocol=protocol)
    if port:
        made.port.CopyFrom(IntOrString(str_value=port) if isinstance(port, str) else IntOrString(int_value=port))
    if last:
        made.end_port = last
    return made


def _policy(
    name: str, way: str, *peers: NetworkPolicyPeer, namespace: str = "one", of: str = "",
    ports: Iterable[NetworkPolicyPort] = (), rules: bool = True,
) -> NetworkPolicy:  # fmt: skip
    made = NetworkPolicy()
    made.metadata.name, made.metadata.namespace = name, namespace
    made.spec.pod_selector.CopyFrom(LabelSelector(match_labels={"app": of} if of else {}))
    made.spec.policy_types.append(way)
    if rules and way == IN:
        made.spec.ingress.add(from_peers=peers, ports=ports)
    elif rules:
        made.spec.egress.add(to=peers, ports=ports)
    return made


def _judged(source: Pod, target: Pod, *policies: NetworkPolicy, socket: Socket = WEB) -> Passage:
    return passage(source, target, socket, policies, NAMESPACES)


A, B = _pod("a"), _pod("b", ip="10.64.2.2", node="n2")
FAR = _pod("far", "two", ip="10.64.3.2", node="n3")
HOSTED = _pod("hosted", host=True, ip="192.0.2.9", node="n3")


@pytest.mark.parametrize(
    ("source", "target", "policies", "allowed"),
    [
        (A, B, [], True),
        (A, FAR, [], False),
        (A, B, [_policy("deny", IN, rules=False)], False),
        (A, B, [_policy("of-others", IN, of="a", rules=False)], True),
        (A, B, [_policy("all", IN)], True),
        (A, B, [_policy("deny", IN, rules=False), _policy("all", IN)], True),
        (A, B, [_policy("a", IN, _peer("a"))], True),
        (A, B, [_policy("c", IN, _peer("c"))], False),
        (A, B, [_policy("deny", OUT, rules=False)], False),
        (A, B, [_policy("b", OUT, _peer("b"))], True),
        (FAR, B, [_policy("two", IN, _peer(namespace="two"))], True),
        (FAR, B, [_policy("b", IN, _peer("far"))], False),
        (FAR, B, [_policy("both", IN, _peer("far", "two"))], True),
        (A, FAR, [_policy("out", OUT, _peer(namespace="two"))], False),
        (A, FAR, [_policy("out", OUT, _peer(namespace="two")), _policy("in", IN, namespace="two")], True),
        (A, B, [_policy("block", IN, _peer(cidr="10.64.1.0/24"))], True),
        (A, B, [_policy("block", IN, _peer(cidr="10.64.9.0/24"))], False),
        (A, B, [_policy("but", IN, _peer(cidr="10.64.0.0/12", excluded=["10.64.1.2/32"]))], False),
        (A, B, [_policy("but", IN, _peer(cidr="10.64.0.0/12", excluded=["10.64.9.0/24", "10.64.1.3/32"]))], True),
        (A, B, [_policy("but", OUT, _peer(cidr="10.64.0.0/12", excluded=["10.64.2.0/24"]))], False),
        (HOSTED, B, [_policy("but", IN, _peer(cidr="192.0.2.0/24", excluded=["192.0.2.9/32"]))], False),
        (A, B, [_policy("port", IN, ports=[_port("web")])], True),
        (A, B, [_policy("port", IN, ports=[_port("admin")])], False),
        (A, B, [_policy("port", IN, ports=[_port(8000, 9000)])], True),
        (A, B, [_policy("port", IN, ports=[_port(80), _port(protocol="UDP")])], False),
        (A, B, [_policy("port", IN, ports=[_port()])], True),
        (HOSTED, B, [], True),
        (HOSTED, B, [_policy("deny", IN, rules=False)], False),
        (HOSTED, B, [_policy("host", IN, _peer(cidr="192.0.2.9/32"))], True),
        (_pod("here", host=True, node="n2"), B, [_policy("deny", IN, rules=False)], True),
        (FAR, HOSTED, [_policy("deny", IN, rules=False)], True),
    ],
)  # fmt: skip
def test_what_passes(source: Pod, target: Pod, policies: list[NetworkPolicy], allowed: bool) -> None:
    assert _judged(source, target, *policies).allowed == allowed


def test_the_rule_that_decides_is_named() -> None:
    policies = [_policy("deny", IN, rules=False), _policy("some", IN, _peer("a"), ports=[_port(80)])]
    assert "networkpolicy/some lets it in at other ports only (rule 1)" in _judged(A, B, *policies).arriving.why
    assert "networkpolicy/some lets it in (rule 1)" in _judged(A, B, *policies, socket=Socket("TCP", 80)).arriving.why
    assert "networkpolicy/deny may let it in, and no rule does" in _judged(A, B, policies[0]).arriving.why
    assert "pods of different namespaces do not reach" in _judged(A, FAR).leaving.why


# ---------------------------------------------------------------- nodes are told the same


def _told(source: Pod, target: Pod, policies: Iterable[NetworkPolicy], socket: Socket) -> bool:
    """What the two nodes' rules make of it: as `nodelet.network.isolation` puts them."""
    pods = [source, target]
    book = NetworkBook(lambda namespace: [p for p in pods if namespace in ("", p.metadata.namespace)])
    for name, labels in NAMESPACES.items():
        namespace = Namespace()
        namespace.metadata.name = name
        namespace.metadata.labels.update(labels)
        book.namespace_changed(namespace, deleted=False)
    for pod in pods:
        book.pod_changed(None, pod, deleted=False)
    for policy in policies:
        book.policy_changed(policy, deleted=False)
    leaves = _end(book, source, target, "egress", socket)
    return leaves and _end(book, target, source, "ingress", socket)


def _end(book: NetworkBook, pod: Pod, other: Pod, way: str, socket: Socket) -> bool:
    update = book.news(pod.spec.node_name, Told())
    assert update is not None
    sets = {r.id: set(r.addresses.addresses) for r in update.records if r.HasField("addresses")}
    rules = next((r.rules for r in update.records if r.rules.uid == pod.metadata.uid), PodRules())
    address = other.status.pod_ip
    if way == "egress" and not rules.HasField("egress"):
        return address in sets[f"members/{pod.metadata.namespace}"] | sets.get("opened/ingress", set())
    if way == "ingress" and not rules.HasField("ingress"):
        return address in sets[f"members/{pod.metadata.namespace}"]
    return _by_rules(rules.egress if way == "egress" else rules.ingress, address, sets, socket)


def _within(address: str, cidr: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)


def _by_rules(rules: TrafficRules, address: str, sets: Mapping[str, set[str]], socket: Socket) -> bool:
    for rule in rules.rules:
        blocks = any(_within(address, b.cidr) and not any(_within(address, e) for e in b.excluded) for b in rule.blocks)
        if not (blocks or any(address in sets[id_] for id_ in rule.sets) or not (rule.sets or rule.blocks)):
            continue
        if not rule.ports:
            return True
        for port in rule.ports:
            if port.protocol == socket.protocol and (not port.first or port.first <= socket.number <= port.last):
                return True
    return False


PEERS = st.builds(_peer, st.sampled_from(["", "a", "b"]), st.sampled_from(["", "one", "two"])).filter(
    lambda peer: peer.HasField("pod_selector") or peer.HasField("namespace_selector")
) | st.builds(
    lambda cidr, excluded: _peer(cidr=cidr, excluded=excluded),
    st.sampled_from(["10.64.1.0/24", "10.64.0.0/12"]),
    st.sets(st.sampled_from(["10.64.1.2/32", "10.64.2.0/24"])),
)
PORTS = st.builds(_port, st.sampled_from([0, 80, 8000, "admin", "web"])) | st.just(_port(8000, 9000))


@st.composite
def _policies(draw: st.DrawFn) -> list[NetworkPolicy]:
    made = []
    for index in range(draw(st.integers(0, 4))):
        way = draw(st.sampled_from([IN, OUT]))
        ports = draw(
            st.lists(PORTS if way == IN else st.sampled_from([_port(), _port(80), _port(8000, 9000)]), max_size=2)
        )
        made.append(
            _policy(
                f"p{index}", way, *draw(st.lists(PEERS, max_size=2)), namespace=draw(st.sampled_from(["one", "two"])),
                of=draw(st.sampled_from(["", "a", "b"])), ports=ports, rules=draw(st.booleans()),
            )
        )  # fmt: skip
    return made


@given(_policies(), st.sampled_from(["one", "two"]), st.sampled_from([80, 8080, 9001]))
def test_what_is_explained_is_what_nodes_are_told(policies: list[NetworkPolicy], namespace: str, number: int) -> None:
    target = _pod("b", namespace, ip="10.64.2.2", node="n2")
    socket = Socket("TCP", number)
    assert _judged(A, target, *policies, socket=socket).allowed == _told(A, target, policies, socket)
