"""What ports, services and names lead to on real hosts: one small world, and tables of who asks what and who answers.

Everything is there before the first question; so that the tables cost little, a pod asks all that it asks in one go.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import Service
from tests.rig.rig import ADDRESSES, CONFIG, NODES, PODIUM, ROOT, Host, podium, run, until

OWN, DOMAIN = "t-traffic", "t-traffic.svc.cluster.local"
SLEEP = ["sleep", "100000"]
HERE = ADDRESSES["master"].rsplit(".", 1)[0] + ".1"
"""This machine's address on the hosts' link."""
OUTWARD = "198.51.100.33"
"""An address that is nobody's (RFC 5737), and a service's external address."""
UNREADY = {"exec": {"command": ["false"]}, "periodSeconds": 60}
NOWHERE = {"nameservers": ["192.0.2.53"], "searches": ["corp.example"], "options": [{"name": "ndots", "value": "2"}]}
WHO = frozenset({"who-node1", "who-node2"})


def _pod(
    name: str, host: str, command: list[str], *, labels: dict[str, str] | None = None,
    probe: dict[str, Any] | None = None, ports: Sequence[dict[str, Any]] = (), **spec: Any,
) -> dict[str, Any]:  # fmt: skip
    container: dict[str, Any] = {"name": "main", "image": "busybox", "command": command, "ports": list(ports)}
    if probe:
        container["readinessProbe"] = probe
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {"app": name}},
        "spec": {"nodeName": host, "containers": [container], "terminationGracePeriodSeconds": 1, **spec},
    }  # fmt: skip


def _server(name: str, host: str, *numbers: int, **more: Any) -> dict[str, Any]:
    """A server that answers, at each of its ports, with its name and who asked."""
    cgi = f"printf '#!/bin/sh\\necho; echo {name} $REMOTE_ADDR\\n' > /www/cgi-bin/who; chmod +x /www/cgi-bin/who"
    *further, first = reversed(numbers or (8080,))
    serving = [f"httpd -p {number} -h /www" for number in further] + [f"exec httpd -f -p {first} -h /www"]
    more.setdefault("probe", {"tcpSocket": {"port": first}, "periodSeconds": 1})
    return _pod(name, host, ["sh", "-c", "; ".join(["mkdir -p /www/cgi-bin", cgi, *serving])], **more)


def _service(name: str, app: str = "", ports: Sequence[dict[str, Any]] = ({"port": 80, "targetPort": 8080},),
             **spec: Any) -> dict[str, Any]:  # fmt: skip
    made = {"ports": list(ports), **({"selector": {"app": app}} if app else {}), **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": made}


def _alias(name: str, of: str) -> dict[str, Any]:
    spec = {"type": "ExternalName", "externalName": of}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


WRITTEN = {
    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
    "metadata": {"name": "manual-1", "labels": {"kubernetes.io/service-name": "manual"}},
    "ports": [{"name": "http", "port": 18090}], "endpoints": [{"addresses": [ADDRESSES["node3"]]}],
}  # fmt: skip
PODS = [
    _pod("asking-node1", "node1", SLEEP, dnsConfig={"searches": ["corp.example"], "options": NOWHERE["options"]}),
    _pod("asking-node3", "node3", SLEEP),
    _pod("alone", "node1", SLEEP, dnsPolicy="None", dnsConfig=NOWHERE),
    _server("who-node1", "node1", labels={"app": "who"}),
    _server("who-node2", "node2", labels={"app": "who"}),
    _server("hosted", "node2", ports=[{"containerPort": 8080, "hostPort": 18089}]),
    _server("on-host", "node3", 18090, hostNetwork=True, dnsPolicy="Default", dnsConfig=NOWHERE),
    _server("unready", "node2", probe=UNREADY),
    *(_server(f"db-{n}", f"node{n + 1}", labels={"app": "db"}, hostname=f"db-{n}", subdomain="db") for n in (0, 1)),
]
SERVICES = [
    _service("who", "who"),
    _service("near", "who", internalTrafficPolicy="Local"),
    _service("prefer", "who", trafficDistribution="PreferSameNode"),
    _service("outside", "who", type="NodePort"),
    _service("outside-local", "who", type="NodePort", externalTrafficPolicy="Local"),
    _service("outward", "who", externalIPs=[OUTWARD]),
    _service("db", "db", [{"name": "web", "port": 8080}], clusterIP="None"),
    _service("published", "unready", publishNotReadyAddresses=True),
    _service("unpublished", "unready"),
    _service("manual", "", [{"name": "http", "port": 80}]),
    WRITTEN,
    _alias("alias", f"who.{DOMAIN}"),
    _alias("elsewhere", "master"),
]

FROM_THE_PAGE = [
    _server("my-app", "node2", 9376, 80, 9377, 49152, labels={"app.kubernetes.io/name": "MyApp"}),
    _server("busybox", "node3", 1234, labels={"name": "busybox"}, hostname="busybox-1", subdomain="busybox-subdomain"),
]
"""Pods that the services of Kubernetes' documentation select."""


