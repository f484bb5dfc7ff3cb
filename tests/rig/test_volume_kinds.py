"""Volumes on real hosts: every type of hostPath, a disk that outgrows its limit, bytes, and disks of one's own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from podium.client import Client
from podium.objects.pod import is_ready
from podium.v1.core_pb2 import Event, Pod
from tests.rig.manifests import SLEEP, pod
from tests.rig.rig import NODES, PODIUM, Host, podium, run, until

HERE, THERE = NODES[0], NODES[1]
FOLDER = "/var/tmp/volume-kinds"
BYTES = bytes(range(256)) * 4
CLASS = "own-disks"

MAKE = f"""set -e
mkdir -p {FOLDER}/folder; cd {FOLDER}
echo of the host > folder/file
mknod disk b 7 250
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("{FOLDER}/socket")'"""

THERE_ARE = {
    "any": ("", "folder"), "dir": ("Directory", "folder"), "newdir": ("DirectoryOrCreate", "made/deep"),
    "file": ("File", "folder/file"), "newfile": ("FileOrCreate", "new"), "socket": ("Socket", "socket"),
    "char": ("CharDevice", "/dev/null"), "block": ("BlockDevice", "disk"),
}  # fmt: skip
"""By name of a volume: a type, and what is there or may be made."""

THERE_ARE_NOT = {
    "no-dir": ("Directory", "folder/file", "is not a directory"), "no-file": ("File", "nothing", "is not a file"),
    "no-socket": ("Socket", "folder/file", "is not a socket"),
}  # fmt: skip
"""By name of a pod: what it asks for, and what it is told."""


def _host_path(name: str, type_: str, path: str) -> dict[str, Any]:
    where = path if path.startswith("/") else f"{FOLDER}/{path}"
    return {"name": name, "hostPath": {"path": where, **({"type": type_} if type_ else {})}}


def _pod(
    name: str, volumes: list[dict[str, Any]], *, host: Host | None = HERE, command: list[str] | None = None
) -> str:
    """A pod that mounts each volume at its name."""
    mounts = [{"name": volume["name"], "mountPath": f"/{volume['name']}"} for volume in volumes]
    where = {"nodeSelector": {"kubernetes.io/hostname": host.name}} if host is not None else {}
    return pod(name, command or SLEEP, spec={"volumes": volumes, **where}, container={"volumeMounts": mounts})


def _manifests() -> list[str]:
    binary = {"name": "bytes", "configMap": {"name": "bytes"}}
    scratch = {"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}
    writes = ["sh", "-c", "dd if=/dev/zero of=/scratch/f bs=64k count=48; exec sleep 3600"]
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bytes"},
              "binaryData": {"all": base64.b64encode(BYTES).decode()}}  # fmt: skip
    return [
        str(yaml.safe_dump(config)),
        _pod("kinds", [*(_host_path(name, *what) for name, what in THERE_ARE.items()), binary]),
        *(_pod(name, [_host_path("data", *what[:2])]) for name, what in THERE_ARE_NOT.items()),
        _pod("fat", [scratch], command=writes),
        *_own_disk(),
        *(_pod(name, [{"name": "data", "persistentVolumeClaim": {"claimName": "own"}}], host=None) for name in USERS),
    ]


USERS = ("user-1", "user-2")


def _own_disk() -> list[str]:
    """A class without provisioner, a disk of one host, and a claim that one pod at a time may use."""
    own = {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}
    on = {"key": "kubernetes.io/hostname", "operator": "In", "values": [THERE.name]}
    modes, size = ["ReadWriteOncePod"], {"storage": "16Mi"}
    volume = {
        "storageClassName": CLASS, "capacity": size, "accessModes": modes, "local": {"path": FOLDER},
        "persistentVolumeReclaimPolicy": "Retain",
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on]}]}},
    }  # fmt: skip
    claim = {"storageClassName": CLASS, "accessModes": modes, "resources": {"requests": size}}
    made = [
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": CLASS}, **own},
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": CLASS}, "spec": volume},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "own"}, "spec": claim},
    ]
    return [str(yaml.safe_dump(one)) for one in made]


