"""Services, names, isolation and a policy hold on real hosts through the death of nodelets, engines, hosts and cables.

All tests share one small world: a server on each host behind a service, a client on each, clients of another namespace,
a server that a policy closes to all but one, and a pod that talks to another over one connection all the while. What
holds is asked from inside of the pods through their hosts' own engines, so it can be asked while the master is dead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import Service
from tests.rig.rig import ADDRESSES, CONFIG, MASTER, NODES, PODIUM, Host, podium, run, until

pytestmark = pytest.mark.usefixtures("whole")

OWN, OTHER = "t-faults", "t-faults-other"
WHO = (
    "mkdir -p /www/cgi-bin; printf '#!/bin/sh\\necho; hostname\\n' > /www/cgi-bin/who; chmod +x /www/cgi-bin/who;"
    "exec httpd -f -p 8080 -h /www"
)
"""A server that answers with its pod's name."""
SLEEP = ["sleep", "100000"]
ECHO_PORT, HEARD = 9000, "/tmp/heard"
TALK = (
    "n=0; while :; do echo $n; n=$((n + 1)); sleep 0.1; done | nc echo 9000 > /tmp/heard;"
    "echo ENDED >> /tmp/heard; sleep 100000"
)
"""Counts into one connection for ever, and keeps what comes back."""
STAY = [{"key": f"node.kubernetes.io/{word}", "operator": "Exists", "effect": "NoExecute"}
        for word in ("not-ready", "unreachable")]  # fmt: skip
"""Tolerations of pods that wait for their host to come back."""


class World(NamedTuple):
    """Addresses of what the tests ask."""

    service: str
    servers: dict[str, str]
    closed: str
    node_port: int


def _on(host: Host, name: str, command: Sequence[str], *, app: str = "", ready: bool = False) -> str:
    probe = {"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}} if ready else {}
    container = {"name": "main", "image": "busybox", "command": command, **probe}
    placed = {"nodeName": host.name, "tolerations": STAY, "terminationGracePeriodSeconds": 1}
    meta = {"name": name, "labels": {"app": app or name}}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container], **placed}}
    )


def _service(name: str, port: int, target: int, app: str = "", **more: str) -> str:
    spec = {"selector": {"app": app or name}, "ports": [{"port": port, "targetPort": target}], **more}
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})


POLICY = {
    "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "closed"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "closed"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client-node1"}}}]}],
    },
}  # fmt: skip


def _apply(namespace: str, *manifests: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin="\n---\n".join(manifests))


def _ready(client: Client, namespace: str, count: int) -> dict[str, Pod]:
    def found() -> dict[str, Pod]:
        pods = {p.metadata.name: p for p in client.list(Pod, namespace=namespace) if is_ready(p)}
        return pods if len(pods) == count else {}

    return until(found, seconds=90, what=f"{count} ready pods in {namespace}")


@pytest.fixture(scope="module")
def world(rig: None) -> Iterator[World]:
    """Everything that the tests ask; it holds when they begin."""
    for namespace in (OWN, OTHER):
        podium("create", "namespace", namespace)
    servers = [_on(h, f"who-{h.name}", ["sh", "-c", WHO], app="who", ready=True) for h in NODES]
    clients = [_on(h, f"client-{h.name}", SLEEP) for h in NODES]
    closed = _on(NODES[1], "closed", ["sh", "-c", WHO], ready=True)
    echo = _on(NODES[1], "echo", ["nc", "-ll", "-p", str(ECHO_PORT), "-e", "cat"])
    services = [
        _service("who", 80, 8080, type="NodePort"), _service("bare", 8080, 8080, "who", clusterIP="None"),
        _service("echo", ECHO_PORT, ECHO_PORT),
    ]  # fmt: skip
    _apply(OWN, *servers, *clients, closed, echo, *services, json.dumps(POLICY))
    _apply(OTHER, *clients)
    try:
        with Client.from_config(CONFIG) as client:
            pods = _ready(client, OWN, 8)
            _ready(client, OTHER, 3)
            spec = client.get(Service, "who", namespace=OWN).spec
            of = {name: p.status.pod_ip for name, p in pods.items()}
            own = {n: ip for n, ip in of.items() if n.startswith("who-")}
            made = World(spec.cluster_ip, own, of["closed"], spec.ports[0].node_port)
            until(lambda: not broken(made) and not unnamed(made), seconds=30, what="everything to hold at first")
            _apply(OWN, _on(NODES[0], "talker", ["sh", "-c", TALK]))
            _ready(client, OWN, 9)
        yield made
    finally:
        for namespace in (OWN, OTHER):
            podium("delete", "namespace", namespace, "--timeout=60s", timeout=90)


