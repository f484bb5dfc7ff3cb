"""The master's settings: what types cannot say, and what follows from them."""

from __future__ import annotations

import socket

import pytest

from master.settings import MasterSettings, check, parse_listen
from podium.settings import SettingsError

HERE = socket.gethostname()


def test_the_defaults_are_sound() -> None:
    check(MasterSettings())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (MasterSettings(listen=("nowhere:http",)), 'setting listen: "nowhere:http" is not an address'),
        (MasterSettings(join_listen=(":1",)), "setting join_listen"),
        (MasterSettings(advertise=("a:99999",)), "setting advertise"),
        (MasterSettings(http_listen="x:y"), "setting http_listen"),
        (MasterSettings(prometheus_url="prometheus:9090"), "setting prometheus_url: 'prometheus:9090' must be http://"),
        (MasterSettings(heartbeat=2.0, lease=4.0), "setting lease: 4s must be more than two heartbeats"),
    ],
)
def test_a_mistake_names_the_setting(settings: MasterSettings, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check(settings)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "ports", "endpoints"),
    [
        (MasterSettings(), [], (f"{HERE}:7443",)),
        (MasterSettings(listen=("10.0.0.1:7443", "[::]:7000")), [], ("10.0.0.1:7443", f"{HERE}:7000")),
        (MasterSettings(listen=("127.0.0.1:0",)), [4711], ("127.0.0.1:4711",)),
        (MasterSettings(advertise=("master", "[fd00::1]:8443")), [1], ("master:7443", "[fd00::1]:8443")),
    ],
)
def test_endpoints(settings: MasterSettings, ports: list[int], endpoints: tuple[str, ...]) -> None:
    assert settings.endpoints(ports) == endpoints


def test_the_serving_certificate_names_all_ways_to_the_master() -> None:
    names = MasterSettings(
        listen=("10.0.0.1:1", "0.0.0.0:2"), advertise=("master:7443",), tls_names=("vip",)
    ).server_names()
    assert names == ("10.0.0.1", "master", HERE, "127.0.0.1", "::1", "vip")


def test_port_zero_is_for_listening_only() -> None:
    assert parse_listen("[::1]:0") == ("::1", 0)
