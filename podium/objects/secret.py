"""Secrets: their plain-text input."""

from __future__ import annotations

from podium.v1.core_pb2 import Secret


def fold_string_data(secret: Secret) -> None:
    """Move `stringData` into `data`, in place; it wins over an entry of the same key, and is never stored itself."""
    for key, text in secret.string_data.items():
        secret.data[key] = text.encode()
    secret.ClearField("string_data")
