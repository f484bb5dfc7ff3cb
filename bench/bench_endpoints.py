"""How soon the whole rig knows of an endpoint, and whether a rolling update under load loses a request.

    make up && python -m bench.bench_endpoints [--flips 20] [--updates 3]

- `endpoint_ready`: three pods, one a host, become ready and unready again and again. The clock starts when the pod
  answers its readiness probe for the first time (its server's own log says when), and stops for each host when its DNS
  server names the pod, and when a connection to the service's address stands, both tried every ten milliseconds there.
  All hosts of the rig share one clock. `endpoint_gone` is the way back: from the first probe that failed.
- `rolling_update`: wrk asks a Deployment of ten pods through its service, a connection a request, while all ten are
  replaced. Failed are: connections refused or cut off, answers that are not 200, time-outs.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from bench.network_rig import (
    ASK,
    HTTP,
    IMAGE,
    READY_FILE,
    READY_LOG,
    apply,
    build,
    inside,
    namespace,
    ready_pods,
    service,
)
from podium.client import Client
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import Service
from tests.rig.manifests import deployment, pod
from tests.rig.rig import CONFIG, NODES, Host, podium, run, until

NAME = "bench-endpoints"
REPLICAS, WORD = 10, "web"
SERVE = ["sh", "-c", f"touch {READY_FILE}; exec nginx -g 'daemon off;'"]


class Watcher:
    """What one host sees: when names and addresses began and ceased to lead to a pod."""

    def __init__(self, host: Host, watched: Sequence[str]) -> None:
        program = Path(__file__).with_name("endpoint_watcher.py").read_text()
        self.name, self._seen = host.name, list[tuple[float, str, bool]]()
        self._process = subprocess.Popen(
            ["docker", "exec", "-i", host.container, "/opt/podium/bin/python", "-c", program, *watched],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            when, what, there = json.loads(line)
            self._seen.append((when, what, there))

    def state(self, what: str) -> bool:
        """Whether it leads to a pod now."""
        return next((there for _, seen, there in reversed(self._seen) if seen == what), False)

    def first(self, what: str, there: bool, after: float) -> float | None:
        """When it became so, after a moment."""
        return next((t for t, seen, is_ in self._seen if seen == what and is_ == there and t >= after), None)

    def end(self) -> None:
        """The watcher ends when its standard input does."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._reading.join(30)


def flip_all(flips: int) -> None:
    """Pods become ready and unready in turns; prints how long every host took to see it."""
    names = [f"on-{host.name}" for host in NODES]
    probe = {"httpGet": {"path": "/ready", "port": HTTP}, "periodSeconds": 1, "failureThreshold": 1,
             "timeoutSeconds": 5}  # fmt: skip
    with namespace(NAME):
        made = [
            manifest
            for name, host in zip(names, NODES, strict=True)
            for manifest in (
                pod(name, SERVE, image=IMAGE, spec={"nodeName": host.name}, container={"readinessProbe": probe}),
                service(name, HTTP),
                service(f"{name}-pods", HTTP, clusterIP="None", selector={"app": name}),
            )
        ]
        apply(NAME, *made)
        pods = ready_pods(NAME, len(names))
        with Client.from_config(CONFIG) as api:
            routed = {n: f"{api.get(Service, n, namespace=NAME).spec.cluster_ip}:{HTTP}" for n in names}
        named = {n: f"{n}-pods.{NAME}.svc.cluster.local" for n in names}
        watchers = [Watcher(host, [*routed.values(), *named.values()]) for host in NODES]
        try:
            seen = _flip(flips, pods, [(routed[n], named[n]) for n in names], names, watchers)
        finally:
            for watcher in watchers:
                watcher.end()
    for case, found in seen.items():
        late = statistics.quantiles(found, n=100, method="inclusive")[98]
        figures = {"median_ms": statistics.median(found), "p99_ms": late, "worst_ms": max(found)}
        print(json.dumps({"case": case, "samples": len(found), **{k: round(v, 1) for k, v in figures.items()}}))


