"""Writes the expectations anew."""

from __future__ import annotations

from podium.codec import yaml
from tests.golden import MANIFESTS, admitted, stored

for manifest in MANIFESTS:
    stored(manifest).write_text(yaml.dump(admitted(manifest)))
