"""A node pool of bare hosts: pods wait, the master sets a host up by SSH, they run; idle, the host is bare again.

The master runs on this machine, at the hosts' gateway; it is killed in the middle of it all once. One of the hosts is
turned off and on: its pods are replaced and end in order, while a restart of its units ends none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from podium.client import Client
from podium.errors import PodiumError
from podium.objects.conditions import get_condition
from podium.objects.nodepool import POOL_LABEL, status_of
from podium.v1.apps_pb2 import Deployment
from podium.v1.core_pb2 import Event, Node, Pod, Secret
from podium.v1.nodepool_pb2 import NodePool
from tests.ansible.hosts import NETWORK, ROOT, Controller, Host, run
from tests.ansible.test_life import TRACES, inventory
from tests.support.workloads import deployment

SECONDS_TO_A_RUNNING_POD = 60.0
"""What an operator is promised for a host that has an engine, of a machine that does nothing else."""
IMAGE = "busybox:latest"
SEEN = "/srv/seen"
# Says on its host's disk when it was asked to end, and when it had.
SLOW = """
trap 'cut -d" " -f1 /proc/uptime >/seen/NAME.asked; sleep 3; cut -d" " -f1 /proc/uptime >/seen/NAME.ended; exit 0' TERM
touch /seen/NAME.runs
while :; do sleep 0.1; done
"""
WITH_ENGINE = "- hosts: podium_nodes\n  roles: [{role: docker}]\n"


@dataclass
class Master:
    """The program, at the gateway's address, with Podium's own ports."""

    folder: Path
    address: str
    variables: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "master", "run", "--data-dir", self.folder, "--listen", f"{self.address}:7443",
             "--join-listen", f"{self.address}:7442", "--http-listen", "",
             "--nodepool-variables", self.variables, "--nodepool-backoff", "2s"],
            cwd=ROOT,
        )  # fmt: skip
        _ = until(self._answers, 30, lambda: f"the master does not answer, exit code {self.process}")

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                client.cluster.info()
        except (OSError, PodiumError):
            return False
        return True

    def client(self) -> Client:
        """The administrator's."""
        return Client.from_config(self.folder / "admin.yaml")

    def kill(self) -> None:
        """As a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """In good order."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(40)


