"""How rules reach `nft`, whatever it does with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from nodelet.network import nft

MANY = "add element ip podium hairpins { 10.64.3.2 . 10.64.3.2 }\n" * 20_000


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `nft` for the test to write."""
    path = tmp_path / "nft"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return path


def _becomes(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_one_that_ends_without_reading_has_refused(program: Path) -> None:
    _becomes(program, "echo no such table >&2; exit 1")

    async def many() -> None:
        for _ in range(30):
            with pytest.raises(nft.Refused, match="no such table"):
                await nft.apply(MANY)
            assert not await nft.is_there()

    uvloop.run(many())


def test_it_reads_all_of_it(program: Path) -> None:
    _becomes(program, f'[ "$(wc -c)" = {len(MANY)} ]')
    uvloop.run(nft.apply(MANY))
