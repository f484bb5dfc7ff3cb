"""The cluster's network on real hosts: pods reach each other, services lead to pods, namespaces are kept apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from podium.client import Client
from podium.objects.meta import is_terminating
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import EndpointSlice, Service
from tests.rig.manifests import deployment, pod
from tests.rig.rig import ADDRESSES, NODES, PODIUM, Host, podium, run, until

WHOAMI = (
    "mkdir -p /www/cgi-bin; printf '#!/bin/sh\\necho; hostname\\n' > /www/cgi-bin/who; chmod +x /www/cgi-bin/who;"
    "exec httpd -f -p 8080 -h /www"
)
"""A server that answers with its pod's name."""
SLEEP = ["sleep", "100000"]


@pytest.fixture
def other(request: pytest.FixtureRequest) -> Iterator[str]:
    """A second namespace."""
    name = "o-" + request.node.name.replace("_", "-").lower()[:40].strip("-")
    podium("create", "namespace", name)
    yield name
    podium("delete", "namespace", name, "--timeout=60s", timeout=90)


def _apply(namespace: str, *manifests: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin="\n---\n".join(manifests))


def _servers(replicas: int = 3, spec: dict[str, object] | None = None) -> str:
    container = {
        "command": ["sh", "-c", WHOAMI],
        "ports": [{"name": "web", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return deployment("who", image="busybox", replicas=replicas, container=container, spec=spec or {})


def _service(**spec: object) -> str:
    return json.dumps(
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "who"},
            "spec": {"selector": {"app": "who"}, "ports": [{"port": 80, "targetPort": "web"}], **spec},
        }
    )  # fmt: skip


def _client_on(host: Host, name: str) -> str:
    return pod(name, SLEEP, spec={"nodeName": host.name})


def _ready(client: Client, namespace: str, count: int) -> list[Pod]:
    def found() -> list[Pod]:
        pods = [p for p in client.list(Pod, namespace=namespace) if is_ready(p) and p.status.pod_ip]
        return pods if len(pods) >= count else []

    return until(found, seconds=60, what=f"{count} ready pods in {namespace}")


def _inside(namespace: str, pod_name: str, command: str) -> str:
    return podium("-n", namespace, "exec", pod_name, "--", "sh", "-c", command, check=False)


REQUEST = "printf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc -w 3"


def _who(namespace: str, pod_name: str, host: str, port: int = 8080) -> str:
    """The name of the pod that answers at an address or name, asked from inside a pod; empty when none does."""
    return _name_in(_inside(namespace, pod_name, f"{REQUEST} {host} {port}"))


def _all_who(namespace: str, pod_name: str, places: Sequence[tuple[str, int]]) -> list[str]:
    """The names of the pods that answer at several places, asked one after the other."""
    said = _inside(namespace, pod_name, "; ".join(f"{REQUEST} {host} {port}; echo END" for host, port in places))
    return [_name_in(answer) for answer in said.split("END")[:-1]]


def _name_in(answer: str) -> str:
    return answer.split()[-1] if "200 OK" in answer else ""


def test_pods_reach_pods_of_other_hosts_and_services_lead_to_all(client: Client, namespace: str) -> None:
    _apply(namespace, _servers(), _service(), *(_client_on(h, f"client-{h.name}") for h in NODES))
    pods = _ready(client, namespace, 6)
    servers = [p for p in pods if p.metadata.labels["app"] == "who"]
    assert len({p.spec.node_name for p in servers}) == 3
    names = [p.metadata.name for p in servers]
    for host in NODES:
        assert _all_who(namespace, f"client-{host.name}", [(p.status.pod_ip, 8080) for p in servers]) == names

    address = client.get(Service, "who", namespace=namespace).spec.cluster_ip
    until(
        lambda: sum(len(s.endpoints) for s in client.list(EndpointSlice, namespace=namespace)) == 3,
        seconds=20, what="three endpoints",
    )  # fmt: skip
    answers = Counter(_all_who(namespace, "client-node1", [(address, 80)] * 24))
    assert set(answers) == {p.metadata.name for p in servers}, "every endpoint gets its share"
    assert NODES[1].sh(f"curl -sS -m 3 http://{address}/cgi-bin/who").strip() in answers, "hosts reach services"

    assert _who(namespace, "client-node3", "who", 80) in answers, "by its name"
    assert _who(namespace, "client-node3", f"who.{namespace}.svc.cluster.local", 80) in answers

    podium("-n", namespace, "scale", "deploy/who", "--replicas=0")
    until(
        lambda: "refused" in _inside(namespace, "client-node2", f"nc -w 3 {address} 80 2>&1 </dev/null"),
        seconds=20, what="a service without endpoints to refuse",
    )  # fmt: skip


def test_a_node_port_is_reached_at_every_host_from_outside(client: Client, namespace: str) -> None:
    _apply(namespace, _servers(replicas=1), _service(type="NodePort"))
    (server,) = _ready(client, namespace, 1)
    port = client.get(Service, "who", namespace=namespace).spec.ports[0].node_port
    for host in NODES:
        asked = f"http://{ADDRESSES[host.name]}:{port}/cgi-bin/who"
        answer = until(lambda: run("curl", "-sS", "-m", "3", asked, check=False).stdout.strip(),  # noqa: B023
                       seconds=10, what=f"an answer at {host.name}")  # fmt: skip
        assert answer == server.metadata.name


def test_a_balanced_service_is_reached_at_its_own_port_of_every_host(client: Client, namespace: str) -> None:
    balanced = {"type": "LoadBalancer", "ports": [{"port": 8088, "targetPort": "web"}]}
    _apply(namespace, _servers(replicas=1), _service(**balanced))
    (server,) = _ready(client, namespace, 1)
    ingress = until(
        lambda: [i.ip for i in client.get(Service, "who", namespace=namespace).status.load_balancer.ingress],
        seconds=10, what="addresses",
    )  # fmt: skip
    assert ingress == sorted(ADDRESSES[host.name] for host in NODES)
    for address in ingress:
        asked = f"http://{address}:8088/cgi-bin/who"
        answer = until(lambda: run("curl", "-sS", "-m", "3", asked, check=False).stdout.strip(),  # noqa: B023
                       seconds=10, what=f"an answer at {address}")  # fmt: skip
        assert answer == server.metadata.name


@contextmanager
def _asked_all_the_while(host: Host, namespace: str, address: str) -> Iterator[list[str]]:
    """Ask an HTTP server without a pause while the block lasts; its answers (`COUNT CODE`) are in the list then."""
    stop, answers = f"/tmp/stop-{namespace}", list[str]()
    host.sh(f"rm -f {stop}")
    ask = f"curl -sS -m 5 -o /dev/null -w '%{{http_code}}\\n' http://{address}/ 2>&1"
    until(lambda: host.sh(ask, check=False).strip() == "200", seconds=20, what="an answer")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(host.sh, f"while [ ! -e {stop} ]; do {ask}; done | sort | uniq -c", timeout=150)
        try:
            yield answers
        finally:
            host.sh(f"touch {stop}")
        answers += [" ".join(line.split()) for line in asking.result(timeout=30).splitlines()]


def _web(client: Client, namespace: str) -> str:
    """Four servers behind a service; its address."""
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }  # fmt: skip
    _apply(namespace, deployment("web", replicas=4), json.dumps(service))
    _ready(client, namespace, 4)
    return client.get(Service, "web", namespace=namespace).spec.cluster_ip


