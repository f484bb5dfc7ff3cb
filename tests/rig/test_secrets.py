"""Where a Secret is on real hosts: in memory only, in no log and no argument list; and what that means for a nodelet
that is killed, and a host that boots, while no master is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Pod
from tests.rig.manifests import pod
from tests.rig.rig import MASTER, NODES, PODIUM, Host, podium, run, until

MOUNTED, VARIABLE = "m0unted-on-the-rig", "v4riable-on-the-rig"
FOREVER = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.2; done"]
STATE = "/var/lib/podium/nodelet"

pytestmark = pytest.mark.usefixtures("whole")


def _pattern(value: str) -> str:
    """What finds a value, and not the command that looks for it."""
    return f"[{value[0]}]{value[1:]}"


def _on_disk(host: Host, value: str) -> list[str]:
    """The files of a host's disk that a value is in: its own, and those of its volumes. Files in memory are none."""
    # `-xdev`: each is a file system of its own, and what is mounted below it is another.
    words = f"-xdev -type f -size -20M -exec grep -ls '{_pattern(value)}' {{}} +"
    disks = "/ $(awk '$2 ~ \"^/var/lib/(podium|docker)$\" { print $2 }' /proc/mounts)"
    return host.sh(f"find {disks} {words} || true", timeout=120).split()


def _told(host: Host, value: str) -> list[str]:
    """Where a value is in the open: the logs of the host's programs, and the argument lists of all processes."""
    # `docker logs` gives what master and nodelet wrote to their standard output and error, since the host was made.
    said = run("docker", "logs", host.container)
    log = ["log"] if value in said.stdout + said.stderr else []
    return log + host.sh(f"grep -ls '{_pattern(value)}' /proc/[0-9]*/cmdline /var/log/podium/* || true").split()


def _running(host: Host, uid: str) -> set[str]:
    """The ids of a pod's running main containers."""
    labels = (f"label=io.podium.pod.uid={uid}", "label=io.podium.container.name=main")
    return set(host.engine("ps", "-q", "--no-trunc", *(f"--filter={label}" for label in labels), check=False).split())


def _applied(client: Client, namespace: str) -> tuple[Pod, Pod]:
    """A pod that uses Secrets, and one on the same host that does not."""
    everywhere = {"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}
    uses = {
        "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "variable"}}}],
        "volumeMounts": [{"name": "secret", "mountPath": "/secret"}],
    }
    volumes = [{"name": "secret", "secret": {"secretName": "files"}}]
    node = {"nodeName": NODES[1].name, **everywhere}
    secrets = [
        yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
        for name, data in (("db", {"variable": VARIABLE}), ("files", {"mounted": MOUNTED}))
    ]
    manifests = [
        *secrets, pod("uses", FOREVER, spec={"volumes": volumes, **node}, container=uses),
        pod("plain", FOREVER, spec=node),
    ]  # fmt: skip
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin="\n---\n".join(manifests), timeout=60)
    podium("-n", namespace, "wait", "--for=condition=Ready", "pod/uses", "pod/plain", "--timeout=60s", timeout=90)
    return client.get(Pod, "uses", namespace=namespace), client.get(Pod, "plain", namespace=namespace)


def _master_again() -> None:
    MASTER.start()
    until(lambda: podium("version", check=False).count("master"), seconds=60, what="the master's answer")


@pytest.fixture
def masterless() -> Iterator[None]:
    """The master dies where the test says so, and is there again after it."""
    yield
    _master_again()


def test_secrets_are_in_memory_only_and_outlive_the_nodelet_but_not_the_host(
    client: Client, namespace: str, masterless: None
) -> None:
    uses, plain = _applied(client, namespace)
    node, uid = Host(uses.spec.node_name), uses.metadata.uid
    kept = f"{STATE}/secrets/secrets.pb"
    until(
        lambda: node.sh(f"grep -c {MOUNTED} {kept} || true").strip() not in ("", "0"), seconds=15, what="what is kept"
    )
    assert node.sh(f"stat -f -c %T {kept}; stat -c %a {kept} {STATE}/secrets").split() == ["tmpfs", "600", "700"]
    assert node.sh(f"cat {STATE}/volumes/{uid}/secret/mounted") == MOUNTED

    # Of a variable the engine keeps a record, as of all that a container was made from.
    assert _on_disk(node, MOUNTED) == []
    by_engine = {path.split("/")[3] for path in _on_disk(node, VARIABLE)}
    assert {"docker"} <= by_engine <= {"docker", "containerd"}
    assert _on_disk(MASTER, MOUNTED) == _on_disk(MASTER, VARIABLE) == []

    MASTER.kill()
    old, before = node.pid_of("podium-nodelet"), _running(node, uid)
    node.sh(f"kill -9 {old}")
    until(lambda: node.pid_of("podium-nodelet") not in (0, old), seconds=30, what="a new nodelet")
    node.engine("kill", *before)
    (again,) = until(lambda: _running(node, uid) - before, seconds=30, what="a restart without a master")
    assert node.engine("exec", again, "sh", "-c", "cat /secret/mounted; echo $PASSWORD") == f"{MOUNTED}{VARIABLE}\n"

    node.kill()
    node.start()
    until(lambda: _running(node, plain.metadata.uid), seconds=60, what="the pod that needs no Secret, after a boot")
    said = "Secrets were in memory only; pods that use them wait for a master"
    until(lambda: said in node.sh("tail -n 200 /var/log/podium/nodelet.log"), seconds=10, what="the nodelet's word")
    assert _running(node, uid) == set()
    assert node.sh(f"ls {STATE}/secrets").split() == []
    _master_again()

    def ready() -> bool:
        found = client.get(Pod, "uses", namespace=namespace)
        return found.metadata.uid == uid and is_ready(found) and bool(_running(node, uid))

    until(ready, seconds=60, what="the pod that uses Secrets, with the master again")
    (last,) = _running(node, uid)
    assert node.engine("exec", last, "cat", "/secret/mounted") == MOUNTED
    until(
        lambda: 'secret "files" was kept in memory only' in podium("-n", namespace, "events"),
        seconds=15, what="an event that names the Secret",
    )  # fmt: skip

    assert _on_disk(node, MOUNTED) == []
    assert len(_told(node, "podium-nodelet")) > 1, "what is told is found, in logs and argument lists"
    for value in (MOUNTED, VARIABLE):
        assert [_told(host, value) for host in (MASTER, *NODES)] == [[]] * 4
        assert value not in podium("-n", namespace, "describe", "pod", "uses") + podium("-n", namespace, "events")
