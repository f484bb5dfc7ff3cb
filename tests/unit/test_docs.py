"""The manifests of the documentation are what Podium takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from master.admission import apply_defaults, validate
from podium.codec import yaml

DOCS = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
MANIFESTS = [
    pytest.param(manifest, id=f"{doc.stem}-{number}")
    for doc in DOCS
    for number, manifest in enumerate(re.findall(r"```yaml\n(.*?)```", doc.read_text(), flags=re.DOTALL))
    if re.search(r"^kind: ", manifest, flags=re.MULTILINE)
]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_of_the_documentation_is_taken(manifest: str) -> None:
    for obj in yaml.load_all(manifest):
        apply_defaults(obj)
        assert validate(obj) == []
