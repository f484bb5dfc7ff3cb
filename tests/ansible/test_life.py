"""The life of a cluster on bare hosts: made, made again with nothing to do, used, taken away without a trace."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from podium.client import Client
from podium.objects.conditions import is_true
from podium.v1.core_pb2 import Node, Pod
from tests.ansible.hosts import Controller, Host, recaps, run

PODIUM = Path(sys.executable).parent / "podium"
IMAGE = "busybox:latest"
MANIFEST = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      securityContext: {{fsGroup: 2000}}
      containers:
        - name: web
          image: {IMAGE}
          imagePullPolicy: IfNotPresent
          command: [sh, -c, "test -s /secret/key && test -g /data && exec sleep infinity"]
          volumeMounts:
            - {{name: secret, mountPath: /secret}}
            - {{name: data, mountPath: /data}}
      volumes:
        - name: secret
          secret: {{secretName: seen}}
        - name: data
          emptyDir: {{}}
---
apiVersion: v1
kind: Secret
metadata: {{name: seen}}
stringData: {{key: what the nodelet mounts the engine sees}}
"""

# What a host is asked for what is left; one line each, and none when nothing is.
TRACES = """\
ls -d /opt/podium /etc/podium /var/lib/podium /etc/systemd/system/podium-* /etc/systemd/system/*.wants/podium-* \
  /tmp/podium-* 2>/dev/null
ls /sys/class/net | grep -E '^(podium0|pod[0-9a-f]{10})$'
nft list tables | grep podium
docker ps --all --quiet --filter label=io.podium.owner
docker image ls --quiet podium/sandbox
getent passwd podium-master
pgrep --list-full podium
true
"""


@pytest.mark.timeout(1800)
def test_life(hosts: tuple[Host, ...], controller: Controller) -> None:
    _refused(hosts, controller)
    _failed_half_way(hosts, controller)
    _made(hosts, controller)
    _made_again(controller)
    _used(hosts, controller)
    _taken_away(hosts, controller)


def _refused(hosts: tuple[Host, ...], controller: Controller) -> None:
    with pytest.raises(AssertionError, match=r"MiB free; 99999999 are needed"):
        controller.play("site.yml", "-e", "preflight_free_mib=99999999")
    for host in hosts:
        assert not host.sh("command -v docker dockerd podium nft || true"), "something was installed all the same"


def _failed_half_way(hosts: tuple[Host, ...], controller: Controller) -> None:
    """The nodes are told of a master that is not there: everything is installed, and nobody joins."""
    wrong = {"nodelet_masters": ["127.0.0.1:1"], "nodelet_start_seconds": 5}
    with pytest.raises(AssertionError, match=r"(?s)beta is not Ready.*could not join"):
        controller.play("site.yml", "-e", json.dumps(wrong))
    assert not _tokens_left(hosts, controller)


def _tokens_left(hosts: tuple[Host, ...], controller: Controller) -> list[str]:
    """What is left of join tokens: files on hosts, and tokens that the master would take."""
    files = [host.sh("ls /etc/podium/join-token 2>/dev/null || true").strip() for host in hosts]
    with Client.from_config(controller.admin_config) as client:
        return [*filter(None, files), *(token.id for token in client.cluster.list_tokens())]


def _made(hosts: tuple[Host, ...], controller: Controller) -> None:
    first = recaps(controller.play("site.yml"))
    assert {name: (r.failed, r.unreachable) for name, r in first.items()} == {"alpha": (0, 0), "beta": (0, 0)}

    assert not _tokens_left(hosts, controller)
    assert stat.S_IMODE(controller.admin_config.stat().st_mode) == 0o600
    with Client.from_config(controller.admin_config) as client:
        nodes = {node.metadata.name: node for node in client.list(Node)}
        assert sorted(nodes) == ["alpha", "beta"]
        assert all(is_true(node.status.conditions, "Ready") for node in nodes.values())
        assert nodes["beta"].metadata.labels["topology.kubernetes.io/zone"] == "b"
    for host in hosts:
        # Certificates are for everybody; nothing else is.
        assert host.sh("find /etc/podium /var/lib/podium -type f -perm /o=rwx ! -name '*.crt'") == ""


def _made_again(controller: Controller) -> None:
    output = controller.play("site.yml")
    assert {name: r.changed for name, r in recaps(output).items()} == {"alpha": 0, "beta": 0}, output


def _used(hosts: tuple[Host, ...], controller: Controller) -> None:
    def podium(*words: str, stdin: str = "") -> str:
        return run(
            PODIUM,
            *words,
            stdin=stdin.encode(),
            timeout=90,
            environment={"PODIUM_CONFIG": str(controller.admin_config)},
        )

    for host in hosts:
        host.load_image(IMAGE)
    podium("apply", "-f", "-", "--wait", "--timeout=60s", stdin=MANIFEST)
    with Client.from_config(controller.admin_config) as client:
        pods = client.list(Pod, selector="app=web")
        assert sorted(pod.spec.node_name for pod in pods) == ["alpha", "beta"]
    assert podium("exec", "deploy/web", "--", "echo", "it runs") == "it runs\n"

    # The units may be restarted at any time: containers go on, and are adopted.
    before = [host.sh("docker ps --quiet --no-trunc | sort") for host in hosts]
    for host in hosts:
        host.sh("systemctl restart podium-nodelet docker")
    podium("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
    assert [host.sh("docker ps --quiet --no-trunc | sort") for host in hosts] == before


def _taken_away(hosts: tuple[Host, ...], controller: Controller) -> None:
    with pytest.raises(AssertionError, match="Nothing was touched"):
        controller.play("reset.yml", "-e", "podium_reset=no")
    controller.play("reset.yml", "-e", "podium_reset=yes")
    for host in hosts:
        assert host.sh(TRACES) == "", host.name
        assert host.sh("systemctl is-system-running").strip() == "running"
    assert not controller.admin_config.exists()
    again = recaps(controller.play("reset.yml", "-e", "podium_reset=yes"))
    assert {name: r.changed for name, r in again.items()} == {"alpha": 0, "beta": 0}
