"""A nodelet's settings, and how it comes by its identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodelet.enrol import token_of
from nodelet.settings import NodeletSettings, check, parse_taint
from podium.aio.clock import SystemClock
from podium.aio.tasks import TaskScope
from podium.errors import BadRequest
from podium.settings import SettingsError, load
from tests.support.clock import VirtualClock, settle

TOKEN = f"id.secret.{'0' * 64}"


def settings(*argv: str) -> NodeletSettings:
    return load(NodeletSettings, argv, env_prefix="PODIUM_NODELET", environ={})


def test_ports_follow_from_the_masters_names() -> None:
    given = settings("--master", "a", "--master", "b:9443")
    assert given.api_endpoints() == ["a:7443", "b:9443"]
    assert given.join_endpoints() == ["a:7442", "b:7442"]
    assert settings("--master", "a", "--join", "a:1").join_endpoints() == ["a:1"]


def test_taints_are_read() -> None:
    taint = parse_taint("gpu=yes:NoSchedule")
    assert (taint.key, taint.value, taint.effect) == ("gpu", "yes", "NoSchedule")
    assert parse_taint("gpu:NoExecute").value == ""
    for wrong in ("gpu", "gpu:Never", ":NoSchedule"):
        with pytest.raises(ValueError, match="is not a taint"):
            parse_taint(wrong)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ((), "master"),
        (("--master", "a", "--node-name", "Not_A_Name"), "node_name"),
        (("--master", "a:b"), "master"),
        (("--master", "a", "--taints", "x"), "taints"),
        (("--master", "a", "--node-ip", "300.1.1.1"), "node_ip"),
        (("--master", "a", "--hollow", "5"), "hollow"),
    ],
)
def test_what_is_wrong_is_named(argv: tuple[str, ...], named: str) -> None:
    with pytest.raises(SettingsError, match=f"setting {named}"):
        check(settings(*argv))


async def test_a_token_file_is_waited_for(tmp_path: Path) -> None:
    clock, file = VirtualClock(), tmp_path / "token"
    async with TaskScope(on_error=lambda name, error: None) as scope:
        waiting = scope.start(token_of(settings("--join-token-file", str(file)), clock), name="token")
        await settle()
        file.write_text(TOKEN + "\n")
        while not waiting.done():
            await clock.advance(1)
        assert (await waiting).text == TOKEN


async def test_without_a_token_it_is_said_what_to_set() -> None:
    with pytest.raises(BadRequest, match="join_token_file"):
        await token_of(settings("--master", "a"), SystemClock())
    assert (await token_of(settings("--join-token", TOKEN), SystemClock())).id == "id"
