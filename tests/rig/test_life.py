"""A Deployment's life on three real hosts: spread, served, rolled out, rolled back, scaled, read, reached into."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Pod
from tests.rig.manifests import deployment, pod
from tests.rig.rig import CONFIG, NODES, PODIUM, Host, podium, run, until


def _pods(client: Client, namespace: str, app: str = "web") -> list[Pod]:
    found = client.list(Pod, namespace=namespace, selector=f"app={app}")
    return [p for p in found if not p.metadata.HasField("deletion_timestamp")]


def _apply(namespace: str, manifest: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run(PODIUM, "-n", namespace, "apply", "-f", "-", *words, stdin=manifest, check=check, timeout=150)


def _serves(pod_: Pod, text: str) -> bool:
    return text in Host(pod_.spec.node_name).sh(f"curl -fsS --max-time 2 http://{pod_.status.pod_ip}/", check=False)


def test_an_unmodified_example_runs_spread_over_the_hosts(client: Client, namespace: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "examples/web.yaml", "--wait", "--timeout=120s", timeout=150)
    pods = _pods(client, namespace)
    assert len(pods) == 3
    assert all(is_ready(p) for p in pods)
    assert {p.spec.node_name for p in pods} == {h.name for h in NODES}
    assert len({p.status.pod_ip for p in pods}) == 3
    assert all(_serves(p, "Welcome to nginx") for p in pods)


def test_roll_out_and_back(client: Client, namespace: str) -> None:
    _apply(namespace, deployment("web"), "--wait", "--timeout=120s")
    podium("-n", namespace, "set", "image", "deploy/web", "web=nginx:1.16.1")
    said = podium("-n", namespace, "rollout", "status", "deploy/web", "--timeout=90s", timeout=120)
    assert "revision 2" in said
    assert all(_serves(p, "image 1.16.1") for p in _pods(client, namespace))

    history = podium("-n", namespace, "rollout", "history", "deploy/web")
    assert "nginx:1.14.2 -> nginx:1.16.1" in history
    assert "admin" in history

    podium("-n", namespace, "rollout", "undo", "deploy/web")
    podium("-n", namespace, "rollout", "status", "deploy/web", "--timeout=90s", timeout=120)
    assert all(_serves(p, "image 1.14.2") for p in _pods(client, namespace))


def test_a_rollout_that_cannot_work_is_explained_and_leaves_the_old_pods(client: Client, namespace: str) -> None:
    _apply(namespace, deployment("web"), "--wait", "--timeout=120s")
    broken = deployment("web", container={"command": ["sh", "-c", "echo about to fail; exit 7"]})
    done = _apply(namespace, broken, "--wait", "--timeout=20s", check=False)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "exit code 7" in said
    assert "about to fail" in said
    assert "spec.containers[web].command" in said
    assert sum(_serves(p, "Welcome") for p in _pods(client, namespace)) >= 2

    podium("-n", namespace, "rollout", "undo", "deploy/web")
    podium("-n", namespace, "rollout", "status", "deploy/web", "--timeout=60s", timeout=90)


def test_an_image_that_does_not_exist_says_so(client: Client, namespace: str) -> None:
    _apply(namespace, deployment("web", image="nothing-of-this-name:9", replicas=1))

    def waiting() -> str:
        pods = _pods(client, namespace)
        statuses = pods[0].status.container_statuses if pods else ()
        return statuses[0].state.waiting.reason if statuses else ""

    until(lambda: waiting() in ("ErrImagePull", "ImagePullBackOff"), seconds=40, what="an image pull error")
    until(lambda: waiting() == "ImagePullBackOff", seconds=40, what="back-off")
    message = _pods(client, namespace)[0].status.container_statuses[0].state.waiting.message
    assert "nothing-of-this-name" in message


def test_scale_and_read_logs_of_all_pods(client: Client, namespace: str) -> None:
    _apply(namespace, deployment("web", replicas=2), "--wait", "--timeout=120s")
    podium("-n", namespace, "scale", "deploy/web", "--replicas=5")
    until(lambda: sum(is_ready(p) for p in _pods(client, namespace)) == 5, seconds=40, what="five ready pods")
    for p in _pods(client, namespace):
        assert _serves(p, "Welcome")
    lines = podium("-n", namespace, "logs", "deploy/web", "--tail=200")
    assert all(f"[{p.metadata.name}]" in lines for p in _pods(client, namespace))
    podium("-n", namespace, "scale", "deploy/web", "--replicas=1")
    until(lambda: len(client.list(Pod, namespace=namespace)) == 1, seconds=40, what="one pod left")


def test_follow_logs_into_pods_made_later(client: Client, namespace: str) -> None:
    talk = ["sh", "-c", "while true; do echo hello from $HOSTNAME; sleep 0.2; done"]
    _apply(namespace, deployment("talk", image="busybox", replicas=1, container={"command": talk}), "--wait")
    command = [str(PODIUM), "--config", str(CONFIG), "-n", namespace, "logs", "-f", "deploy/talk"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        try:
            podium("-n", namespace, "scale", "deploy/talk", "--replicas=3")
            seen: set[str] = set()
            for line in follower.stdout:
                seen.add(line.partition("]")[0])
                if len(seen) == 3:
                    break
        finally:
            follower.kill()
    assert len(seen) == 3


def test_exec_copy_and_forward(client: Client, namespace: str, tmp_path: Path) -> None:
    _apply(namespace, deployment("web", replicas=1), "--wait", "--timeout=120s")
    (target,) = _pods(client, namespace)
    assert podium("-n", namespace, "exec", "deploy/web", "--", "sh", "-c", "echo $((6*7))").strip() == "42"
    failed = run(PODIUM, "-n", namespace, "exec", "deploy/web", "--", "sh", "-c", "echo bad >&2; exit 3", check=False)
    assert (failed.returncode, failed.stderr.strip()) == (3, "bad")
    assert (
        podium("-n", namespace, "exec", "-i", "deploy/web", "--", "cat", stdin="through the pipe") == "through the pipe"
    )

    page = tmp_path / "index.html"
    page.write_text("copied in")
    podium("-n", namespace, "cp", str(page), f"{target.metadata.name}:/usr/share/nginx/html/index.html")
    assert _serves(target, "copied in")
    podium("-n", namespace, "cp", f"{target.metadata.name}:/etc/nginx/nginx.conf", str(tmp_path / "out.conf"))
    assert "worker_processes" in (tmp_path / "out.conf").read_text()

    command = [str(PODIUM), "--config", str(CONFIG), "-n", namespace, "port-forward", "deploy/web", ":80"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout is not None
        try:
            port = int(forward.stdout.readline().split(" -> ")[0].rpartition(":")[2])
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    answer = b"".join(iter(lambda c=connection: c.recv(65536), b""))  # type: ignore[misc]
                assert answer.endswith(b"copied in")
        finally:
            forward.terminate()


def test_a_pending_pod_says_exactly_why(namespace: str) -> None:
    _apply(namespace, pod("big", ["sleep", "1"], container={"resources": {"requests": {"memory": "900Gi"}}}))
    until(
        lambda: "Insufficient memory" in podium("-n", namespace, "explain", "pod", "big", check=False),
        seconds=10, what="the reason",
    )  # fmt: skip
    said = podium("-n", namespace, "explain", "pod", "big", "--nodes")
    assert "0/3 nodes are available: 3 Insufficient memory" in said
    assert all(h.name in said for h in NODES)
    assert "FailedScheduling" in podium("-n", namespace, "describe", "pod", "big")


def test_limits_oom_and_exit_codes_are_reported(client: Client, namespace: str) -> None:
    eater = pod(
        "eater", ["sh", "-c", "x=a; while true; do x=$x$x; done"], spec={"restartPolicy": "Never"},
        container={"resources": {"limits": {"memory": "32Mi"}}},
    )  # fmt: skip
    _apply(namespace, eater)

    def ends() -> list[tuple[str, int]]:
        statuses = client.get(Pod, "eater", namespace=namespace).status.container_statuses
        ended = [s.state.terminated for s in statuses if s.state.HasField("terminated")]
        return [(e.reason, e.exit_code) for e in ended if e.reason == "OOMKilled"]

    # The engine may tell of the end before it tells of its cause.
    assert until(ends, seconds=40, what="an end by lack of memory") == [("OOMKilled", 137)]
    assert client.get(Pod, "eater", namespace=namespace).status.phase == "Failed"


def test_init_containers_and_sidecars_run_in_order(client: Client, namespace: str) -> None:
    manifest = json.dumps(
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "order"},
            "spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
                "initContainers": [
                    {"name": "first", "image": "busybox", "command": ["sh", "-c", "echo one"]},
                    {"name": "beside", "image": "busybox", "restartPolicy": "Always", "command": ["sleep", "1000"]},
                ],
                "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", "echo two"]}],
            },
        }
    )  # fmt: skip
    _apply(namespace, manifest)
    until(
        lambda: client.get(Pod, "order", namespace=namespace).status.phase == "Succeeded", seconds=40,
        what="success, though the sidecar would run for ever",
    )  # fmt: skip
    assert podium("-n", namespace, "logs", "order", "-c", "first").strip() == "one"
    assert podium("-n", namespace, "logs", "order", "-c", "main").strip() == "two"


def test_drain_moves_pods_and_uncordon_lets_them_back(client: Client, namespace: str) -> None:
    _apply(namespace, deployment("web"), "--wait", "--timeout=120s")
    try:
        podium("drain", "node3", "--force", "--timeout=60s", timeout=90)
        until(
            lambda: sum(is_ready(p) for p in _pods(client, namespace)) == 3,
            seconds=40,
            what="three ready pods elsewhere",
        )
        assert {p.spec.node_name for p in _pods(client, namespace)} == {"node1", "node2"}
        assert "SchedulingDisabled" in podium("get", "node", "node3")
    finally:
        podium("uncordon", "node3")


def test_top_shows_what_is_used(namespace: str) -> None:
    _apply(namespace, deployment("web", replicas=1), "--wait", "--timeout=120s")
    until(lambda: "web" in podium("-n", namespace, "top", "pods", check=False), seconds=30, what="usage of the pod")
    nodes = podium("top", "nodes")
    assert all(h.name in nodes for h in NODES)


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        (deployment("web").replace("image:", "imge:"), 'spec.template.spec.containers[0].imge'),
        (deployment("web").replace("replicas: 3", "replicas: three"), "spec.replicas"),
        (deployment("web").replace("app: web", "app: other", 1), "selector"),
        (deployment("web").replace("kind: Deployment", "kind: Deploymnt"), "Deployment"),
    ],
)  # fmt: skip
def test_a_bad_manifest_is_refused_by_field(namespace: str, manifest: str, complaint: str) -> None:
    done = _apply(namespace, manifest, check=False)
    assert done.returncode == 1
    assert complaint in done.stderr
