"""A node pool of bare hosts: pods wait, the master sets a host up by SSH, they run; idle, the host is bare again.

The master is a third host, as site.yml makes it; it is killed in the middle of it all once. One of the hosts is
turned off and on: its pods are replaced and end in order, while a restart of its units ends none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
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
from tests.ansible.hosts import Controller, Host, run
from tests.ansible.inventories import inventory
from tests.ansible.traces import TRACES
from tests.rig.rig import until
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


@dataclass(frozen=True, slots=True)
class Master:
    """The program as Ansible installed it, on a host of its own."""

    host: Host
    config: Path

    def client(self) -> Client:
        """The administrator's."""
        return Client.from_config(self.config)

    def die(self) -> None:
        """As by a power cut; systemd starts it again. Returns when it serves."""
        before = self._started()
        _ = self.host.sh("systemctl kill --signal=KILL --kill-whom=main podium-master")
        until(lambda: self._started() not in ("", before), seconds=30, what=self._journal)
        until(self._answers, seconds=30, what=self._journal)

    def folders_of_jobs(self) -> str:
        """Keys and inventories of what it does with hosts at present."""
        return self.host.sh("find /var/lib/podium/master/nodepools -mindepth 1 -type d")

    def _started(self) -> str:
        return self.host.sh("systemctl show --property=ExecMainStartTimestampMonotonic --value podium-master").strip()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                client.cluster.info()
        except (OSError, PodiumError):
            return False
        return True

    def _journal(self) -> str:
        return self.host.sh("journalctl -u podium-master --no-pager -o cat -n 20")


@pytest.fixture
def master(hosts: tuple[Host, ...], controller: Controller, releases: tuple[Path, Path]) -> Iterator[Master]:
    """A cluster of a master and no node: node3, and beside it two hosts with an engine and an image, and no more."""
    *standby, host = hosts
    names = [bare.name for bare in standby]
    controller.write_inventory(inventory(controller, releases[0], nodes=names), hosts)
    playbook = controller.directory / "engine.yml"
    playbook.write_text(WITH_ENGINE)
    controller.run_playbook("-i", "inventory.yml", playbook)
    for bare in standby:
        bare.load_image(IMAGE)
    more = {"master_nodepools": True, "master_settings": {"lease": "30s", "nodepool_backoff": "2s"}}
    controller.write_inventory(inventory(controller, releases[0], master=host.name, nodes=[], more=more), hosts)
    _ = controller.play("site.yml")
    yield Master(host, controller.admin_config)
    _ = controller.play("reset.yml")
    assert host.sh(TRACES) == ""


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
    hosts = hosts[:2]
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
        _turned_off(client, hosts[1])
        _turned_on(client, hosts[1])
        _idle_hosts(client, hosts)
    assert master.folders_of_jobs() == ""


def _running(client: Client) -> list[str]:
    return sorted(p.spec.node_name for p in client.list(Pod) if p.status.phase == "Running")


def _phase(client: Client, host: Host) -> str:
    return status_of(client.get(NodePool, "bare"), host.name).phase


def _told(client: Client) -> str:
    return f"{client.get(NodePool, 'bare').status}\n" + "\n".join(e.message for e in client.list(Event)[-20:])


def _one_pod(client: Client) -> None:
    """A pod waits; it runs within the time that is promised, engine and image being there."""
    client.create(_web(1))
    began = time.monotonic()
    until(lambda: _running(client), seconds=900, what=lambda: _told(client))
    took = time.monotonic() - began
    # Hosts, master and Ansible share this machine's processors, with whatever else runs here.
    crowd = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    print(f"\npending pod to a pod that runs on a host set up for it: {took:.1f} s; load {crowd:.1f} a processor")
    assert took <= SECONDS_TO_A_RUNNING_POD * crowd


def _a_host_that_is_not_known(client: Client, hosts: tuple[Host, ...], controller: Controller) -> None:
    """A host whose key is not in known_hosts is not spoken to."""
    right = _secret(hosts, controller)
    wrong = Secret()
    wrong.CopyFrom(right)
    wrong.data["known_hosts"] = right.data["known_hosts"].replace(hosts[1].address.encode(), b"192.0.2.1")
    client.update(wrong)
    client.patch(Deployment, "web", {"spec": {"replicas": 2}}, type="merge")
    beta = hosts[1]
    until(lambda: _phase(client, beta) == "Failed", seconds=60, what=lambda: _told(client))
    assert "Host key verification failed" in status_of(client.get(NodePool, "bare"), beta.name).message
    client.update(right)


def _a_master_that_dies_in_the_middle(master: Master, hosts: tuple[Host, ...], controller: Controller) -> None:
    """With its key there, the host is tried again by itself; what was begun goes on after the master is back."""
    beta = hosts[1]
    installing = "pgrep -f ansible || ls /opt/podium"
    with master.client() as client:
        until(
            lambda: _phase(client, beta) == "Provisioning" and beta.sh(installing, check=False), seconds=120,
            what=lambda: _told(client),
        )  # fmt: skip
    master.die()
    with master.client() as client:
        until(lambda: _running(client) == [host.name for host in hosts], seconds=900, what=lambda: _told(client))
        assert [node.metadata.name for node in client.list(Node)] == [host.name for host in hosts]


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
    until(
        lambda: _places(client) == {"slow": [beta.name], "critical": [beta.name]},
        seconds=60,
        what=lambda: _places(client),
    )


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
    until(lambda: _ready(client, beta)[0] == "True", seconds=60, what=lambda: _ready(client, beta))
    assert beta.sh("docker ps --quiet --no-trunc | sort") == before
    assert beta.sh(f"ls {SEEN}").split() == ["critical.runs", "slow.runs"]


def _ready(client: Client, host: Host) -> tuple[str, str]:
    ready = get_condition(client.get(Node, host.name).status.conditions, "Ready")
    return (ready.status, ready.reason) if ready is not None else ("", "")


def _turned_off(client: Client, beta: Host) -> None:
    """As by its power button: systemd stops units in order, and the machine ends."""
    beta.sh("systemctl poweroff", check=False)
    until(lambda: _ready(client, beta)[1] == "NodeShutdown", seconds=30, what=lambda: _ready(client, beta))
    until(lambda: not _is_on(beta), seconds=90, what=lambda: beta.sh("systemctl list-jobs", check=False))
    until(lambda: _places(client).get("slow", [beta.name]) != [beta.name], seconds=60, what=lambda: _places(client))


def _is_on(host: Host) -> bool:
    return run("docker", "inspect", "-f", "{{.State.Running}}", host.container).strip() == "true"


def _turned_on(client: Client, beta: Host) -> None:
    _ = run("docker", "start", beta.container)
    until(lambda: _ready(client, beta)[0] == "True", seconds=120, what=lambda: _ready(client, beta))
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
    until(lambda: {_phase(client, host) for host in hosts} == {"Standby"}, seconds=900, what=lambda: _told(client))
    assert client.list(Node) == []
    for host in hosts:
        assert host.sh(TRACES) == "", host.name
    tokens = [token for token in client.cluster.list_tokens() if "node pool" in token.description]
    # The one that was in use when the master was killed ends by itself.
    assert len(tokens) <= 1
