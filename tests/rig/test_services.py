"""What leads to services on real hosts: addresses on the hosts' link, clients that stay, health for balancers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from podium.client import Client
from podium.v1.networking_pb2 import Service
from tests.rig.manifests import pod
from tests.rig.rig import ADDRESSES, MASTER, NODES, Host, podium, run, until
from tests.rig.test_network import SLEEP, _all_who, _apply, _ready, _servers, _service

POOL = [ADDRESSES["master"].rsplit(".", 1)[0] + f".{last}" for last in (200, 201)]
LOCAL = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}


@pytest.fixture
def pool(namespace: str) -> Iterator[str]:
    """An address pool for services of the test's namespace."""
    podium("label", "namespace", namespace, "pools=lab")
    made = {
        "apiVersion": "podium.dev/v1", "kind": "AddressPool", "metadata": {"name": namespace},
        "spec": {"addresses": [f"{POOL[0]}-{POOL[1]}"], "namespaceSelector": {"matchLabels": {"pools": "lab"}}},
    }  # fmt: skip
    _apply(namespace, json.dumps(made))
    yield namespace
    podium("delete", "addresspool", namespace)


def _fetch(address: str, path: str = "cgi-bin/who") -> str:
    """What this machine, which is on the hosts' link, gets."""
    return run("curl", "-sS", "-m", "5", f"http://{address}/{path}", check=False).stdout.strip()


def _holders(address: str) -> list[Host]:
    """The hosts that answer for an address, of those that run."""
    return [h for h in NODES if f"inet {address}/32" in h.sh("ip -4 addr show podium0", check=False)]


def _announcer(client: Client, namespace: str) -> str:
    return client.get(Service, "who", namespace=namespace).status.announcer


def _addresses(client: Client, namespace: str, name: str = "who") -> list[str]:
    return [i.ip for i in client.get(Service, name, namespace=namespace).status.load_balancer.ingress]


def test_an_address_of_a_pool_is_answered_for_by_one_host_and_by_another_when_it_dies(
    client: Client, namespace: str, pool: str, whole: None
) -> None:
    _apply(namespace, _servers(), _service(type="LoadBalancer"))
    servers = {p.metadata.name for p in _ready(client, namespace, 3)}
    (address,) = until(lambda: _addresses(client, namespace), seconds=10, what="an address")
    assert address in POOL
    until(lambda: _fetch(address) in servers, seconds=30, what="an answer on the link")
    (first,) = _holders(address)
    assert first.name == _announcer(client, namespace)
    asked = f"http://{address}:7445/healthz"
    assert run("curl", "-sS", "-m", "2", asked, check=False).returncode == 7, "what else the host serves is refused"
    assert run("curl", "-sS", "-m", "2", asked.replace(address, ADDRESSES[first.name]), check=False).returncode == 0
    first.kill()
    try:
        until(lambda: _fetch(address) in servers, seconds=15, what="an answer by another host")
        (second,) = _holders(address)
        assert second != first
    finally:
        first.start()
    podium("wait", "--for=condition=Ready", f"node/{first.name}", "--timeout=60s", timeout=90)
    until(lambda: _holders(address) == [first], seconds=20, what="its addresses to return to the host")
    until(lambda: _fetch(address) in servers, seconds=30, what="an answer by the first host again")


@pytest.mark.parametrize("how", ["cut off", "frozen"])
def test_a_host_that_its_master_has_lost_lets_its_addresses_go(
    client: Client, namespace: str, pool: str, whole: None, how: str
) -> None:
    """Cut off, the nodelet does it; when it is frozen, the watchdog does."""
    _apply(namespace, _servers(), _service(type="LoadBalancer"))
    _ready(client, namespace, 3)
    (address,) = until(lambda: _addresses(client, namespace), seconds=10, what="an address")
    until(lambda: _fetch(address), seconds=30, what="an answer on the link")
    (first,) = _holders(address)
    frozen = how == "frozen"
    nodelet = first.pid_of("podium-nodelet")
    first.sh(f"kill -STOP {nodelet}" if frozen else f"iptables -I OUTPUT -d {ADDRESSES['master']} -j DROP")
    try:
        until(lambda: first not in (held := _holders(address)) and held, seconds=30, what="another host alone")
        until(lambda: _fetch(address), seconds=30, what="an answer by the other")
    finally:
        first.sh(f"kill -CONT {nodelet}" if frozen else f"iptables -D OUTPUT -d {ADDRESSES['master']} -j DROP")
    until(lambda: _holders(address) == [first], seconds=30, what="the first host to answer again")


def test_hosts_go_on_answering_while_their_master_is_away(client: Client, namespace: str, pool: str) -> None:
    _apply(namespace, _servers(), _service(type="LoadBalancer"))
    _ready(client, namespace, 3)
    (address,) = until(lambda: _addresses(client, namespace), seconds=10, what="an address")
    until(lambda: _fetch(address), seconds=30, what="an answer on the link")
    (first,) = _holders(address)
    _pause("pause")
    try:
        for _ in range(30):  # much longer than a lease
            assert _holders(address) == [first]
            until(lambda: _fetch(address, "nothing"), seconds=30, what="an answer, be it that there is no such page")
            first.sh("sleep 0.5")
    finally:
        _pause("unpause")
    podium("wait", "--for=condition=Ready", *(f"node/{h.name}" for h in NODES), "--timeout=60s", timeout=90)
    assert _holders(address) == [first]


