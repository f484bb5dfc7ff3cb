"""Manifests of the Kubernetes documentation apply unchanged, and become the objects that Kubernetes would store."""

from __future__ import annotations

from pathlib import Path

import pytest

from master.admission import apply_defaults
from podium.codec import json, yaml
from tests.golden import MANIFESTS, admitted, stored


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_manifest_becomes_the_stored_object(manifest: Path) -> None:
    assert yaml.dump(admitted(manifest)) == stored(manifest).read_text()


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_what_is_stored_reads_back_the_same_as_yaml_and_json(manifest: Path) -> None:
    for obj in admitted(manifest):
        assert yaml.load_all(yaml.dump(obj)) == [obj]
        assert json.loads(json.dumps(obj)) == obj


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_defaults_are_defaults_of_themselves(manifest: Path) -> None:
    once = admitted(manifest)
    text = yaml.dump(once)
    for obj in once:
        apply_defaults(obj)
    assert yaml.dump(once) == text