def _flip(
    flips: int, pods: dict[str, Pod], places: Sequence[tuple[str, str]], names: Sequence[str],
    watchers: Sequence[Watcher],
) -> dict[str, list[float]]:  # fmt: skip
    seen: dict[str, list[float]] = {}
    until(lambda: all(w.state(p) for w in watchers for both in places for p in both), seconds=30, what="all seen")
    for turn in range(flips * 2):
        for name, both in zip(names, places, strict=True):
            there = turn % 2 == 1
            asking = inside(pods[name])
            run(*asking, "sh", "-c", f": > {READY_LOG}; {'touch' if there else 'rm'} {READY_FILE}")
            until(lambda: all(w.state(p) == there for w in watchers for p in both), seconds=30,  # noqa: B023
                  what=f"{name} to be {'ready' if there else 'unready'} everywhere")  # fmt: skip
            began = _first_probe(run(*asking, "cat", READY_LOG).stdout, "200" if there else "404")
            for what, place in zip(("routed", "named"), both, strict=True):
                case = f"endpoint_{'ready' if there else 'gone'}_{what}"
                times = [w.first(place, there, began) for w in watchers]
                assert None not in times, f"{name} was {case} before it was probed"
                seen.setdefault(case, []).extend((t - began) * 1e3 for t in times if t is not None)
    return seen


def _first_probe(log: str, status: str) -> float:
    return min(float(line.split()[0]) for line in log.splitlines() if line.endswith(f" {status}"))


def update_under_load(updates: int) -> None:
    """Replace all pods of a Deployment again and again while wrk asks; prints what failed."""
    with namespace(NAME):
        web = deployment(WORD, image="nginx:1.14.2", replicas=REPLICAS)
        apply(NAME, web, service(WORD, 80), pod("client", ASK, image=IMAGE))
        asking = inside(ready_pods(NAME, REPLICAS + 1)["client"])
        until(lambda: not run(*asking, "curl", "-fsS", "-m", "2", f"http://{WORD}/", check=False).returncode,
              seconds=20, what="an answer")  # fmt: skip
        asked = failed = 0
        for turn in range(updates):
            more, lost = _update(asking, f"nginx:1.1{6 if turn % 2 == 0 else 4}.{1 if turn % 2 == 0 else 2}")
            asked, failed = asked + more, failed + lost
    print(json.dumps({"case": "rolling_update", "replicas": REPLICAS, "updates": updates, "requests": asked,
                      "failed": failed}))  # fmt: skip


def _update(asking: Sequence[str], image: str) -> tuple[int, int]:
    """Requests made and failed while the Deployment rolls to an image."""
    command = [
        *asking,
        "wrk",
        "-t1",
        "-c4",
        "-d600s",
        "--timeout",
        "5s",
        "-H",
        "Connection: close",
        f"http://{WORD}:80/",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        podium("-n", NAME, "set", "image", f"deploy/{WORD}", f"{WORD}={image}")
        podium("-n", NAME, "rollout", "status", f"deploy/{WORD}", "--timeout=180s", timeout=200)
        until(lambda: len(ready_pods(NAME, 1)) == REPLICAS + 1, seconds=60, what="the old pods to go")
        run(*asking, "pkill", "-INT", "wrk")
        said = wrk.communicate(timeout=30)[0]
    print(said, file=sys.stderr)
    done = re.search(r"(\d+) requests in", said)
    assert done is not None, said
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    failed = sum(map(int, errors.groups())) if errors else 0
    return int(done[1]), failed + (int(refused[1]) if refused else 0)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=20, help="of each of three pods")
    parser.add_argument("--updates", type=int, default=3)
    args = parser.parse_args()
    build()
    if args.flips:
        flip_all(args.flips)
    if args.updates:
        update_under_load(args.updates)


if __name__ == "__main__":
    main()
