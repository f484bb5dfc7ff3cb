"""Every kind can be shown: described, and printed as a row, a name and YAML. Asked of the golden objects."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import pytest

from podium.cli.describe.objects import describe
from podium.cli.describe.page import Page
from podium.cli.output.printer import Style, name_of, structured, table_text
from podium.codec import yaml
from podium.objects.kinds import BY_NAME, KINDS, kind_of
from tests.golden import MANIFESTS, admitted

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
GOLDEN = [(manifest.stem, obj) for manifest in MANIFESTS for obj in admitted(manifest)]
EACH = [pytest.param(obj, id=f"{stem}-{kind_of(obj).name}-{obj.metadata.name}") for stem, obj in GOLDEN]


def golden(kind: str, name: str) -> Any:
    """A copy of the golden object of this kind and name, made five days before `NOW`."""
    found = next(obj for _, obj in GOLDEN if kind_of(obj).name == kind and obj.metadata.name == name)
    made = type(found)()
    made.CopyFrom(found)
    made.metadata.creation_timestamp.FromDatetime(NOW - datetime.timedelta(days=5))
    return made


def described(obj: Any) -> str:
    page = Page()
    describe(page, obj, NOW)
    return str(page)


def row(obj: Any) -> dict[str, str]:
    """The cells of an object's row, wide, by header; ages left out, which end at the present."""
    header, line = table_text(kind_of(obj), [obj], Style(format="wide")).splitlines()
    ends = [i for i in range(1, len(header)) if header[i - 3 : i] == "   " and header[i] != " "]
    cuts = list(zip([0, *ends], [*ends, None], strict=True))
    return {title: line[a:b].strip() for a, b in cuts if (title := header[a:b].strip()) not in ("AGE", "LAST SEEN")}


# ---------------------------------------------------------------- what holds for all


def test_there_is_a_golden_object_of_every_kind() -> None:
    assert {kind.name for kind in KINDS} == {kind_of(obj).name for _, obj in GOLDEN} == set(MAIN)


@pytest.mark.parametrize("obj", EACH)
def test_every_golden_object_is_shown_by_its_name(obj: Any) -> None:
    kind, name = kind_of(obj), obj.metadata.name
    assert described(obj).splitlines()[0].split() == ["Name:", name]
    if kind.name != "Event":  # their names say nothing: a row says what they are about
        assert row(obj)["NAME"].split()[0] == name
    assert name_of(obj) == f"{kind.qualified}/{name}"
    assert yaml.load_all(structured([obj], "yaml", single=True)) == [obj]


@pytest.mark.parametrize("obj", EACH)
def test_nothing_is_shown_as_the_program_holds_it(obj: Any) -> None:
    for text in (described(obj), str(row(obj))):
        assert not [sign for sign in ("_pb2", " object at 0x", "str_value", "int_value", "{}") if sign in text]


# ---------------------------------------------------------------- what matters of each

