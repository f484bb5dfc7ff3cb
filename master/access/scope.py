"""Which namespace a new object lives in, and whether that takes new objects."""

from __future__ import annotations

from master.admission.defaults import DEFAULT_NAMESPACE
from master.cache.cache import WatchCache
from podium.errors import Forbidden, NotFound, Violation
from podium.objects.kinds import Kind
from podium.objects.meta import is_terminating
from podium.objects.refusal import refusal
from podium.v1.meta_pb2 import ObjectMeta


def settle_scope(kind: Kind, metadata: ObjectMeta) -> None:
    """Put an object that names no namespace into `default`, if its kind lives in one.

    Raises:
        Invalid: It names a namespace, and its kind lives in none.
    """
    if kind.namespaced:
        metadata.namespace = metadata.namespace or DEFAULT_NAMESPACE
    elif metadata.namespace:
        violation = Violation("metadata.namespace", f"must be empty: a {kind.name} lives in no namespace")
        raise refusal(f'{kind.name} "{metadata.name or metadata.generate_name}"', [violation])


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
