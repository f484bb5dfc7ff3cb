"""Rules of PersistentVolume, PersistentVolumeClaim and StorageClass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.walk import FieldRule, Findings, MessageRule, by_syntax
from podium.codec.encode import encode
from podium.errors import BadRequest, Violation
from podium.objects import quantity, storage
from podium.v1.core_pb2 import NFSVolumeSource, PersistentVolumeClaimVolumeSource
from podium.v1.storage_pb2 import (
    LocalVolumeSource,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeSpec,
    StorageClass,
)

_SOURCES = {"local": "local", "host_path": "hostPath", "nfs": "nfs"}
_SOURCE_NAMES = ", ".join(_SOURCES.values())

# ---------------------------------------------------------------- PersistentVolume


def _volume_spec(spec: PersistentVolumeSpec, path: str, findings: Findings) -> None:
    _storage(spec.capacity, f"{path}.capacity", findings)
    if not spec.access_modes:
        findings.append(Violation(f"{path}.accessModes", "is required"))
    sources = [name for name in _SOURCES if spec.HasField(name)]  # type: ignore[arg-type]
    if len(sources) != 1:
        findings.append(Violation(path, f"must have exactly one of {_SOURCE_NAMES}"))
    if "local" in sources and not spec.HasField("node_affinity"):
        hint = "name the nodes that have the folder, e.g. by their label kubernetes.io/hostname"
        findings.append(Violation(f"{path}.nodeAffinity", "is required with local", hint))
    if spec.mount_options and "nfs" not in sources:
        findings.append(Violation(f"{path}.mountOptions", "must only be set with nfs"))
    if spec.HasField("claim_ref"):
        _claim_ref(spec, f"{path}.claimRef", findings)


def _claim_ref(spec: PersistentVolumeSpec, path: str, findings: Findings) -> None:
    for name, value in (("namespace", spec.claim_ref.namespace), ("name", spec.claim_ref.name)):
        if not value:
            findings.append(Violation(f"{path}.{name}", "is required"))


def update_volume(new: PersistentVolume, old: PersistentVolume, findings: Findings) -> None:
    """Where the data lies stays."""
    for name, json in (*_SOURCES.items(), ("volume_mode", "volumeMode")):
        if getattr(new.spec, name) != getattr(old.spec, name):
            findings.append(Violation(f".spec.{json}", "is immutable", "delete the volume and create another"))
    if old.spec.HasField("node_affinity") and new.spec.node_affinity != old.spec.node_affinity:
        findings.append(Violation(".spec.nodeAffinity", "is immutable once set"))


def absolute(text: str) -> str:
    """A path that begins at the root and does not lead back up."""
    if not text.startswith("/"):
        return "must be an absolute path"
    return 'must not contain ".."' if ".." in text.split("/") else ""


def _local_path(value: str, path: str, findings: Findings) -> None:
    problem = absolute(value)
    if not problem and not value.strip("/."):
        problem = "must not be the root of the host's file system"
    if problem:
        findings.append(Violation(path, f'"{value}" {problem}'))


def _server(value: str) -> str:
    return "" if not names.ip_address(value) or not names.dns_subdomain(value.lower()) else "must be a name or address"


# ---------------------------------------------------------------- PersistentVolumeClaim


def _claim_spec(spec: PersistentVolumeClaimSpec, path: str, findings: Findings) -> None:
    requests, limits = spec.resources.requests, spec.resources.limits
    where = f"{path}.resources"
    _storage(requests, f"{where}.requests", findings)
    if limits:
        _storage(limits, f"{where}.limits", findings)
        if _amount(limits) and _amount(limits) < _amount(requests):
            findings.append(Violation(f"{where}.limits[storage]", "must be at least the request"))


def update_claim(new: PersistentVolumeClaim, old: PersistentVolumeClaim, findings: Findings) -> None:
    """A claim's spec is fixed, but for what binding fills in, and a request that grows once it is bound."""
    allowed = PersistentVolumeClaimSpec()
    allowed.CopyFrom(new.spec)
    if not old.spec.volume_name and new.spec.volume_name:
        allowed.volume_name = ""
    if not old.spec.HasField("storage_class_name") and not storage.is_bound(old):
        allowed.ClearField("storage_class_name")
    if storage.is_bound(old) and _amount(new.spec.resources.requests) >= _amount(old.spec.resources.requests):
        allowed.resources.CopyFrom(old.spec.resources)
    elif new.spec.resources != old.spec.resources:
        allowed.resources.CopyFrom(old.spec.resources)
        findings.append(Violation(".spec.resources.requests[storage]", _why_not(new, old)))
    if allowed != old.spec:
        left, right = encode(allowed), encode(old.spec)
        for name in sorted(n for n in left.keys() | right.keys() if left.get(n) != right.get(n)):
            findings.append(Violation(f".spec.{name}", "is immutable", "only the request of a bound claim can grow"))


