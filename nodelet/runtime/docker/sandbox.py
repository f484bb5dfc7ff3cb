"""Making a sandbox: its image, the container, and the path of its network namespace. Runs in the engine's threads."""

from __future__ import annotations

import platform
from typing import Any

import docker.errors
from docker import APIClient

from nodelet.runtime.docker import sandbox_image, translate
from nodelet.runtime.protocol import Sandbox, SandboxSpec


def ensure_sandbox_image(api: APIClient) -> None:
    """Import the sandbox's image unless it is there."""
    repository, _, tag = sandbox_image.image_name().partition(":")
    try:
        api.inspect_image(f"{repository}:{tag}")
    except docker.errors.ImageNotFound:
        layer = sandbox_image.image_tar(platform.machine())
        api.import_image_from_data(layer, repository, tag, changes=[f'ENTRYPOINT ["{sandbox_image.PROGRAM}"]'])


def start_sandbox(api: APIClient, spec: SandboxSpec, *, owner: str, floor: int) -> Sandbox:
    """Create and start; the one that is there already, if there is one."""
    body = translate.sandbox_body(spec, image=sandbox_image.image_name(), owner=owner, oom_floor=floor)
    id_ = create_once(api, translate.sandbox_name(spec), body, spec.pod.uid)
    api.start(id_)
    return translate.sandbox_of(api.inspect_container(id_))


def create_once(api: APIClient, name: str, body: dict[str, Any], uid: str) -> str:
    """Create a container, or find the one that has this name already; returns its id."""
    try:
        return str(api.create_container_from_config(body, name)["Id"])
    except docker.errors.APIError as error:
        if error.status_code != 409:
            raise
        there = api.inspect_container(name)
        if there["Config"]["Labels"].get(translate.POD_UID) != uid:
            raise
        return str(there["Id"])