def _only_answered(answers: Sequence[str]) -> None:
    assert [line.split()[1:] for line in answers] == [["200"]], answers
    assert int(answers[0].split()[0]) > 100, "it was asked all the while"


def test_a_rolling_update_loses_no_request(client: Client, namespace: str) -> None:
    with _asked_all_the_while(NODES[0], namespace, _web(client, namespace)) as answers:
        podium("-n", namespace, "set", "image", "deploy/web", "web=nginx:1.16.1")
        podium("-n", namespace, "rollout", "status", "deploy/web", "--timeout=90s", timeout=100)
    _only_answered(answers)


def test_a_rolling_update_waits_for_a_node_that_hears_late(client: Client, namespace: str) -> None:
    address = _web(client, namespace)
    elsewhere = next(p for p in client.list(Pod, namespace=namespace) if p.spec.node_name != "node1")
    nodelet = NODES[0].pid_of("podium-nodelet")
    with _asked_all_the_while(NODES[0], namespace, address) as answers:
        with NODES[0].hung(nodelet, seconds=3):
            client.delete(Pod, elsewhere.metadata.name, namespace=namespace)
        podium("-n", namespace, "set", "image", "deploy/web", "web=nginx:1.16.1")
        for _ in range(3):
            until(lambda: _ending(client, namespace), seconds=60, what="a pod to end")
            with NODES[0].hung(nodelet, seconds=2):
                pass
        podium("-n", namespace, "rollout", "status", "deploy/web", "--timeout=90s", timeout=100)
    _only_answered(answers)


