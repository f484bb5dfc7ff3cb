"""Lists: selected objects in order, page by page, every page of the same revision.

The first page is of the newest revision, and its continue token says so. For later pages the cache's history tells what
the objects that have changed since looked like then; when it no longer can, the token is expired and one lists anew.
"""

from __future__ import annotations

import base64
import binascii
import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from master.cache.cache import WatchCache
from master.cache.item import Item
from podium.errors import BadRequest
from podium.objects.selectors import FieldSelector, Selector

_Place = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects of a kind."""

    kind: str
    namespace: str = ""
    labels: Selector = field(default_factory=Selector)
    fields: FieldSelector = field(default_factory=FieldSelector)

    def __contains__(self, item: Item) -> bool:
        if self.namespace and item.key.namespace != self.namespace:
            return False
        if self.labels.empty and self.fields.empty:
            return True
        message = item.message
        return self.labels.matches(message.metadata.labels) and self.fields.matches(message)

    @property
    def total(self) -> bool:
        """Whether everything (of the namespace) is selected."""
        return self.labels.empty and self.fields.empty


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a list. `remaining` counts what comes after, where that is known."""

    items: Sequence[Item]
    revision: int
    continue_token: str = ""
    remaining: int = 0


class _Token(NamedTuple):
    revision: int
    namespace: str
    name: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode()


def list_page(cache: WatchCache, selection: Selection, *, limit: int = 0, continue_token: str = "") -> Page:
    """One page; `limit` 0 gives everything.

    Raises:
        BadRequest: The limit or the token is malformed.
        Expired: The token's revision is too old.
    """
    if limit < 0:
        raise BadRequest(f"limit must not be negative, and is {limit}")
    if continue_token:
        token = _parse(continue_token)
        items, revision = _as_of(cache, selection, token), token.revision
    else:
        items, revision = _now(cache, selection), cache.revision
    if not limit:
        return Page(list(items), revision)
    return _cut(items, limit, revision, counted=selection.total)


def _cut(items: Iterator[Item], limit: int, revision: int, *, counted: bool) -> Page:
    page = [item for _, item in zip(range(limit), items, strict=False)]
    following = next(items, None)
    if following is None:
        return Page(page, revision)
    last = page[-1].key
    remaining = 1 + sum(1 for _ in items) if counted else 0
    return Page(page, revision, str(_Token(revision, last.namespace, last.name)), remaining)


def _now(cache: WatchCache, selection: Selection) -> Iterator[Item]:
    return (item for item in _candidates(cache, selection) if item in selection)


def _candidates(cache: WatchCache, selection: Selection) -> Iterator[Item]:
    table = cache.tables[selection.kind]
    node = selection.fields.required("spec.nodeName") if selection.kind == "Pod" else None
    if node:
        return iter(sorted(table.on_node(node), key=lambda item: item.key))
    name = selection.fields.required("metadata.name")
    if name and selection.namespace:
        item = table.get(selection.namespace, name)
        return iter(() if item is None else (item,))
    return table.scan(selection.namespace)


def _as_of(cache: WatchCache, selection: Selection, token: _Token) -> Iterator[Item]:
    """What was selected at the token's revision, after the token's place."""
    cache.check_known(token.revision)
    before: dict[_Place, Item | None] = {}
    for event in cache.history(selection.kind).after(token.revision):
        before.setdefault(_place(event.new), event.old)
    unchanged = (i for i in cache.tables[selection.kind].scan(selection.namespace) if _place(i) not in before)
    changed = sorted((item for item in before.values() if item is not None), key=_place)
    return (
        item
        for item in heapq.merge(unchanged, changed, key=_place)
        if _place(item) > (token.namespace, token.name) and item in selection
    )


def _place(item: Item) -> _Place:
    return item.key.namespace, item.key.name


def _parse(text: str) -> _Token:
    try:
        match json.loads(base64.urlsafe_b64decode(text)):
            case [int(revision), str(namespace), str(name)]:
                return _Token(revision, namespace, name)
    except (binascii.Error, ValueError):
        pass
    raise BadRequest("the continue token is malformed: use it as it was given, or list anew")
