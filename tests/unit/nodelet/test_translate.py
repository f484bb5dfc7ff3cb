"""From specs to the engine's words and back, without an engine."""

from __future__ import annotations

import dataclasses
import datetime
import io
import platform
import struct
import tarfile
from typing import Any

import pytest

from nodelet.runtime.docker import sandbox_image, translate
from nodelet.runtime.docker.events import event_of
from nodelet.runtime.docker.images import auths_for, image_of, split_reference
from nodelet.runtime.protocol import (
    Allowance,
    ContainerSpec,
    Mount,
    PodIdentity,
    RegistryAuth,
    RuntimeFault,
    SandboxSpec,
    State,
)

POD = PodIdentity(namespace="shop", name="web-1", uid="0123456789abcdef")
SANDBOX = SandboxSpec(pod=POD, attempt=2, hostname="web-1", dns_servers=("10.0.0.10",), hosts=[("db", "10.1.1.1")])
CONTAINER = ContainerSpec(pod=POD, name="app", attempt=3, image="busybox", config_hash="c0ffee")


def body(**more: Any) -> dict[str, Any]:
    spec = dataclasses.replace(CONTAINER, **more)
    return translate.container_body(spec, "SANDBOX", owner="podium", user="", oom_floor=-1000)


def host(**more: Any) -> dict[str, Any]:
    config: dict[str, Any] = body(**more)["HostConfig"]
    return config


def test_names_follow_from_identity_alone() -> None:
    assert translate.sandbox_name(SANDBOX) == "podium_POD_web-1_shop_01234567_2"
    assert translate.container_name(CONTAINER) == "podium_app_web-1_shop_01234567_3"


def test_what_a_sandbox_is_given() -> None:
    spec = dataclasses.replace(
        SANDBOX, hosts=[("a", "1.2.3.4"), ("a", "5.6.7.8")], sysctls={"net.ipv4.tcp_rmem": "1 2 3"}
    )
    made = translate.sandbox_body(spec, image="i", owner="podium", oom_floor=-1000)["HostConfig"]
    assert made["ExtraHosts"] == ["a:1.2.3.4", "a:5.6.7.8"]
    assert made["Sysctls"] == {"net.ipv4.tcp_rmem": "1 2 3"}


def test_who_names_resolvers_gets_nothing_of_the_hosts() -> None:
    def made(**more: Any) -> tuple[list[str], list[str], list[str]]:
        spec = dataclasses.replace(SANDBOX, **more)
        config = translate.sandbox_body(spec, image="i", owner="podium", oom_floor=-1000)["HostConfig"]
        return config["Dns"], config["DnsSearch"], config["DnsOptions"]

    assert made() == (["10.0.0.10"], ["."], ["ndots:1"])
    assert made(dns_searches=["corp"], dns_options=["rotate"]) == (["10.0.0.10"], ["corp"], ["rotate"])
    assert made(dns_servers=[]) == ([], [], [])


def test_namespaces_and_seccomp() -> None:
    assert (host()["PidMode"], host()["SecurityOpt"]) == ("", [])
    assert host(share_processes=True)["PidMode"] == "container:SANDBOX"
    assert host(process_target="c1")["PidMode"] == "container:c1"
    assert host(seccomp="unconfined", no_new_privileges=True)["SecurityOpt"] == [
        "no-new-privileges",
        "seccomp=unconfined",
    ]


def test_everything_to_be_found_again_is_in_labels() -> None:
    labels = body(labels={"extra": "kept", translate.POD_UID: "not theirs to set"})["Labels"]
    assert labels == {
        "extra": "kept",
        "io.podium.owner": "podium",
        "io.podium.kind": "container",
        "io.podium.pod.namespace": "shop",
        "io.podium.pod.name": "web-1",
        "io.podium.pod.uid": POD.uid,
        "io.podium.container.name": "app",
        "io.podium.attempt": "3",
        "io.podium.config-hash": "c0ffee",
    }


