"""The pod network on this machine's kernel: sandboxes wired, reached, published, taken away."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nodelet.network import links
from nodelet.network.pod_network import LinuxPodNetwork
from nodelet.network.protocol import NetworkFault
from nodelet.runtime.docker import DockerRuntime
from nodelet.runtime.protocol import ContainerSpec, PodIdentity, PortMapping, Sandbox, SandboxSpec
from podium.aio.clock import SystemClock
from podium.aio.tasks import cancel_and_wait
from tests.support.waiting import until

pytestmark = pytest.mark.docker

GATEWAY = "podtest0"
CLUSTER = "10.213.0.0/16"
SERVICES = "10.214.0.0/16"
DOMAIN = "cluster.local"


def _sh(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout


@pytest.fixture
def clean() -> Iterator[None]:
    yield
    for command in (("ip", "link", "del", GATEWAY), ("nft", "delete", "table", "ip", "podium")):
        _sh(*command)
    for chain in ("DOCKER-USER", "FORWARD"):
        for direction in ("-i", "-o"):
            _sh("iptables", "-w", "5", "-D", chain, direction, "podv+", "-j", "ACCEPT")


@pytest.fixture
async def runtime() -> AsyncIterator[DockerRuntime]:
    made = DockerRuntime()
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def _sandbox(runtime: DockerRuntime, name: str) -> AsyncIterator[Sandbox]:
    pod = PodIdentity(namespace="net-test", name=name, uid=str(uuid.uuid4()))
    made = await runtime.create_sandbox(SandboxSpec(pod=pod, attempt=0, hostname=name))
    try:
        yield made
    finally:
        for container in (await runtime.pod_listing(pod.uid)).containers:
            await runtime.remove_container(container.id)
        await runtime.remove_sandbox(made.id)


async def _serve(runtime: DockerRuntime, sandbox: Sandbox, text: str) -> None:
    spec = ContainerSpec(
        pod=sandbox.pod, name="web", attempt=0, image="busybox", config_hash="x",
        command=["sh", "-c", f"mkdir /www; echo {text} > /www/index.html; exec httpd -f -p 80 -h /www"],
    )  # fmt: skip
    await runtime.start_container(await runtime.create_container(spec, sandbox))


def _network(directory: Path) -> LinuxPodNetwork:
    return LinuxPodNetwork(
        directory=directory, node="here", address="127.0.0.1", clock=SystemClock(), gateway_link=GATEWAY
    )


@contextlib.asynccontextmanager
async def _running(network: LinuxPodNetwork) -> AsyncIterator[None]:
    """Bring into force what the network knows, as a nodelet does."""
    running = asyncio.get_running_loop().create_task(network.cluster.run())
    try:
        yield
    finally:
        await cancel_and_wait(running)


def _fetch(url: str) -> str:
    return _sh("curl", "-fsS", "--max-time", "3", url).strip()


async def test_a_sandbox_is_wired_published_and_taken_away(runtime: DockerRuntime, tmp_path: Path, clean: None) -> None:
    network = _network(tmp_path)
    await network.configure("10.213.7.0/24", CLUSTER, SERVICES, DOMAIN)
    async with _sandbox(runtime, "one") as one, _sandbox(runtime, "two") as two:
        await _serve(runtime, one, "hello")
        ports = [PortMapping(host_port=18080, container_port=80)]
        address = await network.attach(one, ports)
        assert address == "10.213.7.2"
        assert await network.attach(one, ports) == address, "safe to repeat"
        assert await network.attach(two, []) == "10.213.7.3"
        fetched = await until(lambda: _fetch(f"http://{address}/"), seconds=10, what="the pod's answer")
        assert fetched == "hello"
        assert await asyncio.to_thread(_fetch, "http://127.0.0.1:18080/") == "hello"

        with pytest.raises(NetworkFault, match="host port 18080/TCP is taken"):
            await network.attach(two, ports)

        again = _network(tmp_path)
        await again.resume()
        assert again.pod_cidr == "10.213.7.0/24"
        assert await asyncio.to_thread(_fetch, "http://127.0.0.1:18080/") == "hello", "a restart keeps host ports"
        async with _running(again):  # without a master it goes on by itself, after a moment
            assert await again.attach(one, ports) == address

            await again.detach(one.pod)
            await again.detach(one.pod)
            assert links.host_end(one.pod.uid) not in await asyncio.to_thread(links.host_ends)
            assert await asyncio.to_thread(_fetch, "http://127.0.0.1:18080/") == ""
            await again.retain(set())
        assert links.host_end(two.pod.uid) not in await asyncio.to_thread(links.host_ends)


async def test_a_lost_record_is_made_again_from_the_sandbox(
    runtime: DockerRuntime, tmp_path: Path, clean: None
) -> None:
    network = _network(tmp_path)
    await network.configure("10.213.8.0/24", CLUSTER, SERVICES, DOMAIN)
    async with _sandbox(runtime, "one") as one, _sandbox(runtime, "two") as two:
        await network.attach(one, [])
        address = await network.attach(two, [])
        (tmp_path / "network.json").unlink()
        anew = _network(tmp_path)
        await anew.configure("10.213.8.0/24", CLUSTER, SERVICES, DOMAIN)
        assert await anew.attach(two, []) == address
        await anew.retain(set())


async def test_a_pod_without_a_sandbox_cannot_be_wired(runtime: DockerRuntime, tmp_path: Path, clean: None) -> None:
    network = _network(tmp_path)
    await network.configure("10.213.9.0/24", CLUSTER, SERVICES, DOMAIN)
    async with _sandbox(runtime, "gone") as sandbox:
        await runtime.remove_sandbox(sandbox.id)
        with pytest.raises(NetworkFault, match="cannot be wired"):
            await network.attach(sandbox, [])


async def test_a_pod_knows_itself_reaches_its_own_host_port_and_not_the_hosts_loopback(
    runtime: DockerRuntime, tmp_path: Path, clean: None
) -> None:
    network = _network(tmp_path)
    await network.configure("10.213.10.0/24", CLUSTER, SERVICES, DOMAIN)
    async with _sandbox(runtime, "one") as one:
        await _serve(runtime, one, "hello")
        address = await network.attach(one, [PortMapping(host_port=18081, container_port=80)])
        (web,) = (await runtime.pod_listing(one.pod.uid)).containers

        async def inside(command: str) -> bytes:
            stream = await runtime.exec(web.id, ["sh", "-c", command])
            output = b"".join([piece async for _, piece in stream.output()])
            await stream.close()
            return output

        assert f"{address}\tone\n".encode() in await inside("cat /etc/hosts")
        assert f"PING one ({address})".encode() in await inside("ping -c 1 -W 1 one")
        fetch = ("nsenter", f"--net={one.netns_path}", "curl", "-s", "--max-time", "3", "http://10.213.10.1:18081/")
        assert await asyncio.to_thread(_sh, *fetch) == "hello\n"

        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 18082)
        # What a pod with NET_ADMIN could try: send 127.0.0.1 out of its own namespace.
        trick = (
            "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet; ip addr del 127.0.0.1/8 dev lo;"
            "ip route add 127.0.0.0/8 via 10.213.10.1; curl -s --max-time 2 http://127.0.0.1:18082/; echo code $?"
        )
        async with server:
            tricked = await asyncio.to_thread(_sh, "nsenter", f"--net={one.netns_path}", "sh", "-c", trick)
        assert tricked.strip() == "code 28", "no answer: the packets are dropped"


HEAR = """
import socket, sys
heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); heard.bind((sys.argv[1], 9000)); heard.settimeout(20)
print('ready', flush=True)
while True:
    said, sender = heard.recvfrom(99)
    print(said.decode(), sender[0], flush=True)
    if said == b'honest':
        break
