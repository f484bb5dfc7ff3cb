"""The class of a new Ingress that names none."""

from __future__ import annotations

from master.cache.cache import WatchCache
from podium.objects.ingress import class_of, default_class
from podium.v1.ingress_pb2 import Ingress


def choose_ingress_class(ingress: Ingress, cache: WatchCache) -> None:
    """Give a new Ingress that names no class the default one, if there is one. In place."""
    if class_of(ingress):
        return
    chosen = default_class(item.message for item in cache.tables["IngressClass"].scan())
    if chosen is not None:
        ingress.spec.ingress_class_name = chosen.metadata.name
