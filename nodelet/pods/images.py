"""Images on this host: fetched by pull policy, one pull a name at a time, and removed when the disk fills up.

A pull that fails is backed off for each (image, credentials): 2 s, doubling, at most 300 s. While that lasts the caller
is told the last real error, never only that something is backing off. Other credentials, a pod's or the node's own, are
another entry, so a corrected pull secret is tried at once, and a corrected login of the node when somebody asks again,
which is soon. Pulls belong to the keeper: a caller that gives up does not waste what is half
fetched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from nodelet.pods.credentials import fingerprint
from nodelet.pods.meters import IMAGE_PULL, IMAGE_PULL_FAILURES
from nodelet.runtime.protocol import ImageRecord, Images, RegistryAuth, RuntimeDown, RuntimeFault
from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.aio.tasks import TaskScope

ALWAYS, IF_NOT_PRESENT, NEVER = "Always", "IfNotPresent", "Never"
_PULL_RETRY = Backoff(initial=2.0, maximum=300.0)
ASK_AGAIN_SECONDS = 10.0
"""Longest time until whoever waits for an image asks again: nothing tells that the node's own logins have changed."""


class ImageFault(Exception):
    """An image is not here, and it is no use to ask again before `retry_at` (monotonic seconds)."""

    def __init__(self, reason: str, message: str, retry_at: float) -> None:
        super().__init__(message)
        self.reason, self.message, self.retry_at = reason, message, retry_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An image that is here; `pulled_seconds` is None when it was here already."""

    image: ImageRecord
    pulled_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Failure:
    count: int
    reason: str
    message: str
    retry_at: float


_Key = tuple[str, str]


def default_policy(image: str) -> str:
    """Kubernetes' rule for a container that names no policy: `latest`, or no tag, is always pulled."""
    name, at, _ = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return ALWAYS if not at and tag in ("", "latest") else IF_NOT_PRESENT


