"""How fast one host starts pods, beside Docker itself making the same containers, in turns in one run.

    python -m bench.bench_start [--pods 20] [--rounds 3] [--network]

`podium` is the nodelet's own path: pods are assigned to a PodManager, which makes sandbox and container on Docker and
reports each pod Running. `docker` is the same number of the same bodies, created and started by calls of the `docker`
package from as many threads. With `--network` pods are wired too (bridge, veth, address: needs root), which Docker is
not asked to do. Images must be present; all that is made is removed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from docker import APIClient

from nodelet.network.pod_network import LinuxPodNetwork
from nodelet.network.protocol import PodNetwork
from nodelet.pods.manager import PodManager, PodSettings
from nodelet.pods.spec import NodeFacts, sandbox_spec
from nodelet.runtime.docker import DockerRuntime, sandbox_image, translate
from nodelet.runtime.protocol import ContainerSpec, PodIdentity, PortMapping, Sandbox
from nodelet.volumes.hollow import HollowVolumes
from podium.aio.clock import SystemClock
from podium.v1.core_pb2 import Container, Pod, PodStatus

IMAGE = "busybox:latest"
OWNER = "bench-start"
NODE = NodeFacts(name="bench", ip="127.0.0.1", memory=8 << 30)
GATEWAY, SLICE, RANGE = "podbench0", "10.214.0.0/24", "10.214.0.0/16"
PATIENCE = 300.0


class Unwired(PodNetwork):
    """Gives addresses and wires nothing, so that both sides do the same."""

    async def attach(self, sandbox: Sandbox, ports: Sequence[PortMapping]) -> str:
        return "10.214.0.2"

    async def detach(self, pod: PodIdentity) -> None:
        """Nothing is held."""

    async def retain(self, pods: Collection[str]) -> None:
        """Nothing is held."""


class Running:
    """The manager's sinks: counts pods that were reported Running, and those that are gone."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.gone: set[str] = set()
        self.changed = asyncio.Event()

    def report(self, pod: Pod, status: PodStatus, *, gone: bool) -> None:
        if status.phase == "Running":
            self.running.add(pod.metadata.uid)
        if gone:
            self.gone.add(pod.metadata.uid)
        self.changed.set()

    def event(self, pod: Pod, type: str, reason: str, message: str) -> None:
        if type == "Warning":
            print(f"{pod.metadata.name}: {reason}: {message}")

    async def until(self, having: set[str], count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(having) < count:
                self.changed.clear()
                await self.changed.wait()


def a_pod(number: int) -> Pod:
    """What `kubectl run` would make of busybox, bound to this node."""
    pod = Pod()
    meta, spec = pod.metadata, pod.spec
    meta.namespace, meta.name, meta.uid, meta.generation = "bench", f"p-{number}", str(uuid.uuid4()), 1
    spec.restart_policy, spec.node_name, spec.termination_grace_period_seconds = "Always", NODE.name, 0
    spec.containers.append(Container(name="app", image=IMAGE, command=["sleep", "1000"], image_pull_policy="Never"))
    return pod


async def podium_seconds(pods: int, network: PodNetwork, starts: int) -> float:
    """Seconds from assigning the pods until all are reported Running."""
    runtime, seen = DockerRuntime(owner=OWNER), Running()
    manager = PodManager(
        runtime=runtime, images=runtime, network=network, volumes=HollowVolumes(), statuses=seen, events=seen,
        clock=SystemClock(), node=NODE, settings=PodSettings(parallel_starts=starts),
    )  # fmt: skip
    async with asyncio.TaskGroup() as group:
        running = group.create_task(manager.run())
        wanted = {pod.metadata.uid: pod for pod in map(a_pod, range(pods))}
        begin = time.perf_counter()
        manager.assign(wanted, {})
        await seen.until(seen.running, pods)
        taken = time.perf_counter() - begin
        manager.assign({}, {})
        await seen.until(seen.gone, pods)
        running.cancel()
    await runtime.close()
    return taken


def docker_seconds(pods: int, threads: int) -> float:
    """Seconds of creating and starting the same containers by calls alone."""
    api = APIClient(max_pool_size=threads)
    made: list[str] = []

    def one(number: int) -> None:
        pod = a_pod(number)
        sandbox = sandbox_spec(pod, 0, NODE)
        body = translate.sandbox_body(sandbox, image=sandbox_image.image_name(), owner=OWNER, oom_floor=0)
        holder = api.create_container_from_config(body, translate.sandbox_name(sandbox))["Id"]
        made.append(holder)
        api.start(holder)
        spec = ContainerSpec(
            pod=sandbox.pod, name="app", attempt=0, image=IMAGE, config_hash="h", command=("sleep", "1000")
        )
        body = translate.container_body(spec, holder, owner=OWNER, user="", oom_floor=0)
        container = api.create_container_from_config(body, translate.container_name(spec))["Id"]
        made.append(container)
        api.start(container)

    with ThreadPoolExecutor(threads) as pool:
        begin = time.perf_counter()
        list(pool.map(one, range(pods)))
        taken = time.perf_counter() - begin
        list(pool.map(lambda id_: api.remove_container(id_, force=True), made))
    api.close()
    return taken


@asynccontextmanager
async def a_network(wired: bool) -> AsyncIterator[PodNetwork]:
    """The host's own pod network with a gateway of the benchmark's, or none."""
    if not wired:
        yield Unwired()
        return
    with tempfile.TemporaryDirectory() as directory:
        network = LinuxPodNetwork(
            directory=Path(directory), node="bench", address="127.0.0.1", clock=SystemClock(), gateway_link=GATEWAY
        )
        await network.configure(SLICE, RANGE, "", "cluster.local")
        try:
            yield network
        finally:
            await network.retain(())
            accepts = [["iptables", "-D", "DOCKER-USER", way, "podv+", "-j", "ACCEPT"] for way in ("-i", "-o")]
            for command in (["ip", "link", "del", GATEWAY], ["nft", "delete", "table", "ip", "podium"], *accepts):
                # Where Docker leaves iptables alone the last two have nothing to remove.
                process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
                await process.wait()


async def measure(pods: int, rounds: int, parallel: int, wired: bool) -> None:
    """Both sides in turns, so that whatever else the machine does falls on both."""
    ours, theirs = [], []
    async with a_network(wired) as network:
        await podium_seconds(2, network, parallel)  # makes the sandbox's image, warms the engine
        for _ in range(rounds):
            theirs.append(pods / await asyncio.to_thread(docker_seconds, pods, parallel))
            ours.append(pods / await podium_seconds(pods, network, parallel))
    podium, docker = statistics.median(ours), statistics.median(theirs)
    print(
        json.dumps(
            {
                "case": "start_pods_wired" if wired else "start_pods",
                "pods": pods,
                "rounds": rounds,
                "in_flight": parallel,
                "podium_pods_per_s": round(podium, 2),
                "docker_pods_per_s": round(docker, 2),
                "ratio": round(podium / docker, 3),
            }
        )
    )


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=8, help="starts in flight, on both sides")
    parser.add_argument("--network", action="store_true", help="wire the pods too")
    args = parser.parse_args()
    asyncio.run(measure(args.pods, args.rounds, args.parallel, args.network))


if __name__ == "__main__":
    main()
