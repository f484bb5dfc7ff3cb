"""Hosts under systemd that are turned off and on: pods are replaced, and end in order; a restart of units ends none."""

from __future__ import annotations

import pytest

from podium.client import Client
from podium.objects.conditions import get_condition
from podium.v1.core_pb2 import Node, Pod
from tests.ansible.hosts import Controller, Host, run
from tests.ansible.test_nodepool import IMAGE, until
from tests.support.workloads import deployment

SEEN = "/srv/seen"
# Says on its host's disk when it was asked to end, and when it had.
SLOW = """
trap 'date +%s.%N >/seen/NAME.asked; sleep 3; date +%s.%N >/seen/NAME.ended; exit 0' TERM
touch /seen/NAME.runs
while :; do sleep 0.1; done
"""


@pytest.mark.timeout(900)
def test_a_host_is_turned_off_and_on(hosts: tuple[Host, ...], controller: Controller) -> None:
    controller.play("site.yml")
    beta = hosts[1]
    for host in hosts:
        host.load_image(IMAGE)
        host.sh(f"mkdir -p {SEEN}")
    try:
        with Client.from_config(controller.admin_config) as client:
            _pods_run(client, beta)
            _restarts_end_nothing(client, beta)
            _turned_off(client, beta)
            _turned_on(client, beta)
    finally:
        controller.play("reset.yml", "-e", "podium_reset=yes")


def _slow(pod: Pod, name: str) -> None:
    container = pod.spec.containers[0]
    container.image, container.image_pull_policy = IMAGE, "IfNotPresent"
    del container.command[:]
    container.command.extend(["sh", "-c", SLOW.replace("NAME", name)])
    container.volume_mounts.add(name="seen", mount_path="/seen")
    pod.spec.volumes.add(name="seen").host_path.path = SEEN


def _pods_run(client: Client, beta: Host) -> None:
    """One that is replaced, and one that is critical and goes last; both on beta."""
    web = deployment("web", replicas=1)
    made = Pod(spec=web.spec.template.spec)
    _slow(made, "web")
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
    _ = until(lambda: _places(client) == {"web": [beta.name], "critical": [beta.name]}, 60, lambda: _places(client))


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
    assert beta.sh(f"ls {SEEN}").split() == ["critical.runs", "web.runs"]


def _ready(client: Client, host: Host) -> tuple[str, str]:
    ready = get_condition(client.get(Node, host.name).status.conditions, "Ready")
    return (ready.status, ready.reason) if ready is not None else ("", "")


def _turned_off(client: Client, beta: Host) -> None:
    """As by its power button: systemd stops units in order, and the machine ends."""
    beta.sh("systemctl poweroff", check=False)
    _ = until(lambda: _ready(client, beta)[1] == "NodeShutdown", 30, lambda: _ready(client, beta))
    _ = until(lambda: not _is_on(beta), 90, lambda: beta.sh("systemctl list-jobs", check=False))
    _ = until(lambda: _places(client).get("web") == ["alpha"], 60, lambda: _places(client))


def _is_on(host: Host) -> bool:
    return run("docker", "inspect", "-f", "{{.State.Running}}", host.container).strip() == "true"


def _turned_on(client: Client, beta: Host) -> None:
    _ = run("docker", "start", beta.container)
    _ = until(lambda: _ready(client, beta)[0] == "True", 120, lambda: _ready(client, beta))
    times = {name: float(beta.sh(f"cat {SEEN}/{name}")) for name in ("web.asked", "web.ended", "critical.asked",
                                                                     "critical.ended")}  # fmt: skip
    assert times["web.asked"] + 2.5 < times["web.ended"], "it had its time"
    assert times["web.ended"] <= times["critical.asked"] < times["critical.ended"], "critical pods end last"
    critical = client.get(Pod, "critical")
    assert (critical.status.phase, critical.status.reason) == ("Failed", "Terminated")
    assert "NodeShutdown" not in _ready(client, beta)
