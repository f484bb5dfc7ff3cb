"""Golden files: manifests as the Kubernetes documentation has them, and the objects that they become when stored.

`manifests/NAME.yaml` is read, defaulted and validated; `stored/NAME.yaml` is what comes of it. When a difference is
meant:

    python -m tests.golden      # writes stored/ anew; look at the difference before it is committed
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from master.admission import apply_defaults, validate
from podium.codec import yaml

HERE = Path(__file__).parent
MANIFESTS = sorted((HERE / "manifests").iterdir())


def admitted(manifest: Path) -> list[Any]:
    """The objects of a manifest, defaulted; all of them valid."""
    objects = yaml.load_all(manifest.read_text())
    for obj in objects:
        apply_defaults(obj)
        assert validate(obj) == []
    return objects


def stored(manifest: Path) -> Path:
    """Where the expectation for a manifest is."""
    return HERE / "stored" / f"{manifest.stem}.yaml"
