"""Claims on real hosts: data that outlives pods and nodelets, pods that follow it, folders that go when they should."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from podium.client import Client
from podium.errors import NotFound
from podium.objects import storage
from podium.v1.core_pb2 import Event, Pod
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim
from tests.rig.manifests import pod
from tests.rig.rig import PODIUM, ROOT, Host, podium, run, until

DOC = ROOT / "docs" / "storage.md"
KEEP = "[ -f /data/id ] || echo $RANDOM$RANDOM > /data/id; cat /data/id; exec sleep 3600"


def claim(name: str, **spec: Any) -> str:
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}, **spec}
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": body}
    return str(yaml.safe_dump(made))


def keeper(name: str, **spec: Any) -> str:
    """A pod that writes a number into its volume when there is none, as a user of its own."""
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    security = {"runAsUser": 1000, "fsGroup": 2000}
    mounts = [{"name": "data", "mountPath": "/data"}]
    return pod(
        name, ["sh", "-c", KEEP],
        spec={"volumes": volumes, "securityContext": security, **spec}, container={"volumeMounts": mounts},
    )  # fmt: skip


def _apply(namespace: str, *manifests: str) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin="---\n".join(manifests), timeout=90)


def _running(client: Client, namespace: str, name: str) -> Pod:
    def found() -> Pod | None:
        there = client.get(Pod, name, namespace=namespace)
        return there if there.status.phase == "Running" else None

    return until(found, seconds=60, what=f"pod {name} to run")


def _read(namespace: str, name: str) -> str:
    return until(
        lambda: podium("-n", namespace, "exec", name, "--", "cat", "/data/id", check=False).strip(),
        seconds=20, what="the number in the volume",
    )  # fmt: skip


def _volume(client: Client, namespace: str) -> PersistentVolume:
    its = client.get(PersistentVolumeClaim, "data", namespace=namespace)
    return client.get(PersistentVolume, its.spec.volume_name)


def _is_gone(client: Client, kind: type[Any], name: str, namespace: str = "") -> bool:
    try:
        client.get(kind, name, **({"namespace": namespace} if namespace else {}))
    except NotFound:
        return True
    return False


def test_data_outlives_pods_and_nodelets_and_goes_with_its_claim(client: Client, namespace: str) -> None:
    _apply(namespace, claim("data"), keeper("keeper"))
    first = _running(client, namespace, "keeper")
    number, its = _read(namespace, "keeper"), _volume(client, namespace)
    host, path = Host(first.spec.node_name), its.spec.local.path
    assert storage.where(its) == f"{host.name}:{path}"
    assert host.sh(f"cat {path}/id").strip() == number
    assert host.sh(f"stat -c %g {path}/id").strip() == "2000"

    podium("-n", namespace, "delete", "pod", "keeper", "--timeout=30s")
    _apply(namespace, keeper("again"))
    assert _running(client, namespace, "again").spec.node_name == host.name
    assert _read(namespace, "again") == number

    pid, started = host.pid_of("podium-nodelet"), host.started()
    host.sh(f"kill -9 {pid}")
    until(lambda: host.pid_of("podium-nodelet") not in (0, pid), seconds=30, what="another nodelet")
    _apply(namespace, keeper("beside"))
    assert _running(client, namespace, "beside").spec.node_name == host.name
    assert _read(namespace, "beside") == number
    assert started.items() <= host.started().items()

    podium("-n", namespace, "delete", "pvc", "data", "--no-wait")
    until(lambda: "Terminating" in podium("-n", namespace, "get", "pvc", "data"), seconds=10, what="Terminating")
    said = until(
        lambda: next((c for c in client.get(PersistentVolumeClaim, "data", namespace=namespace).status.conditions
                      if c.type == "Deleting"), None),
        seconds=10, what="why the claim stays",
    )  # fmt: skip
    assert "again, beside" in said.message
    assert host.sh(f"cat {path}/id").strip() == number

    podium("-n", namespace, "delete", "pod", "again", "beside", "--timeout=30s")
    until(lambda: _is_gone(client, PersistentVolumeClaim, "data", namespace), seconds=20, what="no claim")
    until(lambda: _is_gone(client, PersistentVolume, its.metadata.name), seconds=20, what="no volume")
    assert host.sh(f"ls -a {path.rpartition('/')[0]} | grep -c {its.metadata.name} || true").strip() == "0"


def test_a_pod_that_is_over_does_not_keep_its_claim(client: Client, namespace: str) -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    once = pod("once", ["sh", "-c", "echo done > /data/id"], spec={"volumes": volumes, "restartPolicy": "Never"},
               container={"volumeMounts": mounts})  # fmt: skip
    _apply(namespace, claim("data"), once)
    until(lambda: client.get(Pod, "once", namespace=namespace).status.phase == "Succeeded", seconds=60, what="its end")
    its = _volume(client, namespace)
    host = Host(client.get(Pod, "once", namespace=namespace).spec.node_name)
    assert host.sh(f"cat {its.spec.local.path}/id").strip() == "done"
    podium("-n", namespace, "delete", "pvc", "data", "--timeout=20s")
    until(lambda: _is_gone(client, PersistentVolume, its.metadata.name), seconds=20, what="no volume")
    assert host.sh(f"ls {its.spec.local.path} 2>/dev/null || echo gone").strip() == "gone"


def test_each_pod_of_a_stateful_set_keeps_its_own(client: Client, namespace: str) -> None:
    [manifest] = [m for m in re.findall(r"```yaml\n(.*?)```", DOC.read_text(), flags=re.DOTALL) if "StatefulSet" in m]
    _apply(namespace, manifest)

    def starts(name: str) -> str:
        return podium("-n", namespace, "exec", name, "--", "cat", "/data/starts", check=False).strip().replace("\n", "")

    for name in ("counter-0", "counter-1"):
        until(lambda name=name: starts(name) == "x", seconds=60, what=f"{name}'s first start")  # type: ignore[misc]
    podium("-n", namespace, "delete", "pod", "counter-1", "--timeout=30s")
    until(lambda: starts("counter-1") == "xx", seconds=60, what="its second start")
    assert starts("counter-0") == "x"
    _apply(namespace, manifest.replace("10Mi", "20Mi"))

    def sizes() -> list[str]:
        claims = client.list(PersistentVolumeClaim, namespace=namespace)
        return [c.status.capacity[storage.STORAGE] for c in claims]

    until(lambda: sizes() == ["20Mi", "20Mi"], seconds=20, what="larger claims")
    podium("-n", namespace, "delete", "statefulset", "counter", "--timeout=60s")
    until(lambda: not client.list(PersistentVolumeClaim, namespace=namespace), seconds=30, what="no claims")


def test_a_pod_waits_for_the_node_of_its_data(client: Client, namespace: str) -> None:
    _apply(namespace, claim("data"), keeper("keeper"))
    node = _running(client, namespace, "keeper").spec.node_name
    number = _read(namespace, "keeper")
    podium("-n", namespace, "delete", "pod", "keeper", "--timeout=30s")
    podium("cordon", node)
    try:
        _apply(namespace, keeper("again"))

        def explained() -> str:
            text = podium("-n", namespace, "explain", "pod", "again", check=False)
            return text if "node affinity" in text else ""

        said = until(explained, seconds=15, what="an explanation")
        assert "2 node(s) didn't match PersistentVolume's node affinity" in said
    finally:
        podium("uncordon", node)
    assert _running(client, namespace, "again").spec.node_name == node
    assert _read(namespace, "again") == number


def test_an_nfs_export_that_cannot_be_mounted_says_why(client: Client, namespace: str) -> None:
    volumes = [{"name": "files", "nfs": {"server": "172.29.90.10", "path": "/nothing"}}]
    mounts = [{"name": "files", "mountPath": "/files"}]
    _apply(namespace, pod("files", ["sleep", "60"], spec={"volumes": volumes}, container={"volumeMounts": mounts}))

    def told() -> str:
        events = client.list(Event, namespace=namespace, field_selector="involvedObject.name=files")
        return next((e.message for e in events if e.type == "Warning" and "mount" in e.message.lower()), "")

    message = until(told, seconds=60, what="a warning about the mount")
    assert "nfs" in message or "172.29.90.10" in message or "/nothing" in message, json.dumps(message)


@pytest.mark.parametrize("word", ["pv", "pvc", "sc"])
def test_the_short_words_work(word: str) -> None:
    podium("get", word, "-o", "wide")
