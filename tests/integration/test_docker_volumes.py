"""Volumes in real containers: what is mounted, by whom it can be read and written, and what a change looks like inside.

Needs to be root: what is secret is mounted in memory.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nodelet.runtime.docker import DockerRuntime
from nodelet.runtime.protocol import ContainerSpec, Mount, PodIdentity, SandboxSpec
from nodelet.volumes.mounts import LinuxMounter
from nodelet.volumes.protocol import VolumeFault
from nodelet.volumes.volumes import HostVolumes
from podium.objects.references import Objects
from podium.v1.core_pb2 import Pod
from tests.support.configuration import by_key, config_map, pod_with, secret
from tests.support.host_volumes import host_volumes

pytestmark = [pytest.mark.docker, pytest.mark.skipif(os.getuid() != 0, reason="mounting takes root")]


class Inside:
    """A running container with a pod's volumes."""

    def __init__(self, runtime: DockerRuntime, container: str) -> None:
        self._runtime, self._container = runtime, container

    async def sh(self, command: str) -> str:
        """What a shell command prints, both streams."""
        stream = await self._runtime.exec(self._container, ["sh", "-c", command])
        try:
            return b"".join([data async for _, data in stream.output()]).decode().strip()
        finally:
            await stream.close()


class World:
    """A node's runtime and volumes."""

    def __init__(self, root: Path) -> None:
        self.runtime = DockerRuntime(owner=f"test-{uuid.uuid4().hex[:8]}")
        self.mounter, self.root = LinuxMounter(), root
        self.volumes = self.make_volumes()

    def make_volumes(self) -> HostVolumes:
        return host_volumes(self.root, self.mounter)

    async def run(self, pod: Pod, objects: Objects, **more: Any) -> Inside:
        """Set up and start; as root unless said otherwise."""
        await self.volumes.set_up(pod, objects)
        mounts = await self.volumes.mounts(pod, pod.spec.containers[0])
        identity = identity_of(pod)
        sandbox = await self.runtime.create_sandbox(SandboxSpec(pod=identity, attempt=0, hostname="p"))
        spec = ContainerSpec(pod=identity, name="app", attempt=0, image="busybox:latest", config_hash="h",
                             command=("sleep", "600"), mounts=mounts, **more)  # fmt: skip
        container = await self.runtime.create_container(spec, sandbox)
        await self.runtime.start_container(container)
        return Inside(self.runtime, container)


def identity_of(pod: Pod) -> PodIdentity:
    return PodIdentity(namespace="ns", name=pod.metadata.name, uid=pod.metadata.uid)


def mounted_pod(volumes: list[dict[str, Any]], mounts: Sequence[dict[str, Any]], **spec: Any) -> Pod:
    return pod_with(volumes, {"volumeMounts": list(mounts)}, uid=str(uuid.uuid4()), **spec)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "volumes")
    try:
        yield made
    finally:
        left = await made.runtime.listing()
        for id_ in (*(record.id for record in left.containers), *(sandbox.id for sandbox in left.sandboxes)):
            await made.runtime.remove_container(id_)
        await made.volumes.retain(())
        await made.runtime.close()
        assert made.mounter.mounted_below(made.root) == []
        assert list(made.root.iterdir()) == []


async def test_docker_configuration_is_read_only_and_follows_its_objects_in_a_running_container(world: World) -> None:
    pod = mounted_pod(
        [
            {"name": "config", "configMap": {"name": "c"}},
            {"name": "secret", "secret": {"secretName": "s", "defaultMode": 0o440}},
        ],
        [
            {"name": "config", "mountPath": "/etc/app"},
            {"name": "secret", "mountPath": "/etc/secret"},
            {"name": "config", "mountPath": "/etc/one.conf", "subPath": "a.conf"},
        ],
        securityContext={"fsGroup": 4242},
    )
    inside = await world.run(
        pod,
        by_key(config_map("c", {"a.conf": "one", "old": "x"}), secret("s", {"key": b"hidden"})),
        run_as_user=1000,
        supplemental_groups=(4242,),
    )
    assert await inside.sh("cat /etc/app/a.conf /etc/secret/key /etc/one.conf") == "onehiddenone"
    assert await inside.sh("stat -c %a:%g -L /etc/secret/key") == "440:4242"
    assert await inside.sh("mount | grep ' /etc/secret ' | cut -d' ' -f1,5") == "tmpfs tmpfs"
    assert "Read-only file system" in await inside.sh("touch /etc/app/new")

    await world.volumes.set_up(
        pod, by_key(config_map("c", {"a.conf": "two", "new": "y"}), secret("s", {"key": b"other"}))
    )
    assert await inside.sh("cat /etc/app/a.conf /etc/app/new /etc/secret/key") == "twoyother"
    assert await inside.sh("ls /etc/app") == "a.conf\nnew"
    assert await inside.sh("cat /etc/one.conf") == "one"  # a part is bound once, as Kubernetes has it


async def test_docker_memory_ends_where_its_limit_is_and_outlives_the_nodelet(world: World) -> None:
    pod = mounted_pod(
        [{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}, {"name": "d", "emptyDir": {}}],
        [{"name": "m", "mountPath": "/memory"}, {"name": "d", "mountPath": "/disk", "subPath": "a/b"}],
    )
    inside = await world.run(pod, {}, run_as_user=1000)
    assert "No space left" in await inside.sh("dd if=/dev/zero of=/memory/big bs=64k count=32")
    assert (
        await inside.sh("rm /memory/big; echo kept > /memory/f; echo kept > /disk/f; cat /memory/f /disk/f")
        == "kept\nkept"
    )
    world.volumes = world.make_volumes()
    await world.volumes.set_up(pod, {})
    assert await inside.sh("cat /memory/f /disk/f") == "kept\nkept"
    assert len(world.mounter.mounted_below(world.root)) == 2
    assert (world.root / pod.metadata.uid / "d" / "a" / "b" / "f").read_text() == "kept\n"


async def test_docker_a_part_that_leads_out_of_its_volume_is_refused(world: World) -> None:
    pod = mounted_pod(
        [{"name": "d", "emptyDir": {}}], [{"name": "d", "mountPath": "/disk"}]
    )  # fmt: skip
    inside = await world.run(pod, {})
    assert await inside.sh("ln -s /etc /disk/etc; ln -s ../../.. /disk/up; echo done") == "done"
    for part in ("etc/shadow", "up"):
        pod.spec.containers[0].volume_mounts[0].sub_path = part
        with pytest.raises(VolumeFault, match="leads out of its volume"):
            await world.volumes.mounts(pod, pod.spec.containers[0])


async def test_docker_a_source_that_is_not_there_is_an_error_and_is_not_made(world: World, tmp_path: Path) -> None:
    pod = mounted_pod([], [])
    sandbox = await world.runtime.create_sandbox(SandboxSpec(pod=identity_of(pod), attempt=0, hostname="p"))
    spec = ContainerSpec(pod=identity_of(pod), name="app", attempt=0, image="busybox:latest", config_hash="h",
                         mounts=[Mount(source=str(tmp_path / "gone"), target="/x")])  # fmt: skip
    with pytest.raises(Exception, match="gone"):
        await world.runtime.create_container(spec, sandbox)
    assert not (tmp_path / "gone").exists()
