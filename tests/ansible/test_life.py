"""The life of a cluster on bare hosts, by the lines of README: made, grown, changed, upgraded under load, rotated,
shrunk, restored onto another master, taken away without a trace."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509

from podium.client import Client
from podium.client.config import load as load_config
from podium.objects.conditions import is_true
from podium.v1.core_pb2 import Node, Pod
from podium.v1.networking_pb2 import Service
from tests.ansible.conftest import NEXT_VERSION
from tests.ansible.hosts import Controller, Host, lines_of_readme, recaps, run
from tests.ansible.inventories import inventory
from tests.ansible.load import once, steady
from tests.ansible.private_registry import PASSWORD, USERNAME, Registry, private_registry
from tests.ansible.traces import TRACES

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
      terminationGracePeriodSeconds: 5
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {{matchLabels: {{app: web}}}}
      containers:
        - name: web
          image: {IMAGE}
          imagePullPolicy: IfNotPresent
          command: [sh, -c, "test -s /secret/key && hostname >/data/index.html && exec httpd -f -p 8080 -h /data"]
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
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
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: NodePort
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: web}}
spec: {{maxUnavailable: 1, selector: {{matchLabels: {{app: web}}}}}}
"""


def test_readme_holds_each_playbook_that_is_played_here() -> None:
    played = Path(__file__).read_text()
    assert [name for name in lines_of_readme() if f'play("{name}"' not in played] == []
    assert len(lines_of_readme()) == 8


@pytest.mark.timeout(3600)
def test_life(hosts: tuple[Host, ...], controller: Controller, releases: tuple[Path, Path]) -> None:
    this, following = releases
    names = [host.name for host in hosts]
    first, grown = hosts[:2], hosts
    controller.write_inventory(inventory(controller, this, nodes=names[:2]), hosts)
    _refused(controller, first)
    _failed_half_way(controller, first)
    _made(controller, first)
    _made_again(controller, first)
    controller.write_inventory(inventory(controller, this, nodes=names), hosts)
    _grown(controller)
    _used(controller, grown)
    changed = {"max_pods": 50}
    with private_registry(IMAGE) as registry:
        login = {"username": USERNAME, "password": PASSWORD}
        more = {"docker_insecure_registries": [registry.host], "nodelet_registry_credentials": {registry.host: login}}
        controller.write_inventory(inventory(controller, this, nodes=names, nodelet=changed, more=more), hosts)
        _changed(controller, grown)
        _pulled(controller, grown, registry)
    controller.write_inventory(inventory(controller, following, nodes=names, nodelet=changed, more=more), hosts)
    _upgraded(controller, grown)
    _rotated(controller, grown)
    _removed(controller, hosts[2])
    _backed_up(controller, hosts[0])
    controller.write_inventory(
        inventory(controller, following, master="node3", nodes=names[:2], nodelet=changed, more=more), hosts
    )
    _restored(controller, first)
    _taken_away(controller, hosts)


def _client(controller: Controller) -> Client:
    return Client.from_config(controller.admin_config)


def _podium(controller: Controller, *words: str, stdin: str = "") -> str:
    return run(
        PODIUM, *words, stdin=stdin.encode(), timeout=200,
        environment={"PODIUM_CONFIG": str(controller.admin_config)},
    )  # fmt: skip


def _containers(hosts: Sequence[Host]) -> list[str]:
    return [host.sh("docker ps --quiet --no-trunc --filter label=io.podium.owner | sort") for host in hosts]


def _refused(controller: Controller, hosts: Sequence[Host]) -> None:
    with pytest.raises(AssertionError, match=r"MiB free; 99999999 are needed"):
        controller.play("site.yml", "-e", "preflight_free_mib=99999999")
    for host in hosts:
        assert not host.sh("command -v docker dockerd podium nft || true"), "something was installed all the same"


