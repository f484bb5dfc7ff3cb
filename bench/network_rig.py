"""What benchmarks of the rig's network share: one image with everything that asks and answers, pods of it, services."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Pod
from tests.rig.rig import CONFIG, PODIUM, Host, podium, run, until

IMAGE = "podium-bench-network:latest"
REGISTRY = "127.0.0.1:5000"
CONTROL, DATA, STREAM, HTTP = 19765, 19766, 5201, 8080
READY_FILE, READY_LOG = "/tmp/ready", "/tmp/ready.log"
NGINX = f"""
log_format when "$msec $status";
server {{
  listen {HTTP}; keepalive_requests 10000000; access_log off;
  location / {{ return 200 "hello"; }}
  location = /ready {{ root /tmp; try_files /ready =404; access_log {READY_LOG} when; }}
}}
"""
DOCKERFILE = f"""
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends iperf3 qperf wrk nginx-light curl procps \\
 && rm -rf /var/lib/apt/lists/* /etc/nginx/sites-enabled/*
RUN echo '{" ".join(NGINX.split())}' > /etc/nginx/conf.d/bench.conf
"""
SERVE = ["sh", "-c", f"nginx; iperf3 -s -D -p {STREAM}; exec qperf -lp {CONTROL}"]
ASK = ["sleep", "100000"]


def build() -> None:
    """Make the image, and push it to the rig's registry."""
    subprocess.run(["docker", "build", "-q", "-t", IMAGE, "-"], input=DOCKERFILE.encode(), check=True, timeout=600,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    run("docker", "tag", IMAGE, f"{REGISTRY}/library/{IMAGE}")
    run("docker", "push", "-q", f"{REGISTRY}/library/{IMAGE}", timeout=120)


@contextlib.contextmanager
def namespace(name: str) -> Iterator[None]:
    """A namespace of the benchmark's own."""
    podium("create", "namespace", name)
    try:
        yield
    finally:
        podium("delete", "namespace", name, "--timeout=60s", timeout=90)


def apply(namespace: str, *manifests: str) -> None:
    """`podium apply` in a namespace."""
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin="\n---\n".join(manifests))


def service(name: str, *ports: int, **spec: object) -> str:
    """A Service of the pods with the label `app` of its name."""
    numbered = [{"name": f"p{number}", "port": number} for number in ports]
    said = {"selector": {"app": name}, "ports": numbered, **spec}
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": said})


def ready_pods(namespace: str, count: int) -> dict[str, Pod]:
    """All pods by name, once so many are ready."""
    with Client.from_config(CONFIG) as api:

        def found() -> dict[str, Pod]:
            pods = {p.metadata.name: p for p in api.list(Pod, namespace=namespace) if is_ready(p)}
            return pods if len(pods) >= count else {}

        return until(found, seconds=120, what=f"{count} ready pods in {namespace}")


def inside(pod: Pod) -> Sequence[str]:
    """The beginning of a command in a pod's container, by the host's own engine."""
    container = pod.status.container_statuses[0].container_id.removeprefix("docker://")
    return ("docker", "exec", Host(pod.spec.node_name).container, "docker", "exec", container)