# ---------------------------------------------------------------- what holds


def _inside(host: Host, namespace: str, name: str, script: str) -> str:
    labels = {"pod.namespace": namespace, "pod.name": name, "container.name": "main"}
    filters = [word for key, value in labels.items() for word in ("--filter", f"label=io.podium.{key}={value}")]
    found = host.engine("ps", "-q", *filters, check=False).split()
    return host.engine("exec", found[0], "sh", "-c", script, check=False) if found else ""


def _who(host: Host, namespace: str, name: str, places: Sequence[tuple[str, int]], seconds: int = 2) -> list[str]:
    """The names of the pods that answer at several places, asked from inside a pod one after the other; "" for none."""
    request = f"printf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc -w {seconds}"
    said = _inside(host, namespace, name, "; ".join(f"{request} {where} {port}; echo END" for where, port in places))
    answers = said.split("END")[:-1] or [""] * len(places)
    return [answer.split()[-1] if "200 OK" in answer else "" for answer in answers]


def _broken_on(host: Host, world: World) -> list[str]:
    """What does not hold of addresses, as seen from a host's pods."""
    direct = [(address, 8080) for address in world.servers.values()]
    through = [(world.service, 80), *direct]
    served, *reached, closed = _who(host, OWN, f"client-{host.name}", [*through, (world.closed, 8080)])
    foreign = _who(host, OTHER, f"client-{host.name}", through)
    found = []
    if served not in world.servers:
        found.append(f"the service answers {served!r}")
    if reached != list(world.servers):
        found.append(f"the servers themselves answer {reached}")
    if closed != ("closed" if host.name == "node1" else ""):
        found.append(f"the closed server answers {closed!r}")
    outside = f"http://{ADDRESSES[host.name]}:{world.node_port}/cgi-bin/who"
    asked = run("curl", "-sS", "-m", "2", outside, check=False).stdout.strip()
    if asked not in world.servers:
        found.append(f"the node port answers {asked!r} to clients outside")
    found.extend(f"{place[0]} answers another namespace" for place, who in zip(through, foreign, strict=True) if who)
    return [f"on {host.name}: {what}" for what in found]


def _unnamed_on(host: Host, world: World) -> list[str]:
    """Names that lead to no server, as seen from a host's pod; a resolver waits five seconds before it repeats."""
    places = [("who", 80), (f"who.{OWN}.svc.cluster.local", 80), ("bare", 8080)]
    answers = _who(host, OWN, f"client-{host.name}", places, seconds=12)
    return [
        f"on {host.name}: {name} answers {who!r}"
        for (name, _), who in zip(places, answers, strict=True)
        if who not in world.servers
    ]


def _everywhere(find: Callable[[Host, World], list[str]], world: World, hosts: Sequence[Host]) -> list[str]:
    with ThreadPoolExecutor(len(hosts)) as pool:
        return [what for found in pool.map(lambda host: find(host, world), hosts) for what in found]


def broken(world: World, hosts: Sequence[Host] = NODES) -> list[str]:
    """What of services, isolation and policy does not hold now; all hosts are asked at once."""
    return _everywhere(_broken_on, world, hosts)


def unnamed(world: World, hosts: Sequence[Host] = NODES) -> list[str]:
    """Names that lead nowhere; all hosts are asked at once."""
    return _everywhere(_unnamed_on, world, hosts)


def _heard() -> list[str]:
    return _inside(NODES[0], OWN, "talker", f"tail -n 1 {HEARD}").split()


