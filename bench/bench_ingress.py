"""Requests from outside through the ingress, beside the same service's node port and beside a plain nginx, in turns.

    make up && python -m bench.bench_ingress [--rounds 5] [--seconds 2] [--changes 20]

- `node_port`: the service's port at a node, led to a pod of another host by the kernel alone.
- `ingress`, `ingress_tls`: HAProxy at the same node, in the clear and with TLS, led to the same pod.
- `nginx`: a plain nginx at the same node, which passes everything to the same service, each request on a connection of
  its own, as the ingress does.
- changes: from `create` of an Ingress to its first answer at the last of all hosts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.network_rig import HTTP, IMAGE, SERVE, apply, build, namespace, ready_pods, service
from podium.client import Client
from podium.v1.networking_pb2 import Service
from tests.rig.manifests import pod
from tests.rig.rig import ADDRESSES, CONFIG, NODES, PODIUM, PROJECT, podium, run, until

NAME, HOST, PEER_PORT = "bench-ingress", "bench.example.com", 8081
CONNECTIONS = 16
PEER = """events {{}} daemon off; user www-data;
http {{ access_log off; keepalive_requests 10000000;
  server {{ listen {port}; location / {{ proxy_pass http://{to}; }} }} }}
"""


@contextlib.contextmanager
def proxies() -> Iterator[None]:
    """The proxies, on every host."""
    podium("ingress", "install", "--wait", "--timeout=120s", timeout=150)
    try:
        yield
    finally:
        podium("delete", "-f", "-", stdin=podium("ingress", "install", "--dry-run", "-o", "yaml"), timeout=90)
        podium("-n", "podium-system", "delete", "secret/ingress-proxy")


@contextlib.contextmanager
def outside() -> Iterator[str]:
    """A container on the hosts' network, to ask from."""
    made = run("docker", "run", "-d", "--network", f"{PROJECT}_hosts", "--add-host", f"{HOST}:{ADDRESSES['node1']}",
               IMAGE, "sleep", "100000").stdout.strip()  # fmt: skip
    try:
        yield made
    finally:
        run("docker", "rm", "-f", made)


@contextlib.contextmanager
def peer(address: str) -> Iterator[None]:
    """A plain nginx on node1's own network that passes everything to a service's address."""
    config = PEER.format(port=PEER_PORT, to=f"{address}:{HTTP}")
    program = f"echo '{' '.join(config.split())}' > /tmp/n.conf; exec nginx -c /tmp/n.conf"
    made = NODES[0].engine("run", "-d", "--network", "host", IMAGE, "sh", "-c", program).strip()
    try:
        yield
    finally:
        NODES[0].engine("rm", "-f", made)


def requests(client: str, url: str, seconds: int) -> tuple[float, float]:
    """Requests a second over connections that are kept, and the latency's 99th percentile in milliseconds."""
    said = run("docker", "exec", client, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url).stdout
    rate, worst = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"99%\s+([\d.]+)(us|ms|s)\b", said)
    assert rate is not None, said
    assert worst is not None, said
    assert "Non-2xx" not in said, said
    return float(rate[1]), float(worst[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[worst[2]]


def compare(client: str, urls: Mapping[str, str], rounds: int, seconds: int) -> None:
    """All of them in turns, so that whatever else the machine does falls on all."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in urls}
    for turn in range(rounds):
        for name in sorted(urls, reverse=turn % 2 == 1):
            found[name].append(requests(client, urls[name], seconds))
    rates = {name: statistics.median(rate for rate, _ in each) for name, each in found.items()}
    worst = {f"{name}_p99_ms": statistics.median(ms for _, ms in each) for name, each in found.items()}
    ratio = {"ingress_to_nginx": rates["ingress"] / rates["nginx"]}
    figures = {key: round(value, 2) for key, value in (rates | worst | ratio).items()}
    print(json.dumps({"case": "ingress_requests_s", "rounds": rounds, "seconds": seconds, **figures}), flush=True)


def changes(number: int) -> None:
    """How long a new Ingress takes to be served everywhere."""
    took = []
    for index in range(number):
        host = f"new{index}.example.com"
        began = time.monotonic()
        podium("-n", NAME, "create", "ingress", f"new{index}", f"--rule={host}/*=server:{HTTP}")
        for node in NODES:
            until(lambda: _answers(f"http://{host}/", host, ADDRESSES[node.name]), seconds=30, what=host)  # noqa: B023
        took.append(time.monotonic() - began)
    figures = {"median_s": round(statistics.median(took), 2), "worst_s": round(max(took), 2)}
    print(json.dumps({"case": "ingress_change", "changes": number, **figures}), flush=True)


def _answers(url: str, host: str, address: str) -> bool:
    asked = ("curl", "-sS", "-m", "3", "--resolve", f"{host}:80:{address}", url)
    return run(*asked, check=False).stdout == "hello"


def measure(rounds: int, seconds: int, number: int) -> None:
    """Everything."""
    build()
    with tempfile.TemporaryDirectory() as folder, proxies(), namespace(NAME), outside() as client:
        key, certificate = Path(folder, "key"), Path(folder, "crt")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "2", "-keyout", key, "-out", certificate, "-subj", "/CN=bench",
                        "-addext", f"subjectAltName=DNS:{HOST}"], check=True, capture_output=True)  # fmt: skip
        apply(
            NAME,
            pod("server", SERVE, image=IMAGE, spec={"nodeName": "node2"}),
            service("server", HTTP, type="NodePort"),
        )
        run(PODIUM, "-n", NAME, "create", "secret", "tls", "bench", f"--cert={certificate}", f"--key={key}")
        podium("-n", NAME, "create", "ingress", "bench", f"--rule={HOST}/*=server:{HTTP},tls=bench",
               "--annotation=podium.dev/ssl-redirect=false")  # fmt: skip
        _ = ready_pods(NAME, 1)
        with Client.from_config(CONFIG) as api:
            spec = api.get(Service, "server", namespace=NAME).spec
        urls = {"node_port": f"http://{HOST}:{spec.ports[0].node_port}/", "ingress": f"http://{HOST}:80/",
                "ingress_tls": f"https://{HOST}:443/", "nginx": f"http://{HOST}:{PEER_PORT}/"}  # fmt: skip
        with peer(spec.cluster_ip):
            for url in urls.values():
                asked = ("docker", "exec", client, "curl", "-ksS", "-m", "3", url)
                until(lambda: run(*asked, check=False).stdout == "hello", seconds=60, what=url)  # noqa: B023
            compare(client, urls, rounds, seconds)
        changes(number)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--changes", type=int, default=20)
    args = parser.parse_args()
    measure(args.rounds, args.seconds, args.changes)


if __name__ == "__main__":
    main()
