"""The administrator's way in, and the token kept in a file: written once, and again when they have grown old."""

from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest

from master.auth.ca import CertificateAuthority
from master.auth.token_file import JoinTokenFile
from master.auth.tokens import TokenBook
from master.bootstrap import ensure_admin_config
from podium import pki
from podium.aio.clock import SystemClock
from podium.client.config import load
from tests.support.secrets import FakeSecrets


class MovableClock(SystemClock):
    """The machine's clock, some days ahead."""

    days = 0.0

    def now(self) -> datetime.datetime:
        return super().now() + datetime.timedelta(days=self.days)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def ca(tmp_path: Path, clock: MovableClock) -> CertificateAuthority:
    return CertificateAuthority.open(tmp_path / "pki", clock)


def test_the_admin_config_is_private_and_usable(tmp_path: Path, ca: CertificateAuthority, clock: MovableClock) -> None:
    file = tmp_path / "admin.yaml"
    ensure_admin_config(file, ca, clock, ["master:7443"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    context = load(file).context()
    assert (context.endpoints, context.ca) == (("master:7443",), ca.bundle.decode())
    info = pki.read_certificate(context.certificate.encode())
    assert (info.user, info.groups) == ("admin", frozenset({"system:masters"}))


@pytest.mark.parametrize(
    ("days", "endpoint", "text", "rewritten"),
    [
        (0, "master:7443", None, False),
        (300, "master:7443", None, True),
        (0, "other:7443", None, True),
        (0, "master:7443", "damaged", True),
    ],
)
def test_the_admin_config_is_rewritten_only_when_it_must(
    tmp_path: Path,
    ca: CertificateAuthority,
    clock: MovableClock,
    days: int,
    endpoint: str,
    text: str | None,
    rewritten: bool,
) -> None:
    file = tmp_path / "admin.yaml"
    ensure_admin_config(file, ca, clock, ["master:7443"])
    if text is not None:
        file.write_text(text)
    before = file.read_text()
    clock.days = days
    ensure_admin_config(file, ca, clock, [endpoint])
    assert (file.read_text() != before) is rewritten


async def test_the_file_always_holds_a_good_token(
    tmp_path: Path, ca: CertificateAuthority, clock: MovableClock
) -> None:
    secrets = FakeSecrets()
    book = TokenBook(reader=secrets, writer=secrets, clock=clock, pin=ca.pin)
    path = tmp_path / "shared" / "token"
    keeper = JoinTokenFile(path=path, tokens=book, clock=clock, lifetime=datetime.timedelta(days=3))
    await keeper.refresh()
    first = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    clock.days = 1.5
    await keeper.refresh()
    assert path.read_text() == first
    clock.days = 2.5
    await keeper.refresh()
    assert path.read_text() != first
    book.verify(path.read_text())
    book.verify(first)