def _why_not(new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> str:
    if not storage.is_bound(old):
        return "can only change once the claim is bound"
    before, after = (claim.spec.resources.requests.get(storage.STORAGE, "0") for claim in (old, new))
    return f"must not shrink: {after} is less than {before}"


# ---------------------------------------------------------------- StorageClass


def _storage_class(cls: StorageClass, path: str, findings: Findings) -> None:
    if problem := names.qualified_name(cls.provisioner) if cls.provisioner else "":
        findings.append(Violation(f"{path}.provisioner", f'"{cls.provisioner}" {problem}'))
    if cls.provisioner == storage.LOCAL_PROVISIONER:
        _local_parameters(cls, path, findings)
    elif cls.provisioner == storage.NO_PROVISIONER and cls.parameters:
        findings.append(Violation(f"{path}.parameters", "must be empty: nothing is made by this provisioner"))


def _local_parameters(cls: StorageClass, path: str, findings: Findings) -> None:
    for name, value in cls.parameters.items():
        where = f"{path}.parameters[{name}]"
        if name != "path":
            findings.append(Violation(where, f'is not known to {cls.provisioner}: the only parameter is "path"'))
        else:
            _local_path(value, where, findings)
    if cls.mount_options:
        findings.append(Violation(f"{path}.mountOptions", f"must be empty: {cls.provisioner} mounts nothing"))


def update_class(new: StorageClass, old: StorageClass, findings: Findings) -> None:
    """What volumes of the class are like stays; who may grow, and where new ones go, can change."""
    pairs: tuple[tuple[str, Any, Any], ...] = (
        ("provisioner", new.provisioner, old.provisioner),
        ("parameters", dict(new.parameters), dict(old.parameters)),
        ("reclaimPolicy", new.reclaim_policy, old.reclaim_policy),
        ("volumeBindingMode", new.volume_binding_mode, old.volume_binding_mode),
    )
    for name, after, before in pairs:
        if after != before:
            findings.append(Violation(f".{name}", "is immutable", "delete the class and create it anew"))


# ---------------------------------------------------------------- shared


def _storage(amounts: Mapping[str, str], path: str, findings: Findings) -> None:
    for name in amounts:
        if name != storage.STORAGE:
            findings.append(Violation(f"{path}[{name}]", 'is not known here: the only resource is "storage"'))
    text = amounts.get(storage.STORAGE)
    if text is None:
        findings.append(Violation(f"{path}[storage]", "is required"))
        return
    try:
        amount = quantity.value(text)
    except BadRequest as error:
        findings.append(Violation(f"{path}[storage]", error.message))
        return
    if amount <= 0:
        findings.append(Violation(f"{path}[storage]", f"must be greater than 0, not {text}"))


def _amount(amounts: Mapping[str, str]) -> int:
    try:
        return quantity.value(amounts.get(storage.STORAGE, "0"))
    except BadRequest:
        return 0


def _modes(modes: Iterable[str], path: str, findings: Findings) -> None:
    listed = list(modes)
    for index, mode in enumerate(listed):
        if mode not in storage.ACCESS_MODES:
            known = ", ".join(storage.ACCESS_MODES)
            findings.append(Violation(f"{path}[{index}]", f'must be one of {known}, not "{mode}"'))
    if storage.ONCE_POD in listed and len(listed) > 1:
        findings.append(Violation(path, "must have no other mode beside ReadWriteOncePod"))


def _class_name(value: str, path: str, findings: Findings) -> None:
    if value and (problem := names.dns_subdomain(value)):
        findings.append(Violation(path, f'"{value}" {problem}'))


MESSAGES: dict[type[Message], MessageRule] = {
    PersistentVolumeSpec: _volume_spec,
    PersistentVolumeClaimSpec: _claim_spec,
    StorageClass: _storage_class,
}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (PersistentVolumeSpec, "access_modes"): _modes,
    (PersistentVolumeSpec, "storage_class_name"): _class_name,
    (PersistentVolumeClaimSpec, "access_modes"): _modes,
    (PersistentVolumeClaimSpec, "storage_class_name"): _class_name,
    (PersistentVolumeClaimSpec, "volume_name"): by_syntax(names.dns_subdomain),
    (PersistentVolumeClaimVolumeSource, "claim_name"): by_syntax(names.dns_subdomain),
    (LocalVolumeSource, "path"): _local_path,
    (NFSVolumeSource, "server"): by_syntax(_server),
    (NFSVolumeSource, "path"): by_syntax(absolute),
}
