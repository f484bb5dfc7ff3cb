"""Who pulls from a registry that asks: a pod's pull secrets, or the node's own login, against a real engine."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nodelet.pods.credentials import auths_for
from nodelet.pods.images import ImageFault, ImageKeeper
from nodelet.runtime.docker import DockerRuntime
from nodelet.runtime.protocol import RuntimeFault
from podium.aio.clock import SystemClock
from podium.aio.tasks import TaskScope
from podium.v1.core_pb2 import Secret
from tests.support.registry import PASSWORD, Registry, logins, private_registry

pytestmark = pytest.mark.docker


@pytest.fixture
def registry() -> Iterator[Registry]:
    with private_registry(uuid.uuid4().bytes) as made:
        yield made


@pytest.fixture
async def runtime(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DockerRuntime]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "logins"))
    (tmp_path / "logins").mkdir()
    made = DockerRuntime(owner="test-logins")
    try:
        yield made
    finally:
        with suppress(RuntimeFault):  # a test that failed may have pulled nothing
            await made.remove_image(registry.image)
        await made.close()


@pytest.fixture
async def keeper(runtime: DockerRuntime) -> AsyncIterator[ImageKeeper]:
    async with TaskScope(on_error=lambda *_: None) as scope:
        yield ImageKeeper(runtime, SystemClock(), scope)


async def refused(keeper: ImageKeeper, image: str, *secrets: Secret) -> ImageFault:
    with pytest.raises(ImageFault) as caught:
        await keeper.ensure(image, "Always", auths_for(image, secrets))
    return caught.value


def secret(registry: Registry, password: str) -> Secret:
    return Secret(data={".dockerconfigjson": logins(registry.host, password)})


async def test_a_corrected_pull_secret_is_tried_at_once(keeper: ImageKeeper, registry: Registry) -> None:
    assert "no basic auth credentials" in (await refused(keeper, registry.image)).message
    assert (await refused(keeper, registry.image, secret(registry, "wrong"))).reason == "ErrImagePull"
    assert (await refused(keeper, registry.image, secret(registry, "wrong"))).reason == "ImagePullBackOff"
    right = auths_for(registry.image, [secret(registry, PASSWORD)])
    assert registry.image in (await keeper.ensure(registry.image, "Always", right)).image.names


async def test_a_corrected_login_of_the_node_is_tried_at_once(
    keeper: ImageKeeper, registry: Registry, tmp_path: Path
) -> None:
    file = tmp_path / "logins" / "config.json"
    file.write_bytes(logins(registry.host, "wrong"))
    assert (await refused(keeper, registry.image)).reason == "ErrImagePull"
    assert (await refused(keeper, registry.image)).reason == "ImagePullBackOff"
    file.write_text('{"auths": 3}')
    assert "config.json can't be read" in (await refused(keeper, registry.image)).message
    file.write_bytes(logins(registry.host, PASSWORD))
    assert registry.image in (await keeper.ensure(registry.image, "Always")).image.names
    file.unlink()
    assert "no basic auth credentials" in (await refused(keeper, registry.image)).message
