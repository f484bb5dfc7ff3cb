"""What Kubernetes' documentation says of NetworkPolicies, on real hosts with real connections, one shape after another.

In one namespace are a database, a front end and a stranger, in a labelled one a guest and a passer-by, in a third an
outsider; all on different hosts. After each policy it is asked again who reaches which port of whom.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Pod
from tests.rig.rig import ADDRESSES, CONFIG, NODES, PODIUM, Host, podium, run, until

HOME, FRIENDS, STRANGE = "t-policies", "t-policies-friends", "t-policies-strange"
DB, ADMIN, FIRST, LATER = 6379, 6380, 32000, 32768
PORTS = (DB, ADMIN, FIRST, LATER)
SERVE = "; ".join((*(f"httpd -p {port} -h /" for port in PORTS), "exec sleep 100000"))


class Who(NamedTuple):
    """A pod, and where it is."""

    namespace: str
    name: str
    host: Host


DATABASE = Who(HOME, "db", NODES[1])
FRONTEND, STRANGER = Who(HOME, "frontend", NODES[0]), Who(HOME, "stranger", NODES[2])
GUEST, PASSERBY = Who(FRIENDS, "client", NODES[0]), Who(FRIENDS, "passerby", NODES[2])
OUTSIDER = Who(STRANGE, "outsider", NODES[1])
EVERYBODY = (DATABASE, FRONTEND, STRANGER, GUEST, PASSERBY, OUTSIDER)


def _apply(namespace: str, *objects: dict[str, Any]) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))


def _pod(who: Who) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "command": ["sh", "-c", SERVE],
                 "readinessProbe": {"tcpSocket": {"port": LATER}, "periodSeconds": 1}}  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": who.name, "labels": {"role": who.name}},
        "spec": {"nodeName": who.host.name, "containers": [container], "terminationGracePeriodSeconds": 1},
    }  # fmt: skip


@pytest.fixture(scope="module")
def addresses(rig: None) -> Iterator[dict[Who, str]]:
    """All pods, ready, with their addresses."""
    labels = {HOME: [], FRIENDS: ["project=myproject", "user=alice"], STRANGE: []}
    for namespace, words in labels.items():
        podium("create", "namespace", namespace)
        if words:
            podium("label", "namespace", namespace, *words)
        _apply(namespace, *(_pod(who) for who in EVERYBODY if who.namespace == namespace))
    try:
        with Client.from_config(CONFIG) as client:

            def found() -> dict[Who, str]:
                pods = {
                    (p.metadata.namespace, p.metadata.name): p for n in labels for p in client.list(Pod, namespace=n)
                }
                ready = {w: pods.get((w.namespace, w.name)) for w in EVERYBODY}
                return {w: p.status.pod_ip for w, p in ready.items() if p is not None and is_ready(p)}

            until(lambda: len(found()) == len(EVERYBODY), seconds=90, what="all pods")
            yield found()
    finally:
        for namespace in labels:
            podium("delete", "namespace", namespace, "--timeout=60s", timeout=90)


@contextmanager
def policies(namespace: str, **specs: dict[str, Any]) -> Iterator[None]:
    """Policies by name, while the block runs."""
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    _apply(namespace, *({**kind, "metadata": {"name": name}, "spec": spec} for name, spec in specs.items()))
    try:
        yield
    finally:
        podium("-n", namespace, "delete", "networkpolicy", *specs)


def _reached_by(who: Who, address: str) -> set[int]:
    """The ports of an address to which a pod can connect."""
    labels = {"pod.namespace": who.namespace, "pod.name": who.name, "container.name": "main"}
    filters = [word for key, value in labels.items() for word in ("--filter", f"label=io.podium.{key}={value}")]
    (container,) = who.host.engine("ps", "-q", *filters).split()
    script = "; ".join(f"nc -w 1 {address} {port} </dev/null >/dev/null 2>&1 && echo {port}" for port in PORTS)
    return set(map(int, who.host.engine("exec", container, "sh", "-c", f"{script}; true").split()))


class Asked:
    """Who reaches a pod; looked at until it is as it should be."""

    def __init__(self, addresses: dict[Who, str]) -> None:
        self._addresses = addresses

    def become(self, target: Who, expected: dict[Who, Sequence[int]], what: str) -> None:
        """Wait until exactly these reach these ports of a pod, and of all others who were named nobody any."""
        wanted = {who: set(ports) for who, ports in expected.items()}
        seen: dict[Who, set[int]] = {}

        def holds() -> bool:
            with ThreadPoolExecutor(len(wanted)) as pool:
                found = pool.map(lambda who: _reached_by(who, self._addresses[target]), wanted)
                seen.update(zip(wanted, found, strict=True))
            return seen == wanted

        try:
            until(holds, seconds=20, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}: { ({w.name: sorted(p) for w, p in seen.items()}) }") from None


@pytest.fixture
def asked(addresses: dict[Who, str]) -> Asked:
    return Asked(addresses)


ANY: dict[str, Any] = {"podSelector": {}}
DENY_INGRESS = ANY | {"policyTypes": ["Ingress"]}
ALLOW_INGRESS = DENY_INGRESS | {"ingress": [{}]}
AT_HOME: dict[Who, Sequence[int]] = {FRONTEND: PORTS, STRANGER: PORTS, GUEST: (), PASSERBY: (), OUTSIDER: ()}
NOBODY: dict[Who, Sequence[int]] = dict.fromkeys(AT_HOME, ())
ALL: dict[Who, Sequence[int]] = dict.fromkeys(AT_HOME, PORTS)


def test_all_is_denied_and_all_is_allowed_by_default_policies(asked: Asked) -> None:
    asked.become(DATABASE, AT_HOME, "the default before any policy")
    with policies(HOME, **{"default-deny-ingress": DENY_INGRESS}):
        asked.become(DATABASE, NOBODY, "nobody to get in")
        asked.become(GUEST, {DATABASE: (), PASSERBY: PORTS}, "the other namespace to stay as it was")
        with policies(HOME, **{"allow-all-ingress": ALLOW_INGRESS}):
            asked.become(DATABASE, ALL, "all to get in: what one policy allows no other takes away")
        asked.become(DATABASE, NOBODY, "nobody to get in any more")
    with policies(HOME, **{"default-deny-all": ANY | {"policyTypes": ["Ingress", "Egress"]}}):
        asked.become(DATABASE, NOBODY, "nobody to get in, and nobody out")
    asked.become(DATABASE, AT_HOME, "the default again")


def test_selectors_and_blocks_choose_who_comes_in(asked: Asked, addresses: dict[Who, str]) -> None:
    subnet = ADDRESSES["node1"].rpartition(".")[0] + ".0/24"
    from_ = [
        {"ipBlock": {"cidr": subnet, "except": [f"{ADDRESSES['node3']}/32"]}},
        {"namespaceSelector": {"matchLabels": {"project": "myproject"}}},
        {"podSelector": {"matchLabels": {"role": "frontend"}}},
    ]
    spec = {
        "podSelector": {"matchLabels": {"role": "db"}}, "policyTypes": ["Ingress"],
        "ingress": [{"from": from_, "ports": [{"protocol": "TCP", "port": DB}]}],
    }  # fmt: skip

    def from_host(host: Host) -> bool:
        asking = f"curl -s -o /dev/null -m 2 http://{addresses[DATABASE]}:{DB}/ && echo yes || true"
        return host.sh(asking).strip() == "yes"

    assert from_host(NODES[2]), "without a policy hosts reach pods"
    with policies(HOME, **{"test-network-policy": spec}):
        chosen: dict[Who, Sequence[int]] = {FRONTEND: (DB,), GUEST: (DB,), PASSERBY: (DB,), STRANGER: (), OUTSIDER: ()}
        asked.become(DATABASE, chosen, "those that a rule names to reach the port that it names")
        assert from_host(NODES[0]), "of the block"
        assert not from_host(NODES[2]), "of what the block leaves out"


def test_both_selectors_of_one_peer_have_to_match(asked: Asked) -> None:
    peer = {
        "namespaceSelector": {"matchLabels": {"user": "alice"}},
        "podSelector": {"matchLabels": {"role": "client"}},
    }
    with policies(HOME, **{"both-selectors": ANY | {"ingress": [{"from": [peer]}]}}):
        asked.become(DATABASE, NOBODY | {GUEST: PORTS}, "the client of alice's namespace alone to get in")


def test_a_range_of_ports_and_chosen_namespaces_are_let_out(asked: Asked, addresses: dict[Who, str]) -> None:
    block = {"ipBlock": {"cidr": f"{addresses[DATABASE]}/32"}}
    range_ = [{"protocol": "TCP", "port": FIRST, "endPort": LATER}]
    out = {
        "podSelector": {"matchLabels": {"role": "frontend"}}, "policyTypes": ["Egress"],
        "egress": [{"to": [block], "ports": range_}],
    }  # fmt: skip
    with policies(HOME, **{"multi-port-egress": out}):
        asked.become(DATABASE, {FRONTEND: (FIRST, LATER), STRANGER: PORTS}, "the range alone to be let out")
        asked.become(STRANGER, {FRONTEND: (), DATABASE: PORTS}, "and to nobody else")
    chosen = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [FRIENDS, "another"]}
    away = out | {"egress": [{"to": [{"namespaceSelector": {"matchExpressions": [chosen]}}]}]}
    with policies(HOME, **{"egress-namespaces": away}), policies(FRIENDS, **{"allow-all-ingress": ALLOW_INGRESS}):
        asked.become(GUEST, {FRONTEND: PORTS, OUTSIDER: PORTS}, "the chosen namespace to be reached")
        asked.become(DATABASE, {FRONTEND: (), STRANGER: PORTS}, "and its own no more")
