"""Volumes that outgrow their limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodelet.pods.size_limits import SizeLimits, outgrown, size_limits
from nodelet.volumes.volumes import disk_usage
from tests.support.configuration import pod_with
from tests.support.kept_pods import kept

DISK = {"name": "d", "emptyDir": {"sizeLimit": "1Ki"}}


def test_only_limits_on_disk_are_watched() -> None:
    volumes = [
        DISK,
        {"name": "m", "emptyDir": {"sizeLimit": "1Ki", "medium": "Memory"}},
        {"name": "zero", "emptyDir": {"sizeLimit": "0"}},
        {"name": "free", "emptyDir": {}},
        {"name": "c", "configMap": {"name": "c"}},
    ]
    assert size_limits(pod_with(volumes)) == {"d": "1Ki"}


@pytest.mark.parametrize(
    ("used", "says"), [({}, ""), ({"d": 1024}, ""), ({"d": 1025}, 'volume "d" exceeds the limit "1Ki"')]
)
def test_the_limit_itself_may_be_used(used: dict[str, int], says: str) -> None:
    message = outgrown({"d": "1Ki"}, used)
    assert says in message
    assert bool(says) is bool(message)


def test_blocks_are_counted_once_and_links_not_followed(tmp_path: Path) -> None:
    (tmp_path / "v" / "sub").mkdir(parents=True)
    empty = disk_usage(tmp_path / "v")
    (tmp_path / "v" / "sub" / "f").write_bytes(b"x" * 100_000)
    one = disk_usage(tmp_path / "v")
    assert one - empty >= 100_000
    (tmp_path / "v" / "again").hardlink_to(tmp_path / "v" / "sub" / "f")
    (tmp_path / "big").write_bytes(b"x" * 1_000_000)
    (tmp_path / "v" / "link").symlink_to(tmp_path / "big")
    assert disk_usage(tmp_path / "v") - one < 100_000
    assert disk_usage(tmp_path / "gone") == 0


async def test_the_pod_is_evicted_once() -> None:
    async with kept() as node:
        used = {"d": 10}

        async def measure(uid: str, name: str) -> int:
            return used[name]

        limits = SizeLimits(manager=node.manager, measure=measure, clock=node.clock)
        await node.assign(pod_with([DISK]))
        await limits.look()
        assert node.status().phase == "Running"
        used["d"] = 2000
        await limits.look()
        await limits.look()
        await node.clock.advance(1)
        assert (node.status().phase, node.status().reason) == ("Failed", "Evicted")
        assert [reason for reason, _ in node.events].count("Evicted") == 1
        assert node.volumes.calls[-1] == "tear_down u1"