@pytest.mark.parametrize(
    ("command", "args", "entrypoint", "cmd"),
    [((), (), None, None), (("a",), (), ["a"], None), ((), ("b",), None, ["b"]), (("a",), ("b",), ["a"], ["b"])],
)
def test_command_replaces_the_entrypoint_and_args_the_cmd(
    command: tuple[str, ...], args: tuple[str, ...], entrypoint: object, cmd: object
) -> None:
    made = body(command=command, args=args)
    assert (made["Entrypoint"], made["Cmd"]) == (entrypoint, cmd)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {"CpuShares": 2}),
        ({"cpu_request": 0.5}, {"CpuShares": 512}),
        ({"cpu_limit": 1.5}, {"CpuShares": 2, "CpuPeriod": 100_000, "CpuQuota": 150_000}),
        ({"cpu_limit": 0.001}, {"CpuShares": 2, "CpuPeriod": 100_000, "CpuQuota": 1_000}),
        ({"memory_limit": 64 << 20}, {"CpuShares": 2, "Memory": 64 << 20, "MemorySwap": 64 << 20}),
        ({"memory_request": 32 << 20}, {"CpuShares": 2, "MemoryReservation": 32 << 20}),
        ({"memory_request": 1 << 20}, {"CpuShares": 2}),
    ],
)
def test_resources(spec: dict[str, Any], expected: dict[str, int]) -> None:
    names = {"CpuShares", "CpuPeriod", "CpuQuota", "Memory", "MemorySwap", "MemoryReservation"}
    assert {name: value for name, value in host(**spec).items() if name in names} == expected


