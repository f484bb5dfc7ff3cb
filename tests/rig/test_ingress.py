"""Ingresses on real hosts: requests from outside, certificates, and changes under load that lose nothing."""

from __future__ import annotations

import http.client
import json
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Pod
from podium.v1.ingress_pb2 import Ingress
from tests.rig.manifests import deployment
from tests.rig.rig import ADDRESSES, NODES, PODIUM, podium, run, until

HOSTS = tuple(ADDRESSES[node.name] for node in NODES)
PAUSE = 0.02
"""Seconds between a client's requests: a steady load, which leaves the machine time for what is tried."""
SYSTEM = ("-n", "podium-system")
PROXIES = "podium.dev/ingress-proxy=true"


@pytest.fixture(scope="module", autouse=True)
def proxies() -> Iterator[None]:
    """The proxies, on every host; removed with all that belongs to them."""
    podium("ingress", "install", "--wait", "--timeout=120s", timeout=150)
    yield
    installed = podium("ingress", "install", "--dry-run", "-o", "yaml")
    podium("delete", "-f", "-", stdin=installed, timeout=90)
    podium(*SYSTEM, "delete", "secret/ingress-proxy")


def _apply(namespace: str, *manifests: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin="\n---\n".join(manifests))


def _web(name: str, *, image: str = "nginx:1.14.2", replicas: int = 1) -> str:
    """A Deployment whose pages name it, and its service."""
    page = f"echo {name} > /tmp/index.html; exec nginx -g 'daemon off;'"
    command = ["sh", "-c", f"sed -i 's#/usr/share/nginx/html#/tmp#' /etc/nginx/conf.d/default.conf; {page}"]
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]},
    }  # fmt: skip
    made = deployment(
        name, image=image, replicas=replicas, container={"command": command},
        spec={"terminationGracePeriodSeconds": 10},
    )  # fmt: skip
    return f"{made}---\n{yaml.safe_dump(service)}"


def _get(address: str, host: str, path: str = "/") -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, 80, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _says(address: str, host: str, words: str, path: str = "/") -> bool:
    try:
        return words in _get(address, host, path)[1]
    except OSError:
        return False


def _everywhere(host: str, words: str, path: str = "/") -> None:
    until(lambda: all(_says(a, host, words, path) for a in HOSTS), seconds=60, what=f"{words} at {host}{path}")


def test_requests_are_led_by_host_and_path_at_every_host(client: Client, namespace: str) -> None:
    _apply(namespace, _web("shop"), _web("pay"))
    rules = ("--rule=shop.example.com/*=shop:80", "--rule=shop.example.com/pay*=pay:http",
             "--rule=*.shop.example.com/*=pay:80", "--rule=shop.example.com/gone*=gone:80")  # fmt: skip
    podium("-n", namespace, "create", "ingress", "shop", *rules)
    _everywhere("shop.example.com", "shop")
    _everywhere("any.shop.example.com", "pay")
    for address in HOSTS:
        assert _get(address, "shop.example.com", "/pay")[0] in (200, 404), "the path is led to the service as it is"
        assert _get(address, "other.example.com") == (404, "nothing is served here\n")
        assert _get(address, "shop.example.com", "/gone/x") == (503, "the service that this leads to is not there\n")
    found = client.get(Ingress, "shop", namespace=namespace).status.load_balancer.ingress
    assert sorted(i.ip for i in found) == sorted(HOSTS)
    assert "service " + namespace + "/gone is not there" in podium("-n", namespace, "describe", "ingress", "shop")
    podium("-n", namespace, "scale", "deploy/pay", "--replicas=0")
    unanswered = (503, "no pod of the service that this leads to answers\n")
    until(lambda: _get(HOSTS[0], "any.shop.example.com") == unanswered, seconds=20, what="503 of nobody")
    podium("-n", namespace, "scale", "deploy/pay", "--replicas=1")
    until(lambda: _says(HOSTS[0], "any.shop.example.com", "pay"), seconds=60, what="a pod that came back")


def _certificate(folder: Path, name: str, number: int) -> Path:
    """A certificate signed by itself; its key is beside it."""
    made = folder / f"{number}.crt"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-keyout", folder / f"{number}.key", "-out", made, "-subj", f"/CN={number}",
        "-addext", f"subjectAltName=DNS:{name}")  # fmt: skip
    return made