def until(condition: Callable[[], object], seconds: float, what: Callable[[], object]) -> float:
    """Seconds until a condition is true."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, what()
        time.sleep(0.2)
    return time.monotonic() - began


@pytest.fixture
def master(
    hosts: tuple[Host, ...], controller: Controller, releases: tuple[Path, Path], tmp_path: Path
) -> Iterator[Master]:
    """A master, and hosts with an engine and an image but nothing of Podium."""
    controller.write_inventory(inventory(controller, releases[0], nodes=[host.name for host in hosts]), hosts)
    playbook = controller.directory / "engine.yml"
    playbook.write_text(WITH_ENGINE)
    _ = run(controller.program, "-i", controller.directory / "inventory.yml", playbook, timeout=300,
            environment={"ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"),
                         "ANSIBLE_HOME": str(controller.directory / "home")})  # fmt: skip
    for host in hosts:
        host.load_image(IMAGE)
    variables = controller.directory / "variables.yml"
    variables.write_text(json.dumps({"podium_wheelhouse": str(releases[0])}))
    made = Master(tmp_path / "master", _gateway(), variables)
    made.start()
    yield made
    made.stop()


def _gateway() -> str:
    return run("docker", "network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", NETWORK).strip()


def _pool(hosts: tuple[Host, ...]) -> NodePool:
    pool = NodePool()
    pool.metadata.name = "bare"
    for host in hosts:
        pool.spec.hosts.add(name=host.name, address=host.address, user="admin")
    pool.spec.credentials.secret_ref.name = "ssh"
    pool.spec.capacity.update({"cpu": "1", "memory": "512Mi", "pods": "20"})
    pool.spec.scale_down.idle_seconds = 3600
    pool.spec.provision_timeout_seconds = 900
    return pool


def _secret(hosts: tuple[Host, ...], controller: Controller) -> Secret:
    secret = Secret()
    secret.metadata.name, secret.metadata.namespace = "ssh", "podium-system"
    secret.data["ssh-privatekey"] = controller.key.read_bytes()
    secret.data["known_hosts"] = run("ssh-keyscan", *(host.address for host in hosts)).encode()
    return secret


def _web(replicas: int) -> Deployment:
    """Pods that keep apart, so that each needs a host."""
    made = deployment("web", replicas=replicas)
    spec = made.spec.template.spec
    spec.containers[0].image, spec.containers[0].image_pull_policy = IMAGE, "IfNotPresent"
    spec.containers[0].command.extend(["sleep", "infinity"])
    spec.node_selector[POOL_LABEL] = "bare"
    spec.termination_grace_period_seconds = 0
    term = spec.affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution.add()
    term.topology_key = "kubernetes.io/hostname"
    term.label_selector.match_labels.update(made.spec.selector.match_labels)
    return made


@pytest.mark.timeout(1800)
def test_a_pool_of_bare_hosts(hosts: tuple[Host, ...], controller: Controller, master: Master) -> None:
    with master.client() as client:
        client.create(_secret(hosts, controller))
        client.create(_pool(hosts))
        _one_pod(client)
        _a_host_that_is_not_known(client, hosts, controller)
    _a_master_that_dies_in_the_middle(master, hosts, controller)
    with master.client() as client:
        client.delete(Deployment, "web")
        _pods_run(client, hosts)
        _restarts_end_nothing(client, hosts[1])
        _turned_off(client, hosts[0], hosts[1])
        _turned_on(client, hosts[1])
        _idle_hosts(client, hosts)
    assert _left_on_this_machine(master) == []


def _running(client: Client) -> list[str]:
    return sorted(p.spec.node_name for p in client.list(Pod) if p.status.phase == "Running")


def _phase(client: Client, host: Host) -> str:
    return status_of(client.get(NodePool, "bare"), host.name).phase


def _told(client: Client) -> str:
    return f"{client.get(NodePool, 'bare').status}\n" + "\n".join(e.message for e in client.list(Event)[-20:])


def _one_pod(client: Client) -> None:
    """A pod waits; it runs within the time that is promised, engine and image being there."""
    client.create(_web(1))
    took = until(lambda: _running(client), 900, lambda: _told(client))
    # Hosts, master and Ansible share this machine's processors, with whatever else runs here.
    crowd = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    print(f"\npending pod to a pod that runs on a host set up for it: {took:.1f} s; load {crowd:.1f} a processor")
    assert took <= SECONDS_TO_A_RUNNING_POD * crowd


def _a_host_that_is_not_known(client: Client, hosts: tuple[Host, ...], controller: Controller) -> None:
    """A host whose key is not in known_hosts is not spoken to; when it is there, the host is tried again by itself."""
    right = _secret(hosts, controller)
    wrong = Secret()
    wrong.CopyFrom(right)
    wrong.data["known_hosts"] = right.data["known_hosts"].replace(hosts[1].address.encode(), b"192.0.2.1")
    client.update(wrong)
    client.patch(Deployment, "web", {"spec": {"replicas": 2}}, type="merge")
    beta = hosts[1]
    _ = until(lambda: _phase(client, beta) == "Failed", 60, lambda: _told(client))
    assert "Host key verification failed" in status_of(client.get(NodePool, "bare"), beta.name).message
    client.update(right)


def _a_master_that_dies_in_the_middle(master: Master, hosts: tuple[Host, ...], controller: Controller) -> None:
    beta = hosts[1]
    installing = "pgrep -f ansible || ls /opt/podium"
    with master.client() as client:
        _ = until(
            lambda: _phase(client, beta) == "Provisioning" and beta.sh(installing, check=False), 120,
            lambda: _told(client),
        )  # fmt: skip
    master.kill()
    master.start()
    with master.client() as client:
        _ = until(lambda: _running(client) == [hosts[0].name, beta.name], 900, lambda: _told(client))
        nodes = client.list(Node)
        assert sorted(n.metadata.name for n in nodes) == [hosts[0].name, beta.name]


def _slow(pod: Pod, name: str) -> None:
    container = pod.spec.containers[0]
    container.image, container.image_pull_policy = IMAGE, "IfNotPresent"
    del container.command[:]
    container.command.extend(["sh", "-c", SLOW.replace("NAME", name)])
    container.volume_mounts.add(name="seen", mount_path="/seen")
    pod.spec.volumes.add(name="seen").host_path.path = SEEN


def _pods_run(client: Client, hosts: tuple[Host, ...]) -> None:
    """One that is replaced, and one that is critical and goes last; both on beta."""
    beta = hosts[1]
    for host in hosts:
        host.sh(f"mkdir -p {SEEN}")
    web = deployment("slow", replicas=1)
    made = Pod(spec=web.spec.template.spec)
    _slow(made, "slow")
    web.spec.template.spec.CopyFrom(made.spec)
    preferred = web.spec.template.spec.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.add()
    preferred.weight = 100
    preferred.preference.match_expressions.add(key="kubernetes.io/hostname", operator="In", values=[beta.name])
    client.create(web)
    critical = Pod()
    critical.metadata.name = "critical"
    critical.spec.priority_class_name, critical.spec.node_name = "system-node-critical", beta.name
    critical.spec.containers.add(name="c")
    _slow(critical, "critical")
    client.create(critical)
    _ = until(lambda: _places(client) == {"slow": [beta.name], "critical": [beta.name]}, 60, lambda: _places(client))


def _places(client: Client) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pod in client.list(Pod):
        if pod.status.phase == "Running" and not pod.metadata.HasField("deletion_timestamp"):
            found.setdefault(pod.metadata.name.split("-")[0], []).append(pod.spec.node_name)
    return found


def _restarts_end_nothing(client: Client, beta: Host) -> None:
    before = beta.sh("docker ps --quiet --no-trunc | sort")
    beta.sh("systemctl restart podium-shutdown podium-nodelet")
    assert "its pods stay" in beta.sh("journalctl -u podium-shutdown --no-pager -o cat")
    _ = until(lambda: _ready(client, beta)[0] == "True", 60, lambda: _ready(client, beta))
    assert beta.sh("docker ps --quiet --no-trunc | sort") == before
    assert beta.sh(f"ls {SEEN}").split() == ["critical.runs", "slow.runs"]


def _ready(client: Client, host: Host) -> tuple[str, str]:
    ready = get_condition(client.get(Node, host.name).status.conditions, "Ready")
    return (ready.status, ready.reason) if ready is not None else ("", "")


def _turned_off(client: Client, first: Host, beta: Host) -> None:
    """As by its power button: systemd stops units in order, and the machine ends."""
    beta.sh("systemctl poweroff", check=False)
    _ = until(lambda: _ready(client, beta)[1] == "NodeShutdown", 30, lambda: _ready(client, beta))
    _ = until(lambda: not _is_on(beta), 90, lambda: beta.sh("systemctl list-jobs", check=False))
    _ = until(lambda: _places(client).get("slow") == [first.name], 60, lambda: _places(client))


def _is_on(host: Host) -> bool:
    return run("docker", "inspect", "-f", "{{.State.Running}}", host.container).strip() == "true"


def _turned_on(client: Client, beta: Host) -> None:
    _ = run("docker", "start", beta.container)
    _ = until(lambda: _ready(client, beta)[0] == "True", 120, lambda: _ready(client, beta))
    times = {name: float(beta.sh(f"cat {SEEN}/{name}")) for name in ("slow.asked", "slow.ended", "critical.asked",
                                                                     "critical.ended")}  # fmt: skip
    assert times["slow.asked"] + 2.5 < times["slow.ended"], "it had its time"
    assert times["slow.ended"] <= times["critical.asked"] < times["critical.ended"], "critical pods end last"
    critical = client.get(Pod, "critical")
    assert (critical.status.phase, critical.status.reason) == ("Failed", "Terminated")
    assert "NodeShutdown" not in _ready(client, beta)


def _idle_hosts(client: Client, hosts: tuple[Host, ...]) -> None:
    """Nothing runs any more: they are drained, made bare, and stand by."""
    client.delete(Deployment, "slow")
    client.delete(Pod, "critical")
    client.patch(NodePool, "bare", {"spec": {"scaleDown": {"idleSeconds": 5}}}, type="merge")
    for host in hosts:
        host.sh(f"rm -rf {SEEN}")
    _ = until(lambda: {_phase(client, host) for host in hosts} == {"Standby"}, 900, lambda: _told(client))
    assert client.list(Node) == []
    for host in hosts:
        assert host.sh(TRACES) == "", host.name
    tokens = [token for token in client.cluster.list_tokens() if "node pool" in token.description]
    # The one that was in use when the master was killed ends by itself.
    assert len(tokens) <= 1


def _left_on_this_machine(master: Master) -> list[str]:
    """Keys and inventories of jobs that are done."""
    return [path.name for path in (master.folder / "nodepools").iterdir() if path.is_dir()]
