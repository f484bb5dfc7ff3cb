"""Throughput and latency pod → service → pod across hosts, beside the same two containers on other networks, in turns.

    make up && python -m bench.bench_network [--rounds 5] [--seconds 2]

- `service`: a Podium pod asks a service's address, another host's pod answers; `pod`: it asks that pod's own address.
- `plain`: containers on plain Docker bridges of two more such hosts, joined by one route each: no rules, no addresses
  changed, no connections tracked.
- `docker`: the same as Docker comes: a container on one host's bridge asks a port that the other host publishes.
- `swarm`: containers on the encapsulated overlay network of Docker's swarm mode of two further hosts.

The peers' hosts are containers on the rig's network, as the rig's own. Each round asks all five one after the other. A
kernel without IPVS lets no swarm service answer at its virtual address or through its ingress: there the task's own
address is asked (`--endpoint-mode dnsrr`), which spares Swarm all that Podium does for a service; what the virtual
address and the ingress say is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.network_rig import (
    ASK,
    CONTROL,
    DATA,
    HTTP,
    IMAGE,
    SERVE,
    STREAM,
    apply,
    build,
    inside,
    namespace,
    ready_pods,
    service,
)
from podium.client import Client
from podium.v1.networking_pb2 import Service
from tests.rig.manifests import pod
from tests.rig.rig import CONFIG, PROJECT, run, until

NAME = "bench-network"
HOST_IMAGE = "podium/node:rig"
PUBLISHED = 8099
AS_MUCH = {"resources": {"requests": {"cpu": "1"}}}
"""The weight that Docker gives its containers: a pod that asks for nothing has to wait for all others."""
BOOT = """
awk '$2 ~ "^/proc/|^/sys/firmware" { print $2 }' /proc/mounts | sort -r | while read -r path; do umount "$path"; done
mount -o remount,rw /sys
echo '{"iptables": %s}' > /etc/docker/daemon.json
exec dockerd
"""


class Pair(NamedTuple):
    """Who asks (the beginning of a command in its container), and whom."""

    name: str
    client: Sequence[str]
    target: str

    def run(self, *command: str) -> str:
        """What a command says that the asking container runs."""
        return run(*self.client, *command).stdout


# ---------------------------------------------------------------- what is measured


def throughput(pair: Pair, seconds: int) -> float:
    """Gbit/s of one stream."""
    said = json.loads(pair.run("iperf3", "-c", pair.target, "-p", str(STREAM), "-t", str(seconds), "-J"))
    return float(said["end"]["sum_received"]["bits_per_second"]) / 1e9


def latency(pair: Pair, seconds: int) -> float:
    """Microseconds that a byte takes one way over a connection that stands."""
    said = pair.run("qperf", pair.target, "-lp", str(CONTROL), "-ip", str(DATA), "-t", str(seconds), "tcp_lat")
    found = re.search(r"latency\s*=\s*([\d.]+) (ns|us|ms)", said)
    assert found is not None, said
    return float(found[1]) * {"ns": 1e-3, "us": 1.0, "ms": 1e3}[found[2]]


def requests(pair: Pair, seconds: int, *more: str) -> float:
    """HTTP requests a second over eight connections."""
    url = f"http://{pair.target}:{HTTP}/"
    said = pair.run("wrk", "-t1", "-c8", f"-d{seconds}s", *more, url)
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None, said
    assert "Non-2xx" not in said, said
    return float(found[1])


def connections(pair: Pair, seconds: int) -> float:
    """HTTP requests a second, each over a connection of its own."""
    return requests(pair, seconds, "-H", "Connection: close")


MEASURES: dict[str, Callable[[Pair, int], float]] = {
    "gbit_s": throughput, "latency_us": latency, "requests_s": requests, "connections_s": connections,
}  # fmt: skip


# ---------------------------------------------------------------- Podium's side


@contextlib.contextmanager
def on_podium() -> Iterator[list[Pair]]:
    """A pod on node1 that asks, one on node2 that answers, and a service between them."""
    with namespace(NAME):
        server = pod("server", SERVE, image=IMAGE, spec={"nodeName": "node2"}, container=AS_MUCH)
        client = pod("client", ASK, image=IMAGE, spec={"nodeName": "node1"}, container=AS_MUCH)
        apply(NAME, server, client, service("server", CONTROL, DATA, STREAM, HTTP))
        pods = ready_pods(NAME, 2)
        with Client.from_config(CONFIG) as api:
            address = api.get(Service, "server", namespace=NAME).spec.cluster_ip
        asking = inside(pods["client"])
        pairs = [Pair("service", asking, address), Pair("pod", asking, pods["server"].status.pod_ip)]
        for pair in pairs:
            _await(pair)
        yield pairs


# ---------------------------------------------------------------- the peers' side


@contextlib.contextmanager
def peer_host(name: str, image: Path, *, iptables: bool) -> Iterator[str]:
    """One more host on the rig's network, with an engine as it comes; its container's id."""
    rights = ["--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt=seccomp=unconfined",
              "--security-opt=apparmor=unconfined", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]  # fmt: skip
    boot = BOOT % ("true" if iptables else "false")
    made = run("docker", "run", "-d", "--hostname", name, "--network", f"{PROJECT}_hosts", *rights,
               "-v", "/var/lib/docker", "--entrypoint", "bash", HOST_IMAGE, "-c", boot).stdout.strip()  # fmt: skip
    try:
        engine = ("docker", "exec", made, "docker")
        until(lambda: not run(*engine, "info", check=False).returncode, seconds=60, what=f"an engine on {name}")
        with image.open("rb") as archive:
            subprocess.run(["docker", "exec", "-i", made, "docker", "load", "-q"], stdin=archive, check=True,
                           stdout=subprocess.DEVNULL, timeout=120)  # fmt: skip
        yield made
    finally:
        run("docker", "rm", "-f", "-v", made)


@contextlib.contextmanager
def on_plain_bridges(image: Path) -> Iterator[Pair]:
    """Two bridges, a container on each, and one route each way."""
    with peer_host("plain1", image, iptables=False) as one, peer_host("plain2", image, iptables=False) as two:
        for here, there, number in ((one, two, 1), (two, one, 2)):
            run("docker", "exec", here, "docker", "network", "create", "--subnet", f"10.201.{number}.0/24", "plain")
            run("docker", "exec", here, "ip", "route", "add", f"10.201.{3 - number}.0/24", "via", _address(there))
        run("docker", "exec", two, "docker", "run", "-d", "--network", "plain", "--ip", "10.201.2.2", IMAGE, *SERVE)
        run("docker", "exec", one, "docker", "run", "-d", "--network", "plain", "--name", "client", IMAGE,
            "sleep", "100000")  # fmt: skip
        pair = Pair("plain", (*_on(one), "client"), "10.201.2.2")
        _await(pair)
        yield pair


@contextlib.contextmanager
def on_docker(image: Path) -> Iterator[Pair]:
    """Two hosts with Docker's own rules, a container on each, and the server's ports published."""
    with peer_host("docker1", image, iptables=True) as one, peer_host("docker2", image, iptables=True) as two:
        published = [part for port in (CONTROL, DATA, STREAM, HTTP) for part in ("-p", f"{port}:{port}")]
        run("docker", "exec", two, "docker", "run", "-d", *published, IMAGE, *SERVE)
        run("docker", "exec", one, "docker", "run", "-d", "--name", "client", IMAGE, "sleep", "100000")
        pair = Pair("docker", (*_on(one), "client"), _address(two))
        _await(pair)
        yield pair


@contextlib.contextmanager
def on_swarm(image: Path) -> Iterator[Pair]:
    """A swarm of two, an overlay network, a service on one host, and a container on the other that asks."""
    with peer_host("swarm1", image, iptables=True) as one, peer_host("swarm2", image, iptables=True) as two:
        manager = ("docker", "exec", one, "docker")
        run(*manager, "swarm", "init", "--advertise-addr", _address(one))
        token = run(*manager, "swarm", "join-token", "-q", "worker").stdout.strip()
        run("docker", "exec", two, "docker", "swarm", "join", "--token", token, f"{_address(one)}:2377")
        run(*manager, "network", "create", "-d", "overlay", "--attachable", "bench")
        placed = ("service", "create", "-d", "--network", "bench", "--constraint", "node.hostname==swarm2")
        run(*manager, *placed, "--name", "virtual", "--publish", f"{PUBLISHED}:{HTTP}", IMAGE, *SERVE)
        run(*manager, *placed, "--name", "direct", "--endpoint-mode", "dnsrr", IMAGE, *SERVE)
        run(*manager, "run", "-d", "--network", "bench", "--name", "client", IMAGE, "sleep", "100000")
        pair = Pair("swarm", (*_on(one), "client"), "direct")
        _await(pair)
        virtual = Pair("virtual", pair.client, "virtual")
        ingress = run("curl", "-sS", "-m", "3", f"http://{_address(one)}:{PUBLISHED}/", check=False)
        print(f"swarm: a service's virtual address {'answers' if _answers(virtual) else 'does not answer'}, "
              f"the ingress {'answers' if ingress.stdout == 'hello' else 'does not answer'}")  # fmt: skip
        yield virtual._replace(name="swarm") if _answers(virtual) else pair


def _on(host: str) -> tuple[str, ...]:
    return ("docker", "exec", host, "docker", "exec")


def _address(host: str) -> str:
    return run(
        "docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", host
    ).stdout.strip()


def _answers(pair: Pair) -> bool:
    asked = run(*pair.client, "curl", "-sS", "-m", "3", f"http://{pair.target}:{HTTP}/", check=False)
    return asked.stdout == "hello"


def _await(pair: Pair) -> None:
    until(lambda: _answers(pair), seconds=60, what=f"an answer on {pair.name}")


@contextlib.contextmanager
def saved() -> Iterator[Path]:
    """The image of all containers, in a file."""
    build()
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "image.tar")
        run("docker", "save", "-o", archive, IMAGE, timeout=120)
        yield archive


def measure(rounds: int, seconds: int) -> None:
    """All networks in turns, so that whatever else the machine does falls on all."""
    with contextlib.ExitStack() as stack:
        image = stack.enter_context(saved())
        pairs = [*stack.enter_context(on_podium())]
        pairs += [stack.enter_context(peer(image)) for peer in (on_plain_bridges, on_docker, on_swarm)]
        found: dict[str, dict[str, list[float]]] = {what: {pair.name: [] for pair in pairs} for what in MEASURES}
        for turn in range(rounds):
            for what, measured in MEASURES.items():
                for pair in pairs if turn % 2 == 0 else reversed(pairs):
                    found[what][pair.name].append(measured(pair, seconds))
    for what, of in found.items():
        medians = {name: statistics.median(values) for name, values in of.items()}
        ratios = {f"service_to_{peer}": medians["service"] / medians[peer] for peer in ("plain", "docker", "swarm")}
        figures = {key: round(value, 3) for key, value in (medians | ratios).items()}
        print(json.dumps({"case": f"network_{what}", "rounds": rounds, "seconds": seconds, **figures}), flush=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    args = parser.parse_args()
    measure(args.rounds, args.seconds)


if __name__ == "__main__":
    main()