def test_certificates_are_shown_and_changed(namespace: str, tmp_path: Path) -> None:
    host = "secure.example.com"
    first, second = (_certificate(tmp_path, host, number) for number in (1, 2))

    def trusted(address: str, certificate: Path) -> bool:
        asked = ("curl", "-sS", "-m", "5", "--cacert", certificate, "--resolve", f"{host}:443:{address}")
        return run(*asked, f"https://{host}/", check=False).stdout.strip() == "web"

    _apply(namespace, _web("web"))
    podium("-n", namespace, "create", "secret", "tls", "web", f"--cert={first}", f"--key={first.with_suffix('.key')}")
    podium("-n", namespace, "create", "ingress", "web", f"--rule={host}/*=web:80,tls=web")
    until(lambda: all(trusted(a, first) for a in HOSTS), seconds=60, what="the certificate at every host")
    status, _ = _get(HOSTS[0], host)
    assert status == 308, "the clear is sent to https"
    said = run("curl", "-sS", "-m", "5", "--cacert", first, "--resolve", f"{host}:443:{HOSTS[0]}", "-o", "/dev/null",
               "-w", "%{http_version}", f"https://{host}/").stdout  # fmt: skip
    assert said == "2"
    files = {"tls.crt": second, "tls.key": second.with_suffix(".key")}
    data = {"data": {key: b64encode(file.read_bytes()).decode() for key, file in files.items()}}
    podium("-n", namespace, "patch", "secret", "web", "--type=merge", "-p", json.dumps(data))
    until(lambda: all(trusted(a, second) for a in HOSTS), seconds=10, what="the new certificate at every host")
    assert not trusted(HOSTS[0], first)


class Load:
    """Clients that ask one request after the other, at every host in turn, until the end of the context."""

    def __init__(self, host: str, *, keep: bool) -> None:
        self.results: Counter[str] = Counter()
        self._host, self._keep = host, keep
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(a,)) for a in HOSTS]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, address: str) -> None:
        connection = http.client.HTTPConnection(address, 80, timeout=10)
        headers = {"Host": self._host} if self._keep else {"Host": self._host, "Connection": "close"}
        while not self._over.wait(PAUSE):
            try:
                connection.request("GET", "/", headers=headers)
                answer = connection.getresponse()
                answer.read()
                self.results[str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.results[repr(error)] += 1
                connection.close()
        connection.close()


def test_changes_of_rules_and_of_pods_lose_no_request(client: Client, namespace: str) -> None:
    _apply(namespace, _web("web", replicas=3))
    podium("-n", namespace, "create", "ingress", "web", "--rule=web.example.com/*=web:80")
    podium("-n", namespace, "rollout", "status", "deploy/web", "--timeout=120s", timeout=150)
    _everywhere("web.example.com", "web")
    with Load("web.example.com", keep=True) as kept, Load("web.example.com", keep=False) as fresh:
        for number in range(4):
            podium("-n", namespace, "create", "ingress", f"n{number}", f"--rule=n{number}.example.com/*=web:80")
            _everywhere(f"n{number}.example.com", "web")
        podium("-n", namespace, "set", "image", "deploy/web", "web=nginx:1.16.1")
        podium("-n", namespace, "rollout", "status", "deploy/web", "--timeout=120s", timeout=150)
    for load in (kept, fresh):
        assert set(load.results) == {"200"}, load.results
        assert load.results["200"] > 300
    print(f"requests: {kept.results['200']} on kept connections, {fresh.results['200']} on new ones")


def test_a_proxy_that_is_killed_comes_back(client: Client, namespace: str) -> None:
    _apply(namespace, _web("web"))
    podium("-n", namespace, "create", "ingress", "web", "--rule=web.example.com/*=web:80")
    _everywhere("web.example.com", "web")
    found = client.list(Pod, namespace="podium-system", selector=PROXIES)
    (victim,) = [p for p in found if p.spec.node_name == "node1"]
    podium(*SYSTEM, "delete", "pod", victim.metadata.name, "--no-wait")
    address = ADDRESSES["node1"]

    def listed() -> bool:
        status = client.get(Ingress, "web", namespace=namespace).status
        return address in [i.ip for i in status.load_balancer.ingress]

    until(lambda: not listed(), seconds=30, what="the host not to be listed")
    assert _says(ADDRESSES["node2"], "web.example.com", "web"), "the others go on"
    until(lambda: listed() and _says(address, "web.example.com", "web"), seconds=60, what="the proxy to serve again")

    (proxy,) = [p for p in client.list(Pod, namespace="podium-system", selector=PROXIES)
                if p.spec.node_name == "node1" and is_ready(p)]  # fmt: skip
    container = proxy.status.container_statuses[0].container_id.removeprefix("docker://")
    NODES[0].engine("kill", container)
    until(lambda: not _says(address, "web.example.com", "web"), seconds=10, what="the container to be gone")
    until(lambda: _says(address, "web.example.com", "web"), seconds=30, what="another container to serve")