def _failed_half_way(controller: Controller, hosts: Sequence[Host]) -> None:
    """The nodes are told of a master that is not there: everything is installed, and nobody joins."""
    wrong = {"nodelet_masters": ["127.0.0.1:1"], "nodelet_start_seconds": 5}
    with pytest.raises(AssertionError, match=r"(?s)node2 is not Ready.*could not join"):
        controller.play("site.yml", "-e", json.dumps(wrong))
    assert not _tokens_left(controller, hosts)


def _tokens_left(controller: Controller, hosts: Sequence[Host]) -> list[str]:
    """What is left of join tokens: files on hosts, and tokens that the master would take."""
    files = [host.sh("ls /etc/podium/join-token 2>/dev/null || true").strip() for host in hosts]
    with _client(controller) as client:
        return [*filter(None, files), *(token.id for token in client.cluster.list_tokens())]


def _made(controller: Controller, hosts: Sequence[Host]) -> None:
    first = recaps(controller.play("site.yml"))
    assert {name: (r.failed, r.unreachable) for name, r in first.items()} == {"node1": (0, 0), "node2": (0, 0)}

    assert not _tokens_left(controller, hosts)
    assert controller.admin_config.stat().st_mode & 0o777 == 0o600
    with _client(controller) as client:
        nodes = {node.metadata.name: node for node in client.list(Node)}
        assert sorted(nodes) == ["node1", "node2"]
        assert all(is_true(node.status.conditions, "Ready") for node in nodes.values())
        assert nodes["node2"].metadata.labels["topology.kubernetes.io/zone"] == "node2"
    for host in hosts:
        # Certificates are for everybody; nothing else is.
        assert host.sh("find /etc/podium /var/lib/podium -type f -perm /o=rwx ! -name '*.crt'") == ""


def _made_again(controller: Controller, hosts: Sequence[Host]) -> None:
    output = controller.play("site.yml")
    assert {name: r.changed for name, r in recaps(output).items()} == {host.name: 0 for host in hosts}, output


def _grown(controller: Controller) -> None:
    output = controller.play("grow.yml")
    changes = {name: r.changed for name, r in recaps(output).items()}
    assert changes.pop("node3") > 0
    assert changes == {"node1": 0, "node2": 0}, output
    with _client(controller) as client:
        assert [node.metadata.name for node in client.list(Node)] == ["node1", "node2", "node3"]


def _used(controller: Controller, hosts: Sequence[Host]) -> None:
    for host in hosts:
        host.load_image(IMAGE)
    _ = _podium(controller, "apply", "-f", "-", "--wait", "--timeout=120s", stdin=MANIFEST)
    with _client(controller) as client:
        assert len({pod.spec.node_name for pod in client.list(Pod, selector="app=web")}) == 2
    assert _podium(controller, "exec", "deploy/web", "--", "echo", "it runs") == "it runs\n"


