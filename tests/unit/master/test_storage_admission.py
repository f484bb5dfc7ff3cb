"""PersistentVolume, PersistentVolumeClaim and StorageClass: what is refused, by path; what may change."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import copy
from typing import Any

import pytest

from master.admission import apply_defaults, validate
from podium.codec.json import object_from_dict

HOST = {
    "required": {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}
        ]
    }
}


def _object(kind: str, api_version: str = "v1", **body: Any) -> Any:
    obj = object_from_dict({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **body})
    apply_defaults(obj)
    return obj


def volume(**spec: Any) -> Any:
    body = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "local": {"path": "/srv/a"},
        "nodeAffinity": HOST,
    } | spec
    return _object("PersistentVolume", spec={k: v for k, v in body.items() if v is not None})


def claim(request: str = "1Gi", *, bound: bool = False, **spec: Any) -> Any:
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": request}}} | spec
    made = _object("PersistentVolumeClaim", spec={k: v for k, v in body.items() if v is not None})
    if bound:
        made.spec.volume_name, made.status.phase = "v", "Bound"
    return made


def storage_class(**body: Any) -> Any:
    return _object("StorageClass", "storage.k8s.io/v1", **({"provisioner": "podium.dev/local"} | body))


def refusals(obj: Any, old: Any = None) -> dict[str, str]:
    return {violation.field: violation.description for violation in validate(obj, old)}


@pytest.mark.parametrize(
    ("obj", "field", "words"),
    [
        (volume(capacity=None), "spec.capacity[storage]", "is required"),
        (volume(capacity={"storage": "0"}), "spec.capacity[storage]", "greater than 0"),
        (volume(capacity={"storage": "1Gi", "iops": "5"}), "spec.capacity[iops]", "is not known"),
        (volume(accessModes=[]), "spec.accessModes", "is required"),
        (volume(accessModes=["RWO"]), "spec.accessModes[0]", "must be one of"),
        (volume(accessModes=["ReadWriteOncePod", "ReadWriteOnce"]), "spec.accessModes", "no other mode"),
        (volume(nodeAffinity=None), "spec.nodeAffinity", "is required with local"),
        (volume(nfs={"server": "s", "path": "/x"}), "spec", "exactly one of"),
        (volume(local=None, nodeAffinity=None), "spec", "exactly one of"),
        (volume(local={"path": "srv"}), "spec.local.path", "absolute"),
        (volume(local={"path": "/srv/../etc"}), "spec.local.path", '".."'),
        (volume(local={"path": "//"}), "spec.local.path", "root"),
        (volume(local=None, nfs={"server": "a b", "path": "/x"}), "spec.nfs.server", "name or address"),
        (volume(local=None, nfs={"server": "10.0.0.1", "path": "x"}), "spec.nfs.path", "absolute"),
        (volume(mountOptions=["hard"]), "spec.mountOptions", "only be set with nfs"),
        (volume(persistentVolumeReclaimPolicy="Recycle"), "spec.persistentVolumeReclaimPolicy", "must be one of Retain, Delete"),
        (volume(volumeMode="Block"), "spec.volumeMode", "must be one of Filesystem"),
        (volume(claimRef={"name": "c"}), "spec.claimRef.namespace", "is required"),
        (claim(accessModes=[]), "spec.accessModes", "is required"),
        (claim(resources={}), "spec.resources.requests[storage]", "is required"),
        (claim("-1Gi"), "spec.resources.requests[storage]", "greater than 0"),
        (claim(resources={"requests": {"storage": "2Gi"}, "limits": {"storage": "1Gi"}}), "spec.resources.limits[storage]", "at least the request"),
        (claim(storageClassName="Fast"), "spec.storageClassName", "must be lower-case"),
        (claim(volumeName="a_b"), "spec.volumeName", "must be lower-case"),
        (storage_class(provisioner=""), "provisioner", "is required"),
        (storage_class(provisioner="a b"), "provisioner", "must be letters"),
        (storage_class(parameters={"type": "ssd"}), "parameters[type]", "is not known"),
        (storage_class(parameters={"path": "volumes"}), "parameters[path]", "absolute"),
        (storage_class(provisioner="kubernetes.io/no-provisioner", parameters={"a": "b"}), "parameters", "must be empty"),
        (storage_class(mountOptions=["hard"]), "mountOptions", "must be empty"),
        (storage_class(volumeBindingMode="Later"), "volumeBindingMode", "must be one of Immediate, WaitForFirstConsumer"),
        (storage_class(allowedTopologies=[{"matchLabelExpressions": [{"key": "zone"}]}]), "allowedTopologies[0].matchLabelExpressions[0].values", "is required"),
    ],
)  # fmt: skip
def test_refused(obj: Any, field: str, words: str) -> None:
    found = refusals(obj)
    assert field in found, found
    assert words in found[field]


def test_good_ones_pass() -> None:
    for obj in (
        volume(),
        volume(local=None, nodeAffinity=None, nfs={"server": "files.example.com", "path": "/x"}),
        claim(),
        storage_class(),
    ):
        assert refusals(obj) == {}
        assert refusals(obj, copy.deepcopy(obj)) == {}


@pytest.mark.parametrize(
    ("new", "old", "field"),
    [
        (claim("2Gi"), claim("1Gi"), "spec.resources.requests[storage]"),
        (claim("1Gi", bound=True), claim("2Gi", bound=True), "spec.resources.requests[storage]"),
        (claim(accessModes=["ReadWriteMany"]), claim(), "spec.accessModes"),
        (claim(volumeName="w"), claim(volumeName="v"), "spec.volumeName"),
        (claim(storageClassName="b"), claim(storageClassName="a"), "spec.storageClassName"),
        (volume(local={"path": "/srv/b"}), volume(), "spec.local"),
        (volume(nodeAffinity={"required": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]}}), volume(), "spec.nodeAffinity"),
        (storage_class(provisioner="x/y"), storage_class(), "provisioner"),
        (storage_class(reclaimPolicy="Retain"), storage_class(), "reclaimPolicy"),
    ],
)  # fmt: skip
def test_what_may_not_change(new: Any, old: Any, field: str) -> None:
    assert field in refusals(new, old)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (claim("2Gi", bound=True), claim("1Gi", bound=True)),
        (claim(volumeName="v"), claim()),
        (claim(storageClassName="a"), claim()),
        (volume(capacity={"storage": "2Gi"}), volume()),
        (volume(claimRef={"namespace": "default", "name": "c"}), volume()),
        (volume(persistentVolumeReclaimPolicy="Delete"), volume()),
        (storage_class(allowVolumeExpansion=True), storage_class()),
    ],
)
def test_what_may_change(new: Any, old: Any) -> None:
    assert refusals(new, old) == {}


def test_protection_is_put_on_what_is_not_being_deleted() -> None:
    made = claim()
    assert list(made.metadata.finalizers) == ["kubernetes.io/pvc-protection"]
    made.metadata.deletion_timestamp.seconds = 1
    del made.metadata.finalizers[:]
    apply_defaults(made)
    assert list(made.metadata.finalizers) == []
