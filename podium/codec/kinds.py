"""Which kind a manifest means, from its `apiVersion` and `kind`; refusals say what would be right."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from podium.codec import unsupported
from podium.codec.decode import Findings
from podium.errors import Violation
from podium.objects.kinds import BY_NAME, KINDS, Kind
from podium.objects.refusal import refusal


def kind_named(data: dict[str, Any]) -> Kind:
    """The kind of a manifest.

    Raises:
        Invalid: No kind, a kind that does not exist, or one of Kubernetes that Podium does not have.
    """
    name = data.get("kind")
    if not name or not isinstance(name, str):
        raise refusal("the manifest", [Violation("kind", "is required", f"one of {_known()}")])
    kind = BY_NAME.get(name)
    if kind is None:
        raise refusal("the manifest", [Violation("kind", *_no_such_kind(name))])
    return kind


def check_type(kind: Kind, data: dict[str, Any], findings: Findings) -> None:
    """Note a `kind` or `apiVersion` that is not this kind's; both may be absent where the kind is known."""
    name, version = data.get("kind"), data.get("apiVersion")
    if name is not None and name != kind.name:
        findings.refuse((None, ".kind"), f'must be "{kind.name}", not "{name}"')
    if version is None and name is not None:
        findings.refuse((None, ".apiVersion"), "is required", f"{kind.name} is {kind.api_version}")
    elif version is not None and version != kind.api_version:
        findings.refuse((None, ".apiVersion"), f'must be "{kind.api_version}" for {kind.name}, not "{version}"')


def _no_such_kind(name: str) -> tuple[str, str]:
    if name in unsupported.KINDS:
        return f"{name} ({unsupported.KINDS[name]}) is a Kubernetes kind that is not supported by Podium", _hint()
    near = get_close_matches(name, BY_NAME, n=1) or [k.name for k in KINDS if k.name.lower() == name.lower()]
    if near:
        return f'unknown kind "{name}"', f'did you mean "{near[0]}"?'
    return f'unknown kind "{name}"', _hint()


def _hint() -> str:
    return f"known kinds: {_known()}"


def _known() -> str:
    return ", ".join(BY_NAME)