def _changed(controller: Controller, hosts: Sequence[Host]) -> None:
    """Nodelets start anew with the setting; containers go on, also while the engine is restarted."""
    before = _containers(hosts)
    _ = controller.play("site.yml")
    with _client(controller) as client:
        assert {node.status.capacity["pods"] for node in client.list(Node)} == {"50"}
    for host in hosts:
        _ = host.sh("systemctl restart docker")
    _ = _podium(controller, "wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
    assert _containers(hosts) == before


def _pulled(controller: Controller, hosts: Sequence[Host], registry: Registry) -> None:
    """Each host has what the registry gives to nobody else, and the login is root's alone."""
    assert "no basic auth credentials" in hosts[0].sh(f"docker pull {registry.image} 2>&1", check=False)
    pods = [f"pulled-{host.name}" for host in hosts]
    for name, host in zip(pods, hosts, strict=True):
        container = {"name": "main", "image": registry.image, "imagePullPolicy": "Always", "command": ["sleep", "999"]}
        spec = {"nodeName": host.name, "terminationGracePeriodSeconds": 0, "containers": [container]}
        made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        _ = _podium(controller, "create", "-f", "-", stdin=json.dumps(made))
        seen = host.sh("stat -c '%a %U' /etc/podium/registries /etc/podium/registries/config.json")
        assert seen.splitlines() == ["700 root", "600 root"]
    _ = _podium(controller, "wait", "--for=condition=Ready", "pod", *pods, "--timeout=30s")
    _ = _podium(controller, "delete", "pod", *pods)


def _upgraded(controller: Controller, hosts: Sequence[Host]) -> None:
    with _client(controller) as client:
        port = client.get(Service, "web").spec.ports[0].node_port
    addresses = [host.address for host in hosts]
    assert {once(address, port) for address in addresses} == {200}
    with steady(addresses, port) as load:
        output = controller.play("upgrade.yml")
    assert load.failures == []
    assert len(_backups(controller)) == 1
    assert all(load.answered[address] > 50 for address in addresses), load.answered
    with _client(controller) as client:
        nodes = list(client.list(Node))
    assert {node.status.node_info.kubelet_version for node in nodes} == {NEXT_VERSION}, output
    assert not [
        n.metadata.name for n in nodes if n.spec.unschedulable or "podium.dev/upgrade" in n.metadata.annotations
    ]


def _backups(controller: Controller) -> list[Path]:
    """Those that nobody named."""
    return list((controller.directory / "backups").glob("podium-*.backup"))


def _issuer(pem: str) -> str:
    return x509.load_pem_x509_certificate(pem.encode()).issuer.rfc4514_string()


def _rotated(controller: Controller, hosts: Sequence[Host]) -> None:
    def issuers() -> set[str]:
        nodes = [host.sh("cat /var/lib/podium/nodelet/identity/node.pem") for host in hosts]
        return {_issuer(pem) for pem in [*nodes, load_config(controller.admin_config).context().certificate]}

    before, containers = issuers(), _containers(hosts)
    _ = controller.play("rotate.yml")
    after = issuers()
    assert len(after) == 1
    assert not after & before
    assert _containers(hosts) == containers
    assert load_config(controller.admin_config).context().ca.count("BEGIN CERTIFICATE") == 1, "the old CA is dropped"


def _removed(controller: Controller, host: Host) -> None:
    _ = controller.play("remove.yml")
    assert host.sh(TRACES) == ""
    with _client(controller) as client:
        assert [node.metadata.name for node in client.list(Node)] == ["node1", "node2"]


def _backed_up(controller: Controller, master: Host) -> None:
    """The master stays behind; what happens after the backup is lost with it."""
    _ = controller.play("backup.yml")
    assert (controller.directory / "cluster.backup").stat().st_mode & 0o777 == 0o600
    assert "backup" not in master.sh("ls -a /var/lib/podium/master; ls /tmp")
    _ = _podium(controller, "create", "namespace", "since")
    _ = master.sh("systemctl disable --now podium-master")


def _restored(controller: Controller, hosts: Sequence[Host]) -> None:
    before = _containers(hosts)
    _ = controller.play("restore.yml")
    with _client(controller) as client:
        nodes = list(client.list(Node))
        assert [n.metadata.name for n in nodes if is_true(n.status.conditions, "Ready")] == ["node1", "node2"]
        assert len(client.list(Pod, selector="app=web")) == 2
    assert "since" not in _podium(controller, "get", "namespaces", "-o", "name")
    assert _containers(hosts) == before
    again = recaps(controller.play("restore.yml"))
    assert {r.changed for r in again.values()} == {0}, "nothing is restored twice"


def _taken_away(controller: Controller, hosts: Sequence[Host]) -> None:
    with pytest.raises(AssertionError, match="Nothing was touched"):
        controller.play("reset.yml", "-e", "podium_reset=no")
    _ = controller.play("reset.yml")
    for host in hosts:
        assert host.sh(TRACES) == "", host.name
        assert host.sh("systemctl is-system-running").strip() == "running"
    assert not controller.admin_config.exists()
    again = recaps(controller.play("reset.yml"))
    assert {r.changed for r in again.values()} == {0}