def _ending(client: Client, namespace: str) -> bool:
    return any(is_terminating(p) for p in client.list(Pod, namespace=namespace))


def test_namespaces_cannot_reach_each_other(client: Client, namespace: str, other: str) -> None:
    _apply(namespace, _servers(replicas=2), _service(), *(_client_on(h, f"client-{h.name}") for h in NODES[:2]))
    _apply(other, *(_client_on(h, f"client-{h.name}") for h in NODES[:2]))
    servers = [p for p in _ready(client, namespace, 4) if p.metadata.labels["app"] == "who"]
    _ready(client, other, 2)
    address = client.get(Service, "who", namespace=namespace).spec.cluster_ip
    for host in NODES[:2]:
        own, foreign = f"client-{host.name}", f"client-{host.name}"
        until(lambda: _who(namespace, own, address, 80), seconds=10, what="its own namespace's service")  # noqa: B023
        for server in servers:
            assert _who(namespace, own, server.status.pod_ip) == server.metadata.name
            assert _who(other, foreign, server.status.pod_ip) == ""
        assert _who(other, foreign, address, 80) == ""
        master = ADDRESSES["master"]
        assert "open" in _inside(other, foreign, f"nc -w 3 {master} 7443 </dev/null && echo open"), "hosts are reached"


def test_a_policy_closes_and_opens(client: Client, namespace: str, other: str) -> None:
    _apply(namespace, _servers(replicas=1), _client_on(NODES[0], "friend"), _client_on(NODES[1], "stranger"))
    _apply(other, _client_on(NODES[2], "guest"))
    (server,) = [p for p in _ready(client, namespace, 3) if p.metadata.labels["app"] == "who"]
    _ready(client, other, 1)
    address = server.status.pod_ip
    assert _who(namespace, "stranger", address), "one namespace"
    assert not _who(other, "guest", address), "another"
    policy = {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "who"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "who"}},
            "ingress": [{
                "from": [
                    {"podSelector": {"matchLabels": {"app": "friend"}}},
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": other}}},
                ],
                "ports": [{"protocol": "TCP", "port": "web"}],
            }],
        },
    }  # fmt: skip
    _apply(namespace, json.dumps(policy))
    until(lambda: not _who(namespace, "stranger", address), seconds=10, what="the stranger to be kept out")
    until(lambda: _who(other, "guest", address), seconds=10, what="the guest to be let in")
    assert _who(namespace, "friend", address)
    podium("-n", namespace, "delete", "networkpolicy", "who")
    until(lambda: _who(namespace, "stranger", address), seconds=10, what="the default to hold again")
    assert not _who(other, "guest", address)


