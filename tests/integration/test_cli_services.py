"""The `podium` command with services: expose, create, describe; and through them to pods."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from podium.v1.apps_pb2 import DaemonSet
from podium.v1.ingress_pb2 import Ingress
from podium.v1.networking_pb2 import Endpoint, EndpointSlice, Service
from tests.support.command import Podium
from tests.support.command_world import World, command_world
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with command_world(tmp_path_factory.mktemp("cli-services")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def podium(world: World) -> Podium:
    return await world.podium()


def _service(world: World, podium: Podium, name: str) -> Service:
    found = world.cluster.reader.get(Service, podium.namespace, name)
    assert found is not None
    return found


async def test_expose_leads_to_the_workloads_pods(world: World, podium: Podium) -> None:
    await world.run_web(podium)
    assert (await podium("expose", "deploy/web")).out == "service/web exposed\n"
    made = _service(world, podium, "web").spec
    assert (dict(made.selector), made.ports[0].port, made.type) == ({"app": "web"}, 80, "ClusterIP")
    words = ("expose", "deployment", "web", "--port=8088", "--target-port=80", "--type=LoadBalancer", "--name=shop")
    assert (await podium(*words)).out == "service/shop exposed\n"
    shop = _service(world, podium, "shop").spec
    assert (shop.ports[0].port, shop.ports[0].target_port.int_value, shop.type) == (8088, 80, "LoadBalancer")
    assert "8088/TCP" in (await podium("describe", "svc", "shop")).out
    again = await podium("expose", "deploy/web", code=1)
    assert "already exists" in again.err


async def test_create_service(world: World, podium: Podium) -> None:
    assert (await podium("create", "service", "clusterip", "a", "--tcp=80:8080")).out == "service/a created\n"
    await podium("create", "svc", "clusterip", "headless", "--clusterip=None")
    assert _service(world, podium, "headless").spec.cluster_ip == "None"
    await podium("create", "service", "nodeport", "b", "--tcp=80", "--node-port=30123")
    assert _service(world, podium, "b").spec.ports[0].node_port == 30123
    await podium("create", "service", "externalname", "c", "--external-name=example.com")
    assert _service(world, podium, "c").spec.external_name == "example.com"
    assert "give --tcp" in (await podium("create", "service", "clusterip", "d", code=2)).err


async def test_a_service_stands_for_one_of_its_pods(world: World, podium: Podium) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    await world.run_web(podium, replicas=1)
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await podium("expose", "deploy/web", "--port=8000", f"--target-port={port}")
    async with server, podium.running("port-forward", "svc/web", ":8000") as forward:
        local = int((await forward.says(f":{port}\n")).split(" -> ")[0].rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", local)
        assert await asyncio.wait_for(reader.read(), 20) == b"hello"
        writer.close()
        await forward.end()
    assert "it has 8000" in (await podium("port-forward", "svc/web", ":80", code=1)).err
    assert (await podium("logs", "svc/web")).out == (await podium("logs", "deploy/web")).out
    await podium("create", "service", "externalname", "none", "--external-name=example.com")
    assert "selects no pods" in (await podium("logs", "svc/none", code=1)).err


async def test_services_are_reached_from_here_whichever_pods_come_and_go(world: World, podium: Podium) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello " + await reader.read(99))
        writer.close()

    async def ask(port: int, first: bytes = b"", told: int = 0) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first)
        await asyncio.wait_for(reader.readexactly(told), 20)
        writer.write(b"you")
        said = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return said

    (old,) = await world.run_web(podium, replicas=1)
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await podium("expose", "deploy/web", "--port=8000", f"--target-port={port}")
    await podium("expose", "deploy/web", "--name=also", "--port=9000", f"--target-port={port}")
    connect = b"\x05\x01\x00" + b"\x05\x01\x00\x03\x03web" + (8000).to_bytes(2, "big")
    async with (
        server,
        podium.running("forward", "svc/web", ":8000", "svc/also", ":9000") as forward,
        podium.running("proxy", "--port=0") as proxy,
    ):
        said = await forward.says("svc/also:9000")
        locals_ = [int(line.split(" -> ")[0].rpartition(":")[2]) for line in said.splitlines()]
        socks = int((await proxy.says("\n")).strip().rpartition(":")[2])
        for local in locals_:
            assert await ask(local) == b"hello you"
        assert await ask(socks, connect, 12) == b"hello you"
        await podium("delete", "pod", old.metadata.name)
        await podium("wait", "--for=condition=Available", "deploy/web", "--timeout=30s")
        for local in locals_:
            assert await ask(local) == b"hello you", "another pod"
        assert await ask(socks, connect, 12) == b"hello you"
        await podium("scale", "deploy/web", "--replicas=0")
        async with asyncio.timeout(20):
            while await _refused(socks, connect) != 5:  # noqa: ASYNC110 - the pods are the cluster's
                await asyncio.sleep(0.05)
        await forward.end()
        await proxy.end()
    assert "it has 8000" in (await podium("forward", "svc/web", ":80", code=1)).err
    assert "not found" in (await podium("forward", "svc/none", ":80", code=1)).err


async def _refused(port: int, connect: bytes) -> int:
    """What a proxy says of a wish."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(connect)
    said = await asyncio.wait_for(reader.readexactly(4), 20)
    writer.close()
    return said[3]


DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {matchLabels: {app: web}}}
"""


async def test_explain_network(world: World, podium: Podium) -> None:
    one, two = (pod.metadata.name for pod in await world.run_web(podium))
    await podium("expose", "deployment", "web", "--port=8088", "--target-port=80")
    said = (await podium("explain", "network", one, two)).out
    assert f"to pod {podium.namespace}/{two} at 80/TCP passes" in said
    await podium("apply", "-f", "-", stdin=DENY)
    said = (await podium("explain", "network", one, "svc/web", "--port=8088")).out
    assert f"to pod {podium.namespace}/{two} at 80/TCP is refused" in said
    assert "arriving: no, networkpolicy/deny may let it in, and no rule does" in said
    assert "no port 80/TCP" in (await podium("explain", "network", one, "svc/web", "--port=80", code=1)).err
    assert "neither a pod nor a service" in (await podium("explain", "network", one, "deploy/web", code=1)).err
    await podium("create", "service", "externalname", "c", "--external-name=example.com")
    assert "another name of example.com" in (await podium("explain", "network", one, "svc/c", code=1)).err


UNPLACED = """
apiVersion: v1
kind: Pod
metadata: {name: waiting, labels: {app: web}}
spec:
  nodeSelector: {no: such}
  containers: [{name: main, image: "lines:1", ports: [{containerPort: 80}]}]
"""


async def test_explain_network_of_a_service_is_about_those_that_it_leads_to(world: World, podium: Podium) -> None:
    def endpoints() -> list[Endpoint]:
        return [e for found in world.cluster.reader.list(EndpointSlice, podium.namespace) for e in found.endpoints]

    def answering() -> set[str]:
        return {endpoint.target_ref.name for endpoint in endpoints() if endpoint.conditions.ready}

    async def told(*words: str, code: int = 0) -> set[str]:
        done = await podium("explain", "network", here.metadata.name, "svc/web", *words, code=code)
        return set(re.findall(r" to pod [^/ ]+/(\S+) at", done.out))

    pods = await world.run_web(podium, replicas=4)
    here = pods[0]
    await podium("apply", "-f", "-", stdin=UNPLACED)
    await podium("expose", "deployment", "web", "--port=80")
    names = {pod.metadata.name for pod in pods}
    await until(lambda: answering() == names, seconds=20)
    assert await told() == names, "and not to the one that is not ready"
    local = {pod.metadata.name for pod in pods if pod.spec.node_name == here.spec.node_name}
    assert local < names, "four pods on three nodes"
    await podium("patch", "svc", "web", "-p", '{"spec": {"internalTrafficPolicy": "Local"}}')
    assert await told() == local
    await podium("scale", "deployment", "web", "--replicas=0")
    await until(lambda: not endpoints(), seconds=20, what="those that end are led to while no other is there")
    assert await told(code=1) == set()


async def test_ingress_is_created_installed_and_described(world: World, podium: Podium) -> None:
    made = (await podium("ingress", "install", "--image=haproxy:2.8", "--node-selector=edge=true")).out
    assert made.split("\n")[:3] == [
        "ingressclass.networking.k8s.io/podium installed", "configmap/ingress-proxy installed",
        "daemonset.apps/ingress-proxy installed",
    ]  # fmt: skip
    proxies = world.cluster.reader.get(DaemonSet, "podium-system", "ingress-proxy")
    assert proxies is not None
    assert proxies.spec.template.spec.containers[0].image == "haproxy:2.8"
    assert "kind: DaemonSet" in (await podium("ingress", "install", "--dry-run", "-o", "yaml")).out
    words = ("create", "ingress", "shop", "--rule=shop.example.com/*=web:80", "--default-backend=web:http")
    assert (await podium(*words)).out == "ingress.networking.k8s.io/shop created\n"
    stored = world.cluster.reader.get(Ingress, podium.namespace, "shop")
    assert stored is not None
    assert stored.spec.ingress_class_name == "podium", "the default"
    assert "shop.example.com / Prefix web:80" in " ".join((await podium("describe", "ing", "shop")).out.split())
    assert "is not" in (await podium("create", "ingress", "bad", "--rule=x", code=1)).err


async def test_explain_says_where_an_ingress_leads(world: World, podium: Podium) -> None:
    here = podium.namespace
    await world.run_web(podium)
    await podium("expose", "deploy/web")
    host = f"{here}.example.com"
    rules = (f"--rule={host}/*=web:80,tls=none", f"--rule={host}/gone=gone:80", f"--rule={host}/port*=web:81")
    await podium("create", "ingress", "shop", *rules, "--class=podium")
    await podium("create", "ingress", "younger", f"--rule={host}/=web:80", f"--rule={host}/*=web:80", "--class=podium")
    await podium("create", "ingress", "other", "--default-backend=web:80", "--class=nobody")
    await podium("ingress", "install", "--node-selector=edge=true")
    said = (await podium("explain", "ingress", "shop")).out
    assert f'ingress {here}/shop is of class "podium", but no proxy is ready' in said
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert f"{host} / (Prefix) {here}/web:80 2 of 2 pods are ready" in lines
    assert f"{host} /gone (Exact) {here}/gone:80 nowhere (503): service {here}/gone is not there" in lines
    assert f"{host} /port (Prefix) {here}/web:81 nowhere (503): service {here}/web has no TCP port 81" in lines
    assert f"secret {here}/none for {host} is not there" in lines
    younger = (await podium("explain", "ing/younger")).out
    assert f"nowhere: ingress {here}/shop, which is older, leads it to {here}/web:80" in younger
    assert "which is not there, so nobody serves it" in (await podium("explain", "ingress", "other")).out
    met = (await podium("explain", "ingress", f"https://{host}/cart?x=y")).out
    assert f"meets host {host}, path / (Prefix) of ingress {here}/shop (spec.rules[0].http.paths[0].backend)" in met
    assert "2 of 2 pods are ready" in met
    assert "answered with 404" in (await podium("explain", "ingress", "http://nobody.example.com")).out
    assert "must be like https://" in (await podium("explain", "ingress", "ftp://x", code=1)).err
