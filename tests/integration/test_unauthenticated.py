"""Callers that TLS does not let in, end to end: what the `podium` command tells them, and what the master logs."""

from __future__ import annotations

import dataclasses
import datetime
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509

from podium import pki
from podium.client import AsyncClient
from podium.client.config import Config, Context, dump
from tests.support.command import Podium
from tests.support.master_process import MasterProcess
from tests.support.waiting import until

Caller = Callable[[MasterProcess, Path], Awaitable[Context]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def master(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MasterProcess]:
    folder = tmp_path_factory.mktemp("unauthenticated")
    process = MasterProcess(folder / "data", log=folder / "log")
    await process.start()
    yield process
    await process.end(signal.SIGKILL)


async def certified(context: Context, seconds: int) -> Context:
    """The context of a user whom that cluster's CA knows for so long."""
    key, request = pki.new_request("jane")
    async with AsyncClient(context) as admin:
        signed = await admin.cluster.sign_client_certificate(request, user="jane", ttl_seconds=seconds)
    return dataclasses.replace(context, certificate=signed.certificate.decode(), key=key.decode())


async def anonymous(master: MasterProcess, folder: Path) -> Context:
    return dataclasses.replace(master.context(), certificate="", key="")


async def foreign(master: MasterProcess, folder: Path) -> Context:
    other = MasterProcess(folder / "other")
    await other.start()
    await other.end(signal.SIGKILL)
    theirs = other.context()
    return dataclasses.replace(master.context(), certificate=theirs.certificate, key=theirs.key)


async def expired(master: MasterProcess, folder: Path) -> Context:
    context = await certified(master.context(), 1)
    ends = x509.load_pem_x509_certificate(context.certificate.encode()).not_valid_after_utc
    await until(lambda: datetime.datetime.now(datetime.UTC) > ends + datetime.timedelta(seconds=1), seconds=20)
    return context


@pytest.mark.parametrize(
    ("caller", "says", "logs"),
    [
        (anonymous, "asks for a client certificate, and there is none here", "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        (foreign, "does not accept this client certificate: it is of another cluster", "CERTIFICATE_VERIFY_FAILED"),
        (expired, "does not accept this client certificate: it has expired at", "CERTIFICATE_VERIFY_FAILED"),
    ],
)
async def test_whom_tls_does_not_let_in_is_told_why_and_logged(
    master: MasterProcess, tmp_path: Path, caller: Caller, says: str, logs: str
) -> None:
    context = await caller(master, tmp_path)
    (tmp_path / "config").write_text(dump(Config(contexts={"it": context}, current="it")))
    log = master.folder.with_name("log")
    before = log.stat().st_size
    told = await Podium(config=tmp_path / "config", folder=tmp_path)("get", "nodes", code=1)
    assert told.err.startswith(f"error: the master at {context.endpoints[0]} {says}"), told.err
    assert logs in log.read_bytes()[before:].decode()