"""
SAY = """
import socket, sys
own, stolen, *targets = sys.argv[1:]
for said, source in (('stolen', stolen), ('honest', own)):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.bind((source, 0))
        for target in targets * 3:
            mouth.sendto(said.encode(), (target, 9000))
"""


@contextlib.contextmanager
def _hearing(*within: str, at: str) -> Iterator[subprocess.Popen[str]]:
    """A process that prints what it hears at an address, up to the first honest word."""
    command = [*within, sys.executable, "-c", HEAR, at]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


async def test_what_a_pod_sends_from_its_neighbours_address_reaches_nobody(
    runtime: DockerRuntime, tmp_path: Path, clean: None
) -> None:
    network = _network(tmp_path)
    await network.configure("10.213.11.0/24", CLUSTER, SERVICES, DOMAIN)
    names = ("thief", "neighbour", "third")
    async with contextlib.AsyncExitStack() as stack:
        pods = {name: await stack.enter_async_context(_sandbox(runtime, name)) for name in names}
        at = {name: await network.attach(pod, []) for name, pod in pods.items()}
        inside = {name: ("nsenter", f"--net={pod.netns_path}") for name, pod in pods.items()}

        def heard() -> list[str]:
            """What the host and a third pod hear from a pod that takes its neighbour's address for its own, too."""
            _sh(*inside["thief"], "ip", "addr", "add", f"{at['neighbour']}/32", "dev", "lo")
            host, third = _hearing(at="10.213.11.1"), _hearing(*inside["third"], at=at["third"])
            with host as at_host, third as at_third:
                targets = ("10.213.11.1", at["third"])
                said = (sys.executable, "-c", SAY, at["thief"], at["neighbour"], *targets)
                subprocess.run([*inside["thief"], *said], check=True, timeout=20)
                return [process.communicate(timeout=30)[0].strip() for process in (at_host, at_third)]

        assert await asyncio.to_thread(heard) == [f"honest {at['thief']}"] * 2, "and nothing under the stolen address"
        await network.retain(set())
