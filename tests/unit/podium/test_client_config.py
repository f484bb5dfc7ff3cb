"""The client's configuration file, and errors as they arrive."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from google.rpc import error_details_pb2, status_pb2

from podium.client.config import Config, Context, dump, load, parse
from podium.client.failures import from_status
from podium.errors import BadRequest, Conflict, Invalid, NotFound, TooSlow
from podium.files import write_atomic

CONTEXT = Context(endpoints=("master:7443",), ca="CA", certificate="CERT", key="KEY", namespace="team")


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "config"
    config = Config().with_context("here", CONTEXT)
    write_atomic(path, dump(config).encode())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path) == config
    assert load(path).context() == CONTEXT
    assert "KEY" not in repr(config)


def test_addresses_get_the_default_port() -> None:
    parsed = parse("contexts: {a: {endpoints: [m1, 'm2:9', '[::1]'], ca: x}}")
    assert parsed.contexts["a"].endpoints == ("m1:7443", "m2:9", "[::1]:7443")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "not YAML"),
        ("[]", "contexts"),
        ("contexts: {a: {}}", "contexts.a.endpoints"),
        ("contexts: {a: {endpoints: ['m:x']}}", "contexts.a.endpoints"),
        ("contexts: {a: {endpoints: [m], ca: 5}}", "contexts.a.ca"),
    ],
)
def test_what_is_wrong_is_named(text: str, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        parse(text)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"admin\.yaml"):
        load(tmp_path / "none")
    with pytest.raises(NotFound, match="there is: here"):
        Config().with_context("here", CONTEXT).context("there")


def test_errors_keep_their_kind_and_details() -> None:
    status = status_pb2.Status(code=10, message="changed meanwhile")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="Conflict", metadata={"field": "spec"}))
    error = from_status(status)
    assert type(error) is Conflict
    assert error.details == {"field": "spec"}

    slow = status_pb2.Status(code=8, message="too slow")
    slow.details.add().Pack(error_details_pb2.ErrorInfo(reason="TooSlow"))
    assert type(from_status(slow)) is TooSlow

    bad = status_pb2.Status(code=3, message="refused")
    bad.details.add().Pack(
        error_details_pb2.BadRequest(
            field_violations=[{"field": "spec.replicas", "description": "must not be negative"}]
        )
    )
    refused = from_status(bad)
    assert isinstance(refused, Invalid)
    assert refused.violations[0].field == "spec.replicas"