def test_a_container_joins_the_sandbox_and_is_never_restarted_by_docker() -> None:
    config = host()
    assert config["NetworkMode"] == config["IpcMode"] == "container:SANDBOX"
    assert config["RestartPolicy"] == {"Name": "no"}
    assert config["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}


def test_a_mount_is_private_and_its_source_never_made() -> None:
    (mount,) = host(mounts=[Mount(source="/host/a", target="/b", read_only=True)])["Mounts"]
    assert mount == {
        "Type": "bind",
        "Source": "/host/a",
        "Target": "/b",
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rprivate"},
    }


def test_an_oom_score_is_not_lowered_where_the_host_forbids_it() -> None:
    spec = dataclasses.replace(CONTAINER, oom_score_adj=-997)
    assert host(oom_score_adj=-997)["OomScoreAdj"] == -997
    floored = translate.container_body(spec, "S", owner="o", user="", oom_floor=0)["HostConfig"]
    assert floored["OomScoreAdj"] == 0


def test_a_sandbox_has_its_own_network_unless_it_is_the_hosts() -> None:
    made = translate.sandbox_body(SANDBOX, image="i", owner="podium", oom_floor=0)
    assert (made["Hostname"], made["HostConfig"]["NetworkMode"]) == ("web-1", "none")
    assert (made["HostConfig"]["Dns"], made["HostConfig"]["ExtraHosts"]) == (["10.0.0.10"], ["db:10.1.1.1"])
    hosts = dataclasses.replace(SANDBOX, host_network=True)
    made = translate.sandbox_body(hosts, image="i", owner="podium", oom_floor=0)
    assert (made["Hostname"], made["HostConfig"]["NetworkMode"]) == ("", "host")


@pytest.mark.parametrize(
    ("spec", "image_user", "expected"),
    [
        ({}, "app", ""),
        ({"run_as_user": 1000}, "app", "1000"),
        ({"run_as_user": 1000, "run_as_group": 2000}, "app", "1000:2000"),
        ({"run_as_group": 2000}, "app:staff", "app:2000"),
        ({"run_as_group": 2000}, "", "0:2000"),
        ({"run_as_non_root": True, "run_as_user": 1000}, "", "1000"),
        ({"run_as_non_root": True}, "1000:0", ""),
    ],
)
def test_whom_to_run_as(spec: dict[str, Any], image_user: str, expected: str) -> None:
    assert translate.run_as(dataclasses.replace(CONTAINER, **spec), image_user) == expected


@pytest.mark.parametrize(
    ("user", "image_user", "message"),
    [
        (0, "app", "container's runAsUser breaks non-root policy"),
        (None, "", "container has runAsNonRoot and image will run as root"),
        (None, "root:root", "container has runAsNonRoot and image will run as root"),
        (None, "app", r"image has non-numeric user \(app\), cannot verify user is non-root"),
    ],
)
def test_root_and_who_may_be_root_are_refused(user: int | None, image_user: str, message: str) -> None:
    spec = dataclasses.replace(CONTAINER, run_as_user=user, run_as_non_root=True)
    with pytest.raises(ValueError, match=message):
        translate.run_as(spec, image_user)


def inspection(**state: Any) -> dict[str, Any]:
    zero = "0001-01-01T00:00:00Z"
    base = {"Status": "created", "StartedAt": zero, "FinishedAt": zero, "ExitCode": 0, "Error": "", "OOMKilled": False}
    return {
        "Id": "abc",
        "Created": "2026-01-02T03:04:05.123456789Z",
        "Image": "sha256:1",
        "Config": {"Image": "busybox", "Labels": body(labels={"extra": "kept"})["Labels"]},
        "State": {**base, **state},
    }


def test_a_created_container_comes_back_as_it_was_made() -> None:
    record = translate.container_of(inspection())
    assert (record.pod, record.name, record.attempt, record.config_hash) == (POD, "app", 3, "c0ffee")
    assert (record.state, record.started_at, record.finished_at) == (State.CREATED, None, None)
    assert record.labels == {"extra": "kept"}
    assert record.created_at == datetime.datetime(2026, 1, 2, 3, 4, 5, 123456, datetime.UTC)


def test_an_exited_container_has_code_and_times() -> None:
    record = translate.container_of(
        inspection(
            Status="exited",
            StartedAt="2026-01-02T03:04:06Z",
            FinishedAt="2026-01-02T03:04:07Z",
            ExitCode=137,
            OOMKilled=True,
        )
    )
    assert (record.state, record.exit_code, record.oom_killed) == (State.EXITED, 137, True)
    assert record.finished_at == datetime.datetime(2026, 1, 2, 3, 4, 7, tzinfo=datetime.UTC)


@pytest.mark.parametrize(("code", "expected"), [(127, 127), (0, translate.START_FAILED)])
def test_a_container_that_could_not_be_started_has_ended(code: int, expected: int) -> None:
    record = translate.container_of(inspection(Error="no such file", ExitCode=code))
    assert (record.state, record.exit_code, record.error) == (State.EXITED, expected, "no such file")
    assert record.finished_at == record.created_at


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("created", State.CREATED),
        ("running", State.RUNNING),
        ("paused", State.RUNNING),
        ("restarting", State.RUNNING),
        ("removing", State.EXITED),
        ("exited", State.EXITED),
        ("dead", State.EXITED),
    ],
)
def test_each_state_of_the_engine(status: str, state: State) -> None:
    assert translate.state_of(status) is state


def test_an_event_names_the_pod() -> None:
    event = event_of({"Action": "die", "Actor": {"ID": "abc", "Attributes": {translate.POD_UID: "u1"}}})
    assert (event.pod_uid, event.container_id, event.action) == ("u1", "abc", "die")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nginx", ("docker.io", "nginx", "latest")),
        ("nginx:1.25", ("docker.io", "nginx", "1.25")),
        ("library/nginx", ("docker.io", "library/nginx", "latest")),
        ("quay.io/a/b:v1", ("quay.io", "quay.io/a/b", "v1")),
        ("registry:5000/a", ("registry:5000", "registry:5000/a", "latest")),
        ("localhost/a", ("localhost", "localhost/a", "latest")),
        ("[::1]:5000/a", ("[::1]:5000", "[::1]:5000/a", "latest")),
        ("a@sha256:" + "0" * 64, ("docker.io", "a", "sha256:" + "0" * 64)),
        ("r.io/a:t@sha256:" + "0" * 64, ("r.io", "r.io/a", "sha256:" + "0" * 64)),
    ],
)
def test_image_references(name: str, expected: tuple[str, str, str]) -> None:
    assert split_reference(name) == expected