def _page() -> str:
    """The manifests of that page, but for an image, an address and a namespace that the rig has not."""
    text = (ROOT / "tests/golden/manifests/services.yaml").read_text()
    found = {"nginx:stable": "nginx:latest", "10.0.171.239": "10.63.171.239", "namespace: prod": f"namespace: {OWN}",
             "name: elsewhere": "name: of-the-page"}  # fmt: skip
    for old, new in found.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def pods(rig: None) -> Iterator[dict[str, Pod]]:
    """Everything that is asked, by name; ready but for what shall not be."""
    podium("create", "namespace", OWN)
    try:
        objects = map(json.dumps, [*SERVICES, *PODS, *FROM_THE_PAGE])
        run(PODIUM, "-n", OWN, "apply", "-f", "-", stdin="\n---\n".join([*objects, _page()]))
        names = {made["metadata"]["name"] for made in PODS + FROM_THE_PAGE} | {"nginx"}
        with Client.from_config(CONFIG) as client:

            def ready() -> dict[str, Pod]:
                found = {p.metadata.name: p for p in client.list(Pod, namespace=OWN)}
                up = {n for n, p in found.items() if is_ready(p) or (n == "unready" and p.status.pod_ip)}
                return found if up == names else {}

            yield until(ready, seconds=90, what=lambda: podium("-n", OWN, "get", "pods", "-o", "wide"))
    finally:
        podium("delete", "namespace", OWN, "--timeout=60s", timeout=90)


def _inside(name: str, host: Host, script: str) -> str:
    labels = {"pod.namespace": OWN, "pod.name": name, "container.name": "main"}
    filters = [word for key, value in labels.items() for word in ("--filter", f"label=io.podium.{key}={value}")]
    return host.engine("exec", host.engine("ps", "-q", *filters).split()[0], "sh", "-c", script, check=False)


# ---------------------------------------------------------------- who answers


class Row(NamedTuple):
    """A question at an address or name, and by whom it may be answered: by nobody, where nobody is named."""

    at: str
    port: int
    by: frozenset[str]
    source: str = ""
    """Of the packets as the server sees them, where that matters: an address, or the name of a pod."""


def _by(*names: str) -> frozenset[str]:
    return frozenset(names)


INSIDE = [
    Row("who", 80, WHO),
    Row("alias", 80, WHO),
    Row(OUTWARD, 80, WHO),
    Row(ADDRESSES["node2"], 18089, _by("hosted")),
    Row(ADDRESSES["node3"], 18090, _by("on-host")),
    Row("manual", 80, _by("on-host")),
    Row("published", 80, _by("unready")),
    Row("unpublished", 80, _by()),
    Row("db", 8080, _by("db-0", "db-1")),
    Row("db-1.db", 8080, _by("db-1")),
    Row("my-service", 80, _by("my-app")),
    Row("nginx-service", 80, _by("nginx")),
    *(Row("several-ports", port, _by("my-app")) for port in (80, 443)),
    *(Row(name, 80, _by("my-app")) for name in ("node-port", "balanced", "external-addresses", "remembers-clients")),
    Row("198.51.100.32", 80, _by("my-app")),
    Row("busybox-1.busybox-subdomain", 1234, _by("busybox")),
]
FROM_NODE1 = [Row("near", 80, _by("who-node1"), "asking-node1"), *[Row("prefer", 80, _by("who-node1"))] * 4]
FROM_NODE3 = [Row("near", 80, _by()), Row("prefer", 80, WHO, "asking-node3")]


@pytest.mark.parametrize(("host", "rows"), [(NODES[0], INSIDE + FROM_NODE1), (NODES[2], INSIDE + FROM_NODE3)])
def test_a_pod_is_answered(pods: dict[str, Pod], host: Host, rows: list[Row]) -> None:
    ask = "printf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {0.at} {0.port} 2>&1; echo END"

    def wrong() -> list[str]:
        said = _inside(f"asking-{host.name}", host, "; ".join(ask.format(row) for row in rows))
        return _wrong(rows, said.split("END\n")[:-1], pods)

    until(lambda: not wrong(), seconds=40, what=wrong)