def test_routes_and_rules_that_went_come_back(client: Client, namespace: str) -> None:
    _apply(namespace, _servers(replicas=3), _client_on(NODES[0], "client"))
    pods = _ready(client, namespace, 4)
    (away,) = [p for p in pods if p.metadata.labels["app"] == "who" and p.spec.node_name == "node2"]
    NODES[0].sh("ip route flush proto 173; nft delete table ip podium")
    until(lambda: _who(namespace, "client", away.status.pod_ip), seconds=30, what="the way to the other host")
    assert "chain from_pod" in NODES[0].sh("nft list table ip podium")
    NODES[0].cut()
    NODES[0].heal()
    podium("wait", "--for=condition=Ready", "node/node1", "--timeout=60s", timeout=90)
    until(lambda: _who(namespace, "client", away.status.pod_ip), seconds=30, what="the way after the cable was pulled")


def test_services_go_on_when_daemons_and_hosts_restart(client: Client, namespace: str) -> None:
    _apply(namespace, _servers(replicas=3), _service(), _client_on(NODES[0], "client"))
    pods = _ready(client, namespace, 4)
    (away,) = [p for p in pods if p.metadata.labels["app"] == "who" and p.spec.node_name == "node2"]
    address = client.get(Service, "who", namespace=namespace).spec.cluster_ip
    until(lambda: _who(namespace, "client", address, 80), seconds=10, what="an answer")
    (asking,) = [p for p in pods if p.metadata.name == "client"]
    container = asking.status.container_statuses[0].container_id.removeprefix("docker://")
    before = NODES[0].sh("nft list table ip podium | md5sum")
    NODES[0].sh(f"kill -9 {NODES[0].pid_of('podium-nodelet')}")
    assert NODES[0].sh("nft list table ip podium | md5sum") == before, "without its nodelet the table stays as it is"
    asked = f"{REQUEST} {away.status.pod_ip} 8080"
    assert _name_in(NODES[0].engine("exec", container, "sh", "-c", asked)) == away.metadata.name
    podium("wait", "--for=condition=Ready", "node/node1", "--timeout=60s", timeout=90)
    NODES[1].kill()
    try:
        until(
            lambda: {_who(namespace, "client", address, 80) for _ in range(6)}.isdisjoint({"", away.metadata.name}),
            seconds=30, what="only living endpoints to be asked",
        )  # fmt: skip
    finally:
        NODES[1].start()
    podium("wait", "--for=condition=Ready", "node/node2", "--timeout=60s", timeout=90)


CLOSE = (
    "iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT; "
    "iptables -P INPUT DROP; iptables -P FORWARD DROP"
)
OPEN = "iptables -P INPUT ACCEPT; iptables -P FORWARD ACCEPT; iptables -F INPUT; iptables -F FORWARD"


def test_pods_go_on_behind_a_firewall_that_drops(client: Client, namespace: str) -> None:
    """As ufw sets it up: what nobody accepts is dropped, to the host and through it."""
    _apply(namespace, _servers(1, {"nodeName": NODES[2].name}), _service(type="NodePort"),
           _client_on(NODES[1], "asking"))  # fmt: skip
    _ready(client, namespace, 2)
    port = client.get(Service, "who", namespace=namespace).spec.ports[0].node_port
    asked = f"http://{ADDRESSES['node2']}:{port}/cgi-bin/who"
    NODES[1].sh(CLOSE)
    try:
        until(
            lambda: _who(namespace, "asking", "who", 80), seconds=30, what="an answer by name, from behind the firewall"
        )
        until(lambda: run("curl", "-sS", "-m", "3", asked, check=False).stdout.strip(), seconds=10,
              what="an answer through the host behind the firewall")  # fmt: skip
        rules = NODES[1].sh("iptables -S")
        assert rules.count("podv+") == 4, "each rule is there once"
    finally:
        NODES[1].sh(OPEN)
