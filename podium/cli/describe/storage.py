"""PersistentVolumes, PersistentVolumeClaims and StorageClasses."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from podium.cli.describe.page import Page, conditions, header
from podium.objects import storage
from podium.objects.selectors import from_label_selector
from podium.v1.core_pb2 import NodeSelector
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim, StorageClass


def volume(page: Page, obj: PersistentVolume, now: datetime.datetime) -> None:
    """A volume: whose it is, where its data lies, how full it is."""
    header(page, obj)
    spec, status = obj.spec, obj.status
    page.field("StorageClass", spec.storage_class_name)
    page.field("Status", "Terminating" if obj.metadata.HasField("deletion_timestamp") else status.phase)
    page.field("Claim", f"{spec.claim_ref.namespace}/{spec.claim_ref.name}" if spec.HasField("claim_ref") else "")
    page.field("Reclaim Policy", spec.persistent_volume_reclaim_policy)
    page.field("Access Modes", storage.short_modes(spec.access_modes))
    page.field("Capacity", spec.capacity.get(storage.STORAGE, ""))
    page.field("Used", _usage(status.used, status.free))
    page.field("Location", storage.where(obj))
    page.field("Mount Options", ", ".join(spec.mount_options))
    page.field("Node Affinity", _terms(spec.node_affinity.required))
    page.field("Reason", status.reason)
    page.field("Message", status.message)


def _usage(used: str, free: str) -> str:
    return f"{used}; its disk has {free} left" if used else ""


def _terms(selector: NodeSelector) -> str:
    return "\n".join(
        ", ".join(
            f"{e.key} {e.operator} {','.join(e.values)}".rstrip() for e in (*t.match_expressions, *t.match_fields)
        )
        for t in selector.node_selector_terms
    )


def claim(page: Page, obj: PersistentVolumeClaim, now: datetime.datetime) -> None:
    """A claim: what it asked for, and got; where that lies is in its condition `Bound`."""
    header(page, obj)
    spec, status = obj.spec, obj.status
    page.field("StorageClass", spec.storage_class_name)
    page.field("Status", "Terminating" if obj.metadata.HasField("deletion_timestamp") else status.phase)
    page.field("Volume", spec.volume_name)
    page.field("Requested", spec.resources.requests.get(storage.STORAGE, ""))
    page.field("Capacity", status.capacity.get(storage.STORAGE, ""))
    page.field("Access Modes", storage.short_modes(status.access_modes or spec.access_modes))
    page.field("Selector", from_label_selector(spec.selector) if spec.HasField("selector") else "")
    page.field("Selected Node", obj.metadata.annotations.get(storage.SELECTED_NODE, ""))
    conditions(page, status.conditions, now)


def storage_class(page: Page, obj: StorageClass, now: datetime.datetime) -> None:
    """A class."""
    header(page, obj)
    page.field("Default", "Yes" if storage.is_default(obj) else "No")
    page.field("Provisioner", obj.provisioner)
    page.mapping("Parameters", obj.parameters)
    page.field("Allow Expansion", bool(obj.allow_volume_expansion))
    page.field("Mount Options", ", ".join(obj.mount_options))
    page.field("Reclaim Policy", obj.reclaim_policy)
    page.field("Binding Mode", obj.volume_binding_mode)
    page.field("Topologies", _topologies(obj))


def _topologies(obj: StorageClass) -> str:
    return "\n".join(
        ", ".join(f"{e.key} in {','.join(e.values)}" for e in term.match_label_expressions)
        for term in obj.allowed_topologies
    )


def templates(page: Page, claims: Iterable[PersistentVolumeClaim]) -> None:
    """The claim templates of a StatefulSet."""
    rows = [
        [c.metadata.name, c.spec.resources.requests.get(storage.STORAGE, ""), storage.short_modes(c.spec.access_modes),
         c.spec.storage_class_name]
        for c in claims
    ]  # fmt: skip
    if rows:
        with page.section("Volume Claims"):
            page.table(["NAME", "SIZE", "ACCESS", "STORAGECLASS"], rows)