def test_a_client_outside_is_answered(pods: dict[str, Pod], client: Client) -> None:
    def port(name: str) -> int:
        return client.get(Service, name, namespace=OWN).spec.ports[0].node_port

    at = [ADDRESSES[host.name] for host in NODES]
    rows = [
        Row(at[1], 18089, _by("hosted"), HERE),
        Row(at[0], 18089, _by()),
        Row(at[2], 18090, _by("on-host"), HERE),
        *(Row(each, port("outside"), WHO) for each in at),
        Row(at[0], port("outside-local"), _by("who-node1"), HERE),
        Row(at[1], port("outside-local"), _by("who-node2"), HERE),
        Row(at[2], port("outside-local"), _by()),
        *(Row(each, number, _by("my-app")) for each in at for number in (30007, 80)),
    ]

    def wrong() -> list[str]:
        asked = (f"http://{row.at}:{row.port}/cgi-bin/who" for row in rows)
        said = [run("curl", "-isS", "-m", "3", url, check=False).stdout for url in asked]
        return _wrong(rows, said, pods)

    until(lambda: not wrong(), seconds=40, what=wrong)


def _wrong(rows: Sequence[Row], answers: Sequence[str], pods: dict[str, Pod]) -> list[str]:
    """Rows that are answered otherwise than they should be."""
    if len(answers) != len(rows):
        return [f"{len(answers)} of {len(rows)} questions were asked"]
    found = []
    for row, said in zip(rows, answers, strict=True):
        name, source = _answer(said)
        expected = pods[row.source].status.pod_ip if row.source in pods else row.source
        if name not in (row.by or {""}) or (expected and row.by and expected != source):
            found.append(
                f"{row.at}:{row.port} is answered by {name!r} to {source!r}, not by {set(row.by)} to {expected!r}"
            )
    return found


def _answer(said: str) -> tuple[str, str]:
    """Who answered, and whom it answered."""
    if "Server: nginx" in said:
        return "nginx", ""
    if "200 OK" not in said:
        return "", ""
    name, source = said.split()[-2:]
    return name, source.strip("[]").rpartition(":")[2]


# ---------------------------------------------------------------- what names are


def test_names_have_their_records(pods: dict[str, Pod]) -> None:
    address = {name: pod.status.pod_ip for name, pod in pods.items()}
    back = ".".join(reversed(address["db-0"].split("."))) + ".in-addr.arpa"
    records = {
        ("a", f"db.{DOMAIN}"): (address["db-0"], address["db-1"]),
        ("a", f"db-1.db.{DOMAIN}"): (address["db-1"],),
        ("srv", f"_web._tcp.db.{DOMAIN}"): (f"0 100 8080 db-0.db.{DOMAIN}", f"0 100 8080 db-1.db.{DOMAIN}"),
        ("ptr", back): (f"name = db-0.db.{DOMAIN}",),
        ("a", f"alias.{DOMAIN}"): (f"canonical name = who.{DOMAIN}", f"Name:\twho.{DOMAIN}"),
        ("a", f"elsewhere.{DOMAIN}"): ("canonical name = master", ADDRESSES["master"]),
    }  # fmt: skip

    def wrong() -> list[str]:
        script = "; ".join(f"nslookup -type={type_} {name}; echo END" for type_, name in records)
        said = _inside("asking-node3", NODES[2], script).split("END\n")[:-1] or [""] * len(records)
        pairs = zip(records.items(), said, strict=True)
        return [f"{asked}: {answer}" for (asked, words), answer in pairs if not all(word in answer for word in words)]

    until(lambda: not wrong(), seconds=20, what=wrong)
    reached = _inside("asking-node1", NODES[0], "nc -w 3 elsewhere 7443 < /dev/null && echo reached")
    assert reached == "reached\n", "a name of the world, through a service's, as a program resolves it"


def test_a_pod_looks_names_up_as_it_says(pods: dict[str, Pod]) -> None:
    def settings(name: str, host: Host) -> list[str]:
        return sorted(
            line for line in _inside(name, host, "cat /etc/resolv.conf").splitlines() if line[:1] not in ("", "#")
        )

    gateway = NODES[0].sh("ip -4 -o addr show podium0").split()[3].partition("/")[0]
    assert settings("alone", NODES[0]) == ["nameserver 192.0.2.53", "options ndots:2", "search corp.example"], (
        "its own and no more: the host has an option"
    )
    assert settings("asking-node1", NODES[0]) == [
        f"nameserver {gateway}", "options ndots:2", f"search {DOMAIN} svc.cluster.local cluster.local corp.example"
    ]  # fmt: skip
    host = [line for line in NODES[2].sh("cat /etc/resolv.conf").splitlines() if line.startswith("nameserver")]
    assert settings("on-host", NODES[2]) == [
        *sorted([*host, "nameserver 192.0.2.53"]), "options ndots:2", "search corp.example"
    ]  # fmt: skip