MAIN: Mapping[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "Namespace": ("development", ("Status: Active",), {"STATUS": "Active"}),
    "Node": ("10.240.79.157", ("Taints: key1=value1:NoSchedule", "PodCIDR: 10.244.1.0/24", "memory 16Gi"), {"POD-CIDR": "10.244.1.0/24"}),
    "Pod": ("configmap-demo-pod", ("Image: alpine", "Command: sleep 3600", "/config from config (ro)"), {"READY": "0/1", "STATUS": "Pending"}),
    "Secret": ("testsecret-tls", ("Type: kubernetes.io/tls", "tls.crt: 19 bytes"), {"TYPE": "kubernetes.io/tls", "DATA": "2"}),
    "ConfigMap": ("greeting", ("TEXT: hello",), {"DATA": "1"}),
    "Event": ("web-0.17a2b3c4d5e6f708", ("reason: BackOff", "message: Back-off restarting failed container"),
              {"TYPE": "Warning", "REASON": "BackOff", "OBJECT": "pod/web-0", "COUNT": "3", "SOURCE": "kubelet", "MESSAGE": "Back-off restarting failed container"}),
    "ReplicationController": ("nginx", ("Selector: app=nginx", "Replicas: 3 desired | 0 current | 0 ready", "Image: nginx"),
                              {"DESIRED": "3", "CONTAINERS": "nginx", "IMAGES": "nginx", "SELECTOR": "app=nginx"}),
    "ReplicaSet": ("frontend", ("app in (book,guestbook)", "Replicas: 3 desired", "php-redis:"), {"DESIRED": "3", "CONTAINERS": "php-redis"}),
    "Deployment": ("greeter", ("Replicas: 3 desired", "ConfigRollout: Automatic", "25% max unavailable, 25% max surge"), {"READY": "0/3", "STRATEGY": "RollingUpdate", "IMAGES": "busybox"}),
    "HorizontalPodAutoscaler": ("php-apache", ("Reference: Deployment/php-apache", "packets_per_second <unknown> 1k (avg)"), {"REFERENCE": "Deployment/php-apache", "MINPODS": "1", "MAXPODS": "10"}),
    "PersistentVolume": ("example-pv", ("Capacity: 100Gi", "Location: example-node:/mnt/disks/ssd1", "kubernetes.io/hostname In example-node"),
                         {"CAPACITY": "100Gi", "ACCESS MODES": "RWO", "RECLAIM POLICY": "Delete", "STORAGECLASS": "local-storage", "LOCATION": "example-node:/mnt/disks/ssd1"}),
    "PersistentVolumeClaim": ("myclaim", ("StorageClass: slow", "Requested: 8Gi", "release=stable"), {"STATUS": "Pending", "STORAGECLASS": "slow", "REQUESTED": "8Gi"}),
    "StorageClass": ("local-storage", ("Provisioner: kubernetes.io/no-provisioner", "Binding Mode: WaitForFirstConsumer"),
                     {"PROVISIONER": "kubernetes.io/no-provisioner", "RECLAIMPOLICY": "Delete", "VOLUMEBINDINGMODE": "WaitForFirstConsumer", "ALLOWVOLUMEEXPANSION": "false"}),
    "DaemonSet": ("fluentd-elasticsearch", ("Selector: name=fluentd-elasticsearch", "RollingUpdate: 1 max unavailable, 0 max surge", "Limits: memory 200Mi", "node-role.kubernetes.io/master:NoSchedule"),
                  {"NODE SELECTOR": "<none>", "CONTAINERS": "fluentd-elasticsearch", "SELECTOR": "name=fluentd-elasticsearch"}),
    "StatefulSet": ("web", ("Replicas: 3 desired", "Subdomain: nginx", "Pod Management: OrderedReady", "www 1Gi RWO my-storage-class", "Claim Retention: when deleted Retain, when scaled Delete"),
                    {"READY": "0/3", "CONTAINERS": "nginx", "SELECTOR": "app=nginx"}),
    "ControllerRevision": ("web-6596ffb49b", ("Controlled By: StatefulSet/web", "revision: 2", "image: registry.k8s.io/nginx-slim:0.24"), {"CONTROLLER": "statefulset/web", "REVISION": "2"}),
    "Job": ("pi", ("Parallelism: 1", "Backoff Limit: 4", "Image: perl:5.34.0"), {"COMPLETIONS": "0/1", "IMAGES": "perl:5.34.0"}),
    "CronJob": ("hello", ("Schedule: * * * * *", "Time Zone: Etc/UTC", "Next Schedule: 2026-01-02T00:01:00+00:00"), {"SCHEDULE": "* * * * *", "TIMEZONE": "Etc/UTC", "SUSPEND": "False"}),
    "Lease": ("cluster-autoscaler", ("holderIdentity: cluster-autoscaler-7d9c5", "leaseDurationSeconds: 15"), {"HOLDER": "cluster-autoscaler-7d9c5"}),
    "Service": ("my-service", ("Type: ClusterIP", "Selector: app.kubernetes.io/name=MyApp", "80/TCP 9376"), {"TYPE": "ClusterIP", "PORT(S)": "80/TCP", "SELECTOR": "app.kubernetes.io/name=MyApp"}),
    "EndpointSlice": ("without-selector-1", ("Address Type: IPv4", "10.4.5.6 ready", "http 9376/TCP"), {"PORTS": "9376", "ENDPOINTS": "10.4.5.6,10.1.2.3"}),
    "NetworkPolicy": ("test-network-policy", ("Pods: pods (role=db)", "from 172.17.0.0/16 but 172.17.1.0/24", "to 10.0.0.0/24, 5978/TCP"), {"POD-SELECTOR": "role=db", "TYPES": "Ingress,Egress"}),
    "AddressPool": ("lab", ("Addresses: 192.0.2.200-192.0.2.220", "192.0.2.240/28"), {"ADDRESSES": "192.0.2.200-192.0.2.220,192.0.2.240/28"}),
    "Ingress": ("minimal-ingress", ("Class: nginx-example", "* /testpath Prefix test:80"), {"CLASS": "nginx-example", "HOSTS": "*", "PORTS": "80"}),
    "IngressClass": ("nginx-example", ("Controller: k8s.io/ingress-nginx", "Default: Yes"), {"NAME": "nginx-example (default)", "CONTROLLER": "k8s.io/ingress-nginx"}),
    "LimitRange": ("cpu-resource-constraint", ("Container cpu 100m 1 500m 500m -",), {"TYPES": "Container"}),
    "PriorityClass": ("high-priority", ("Value: 1000000", "Preemption: PreemptLowerPriority", "This priority class should be used"),
                      {"VALUE": "1000000", "GLOBAL-DEFAULT": "false", "PREEMPTIONPOLICY": "PreemptLowerPriority"}),
    "PodDisruptionBudget": ("zk-pdb", ("Selector: app=zookeeper", "Min available: 2"), {"MIN AVAILABLE": "2", "MAX UNAVAILABLE": "N/A"}),
    "ResourceQuota": ("disable-cross-namespace-affinity", ("Scopes: CrossNamespacePodAffinity", "pods - 0"), {"REQUEST": "pods: -/0"}),
    "NodePool": ("batch", ("Credentials: secret podium-system/batch-ssh", "admin@192.0.2.31:22 Standby"), {"HOSTS": "2", "MIN": "0", "MAX": "2"}),
}  # fmt: skip
"""Of each kind: the object's name, what its description holds (spaces closed up), and cells of its row."""