class ImageKeeper:
    """See the module. `parallel` bounds the pulls at one time; more wait their turn."""

    def __init__(self, images: Images, clock: Clock, scope: TaskScope, *, parallel: int = 3) -> None:
        self._images, self._clock, self._scope = images, clock, scope
        self._turn = asyncio.Semaphore(parallel)
        self._present: dict[str, ImageRecord] = {}
        self._pulls: dict[_Key, asyncio.Task[Fetched | Exception]] = {}
        self._failures: dict[_Key, _Failure] = {}
        self._last_used: dict[str, float] = {}
        self._look_at = clock.monotonic()

    async def ensure(self, image: str, policy: str, auths: Sequence[RegistryAuth] = ()) -> Fetched:
        """Have an image here.

        Raises:
            ImageFault: It can't be had now.
            RuntimeDown: The runtime does not answer.
        """
        if policy != ALWAYS and (found := await self._find(image)) is not None:
            return Fetched(image=found)
        if policy == NEVER:
            message = f'Container image "{image}" is not present with pull policy of Never'
            raise ImageFault("ErrImageNeverPull", message, self._clock.monotonic() + _PULL_RETRY.maximum)
        return await self._pull((image, f"{fingerprint(auths)} {await self._images.own_logins()}"), auths)

    def forget(self, image: str) -> None:
        """The image turned out not to be here: look again next time."""
        self._present.pop(image, None)

    async def _find(self, image: str) -> ImageRecord | None:
        found = self._present.get(image)
        if found is None and (found := await self._images.find_image(image)) is not None:
            self._present[image] = found
        if found is not None:
            self._last_used[found.id] = self._clock.monotonic()
        return found

    async def _pull(self, key: _Key, auths: Sequence[RegistryAuth]) -> Fetched:
        now, failed = self._clock.monotonic(), self._failures.get(key)
        if failed is not None and failed.retry_at > now:
            raise _backing_off(key[0], failed, now)
        pull = self._pulls.get(key)
        if pull is None:
            pull = self._pulls[key] = self._scope.start(self._pull_now(key, auths), name=f"pull {key[0]}")
            pull.add_done_callback(lambda _: self._pulls.pop(key, None))
        outcome = await asyncio.shield(pull)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _pull_now(self, key: _Key, auths: Sequence[RegistryAuth]) -> Fetched | Exception:
        """The outcome as a value: it may have several callers to tell, or none any more."""
        image = key[0]
        async with self._turn:
            began = self._clock.monotonic()
            try:
                found = await self._images.pull_image(image, auths)
            except RuntimeDown as down:
                return down
            except RuntimeFault as fault:
                return self._failed(key, fault)
        now = self._clock.monotonic()
        IMAGE_PULL.observe(now - began)
        self._present[image], self._last_used[found.id] = found, now
        self._failures = {k: failure for k, failure in self._failures.items() if k[0] != image}
        return Fetched(image=found, pulled_seconds=now - began)

    def _failed(self, key: _Key, fault: RuntimeFault) -> ImageFault:
        IMAGE_PULL_FAILURES.inc()
        now, before = self._clock.monotonic(), self._failures.get(key)
        count = before.count + 1 if before else 1
        failure = _Failure(count, fault.reason, fault.message, now + _PULL_RETRY.delay(count))
        stale = now - _PULL_RETRY.maximum
        self._failures = {k: known for k, known in self._failures.items() if known.retry_at > stale}
        self._failures[key] = failure
        if count == 1:
            return ImageFault(fault.reason, fault.message, failure.retry_at)
        return _backing_off(key[0], failure, now)

    # ------------------------------------------------------------ garbage

    async def collect(self, in_use: Collection[str], disk: Disk, limits: Limits) -> list[ImageRecord]:
        """Remove what `plan_garbage` names, `in_use` being names and ids; what was removed.

        While there is room images are listed now and then nevertheless: when it runs out, one that nobody has used
        since the nodelet started must not be taken for one that has just come.
        """
        now = self._clock.monotonic()
        if disk.used_percent < limits.high_percent and now < self._look_at:
            return []
        images = await self._images.list_images()
        self._look_at = now + limits.youngest
        for image in images:
            self._last_used.setdefault(image.id, now)
        self._last_used = {image.id: self._last_used[image.id] for image in images}
        removed = []
        for image in plan_garbage(images, in_use, self._last_used, disk, limits, now):
            try:
                await self._images.remove_image(image.id)
            except RuntimeDown:
                raise
            except RuntimeFault:
                continue  # in use after all, by a container that is not ours
            removed.append(image)
            self._present = {name: found for name, found in self._present.items() if found.id != image.id}
        return removed


def _backing_off(image: str, failure: _Failure, now: float) -> ImageFault:
    message = f'Back-off pulling image "{image}": {failure.reason}: {failure.message}'
    reason = failure.reason if failure.reason == "InvalidImageName" else "ImagePullBackOff"
    return ImageFault(reason, message, min(failure.retry_at, now + ASK_AGAIN_SECONDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Where images are kept: bytes in all, and bytes taken."""

    total: int
    used: int

    @property
    def used_percent(self) -> float:
        return 100 * self.used / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Garbage begins above `high_percent` of the disk and stops below `low_percent`; young images (seconds) stay."""

    high_percent: float = 85.0
    low_percent: float = 80.0
    youngest: float = 120.0


def plan_garbage(images: Iterable[ImageRecord], in_use: Collection[str], last_used: dict[str, float], disk: Disk,
                 limits: Limits, now: float) -> list[ImageRecord]:  # fmt: skip
    """Which images to remove, longest unused first, until enough would be free. Pure."""
    if disk.used_percent < limits.high_percent:
        return []
    surplus = disk.used - disk.total * limits.low_percent / 100
    chosen: list[ImageRecord] = []
    idle = [i for i in images if i.id not in in_use and not any(name in in_use for name in i.names)]
    for image in sorted(idle, key=lambda i: (last_used.get(i.id, now), -i.size_bytes)):
        if surplus <= 0 or now - last_used.get(image.id, now) < limits.youngest:
            break
        chosen.append(image)
        surplus -= image.size_bytes
    return chosen
