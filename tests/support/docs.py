"""The manifests that the documentation's pages show."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))


@dataclass(frozen=True, slots=True)
class Shown:
    """A block of YAML with objects in it: `id` is its page and its place there (`jobs-1`)."""

    id: str
    text: str


def _shown(page: Path) -> list[Shown]:
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL)
    whole = re.compile(r"^kind: ", flags=re.MULTILINE)
    return [Shown(f"{page.stem}-{number}", block) for number, block in enumerate(blocks) if whole.search(block)]


MANIFESTS = [shown for page in DOCS for shown in _shown(page)]
