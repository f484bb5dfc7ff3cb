"""Addresses as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from master.auth.ca import CertificateAuthority
from podium.aio.clock import SystemClock
from podium.tls import TlsFiles, explain_refusal, format_endpoint, parse_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("master", ("master", 7443)),
        ("master:1", ("master", 1)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("[::1]:80", ("::1", 80)),
        ("::1", ("::1", 7443)),
        ("[::1]", ("::1", 7443)),
    ],
)
def test_an_address_is_read_and_written(text: str, endpoint: tuple[str, int]) -> None:
    assert parse_endpoint(text) == endpoint
    assert parse_endpoint(format_endpoint(*endpoint)) == endpoint


@pytest.mark.parametrize("text", ["", ":80", "a:", "a:0", "a:65536", "a:http", "a:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected HOST or HOST:PORT"):
        parse_endpoint(text)


def test_keys_are_not_shown() -> None:
    assert "hidden" not in repr(TlsFiles(ca=b"", key=b"hidden"))


def test_a_closed_port_is_explained(tmp_path: Path) -> None:
    ca = CertificateAuthority.open(tmp_path / "pki", SystemClock()).bundle
    assert "127.0.0.1:1 cannot be reached: Connection refused" in explain_refusal(
        "127.0.0.1", 1, TlsFiles(ca=ca), SystemClock().now()
    )
