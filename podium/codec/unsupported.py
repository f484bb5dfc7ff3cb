"""Names that Kubernetes knows and Podium does not, so that a refusal can say which of the two a mistake is.

A known field that asks for nothing (`hostPID: false`, `volumes: []`), or for what Podium does anyway
(`schedulerName: default-scheduler`), is accepted: output of `kubectl get -o yaml` is full of them.
"""

from __future__ import annotations

from typing import Any

KINDS: dict[str, str] = {
    "APIService": "apiregistration.k8s.io/v1",
    "CertificateSigningRequest": "certificates.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "ControllerRevision": "apps/v1",
    "CronJob": "batch/v1",
    "CSIDriver": "storage.k8s.io/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "DaemonSet": "apps/v1",
    "Endpoints": "v1",
    "Job": "batch/v1",
    "MutatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
    "PodTemplate": "v1",
    "ReplicationController": "v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "RuntimeClass": "node.k8s.io/v1",
    "ServiceAccount": "v1",
    "StatefulSet": "apps/v1",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
}

_FIELDS: dict[str, frozenset[str]] = {
    "ObjectMeta": frozenset(("selfLink", "clusterName")),
    "NodeSpec": frozenset(("providerID", "configSource", "externalID")),
    "PodSpec": frozenset((
        "automountServiceAccountToken", "enableServiceLinks",
        "hostIPC", "hostPID", "hostUsers", "hostnameOverride", "os", "overhead", "readinessGates",
        "resourceClaims", "resources", "runtimeClassName", "schedulerName", "serviceAccount",
        "serviceAccountName",
    )),
    "PodSecurityContext": frozenset((
        "appArmorProfile", "fsGroupChangePolicy", "seLinuxChangePolicy", "seLinuxOptions",
        "supplementalGroupsPolicy", "windowsOptions",
    )),
    "SecurityContext": frozenset((
        "appArmorProfile", "procMount", "seLinuxOptions", "windowsOptions",
    )),
    "SeccompProfile": frozenset(("localhostProfile",)),
    "Container": frozenset((
        "restartPolicyRules", "volumeDevices",
    )),
    "EphemeralContainer": frozenset((
        "lifecycle", "livenessProbe", "ports", "readinessProbe", "resizePolicy", "resources", "restartPolicy",
        "startupProbe", "volumeDevices",
    )),
    "EnvVarSource": frozenset(("fileKeyRef",)),
    "Volume": frozenset((
        "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "ephemeral", "fc", "flexVolume",
        "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "image", "iscsi", "photonPersistentDisk",
        "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
    )),
    "VolumeMount": frozenset(("mountPropagation", "recursiveReadOnly")),
    "VolumeProjection": frozenset(("clusterTrustBundle", "podCertificate", "serviceAccountToken")),
    "ResourceRequirements": frozenset(("claims",)),
    "LifecycleHandler": frozenset(("tcpSocket",)),
    "Lifecycle": frozenset(("stopSignal",)),
    "DeploymentSpec": frozenset(("rollbackTo",)),
    "PersistentVolumeSpec": frozenset((
        "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker",
        "gcePersistentDisk", "glusterfs", "iscsi", "photonPersistentDisk", "portworxVolume", "quobyte",
        "rbd", "scaleIO", "storageos", "volumeAttributesClassName", "vsphereVolume",
    )),
    "LocalVolumeSource": frozenset(("fsType",)),
    "PersistentVolumeClaim": frozenset(("apiVersion", "kind")),
    "PersistentVolumeClaimSpec": frozenset(("dataSource", "dataSourceRef", "volumeAttributesClassName")),
    "PersistentVolumeClaimStatus": frozenset((
        "allocatedResourceStatuses", "allocatedResources", "currentVolumeAttributesClassName", "modifyVolumeStatus",
    )),
    "ServiceSpec": frozenset((
        "allocateLoadBalancerNodePorts", "ipFamilies", "ipFamilyPolicy", "loadBalancerSourceRanges",
    )),
    "LoadBalancerIngress": frozenset(("hostname", "ipMode", "ports")),
    "Endpoint": frozenset(("deprecatedTopology", "hints", "zone")),
    "IngressBackend": frozenset(("resource",)),
    "IngressClassSpec": frozenset(("parameters",)),
    "Event": frozenset(("action", "eventTime", "related", "series")),
}  # fmt: skip

_DONE_ANYWAY: dict[tuple[str, str], tuple[Any, ...]] = {
    ("PersistentVolumeClaim", "apiVersion"): ("v1",),
    ("PersistentVolumeClaim", "kind"): ("PersistentVolumeClaim",),
    ("PodSpec", "schedulerName"): ("default-scheduler",),
    ("PodSpec", "enableServiceLinks"): (True,),
    ("ServiceSpec", "ipFamilies"): (["IPv4"],),
    ("ServiceSpec", "ipFamilyPolicy"): ("SingleStack",),
    ("ServiceSpec", "allocateLoadBalancerNodePorts"): (True,),
    ("PodSpec", "serviceAccountName"): ("default",),
    ("PodSpec", "serviceAccount"): ("default",),
}


def is_known(message: str, field: str) -> bool:
    """Whether Kubernetes has this field in a message where Podium has not."""
    return field in _FIELDS.get(message, frozenset())


def asks_for_nothing(message: str, field: str, value: Any) -> bool:
    """Whether a known field's value can be dropped without changing what happens."""
    return not value or value in _DONE_ANYWAY.get((message, field), ())