@pytest.fixture
def disks(namespace: str) -> Iterator[None]:
    """What must be on the hosts, and nothing of it afterwards."""
    for host in (HERE, THERE):
        host.sh(f"rm -rf {FOLDER}; mkdir -p {FOLDER}")
    HERE.sh(MAKE)
    yield
    podium("-n", namespace, "delete", "pod", "--all", "--timeout=60s", timeout=90)
    podium("-n", namespace, "delete", "pvc", "--all", "--timeout=30s")
    podium("delete", "pv", CLASS, "--timeout=30s")
    podium("delete", "storageclass", CLASS)
    for host in (HERE, THERE):
        host.sh(f"rm -rf {FOLDER}")


class _Space:
    """The pods of a namespace as they are now."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    def get(self, name: str) -> Pod:
        return self._client.get(Pod, name, namespace=self._namespace)

    def is_ready(self, *names: str) -> bool:
        return all(is_ready(self.get(name)) for name in names)

    def sh(self, name: str, command: str) -> str:
        return podium("-n", self._namespace, "exec", name, "--", "sh", "-c", command).strip()

    def told(self, name: str) -> str:
        """The messages of a pod's warnings."""
        events = self._client.list(Event, namespace=self._namespace, field_selector=f"involvedObject.name={name}")
        return "\n".join(event.message for event in events if event.type == "Warning")


def test_every_kind_of_volume(client: Client, namespace: str, disks: None) -> None:
    run(PODIUM, "-n", namespace, "apply", "-f", "-", stdin="---\n".join(_manifests()))
    space = _Space(client, namespace)
    until(lambda: space.is_ready("kinds"), seconds=60, what=lambda: space.told("kinds"))
    asked = "; ".join(f"stat -c %F /{name}" for name in THERE_ARE)
    kinds = ["directory", "directory", "directory", "regular file", "regular empty file", "socket",
             "character special file", "block special file"]  # fmt: skip
    assert space.sh("kinds", asked).splitlines() == kinds
    assert space.sh("kinds", "cat /any/file /dir/file /file").splitlines() == ["of the host"] * 3
    assert HERE.sh(f"stat -c %a {FOLDER}/made {FOLDER}/made/deep {FOLDER}/new").split() == ["755", "755", "644"]
    space.sh("kinds", "echo of the pod > /newdir/x")
    assert HERE.sh(f"cat {FOLDER}/made/deep/x") == "of the pod\n"
    assert space.sh("kinds", "sha256sum < /bytes/all").split()[0] == hashlib.sha256(BYTES).hexdigest()

    for name, (_, path, why) in THERE_ARE_NOT.items():
        said = f"hostPath type check failed: {FOLDER}/{path} {why}"
        until(lambda name=name, said=said: said in space.told(name), seconds=30,  # type: ignore[misc]
              what=lambda name=name: (name, space.told(name)))  # type: ignore[misc]  # fmt: skip
        assert not space.is_ready(name)
    HERE.sh(f"echo late > {FOLDER}/nothing")
    _one_pod_at_a_time(space, namespace)
    until(lambda: space.is_ready("no-file"), seconds=40, what="the pod whose file came late")

    until(lambda: space.get("fat").status.phase == "Failed", seconds=60, what="an eviction")
    assert space.get("fat").status.reason == "Evicted"
    assert 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi"' in space.get("fat").status.message
    uid = space.get("fat").metadata.uid
    until(lambda: not HERE.engine("ps", "-q", "--filter", f"label=io.podium.pod.uid={uid}"), seconds=20,
          what="the end of its containers")  # fmt: skip


def _one_pod_at_a_time(space: _Space, namespace: str) -> None:
    first = until(lambda: next((u for u in USERS if space.is_ready(u)), None), seconds=60, what="a user of the claim")
    other = next(u for u in USERS if u != first)
    assert space.get(first).spec.node_name == THERE.name
    space.sh(first, "echo kept > /data/note")
    assert THERE.sh(f"cat {FOLDER}/note") == "kept\n"
    assert not space.get(other).spec.node_name
    assert "ReadWriteOncePod" in podium("-n", namespace, "explain", "pod", other)
    podium("-n", namespace, "delete", "pod", first, "--timeout=30s", timeout=60)
    until(lambda: space.is_ready(other), seconds=30, what="the next user of the claim")
    assert space.sh(other, "cat /data/note") == "kept"
