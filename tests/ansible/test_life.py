"""The life of a cluster on bare hosts, by the lines of README: made, grown, changed, upgraded under load, rotated,
shrunk, restored onto another master, taken away without a trace."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

import podium
from podium.client import Client
from podium.client.config import load as load_config
from podium.errors import PodiumError
from podium.objects.conditions import get_condition, is_true
from podium.v1.core_pb2 import Node, Pod, Secret
from podium.v1.networking_pb2 import Service
from tests.ansible.conftest import NEXT_VERSION
from tests.ansible.hosts import Controller, Host, lines_of_readme, recaps, run
from tests.ansible.inventories import inventory
from tests.ansible.load import once, steady
from tests.ansible.private_registry import PASSWORD, USERNAME, Registry, private_registry
from tests.ansible.traces import TRACES
from tests.rig.rig import until

PODIUM = Path(sys.executable).parent / "podium"
IMAGE = "busybox:latest"
SECONDS_TO_A_CLUSTER, SECONDS_TO_CHANGE_NOTHING = 240.0, 45.0
# What the owner of a host had said of an engine; of no consequence for Podium.
OWNERS_DAEMON = {"log-level": "info", "labels": ["team=a"], "max-concurrent-downloads": 5}
# Settings of a unit that are nobody's but this test's.
BROKEN = "/etc/systemd/system/podium-nodelet.service.d"
OPEN_PORT = 9999
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
    controller.write_inventory(inventory(controller, this, nodes=names), hosts)
    _settings_of_somebody(hosts[1])
    _refused(controller, hosts)
    _made(controller, hosts)
    _made_again(controller, hosts)
    _used(controller, hosts)
    _replaced(controller, hosts[2])
    changed = {"max_pods": 50, "status_period": "2s"}
    with private_registry(IMAGE) as registry:
        login = {"username": USERNAME, "password": PASSWORD}
        more = {
            "docker_insecure_registries": [registry.host], "nodelet_registry_credentials": {registry.host: login},
            "docker_registry_mirrors": [f"http://{registry.host}"], "firewall_enabled": True,
        }  # fmt: skip
        controller.write_inventory(inventory(controller, this, nodes=names, nodelet=changed, more=more), hosts)
        _changed(controller, hosts, registry)
        _pulled(controller, hosts, registry)
    _disk_lost(controller, hosts[1])
    controller.write_inventory(inventory(controller, following, nodes=names, nodelet=changed, more=more), hosts)
    _upgraded(controller, hosts)
    _rotated(controller, hosts)
    _removed(controller, hosts[2])
    _backed_up(controller, hosts[0])
    controller.write_inventory(
        inventory(controller, following, master="node3", nodes=names[:2], nodelet=changed, more=more), hosts
    )
    _restored(controller, hosts[:2])
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


def _settings_of_somebody(host: Host) -> None:
    """The owner of a host has said how an engine is to run there."""
    _ = host.sh(f"mkdir -p /etc/docker && echo '{json.dumps(OWNERS_DAEMON)}' >/etc/docker/daemon.json")


def _refused(controller: Controller, hosts: Sequence[Host]) -> None:
    with pytest.raises(AssertionError, match=r"MiB free; 99999999 are needed"):
        controller.play("site.yml", "-e", "preflight_free_mib=99999999")
    for host in hosts:
        assert not host.sh("command -v docker dockerd podium nft || true"), "something was installed all the same"


def _tokens_left(controller: Controller, hosts: Sequence[Host]) -> list[str]:
    """What is left of join tokens: files on hosts, and tokens that the master would take."""
    files = [host.sh("ls /etc/podium/join-token 2>/dev/null || true").strip() for host in hosts]
    with _client(controller) as client:
        return [*filter(None, files), *(token.id for token in client.cluster.list_tokens())]


def _made(controller: Controller, hosts: Sequence[Host]) -> None:
    with _within(SECONDS_TO_A_CLUSTER, "three bare hosts to Ready nodes"):
        first = recaps(controller.play("site.yml"))
    assert {name: (r.failed, r.unreachable) for name, r in first.items()} == {host.name: (0, 0) for host in hosts}

    assert not _tokens_left(controller, hosts)
    assert controller.admin_config.stat().st_mode & 0o777 == 0o600
    with _client(controller) as client:
        nodes = {node.metadata.name: node for node in client.list(Node)}
        assert sorted(nodes) == ["node1", "node2", "node3"]
        assert all(is_true(node.status.conditions, "Ready") for node in nodes.values())
        assert nodes["node2"].metadata.labels["topology.kubernetes.io/zone"] == "node2"
    for host in hosts:
        # Certificates are for everybody; nothing else is.
        assert host.sh("find /etc/podium /var/lib/podium -type f -perm /o=rwx ! -name '*.crt'") == ""
    owners = json.loads(hosts[1].sh("cat /etc/docker/daemon.json"))
    assert owners | OWNERS_DAEMON == owners, "what the owner said counts"
    assert owners["live-restore"] is True


@contextmanager
def _within(seconds: float, what: str) -> Iterator[None]:
    """Measure what is promised of a quiet machine; this one is shared with whatever else runs here."""
    began = time.monotonic()
    yield
    took, crowd = time.monotonic() - began, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    print(f"\n{what}: {took:.1f} s; load {crowd:.1f} a processor")
    assert took <= seconds * crowd


def _made_again(controller: Controller, hosts: Sequence[Host]) -> None:
    with _within(SECONDS_TO_CHANGE_NOTHING, "run again"):
        output = controller.play("site.yml")
    assert {name: r.changed for name, r in recaps(output).items()} == {host.name: 0 for host in hosts}, output


def _used(controller: Controller, hosts: Sequence[Host]) -> None:
    for host in hosts:
        host.load_image(IMAGE)
    _ = hosts[1].sh("iptables -P FORWARD DROP")  # as Docker or ufw have it: the nodelet lets its pods pass
    stays = {"image": IMAGE, "name": "main", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "infinity"]}
    spec = {
        "nodeName": hosts[2].name, "tolerations": [{"operator": "Exists"}], "terminationGracePeriodSeconds": 0,
        "containers": [stays],
    }  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stays"}, "spec": spec}
    manifests = f"{MANIFEST}---\n{json.dumps(pod)}\n"
    _ = _podium(controller, "apply", "-f", "-", "--wait", "--timeout=120s", stdin=manifests)
    with _client(controller) as client:
        assert len({pod.spec.node_name for pod in client.list(Pod, selector="app=web")}) == 2
    assert _podium(controller, "exec", "deploy/web", "--", "echo", "it runs") == "it runs\n"


def _replaced(controller: Controller, host: Host) -> None:
    """A host is lost with its disks. A bare one joins under its name, half-way at first, and begins its pods anew."""
    was = host.address
    host.remove()
    host.start(controller.key.with_suffix(".pub"))
    controller.move(host, was)
    _ = _podium(controller, "wait", "--for=condition=Ready=Unknown", f"node/{host.name}", "--timeout=120s")
    wrong = {"nodelet_masters": ["127.0.0.1:1"], "nodelet_start_seconds": 5}
    with pytest.raises(AssertionError, match=r"(?s)node3 is not Ready.*could not join"):
        controller.play("grow.yml", "-e", json.dumps(wrong))
    assert not _tokens_left(controller, [host])
    host.load_image(IMAGE)
    output = controller.play("grow.yml")
    changes = {name: r.changed for name, r in recaps(output).items()}
    assert changes.pop(host.name) > 0
    assert changes == {"node1": 0, "node2": 0}, output
    with _client(controller) as client:
        assert [node.metadata.name for node in client.list(Node)] == ["node1", "node2", "node3"]
        until(lambda: _runs_on(client, host, "stays"), seconds=60, what=lambda: client.get(Pod, "stays").status)
    _ = _podium(controller, "delete", "pod", "stays")
    _ = _podium(controller, "rollout", "status", "deploy/web", "--timeout=120s")


def _runs_on(client: Client, host: Host, name: str) -> bool:
    """Whether a pod is ready with a container that its host's engine has."""
    pod = client.get(Pod, name)
    ids = [status.container_id.rpartition("/")[2] for status in pod.status.container_statuses]
    return is_true(pod.status.conditions, "Ready") and ids[0] in host.sh("docker ps --quiet --no-trunc")


