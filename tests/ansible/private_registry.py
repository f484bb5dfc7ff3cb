"""A registry on the hosts' network that asks who pulls: in the clear, as hosts that are told so accept it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.ansible.hosts import LABEL, NETWORK, ROOT, run

IMAGE = "podium/registry:rig"
NAME = f"{LABEL}-registry"
REPOSITORY = "private/program:1"
USERNAME, PASSWORD = "puller", "not-for-everybody"
_HTPASSWD = f"{USERNAME}:$2b$05$MglZR.X1wamI6WqwFDSWpOowVOEricFdTC5ME2y8/JYf3r45uKxjm\n"
_ASK = {"REGISTRY_AUTH": "htpasswd", "REGISTRY_AUTH_HTPASSWD_REALM": "private",
        "REGISTRY_AUTH_HTPASSWD_PATH": "/etc/htpasswd"}  # fmt: skip


class Registry(NamedTuple):
    """Where hosts reach it, and the image that is in it."""

    host: str
    image: str


@contextmanager
def private_registry(source: str) -> Iterator[Registry]:
    """A registry that holds one of this machine's images for whoever knows the password."""
    run("docker", "build", "-q", "--target", "registry", "-t", IMAGE, "-f", ROOT / "docker/Dockerfile", ROOT,
        timeout=300, environment={"DOCKER_BUILDKIT": "0"})  # fmt: skip
    settings = [word for name, value in _ASK.items() for word in ("--env", f"{name}={value}")]
    run("docker", "create", "--name", NAME, "--label", LABEL, "--network", NETWORK, "--publish", "127.0.0.1::5000",
        *settings, IMAGE)  # fmt: skip
    try:
        with tempfile.TemporaryDirectory() as folder:
            _fill(Path(folder), source)
        address = run("docker", "inspect", "--format",
                      f'{{{{(index .NetworkSettings.Networks "{NETWORK}").IPAddress}}}}', NAME).strip()  # fmt: skip
        yield Registry(f"{address}:5000", f"{address}:5000/{REPOSITORY}")
    finally:
        run("docker", "rm", "--force", "--volumes", NAME)


def _fill(folder: Path, source: str) -> None:
    users = folder / "htpasswd"
    users.write_text(_HTPASSWD)
    run("docker", "cp", users, f"{NAME}:/etc/htpasswd")
    run("docker", "start", NAME)
    here = run("docker", "port", NAME, "5000/tcp").split()[0]
    run("timeout", "20", "sh", "-c", f"until curl -s http://{here}/v2/; do sleep 0.1; done", timeout=30)
    mine = ("docker", "--config", folder)
    run(*mine, "login", "--username", USERNAME, "--password-stdin", here, stdin=PASSWORD.encode())
    run("docker", "tag", source, f"{here}/{REPOSITORY}")
    run(*mine, "push", "--quiet", f"{here}/{REPOSITORY}")
    run("docker", "rmi", f"{here}/{REPOSITORY}")
