"""Quantities in their canonical form, so that equal amounts are equal texts."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import suppress

from podium.errors import BadRequest
from podium.objects.quantity import canonical


def canonicalize(quantities: MutableMapping[str, str]) -> None:
    """Rewrite each quantity of a map in place; what is none is left for validation to name."""
    for name, text in list(quantities.items()):
        with suppress(BadRequest):
            written = canonical(text)
            if written != text:
                quantities[name] = written