def _changed(controller: Controller, hosts: Sequence[Host], registry: Registry) -> None:
    """Nodelets start anew with the setting; containers go on, also while the engine is restarted. Hosts are closed."""
    before = _containers(hosts)
    _ = hosts[0].sh(f"systemd-run --quiet --collect --unit=open python3 -m http.server {OPEN_PORT}")
    until(lambda: _is_open(hosts[0]), seconds=20, what=lambda: "nobody listens")
    _ = controller.play("site.yml")
    with _client(controller) as client:
        assert {node.status.capacity["pods"] for node in client.list(Node)} == {"50"}
    for host in hosts:
        assert f"http://{registry.host}/" in host.sh("docker info --format '{{.RegistryConfig.Mirrors}}'"), "restarted"
        _ = host.sh("systemctl restart docker")
    _ = _podium(controller, "wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
    assert _containers(hosts) == before
    assert not _is_open(hosts[0])
    assert {once(host.address, _node_port(controller)) for host in hosts} == {200}, "the closed hosts serve"


def _is_open(host: Host) -> bool:
    """Whether a port of the host that is nothing of Podium's is reached."""
    try:
        return once(host.address, OPEN_PORT, timeout=2.0) == 200
    except OSError:
        return False


def _node_port(controller: Controller) -> int:
    with _client(controller) as client:
        return client.get(Service, "web").spec.ports[0].node_port


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


def _disk_lost(controller: Controller, host: Host) -> None:
    """A node whose folder cannot be written says so and gets no pods; those that it has go on. Then it can again."""
    web, folder = "docker ps --quiet --no-trunc --filter name=podium_web_", "/var/lib/podium/nodelet"
    before = host.sh(web)
    _ = host.sh(f"mount -t tmpfs -o ro nothing {folder}")
    with _client(controller) as client:
        until(lambda: _ready(client, host) == ("False", "StateDiskLost"), seconds=60, what=lambda: _ready(client, host))
        _ = host.sh(f"umount {folder}")
        until(lambda: _ready(client, host)[0] == "True", seconds=60, what=lambda: _ready(client, host))
    assert host.sh(web) == before


def _ready(client: Client, host: Host) -> tuple[str, str]:
    ready = get_condition(client.get(Node, host.name).status.conditions, "Ready")
    return (ready.status, ready.reason) if ready is not None else ("", "")


def _upgraded(controller: Controller, hosts: Sequence[Host]) -> None:
    """The first node fails, and the others are not begun. Mended, it goes on, and no request is lost."""
    _upgrade_stopped(controller, hosts[0])
    port, addresses = _node_port(controller), [host.address for host in hosts]
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


def _upgrade_stopped(controller: Controller, first: Host) -> None:
    """The nodelet of the first node does not start: that is told, and nothing else is begun."""
    _ = first.sh(f"mkdir -p {BROKEN} && printf '[Service]\\nExecStartPre=/bin/false\\n' >{BROKEN}/broken.conf")
    with pytest.raises(AssertionError, match=r"(?s)node1 was not upgraded.*No other node was begun"):
        controller.play("upgrade.yml")
    with _client(controller) as client:
        for name in ("node2", "node3"):
            assert _is_untouched(client.get(Node, name)), name
        assert client.get(Node, "node1").spec.unschedulable
    _ = first.sh(f"rm -r {BROKEN} && systemctl daemon-reload && systemctl restart podium-nodelet")
    _ = _podium(controller, "wait", "--for=condition=Ready", f"node/{first.name}", "--timeout=60s")
    _ = _podium(controller, "rollout", "status", "deploy/web", "--timeout=120s")


def _is_untouched(node: Node) -> bool:
    """Whether it runs the release of before, and takes pods."""
    is_ready = is_true(node.status.conditions, "Ready") and not node.spec.unschedulable
    return is_ready and node.status.node_info.kubelet_version == podium.__version__


def _backups(controller: Controller) -> list[Path]:
    """Those that nobody named."""
    return list((controller.directory / "backups").glob("podium-*.backup"))


def _issuer(pem: str) -> str:
    return x509.load_pem_x509_certificate(pem.encode()).issuer.rfc4514_string()


def _rotated(controller: Controller, hosts: Sequence[Host]) -> None:
    def issuers() -> set[str]:
        nodes = [host.sh("cat /var/lib/podium/nodelet/identity/node.pem") for host in hosts]
        return {_issuer(pem) for pem in [*nodes, load_config(controller.admin_config).context().certificate]}

    old = load_config(controller.admin_config).context()
    _ = _podium(controller, "token", "create", "--ttl=1h")
    with _client(controller) as client:
        keys = _sealing(client)
    before, containers = issuers(), _containers(hosts)
    _ = controller.play("rotate.yml")
    after = issuers()
    assert len(after) == 1
    assert not after & before
    assert _containers(hosts) == containers
    new = load_config(controller.admin_config).context()
    assert new.ca.count("BEGIN CERTIFICATE") == 1, "the old CA is dropped"
    for context in (old, replace(old, ca=new.ca)):  # neither is the new master trusted by the old CA, nor is its holder
        with pytest.raises((PodiumError, OSError)), Client(context, timeout=5) as client:
            client.cluster.info()
    with _client(controller) as client:
        assert list(client.cluster.list_tokens()) == []
        assert not _sealing(client) & keys, "Secrets are sealed with a new key"
        assert client.get(Secret, "seen").data["key"] == b"what the nodelet mounts the engine sees"


def _sealing(client: Client) -> set[str]:
    """The keys that seal Secrets."""
    return {key.id for key in client.cluster.list_secret_keys() if key.state == "Active"}


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
    assert "podv+" in hosts[1].sh("iptables -S"), "pods were let through"
    # As the role timesync leaves it on hosts that are no containers.
    _ = hosts[0].sh("cd /etc/systemd && mkdir -p timesyncd.conf.d && echo '[Time]' >timesyncd.conf.d/podium.conf")
    _ = controller.play("reset.yml")
    for host in hosts:
        assert host.sh(TRACES) == "", host.name
        assert host.sh("systemctl is-system-running").strip() == "running"
    assert _is_open(hosts[0])
    assert json.loads(hosts[1].sh("cat /etc/docker/daemon.json")) == OWNERS_DAEMON
    assert not controller.admin_config.exists()
    again = recaps(controller.play("reset.yml"))
    assert {r.changed for r in again.values()} == {0}
