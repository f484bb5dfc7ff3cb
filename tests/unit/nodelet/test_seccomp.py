"""Which profile confines a container, and what keeps one of the node's from being used."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nodelet.pods.environment import ConfigFault
from nodelet.pods.seccomp import MAX_BYTES, read_profile, seccomp_of
from podium.v1.core_pb2 import PodSecurityContext, SeccompProfile, SecurityContext

PROFILE = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}


def of_pod(type_: str, file: str = "") -> PodSecurityContext:
    profile = SeccompProfile(type=type_, localhost_profile=file)
    return PodSecurityContext(seccomp_profile=profile) if type_ else PodSecurityContext()


def of_container(type_: str, file: str = "") -> SecurityContext:
    profile = SeccompProfile(type=type_, localhost_profile=file)
    return SecurityContext(seccomp_profile=profile) if type_ else SecurityContext()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "seccomp"
    (made / "profiles").mkdir(parents=True)
    (made / "profiles/audit.json").write_text(json.dumps(PROFILE, indent=2))
    (tmp_path / "outside.json").write_text(json.dumps(PROFILE))
    return made


@pytest.mark.parametrize(
    ("pod", "own", "told"),
    [
        ("", "", ""),
        ("RuntimeDefault", "", ""),
        ("Unconfined", "", "unconfined"),
        ("Unconfined", "RuntimeDefault", ""),
        ("", "Unconfined", "unconfined"),
    ],
)
async def test_a_containers_own_profile_wins(pod: str, own: str, told: str) -> None:
    assert await seccomp_of(of_pod(pod), of_container(own), None) == told


async def test_the_runtime_is_told_what_is_in_the_nodes_file(folder: Path) -> None:
    named = of_pod("Localhost", "profiles/audit.json")
    assert json.loads(await seccomp_of(named, SecurityContext(), folder)) == PROFILE
    assert await seccomp_of(named, of_container("RuntimeDefault"), folder) == ""
    own = of_container("Localhost", "profiles/audit.json")
    assert json.loads(await seccomp_of(of_pod("Unconfined"), own, folder)) == PROFILE


async def test_one_that_is_privileged_is_not_confined(folder: Path) -> None:
    assert await seccomp_of(of_pod("Localhost", "none.json"), SecurityContext(privileged=True), folder) == ""


async def test_a_node_without_profiles_says_so() -> None:
    with pytest.raises(ConfigFault, match=r'"a\.json": this node keeps none'):
        await seccomp_of(of_pod("Localhost", "a.json"), SecurityContext(), None)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none.json", "No such file or directory"),
        ("profiles", "it is not a file"),
        ("pipe", "it is not a file"),
        ("../outside.json", "it leads out of"),
        ("link.json", "it leads out of"),
        ("circle.json", ""),
        ("a\0b", ""),
        ("broken.json", "it is not JSON"),
        ("list.json", "it has no defaultAction"),
        ("other.json", "it has no defaultAction"),
        ("large.json", f"it has more than {MAX_BYTES} bytes"),
    ],
)
def test_what_is_no_profile_of_the_node_is_named(folder: Path, name: str, why: str) -> None:
    (folder / "link.json").symlink_to(folder.parent / "outside.json")
    (folder / "circle.json").symlink_to(folder / "circle.json")
    (folder / "broken.json").write_bytes(b'{"defaultAction": \xff')
    (folder / "list.json").write_text("[]")
    (folder / "other.json").write_text('{"rules": []}')
    (folder / "large.json").write_text(" " * (MAX_BYTES + 1))
    os.mkfifo(folder / "pipe")
    with pytest.raises(ConfigFault) as caught:
        read_profile(folder, name)
    assert str(caught.value).startswith(f'cannot load seccomp profile "{folder / name}": ')
    assert why in str(caught.value)


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "same.json").symlink_to(folder / "profiles/audit.json")
    assert json.loads(read_profile(folder, "same.json")) == PROFILE
