"""Images: credentials, pulls shared and backed off, and garbage."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodelet.pods.credentials import auths_for, fingerprint, pull_secrets, registry_of
from nodelet.pods.images import ASK_AGAIN_SECONDS, Disk, ImageFault, ImageKeeper, Limits, default_policy, plan_garbage
from nodelet.runtime.protocol import ImageRecord, RegistryAuth, RuntimeDown
from podium.aio.tasks import TaskScope
from podium.objects.references import secret_key
from podium.v1.core_pb2 import LocalObjectReference, Secret
from tests.support.clock import VirtualClock, settle
from tests.support.kept_pods import make_pod
from tests.support.scripted_runtime import ScriptedRuntime

# ---------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("nginx", "docker.io"),
        ("library/nginx:1", "docker.io"),
        ("index.docker.io/library/nginx", "docker.io"),
        ("localhost/app", "localhost"),
        ("registry.example/app:1", "registry.example"),
        ("registry.example:5000/team/app@sha256:0", "registry.example:5000"),
        ("10.0.0.1:5000/app", "10.0.0.1:5000"),
    ],
)
def test_the_registry_of_an_image(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def config(auths: object) -> Secret:
    return Secret(data={".dockerconfigjson": json.dumps({"auths": auths}).encode()})


def test_credentials_by_auth_or_by_fields_and_only_for_the_images_registry() -> None:
    secrets = [
        config({"https://index.docker.io/v1/": {"auth": base64.b64encode(b"ann:p:w").decode()}}),
        config({"registry.example": {"username": "bob", "password": "x"}}),
        config({"docker.io": {"username": "cid", "password": "y"}}),
    ]
    assert [(a.username, a.password) for a in auths_for("nginx", secrets)] == [("ann", "p:w"), ("cid", "y")]
    assert [a.username for a in auths_for("registry.example/app", secrets)] == ["bob"]
    assert auths_for("other.example/app", secrets) == ()


@pytest.mark.parametrize("raw", [b"", b"junk", b"[]", b'{"auths": 3}', b'{"auths": {"docker.io": {"auth": "!"}}}'])
def test_an_unreadable_secret_gives_nothing(raw: bytes) -> None:
    assert auths_for("nginx", [Secret(data={".dockerconfigjson": raw})]) == ()


def test_pull_secrets_in_their_order_those_that_are_here() -> None:
    pod = make_pod()
    pod.spec.image_pull_secrets.extend(LocalObjectReference(name=name) for name in ("b", "gone", "a"))
    a, b = Secret(type="a"), Secret(type="b")
    assert pull_secrets(pod, {secret_key("ns", "a"): a, secret_key("ns", "b"): b, secret_key("other", "gone"): a}) == [
        b,
        a,
    ]


def test_another_password_is_another_fingerprint_and_none_is_shown() -> None:
    one, two = (RegistryAuth(server="s", username="u", password=p) for p in ("1", "2"))
    assert fingerprint([one]) != fingerprint([two])
    assert "password" not in repr(one)


# ---------------------------------------------------------------- pulls


def fail_on_error(name: str, error: BaseException) -> None:
    raise AssertionError(name) from error


class Pulling:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.runtime = ScriptedRuntime(self.clock)
        self.keeper = ImageKeeper(self.runtime, self.clock, TaskScope(fail_on_error), parallel=2)

    def count(self, method: str) -> int:
        return sum(call.startswith(method) for call in self.runtime.calls)


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.14", "IfNotPresent"),
        ("r.example:5000/nginx", "Always"),
        ("nginx@sha256:0", "IfNotPresent"),
    ],
)
def test_the_default_policy(image: str, policy: str) -> None:
    assert default_policy(image) == policy


async def test_an_image_that_is_here_is_looked_up_once() -> None:
    at = Pulling()
    for _ in range(3):
        assert (await at.keeper.ensure("app:1", "IfNotPresent")).pulled_seconds is None
    assert at.runtime.calls == ["find_image app:1"]
    at.keeper.forget("app:1")
    await at.keeper.ensure("app:1", "IfNotPresent")
    assert at.count("find_image") == 2


async def test_never_means_never() -> None:
    at = Pulling()
    with pytest.raises(ImageFault, match="not present with pull policy of Never") as caught:
        await at.keeper.ensure("x:1", "Never")
    assert caught.value.reason == "ErrImageNeverPull"
    assert at.count("pull_image") == 0


async def test_pulls_of_one_image_are_one_pull() -> None:
    at = Pulling()
    at.runtime.pullable = {"x:1"}
    found = await asyncio.gather(*(at.keeper.ensure("x:1", "Always") for _ in range(5)))
    assert {fetched.image.id for fetched in found} == {"sha256:x:1"}
    assert at.count("pull_image") == 1


async def test_a_caller_that_gives_up_does_not_end_the_pull() -> None:
    at = Pulling()
    at.runtime.pullable = {"x:1"}
    hasty = asyncio.get_running_loop().create_task(at.keeper.ensure("x:1", "IfNotPresent"))
    await asyncio.sleep(0)
    hasty.cancel()
    await settle()
    assert (await at.keeper.ensure("x:1", "IfNotPresent")).image.id == "sha256:x:1"


async def test_a_failed_pull_backs_off_and_tells_the_last_error_to_everybody() -> None:
    at = Pulling()

    async def fault() -> ImageFault:
        with pytest.raises(ImageFault) as caught:
            await at.keeper.ensure("x:1", "IfNotPresent")
        return caught.value

    first = await fault()
    assert (first.reason, first.message, first.retry_at) == ("ErrImagePull", "manifest for x:1 not found", 2)
    another = await fault()
    assert another.reason == "ImagePullBackOff"
    assert another.message == 'Back-off pulling image "x:1": ErrImagePull: manifest for x:1 not found'
    assert at.count("pull_image") == 1
    await at.clock.advance(2)
    assert (await fault()).retry_at == 2 + 4
    at.runtime.pullable = {"x:1"}
    await at.clock.advance(4)
    assert (await at.keeper.ensure("x:1", "IfNotPresent")).pulled_seconds == 0


async def test_other_credentials_are_tried_at_once() -> None:
    at = Pulling()
    wrong, right = (RegistryAuth(server="docker.io", username="u", password=p) for p in ("wrong", "right"))
    with pytest.raises(ImageFault):
        await at.keeper.ensure("x:1", "Always", [wrong])
    at.runtime.pullable = {"x:1"}
    assert (await at.keeper.ensure("x:1", "Always", [right])).image.id == "sha256:x:1"


async def test_other_logins_of_the_node_are_tried_as_soon_as_a_waiting_pod_asks_again() -> None:
    at = Pulling()

    async def fault() -> ImageFault:
        with pytest.raises(ImageFault) as caught:
            await at.keeper.ensure("x:1", "Always")
        return caught.value

    for _ in range(8):
        asked = at.clock.monotonic()
        retry_at = (await fault()).retry_at
        assert retry_at <= asked + ASK_AGAIN_SECONDS
        await at.clock.advance(300)
    await fault()
    pulls = at.count("pull_image")
    await at.clock.advance(ASK_AGAIN_SECONDS)
    assert (await fault()).reason == "ImagePullBackOff"
    assert at.count("pull_image") == pulls, "to ask again is not to try again"
    at.runtime.logins, at.runtime.pullable = "another file", {"x:1"}
    assert (await at.keeper.ensure("x:1", "Always")).image.id == "sha256:x:1"


async def test_a_runtime_that_is_down_is_no_fault_of_the_image() -> None:
    at = Pulling()
    at.runtime.down = True
    with pytest.raises(RuntimeDown):
        await at.keeper.ensure("x:1", "Always")
    at.runtime.down, at.runtime.pullable = False, {"x:1"}
    await at.keeper.ensure("x:1", "Always")


# ---------------------------------------------------------------- garbage


def image(name: str, size: int = 10) -> ImageRecord:
    return ImageRecord(id=f"id-{name}", names=[name], size_bytes=size)


FULL = Disk(total=100, used=95)


def test_the_longest_unused_go_first_until_there_is_room() -> None:
    images = [image("new"), image("old"), image("older"), image("used")]
    last = {"id-new": 900.0, "id-old": 500.0, "id-older": 100.0, "id-used": 0.0}
    chosen = plan_garbage(images, {"used"}, last, FULL, Limits(), 1000)
    assert [i.names[0] for i in chosen] == ["older", "old"]


def test_nothing_goes_below_the_threshold_or_while_young() -> None:
    assert plan_garbage([image("a")], (), {"id-a": 0}, Disk(total=100, used=84), Limits(), 1000) == []
    assert plan_garbage([image("a")], (), {"id-a": 950}, FULL, Limits(), 1000) == []


@given(
    ages=st.lists(st.floats(0, 1000), min_size=1, max_size=12),
    used=st.sets(st.integers(0, 11)),
    taken=st.integers(0, 100),
)
def test_garbage_is_never_in_use_never_young_and_never_more_than_needed(
    ages: list[float], used: set[int], taken: int
) -> None:
    images = [image(str(i)) for i in range(len(ages))]
    last = {f"id-{i}": 1000 - age for i, age in enumerate(ages)}
    limits = Limits()
    chosen = plan_garbage(images, {f"id-{i}" for i in used}, last, Disk(total=100, used=taken), limits, 1000)
    assert all(int(i.names[0]) not in used and ages[int(i.names[0])] >= limits.youngest for i in chosen)
    assert not chosen or taken - 10 * (len(chosen) - 1) > limits.low_percent


async def test_collecting_removes_what_no_pod_uses() -> None:
    at = Pulling()
    at.runtime.images["b:1"] = ImageRecord(id="sha256:b", names=["b:1"], size_bytes=60)
    removed = await at.keeper.collect({"app:1"}, FULL, Limits(youngest=0))
    assert [i.id for i in removed] == ["sha256:b"]
    assert set(at.runtime.images) == {"app:1"}