@pytest.mark.parametrize("name", ["", "Nginx", "a:b:c", "a b", "-a", "a/", "a:-t", "a@sha256:xyz", "a//b"])
def test_what_is_no_image_reference(name: str) -> None:
    with pytest.raises(RuntimeFault) as caught:
        split_reference(name)
    assert caught.value.reason == "InvalidImageName"


def test_credentials_are_for_their_registry_only() -> None:
    hub = RegistryAuth(server="https://index.docker.io/v1/", username="a", password="")
    quay = RegistryAuth(server="quay.io", username="b", password="")
    assert auths_for("docker.io", [hub, quay]) == [hub]
    assert auths_for("quay.io", [hub, quay]) == [quay]
    assert auths_for("other.io", [hub, quay]) == []


def test_an_image_without_a_name_has_none() -> None:
    image = image_of({"Id": "sha256:1", "RepoTags": ["<none>:<none>"], "RepoDigests": None, "Size": 5, "Config": None})
    assert (list(image.names), image.size_bytes, image.user) == ([], 5, "")


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183)])
def test_the_sandbox_program_is_one_segment_that_holds_itself(machine: str, number: int) -> None:
    program = sandbox_image.program(machine)
    assert program[:6] == b"\x7fELF\x02\x01"
    assert struct.unpack_from("<HH", program, 16) == (2, number)
    offset, address, _, in_file, in_memory = struct.unpack_from("<QQQQQ", program, 64 + 8)
    (entry,) = struct.unpack_from("<Q", program, 24)
    assert (offset, in_file, in_memory) == (0, len(program), len(program))
    assert entry == address + 64 + 56
    assert len(program) < 300


def test_the_sandbox_image_is_the_same_each_time() -> None:
    one, other = (sandbox_image.image_tar(platform.machine()) for _ in range(2))
    assert one == other
    with tarfile.open(fileobj=io.BytesIO(one)) as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.mode) == ("pause", 0o555)


def test_a_machine_without_a_program_is_named() -> None:
    with pytest.raises(ValueError, match="no sandbox program for sparc"):
        sandbox_image.program("sparc")


@pytest.mark.parametrize(
    ("has", "wanted", "tighter"),
    [(0, 0, False), (0, 64, True), (64, 0, False), (64, 64, False), (64, 65, False), (64, 63, True)],
)
def test_whether_a_container_is_left_with_less_memory(has: int, wanted: int, tighter: bool) -> None:
    assert translate.tightens(Allowance(memory_limit=has), Allowance(memory_limit=wanted)) is tighter


@pytest.mark.parametrize(
    ("stats", "used"),
    [
        ({}, 0),
        ({"usage": 100, "stats": {"inactive_file": 30}}, 70),
        ({"usage": 100, "stats": {"total_inactive_file": 40}}, 60),
        ({"usage": 100}, 100),
        ({"usage": 10, "stats": {"inactive_file": 30}}, 0),
    ],
)
def test_memory_in_use_is_without_the_page_cache(stats: dict[str, Any], used: int) -> None:
    assert translate.memory_in_use(stats) == used


def test_a_share_comes_back_as_it_was_given() -> None:
    share = Allowance.of(cpu_request=0.1, cpu_limit=0.25, memory_request=32 << 20, memory_limit=64 << 20)
    assert translate.allowance_of(translate.resources(share)) == share
