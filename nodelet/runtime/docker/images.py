"""The host's images: find, pull, list, remove."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from docker import APIClient

from nodelet.runtime.docker.engine import Engine, NotFound
from nodelet.runtime.docker.logins import Logins, state_of_logins
from nodelet.runtime.protocol import ImageRecord, RegistryAuth, RuntimeDown, RuntimeFault

DOCKER_HUB = "docker.io"
_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
# The reference grammar of the distribution project: [registry/]path[:tag][@digest].
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<registry>(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|\[[0-9a-fA-F:]+\]|[A-Za-z0-9-]+(?=:\d))(?::\d+)?)/)?"
    rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,}))?"
)


def split_reference(name: str) -> tuple[str, str, str]:
    """An image's name as (registry, what to ask the engine for, its tag or digest).

    Raises:
        RuntimeFault: InvalidImageName.
    """
    match = _REFERENCE.fullmatch(name)
    if match is None:
        raise RuntimeFault("InvalidImageName", f'couldn\'t parse image reference "{name}": invalid reference format')
    registry, path = match["registry"], match["path"]
    repository = f"{registry}/{path}" if registry else path
    return registry or DOCKER_HUB, repository, match["digest"] or match["tag"] or "latest"


def auths_for(registry: str, auths: Iterable[RegistryAuth]) -> list[RegistryAuth]:
    """The credentials that are for this registry, in their order."""
    return [auth for auth in auths if _registry_of(auth.server) == _registry_of(registry)]


def _registry_of(server: str) -> str:
    host = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB if host in _HUB_NAMES else host


def image_of(inspect: Mapping[str, Any]) -> ImageRecord:
    """The image that an inspection or one entry of a list describes."""
    names = [*(inspect.get("RepoTags") or ()), *(inspect.get("RepoDigests") or ())]
    return ImageRecord(
        id=inspect["Id"],
        names=tuple(name for name in names if not name.startswith("<none>")),
        size_bytes=int(inspect["Size"]),
        user=str((inspect.get("Config") or {}).get("User") or ""),
    )


class DockerImages:
    """Implements `nodelet.runtime.protocol.Images`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._logins = Logins()

    async def find_image(self, name: str) -> ImageRecord | None:
        """The image of this name, if it is here.

        Raises:
            RuntimeFault: InvalidImageName.
        """
        if not name.startswith("sha256:"):
            split_reference(name)
        try:
            return image_of(await self._engine.call("ImageInspectError", lambda api: api.inspect_image(name)))
        except NotFound:
            return None

    async def pull_image(self, name: str, auths: Sequence[RegistryAuth]) -> ImageRecord:
        """Pull by name, with each fitting credential in turn, or with none when there is none.

        Raises:
            RuntimeFault: ErrImagePull with the registry's own message (the last one's), or InvalidImageName.
        """
        registry, repository, tag = split_reference(name)
        last: RuntimeFault | None = None
        for auth in auths_for(registry, auths) or (None,):
            try:
                await self._engine.long_call("ErrImagePull", functools.partial(self._pull, repository, tag, auth))
                break
            except RuntimeDown:
                raise
            except RuntimeFault as fault:
                last = fault
        else:
            assert last is not None
            raise RuntimeFault("ErrImagePull", last.message) from last
        return image_of(await self._engine.call("ErrImagePull", lambda api: api.inspect_image(name)))

    async def own_logins(self) -> str:
        """Of the file that `docker login` writes: where it is, and as of when."""
        return await asyncio.to_thread(state_of_logins)

    async def list_images(self) -> list[ImageRecord]:
        return [image_of(entry) for entry in await self._engine.call("ImageListError", lambda api: api.images())]

    async def remove_image(self, image_id: str) -> None:
        """Remove with all its names; one that is gone is no error, one in use is (`Conflict`)."""

        def remove(api: APIClient) -> None:
            api.remove_image(image_id, force=len(api.inspect_image(image_id).get("RepoTags") or ()) > 1)

        try:
            await self._engine.call("ImageRemoveError", remove)
        except NotFound:
            return

    def _pull(self, repository: str, tag: str, auth: RegistryAuth | None, api: APIClient) -> None:
        config = {"username": auth.username, "password": auth.password} if auth else {}
        self._logins.refresh(api)
        # Without an auth_config the package takes what is in ~/.docker, as the operator who logged in there expects.
        for message in api.pull(repository, tag=tag, stream=True, decode=True, auth_config=config or None):
            if "error" in message:
                raise RuntimeFault("ErrImagePull", str(message["error"]))
