"""The manifests of docs/storage.md are what Podium takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from master.admission import apply_defaults, validate
from podium.codec import yaml

DOC = Path(__file__).parents[2] / "docs" / "storage.md"
MANIFESTS = re.findall(r"```yaml\n(.*?)```", DOC.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=range(len(MANIFESTS)))
def test_a_manifest_of_the_documentation_is_taken(manifest: str) -> None:
    for obj in yaml.load_all(manifest):
        apply_defaults(obj)
        assert validate(obj) == []