@pytest.mark.parametrize("kind", MAIN)
def test_what_matters_of_each_kind_is_shown(kind: str) -> None:
    name, words, wanted = MAIN[kind]
    obj = golden(kind, name)
    text = " ".join(described(obj).split())
    assert [said for said in words if said not in text] == []
    shown = row(obj)
    assert {header: shown.get(header) for header in wanted} == wanted


def test_a_row_of_a_kind_has_an_age() -> None:
    for kind, (name, _, _) in MAIN.items():
        header, line = table_text(BY_NAME[kind], [golden(kind, name)], Style()).splitlines()
        assert {"AGE", "LAST", "SEEN"} & set(header.split())
        assert "<unknown>" not in line or kind == "HorizontalPodAutoscaler", "an age"


# ---------------------------------------------------------------- figures: none in another's place


def test_the_figures_of_replicated_pods_are_each_in_its_place() -> None:
    for kind, name in (("ReplicationController", "nginx"), ("ReplicaSet", "frontend")):
        obj = golden(kind, name)
        obj.status.replicas, obj.status.ready_replicas = 7, 5
        cells = row(obj)
        assert [cells[header] for header in ("DESIRED", "CURRENT", "READY")] == ["3", "7", "5"]
        assert "3 desired | 7 current | 5 ready" in described(obj)


def test_the_figures_of_a_daemon_set_are_each_in_its_place() -> None:
    obj = golden("DaemonSet", "fluentd-elasticsearch")
    obj.spec.template.spec.node_selector["disk"] = "ssd"
    status = obj.status
    status.desired_number_scheduled, status.current_number_scheduled, status.number_ready = 9, 8, 7
    status.updated_number_scheduled, status.number_available, status.number_misscheduled = 6, 5, 4
    cells = row(obj)
    headers = ("DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "NODE SELECTOR")
    assert [cells[header] for header in headers] == ["9", "8", "7", "6", "5", "disk=ssd"]
    assert "9 desired | 8 with a pod | 6 updated | 5 available | 4 misscheduled" in described(obj)


def test_the_figures_of_a_stateful_set_are_each_in_its_place() -> None:
    obj = golden("StatefulSet", "web")
    obj.spec.ordinals.start, obj.spec.update_strategy.rolling_update.partition = 5, 2
    status = obj.status
    status.replicas, status.ready_replicas, status.updated_replicas, status.available_replicas = 9, 8, 7, 6
    status.current_revision, status.update_revision = "web-old", "web-new"
    assert row(obj)["READY"] == "8/3"
    text = " ".join(described(obj).split())
    for words in (
        "3 desired | 9 total | 7 updated | 6 available", "Ordinals: from 5", "RollingUpdate: partition 2, 1 max unavailable",
        "Current Revision: web-old", "Update Revision: web-new",
    ):  # fmt: skip
        assert words in text


def test_a_blue_green_deployment_tells_its_revisions_apart() -> None:
    obj = golden("Deployment", next(o.metadata.name for stem, o in GOLDEN if stem == "strategy-blue-green"))
    state = obj.status.blue_green
    state.active_revision, state.active_hash = 4, "aaaa"
    state.preview_revision, state.preview_hash = 5, "bbbb"
    state.previous_revision, state.previous_hash = 3, "cccc"
    text = " ".join(described(obj).split())
    for words in (
        "Active: revision 4 (aaaa)",
        "Preview: revision 5 (bbbb)",
        "Previous: revision 3 (cccc)",
        "Promotion:",
    ):
        assert words in text
    assert row(obj)["STRATEGY"] == "BlueGreen:4<-5"


# ---------------------------------------------------------------- secrets


@pytest.mark.parametrize("style", [Style(), Style(format="wide"), Style(format="name")])
def test_no_value_of_a_secret_is_shown(style: Style) -> None:
    for secret in (obj for _, obj in GOLDEN if kind_of(obj).name == "Secret"):
        texts = (described(secret), table_text(BY_NAME["Secret"], [secret], style), name_of(secret))
        values = [value.decode("utf-8", "replace").strip() for value in secret.data.values()]
        assert values
        assert not [value for value in values for text in texts if value in text]


def test_what_kubectl_noted_of_a_secret_is_not_shown() -> None:
    secret = golden("Secret", "testsecret-tls")
    noted = "kubectl.kubernetes.io/last-applied-configuration"
    secret.metadata.annotations[noted] = '{"stringData": {"password": "hunter2"}}'
    secret.metadata.annotations["team"] = "db"
    text = described(secret)
    assert "hunter2" not in text
    assert "team=db" in text