def _pause(word: str) -> None:
    run("docker", word, MASTER.container)


def test_a_pool_that_is_used_up_leaves_services_waiting(client: Client, namespace: str, pool: str) -> None:
    for name in ("a", "b", "c"):
        manifest = json.loads(_service(type="LoadBalancer"))
        manifest["metadata"]["name"] = name
        _apply(namespace, json.dumps(manifest))
    until(lambda: "AddressPoolExhausted" in podium("-n", namespace, "get", "events"), seconds=20, what="an event")
    waiting = [name for name in "abc" if not _addresses(client, namespace, name)]
    assert len(waiting) == 1
    assert "<pending>" in podium("-n", namespace, "get", "svc", waiting[0])
    assert "2/2" in podium("get", "addresspools")
    held = next(n for n in "abc" if n not in waiting)
    podium("-n", namespace, "delete", "svc", held)
    until(lambda: _addresses(client, namespace, waiting[0]), seconds=10, what="what is free again")


def test_hosts_tell_whether_they_have_endpoints(client: Client, namespace: str) -> None:
    _apply(namespace, _servers(1, {"nodeName": NODES[1].name}),
           _service(**LOCAL, ports=[{"port": 8089, "targetPort": "web"}]))  # fmt: skip
    _ready(client, namespace, 1)
    port = client.get(Service, "who", namespace=namespace).spec.health_check_node_port

    def said(host: Host) -> str:
        asked = f"http://{ADDRESSES[host.name]}:{port}/healthz"
        return run("curl", "-sS", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}", asked, check=False).stdout

    until(lambda: [said(host) for host in NODES] == ["503", "200", "503"], seconds=20, what="one host to have one")
    podium("-n", namespace, "scale", "deploy/who", "--replicas=0")
    until(lambda: {said(host) for host in NODES} == {"503"}, seconds=20, what="no host to have one")


ANSWER = """
use IO::Socket::INET;
my $socket = IO::Socket::INET->new(LocalPort => 9000, Proto => "udp") or die;
while ($socket->recv(my $data, 99)) { $socket->send($ENV{NAME}); }
"""
"""A server over UDP that answers with its pod's name."""
ASK = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(0.5)
    while True:
        try:
            client.sendto(b"who", (sys.argv[1], 53))
            print(client.recv(99).decode(), flush=True)
        except OSError:
            print("-", flush=True)
        time.sleep(0.1)
"""


def test_a_client_with_one_socket_is_led_on_when_the_host_that_answers_it_dies(
    client: Client, namespace: str, whole: None
) -> None:
    """A UDP client that keeps its port, as resolvers do: the kernel knows its flow, which would never end."""
    container = {"env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}
    for host in NODES[1:]:
        made = yaml.safe_load(pod(host.name, ["perl", "-e", ANSWER], image="nginx:1.14.2", container=container,
                                  spec={"nodeName": host.name}))  # fmt: skip
        made["metadata"]["labels"] = {"app": "who"}
        _apply(namespace, json.dumps(made))
    _apply(namespace, _service(ports=[{"port": 53, "protocol": "UDP", "targetPort": 9000}]))
    hosts = {p.metadata.name: Host(p.spec.node_name) for p in _ready(client, namespace, 2)}
    address = client.get(Service, "who", namespace=namespace).spec.cluster_ip
    NODES[0].sh(f"cat > /tmp/ask.py <<'END'\n{ASK}\nEND")
    NODES[0].sh(
        f"setsid /opt/podium/bin/python3 /tmp/ask.py {address} > /tmp/answers 2>&1 < /dev/null & echo $! > /tmp/asking"
    )
    try:
        first = until(lambda: hosts.get(_last_answer()), seconds=20, what="an answer over UDP")
        first.kill()
        try:
            until(lambda: hosts.get(_last_answer(), first) != first, seconds=30, what="an answer by the other pod")
        finally:
            first.start()
    finally:
        NODES[0].sh("kill $(cat /tmp/asking)", check=False)


def _last_answer() -> str:
    return NODES[0].sh("tail -n 1 /tmp/answers").strip()


def test_a_client_stays_with_its_pod_while_others_come_and_leaves_it_when_it_goes(
    client: Client, namespace: str
) -> None:
    affinity = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}}}
    _apply(namespace, _servers(2), _service(**affinity), pod("client", SLEEP, spec={"nodeName": NODES[0].name}))
    _ready(client, namespace, 3)
    address = client.get(Service, "who", namespace=namespace).spec.cluster_ip

    def who() -> set[str]:
        return set(_all_who(namespace, "client", [(address, 80)] * 6))

    (first,) = until(lambda: found if len(found := who()) == 1 and "" not in found else set(), seconds=10, what="one")
    podium("-n", namespace, "scale", "deploy/who", "--replicas=5")
    _ready(client, namespace, 6)
    NODES[0].sh("kill -9 $(pgrep -o -f '[p]odium-nodelet')")
    assert until(who, seconds=30, what="the nodelet to be back") == {first}, (
        "whoever came meanwhile, and over a restart of the nodelet"
    )
    podium("-n", namespace, "delete", "pod", first)
    (second,) = until(lambda: found if len(found := who()) == 1 and "" not in found else set(), seconds=10, what="one")
    assert second != first
    assert who() == {second}