@contextmanager
def talking() -> Iterator[None]:
    """Fails when the connection that stands did not outlive what happens within."""
    before = until(_heard, seconds=20, what="the first echo")
    assert before != ["ENDED"], "it had ended before"
    yield
    # Ten more: what was on its way when something happened is not proof.
    until(lambda: _heard() == ["ENDED"] or int(_heard()[0]) > int(before[0]) + 10, seconds=30, what="more echoes")
    assert _heard() != ["ENDED"], "the connection was cut off"


def _all_ready() -> None:
    podium("wait", "--for=condition=Ready", *(f"node/{h.name}" for h in NODES), "--timeout=60s", timeout=90)


def _killed(host: Host, program: str) -> None:
    old = host.pid_of(program)
    host.sh(f"kill -9 {old}")
    until(lambda: host.pid_of(program) not in (0, old), seconds=30, what=f"a new {program} on {host.name}")


# ---------------------------------------------------------------- what happens


def test_all_nodelets_are_killed(world: World) -> None:
    rules = {host.name: host.sh("nft list table ip podium | md5sum") for host in NODES}
    with talking():
        for host in NODES:
            # Held for a moment, so that what is asked is asked while no nodelet runs.
            host.sh(f"kill -9 {host.pid_of('podium-nodelet')}; nft list table ip podium | md5sum > /tmp/left")
        assert {host.name: host.sh("cat /tmp/left") for host in NODES} == rules, "the tables stay as they are"
        assert broken(world) == [], "and hold while the nodelets start"
        assert unnamed(world) == [], "who asks for a name meanwhile has to wait, and is answered"
        _all_ready()
        assert broken(world) == []


def test_an_engine_is_killed(world: World) -> None:
    with talking():
        _killed(NODES[1], "dockerd")
        until(lambda: NODES[1].engine("ps", "-q", check=False), seconds=30, what="the engine's answer")
        assert broken(world) == unnamed(world) == []


def test_the_master_is_away_and_a_host_boots_meanwhile(world: World) -> None:
    with talking():
        MASTER.kill()
        try:
            assert broken(world) == unnamed(world) == []
            _killed(NODES[0], "podium-nodelet")
            assert broken(world) == [], "after a nodelet's restart"
            NODES[2].kill()
            NODES[2].start()
            until(lambda: not broken(world, NODES[2:]), seconds=60, what="all to hold on the host that booted")
            until(lambda: not broken(world), seconds=20, what="all to hold everywhere, without a master")
            assert unnamed(world) == []
        finally:
            MASTER.start()
        _all_ready()
        until(lambda: not broken(world), seconds=20, what="all to hold with the master again")


def test_a_host_is_cut_off_and_comes_back(world: World) -> None:
    far = NODES[1]
    staying = {name: ip for name, ip in world.servers.items() if name != f"who-{far.name}"}
    NODES[1].cut()
    try:
        for host in (NODES[0], NODES[2]):
            until(lambda: set(_who(host, OWN, f"client-{host.name}", [("who", 80)] * 8)) <= staying.keys(),  # noqa: B023
                  seconds=30, what="only servers that are in reach to be asked")  # fmt: skip
        own = _who(far, OWN, f"client-{far.name}", [(world.servers[f"who-{far.name}"], 8080)])
        assert own == [f"who-{far.name}"], "on the host that is cut off pods go on"
        assert _who(far, OTHER, f"client-{far.name}", [(world.servers[f"who-{far.name}"], 8080)]) == [""]
        assert "10." in _inside(far, OWN, f"client-{far.name}", f"nslookup who.{OWN}.svc.cluster.local | tail -n 3")
    finally:
        far.heal()
    _all_ready()
    until(lambda: not broken(world) and not unnamed(world), seconds=30, what="all to hold again")


def test_a_short_cut_interrupts_no_connection(world: World) -> None:
    with talking():
        NODES[1].cut()
        until(lambda: _heard() == _heard(), seconds=10, what="nothing to come back any more")
        NODES[1].heal()
    _all_ready()
    until(lambda: not broken(world), seconds=30, what="all to hold again")
