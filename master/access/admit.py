"""What any written object goes through: defaults, validation, and the namespace that it lives in."""

from __future__ import annotations

from typing import Any

from master.admission.defaults import apply_defaults
from master.admission.validation import validate
from master.cache.cache import WatchCache
from podium.errors import Forbidden, NotFound, Violation
from podium.objects.kinds import Key, Kind
from podium.objects.meta import is_terminating
from podium.objects.refusal import refusal


def admit(key: Key, obj: Any, old: Any | None) -> None:
    """Complete an object in place and check it.

    Raises:
        Invalid: Names every field at fault.
    """
    apply_defaults(obj)
    violations = validate(obj, old)
    if violations:
        raise refusal(f'{key.kind} "{key.name}"', violations)


def check_scope(kind: Kind, obj: Any) -> None:
    """Return when the object has a namespace exactly if its kind needs one.

    Raises:
        Invalid: It has one too many, or none.
    """
    name, namespace = obj.metadata.name or obj.metadata.generate_name, obj.metadata.namespace
    if kind.namespaced and not namespace:
        violation = Violation("metadata.namespace", f"is required: a {kind.name} lives in a namespace")
        raise refusal(f'{kind.name} "{name}"', [violation])
    if namespace and not kind.namespaced:
        violation = Violation("metadata.namespace", f"must be empty: a {kind.name} lives in no namespace")
        raise refusal(f'{kind.name} "{name}"', [violation])


def check_namespace(cache: WatchCache, namespace: str) -> None:
    """Return when new objects may be made in a namespace.

    Raises:
        NotFound: There is no such namespace.
        Forbidden: It is being deleted.
    """
    item = cache.tables["Namespace"].get("", namespace)
    if item is None:
        raise NotFound(f'namespace "{namespace}" not found: create it first', {"kind": "Namespace", "name": namespace})
    if is_terminating(item.message):
        raise Forbidden(
            f'namespace "{namespace}" is being deleted: nothing new can be created in it',
            {"cause": "NamespaceTerminating"},
        )
