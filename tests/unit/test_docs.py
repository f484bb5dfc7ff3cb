"""The manifests of the documentation are what Podium takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from master.admission import apply_defaults, validate
from podium.codec import yaml
from tests.support.docs import DOCS, MANIFESTS, Shown


@pytest.mark.parametrize("shown", MANIFESTS, ids=lambda shown: shown.id)
def test_a_manifest_of_the_documentation_is_taken(shown: Shown) -> None:
    for obj in yaml.load_all(shown.text):
        apply_defaults(obj)
        assert validate(obj) == []


PAGES = sorted([*DOCS, *Path(__file__).parents[2].glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_whole_and_leads_to_what_is_there(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"^(<{7}|>{7}|={7}$)", text, flags=re.MULTILINE), "a merge was left half done"
    linked = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in linked if not (page.parent / link).exists()] == []


def test_readme_leads_to_every_page() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    assert [doc.name for doc in DOCS if f"docs/{doc.name}" not in text] == []
