"""Rules of workloads: a selector that finds the template's pods."""

from __future__ import annotations

from google.protobuf.message import Message

from master.admission.validation import meta, names
from master.admission.validation.shares import share
from master.admission.validation.volumes import unknown_volume
from master.admission.validation.walk import FieldRule, Findings, MessageRule, between, by_syntax
from podium.errors import BadRequest, Violation
from podium.objects.selectors import Selector, from_label_selector, from_labels
from podium.objects.storage import requested_storage
from podium.v1.apps_pb2 import (
    ControllerRevision,
    DaemonSet,
    DaemonSetSpec,
    DaemonSetUpdateStrategy,
    Deployment,
    DeploymentSpec,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicationControllerSpec,
    RollingUpdateDaemonSet,
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetOrdinals,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
)
from podium.v1.core_pb2 import PodTemplateSpec
from podium.v1.meta_pb2 import LabelSelector
from podium.v1.storage_pb2 import PersistentVolumeClaim

# ---------------------------------------------------------------- selector and template


def _workload(found: Selector | None, template: PodTemplateSpec, path: str, findings: Findings) -> None:
    if template.spec.restart_policy not in ("Always", ""):
        where = f"{path}.template.spec.restartPolicy"
        findings.append(Violation(where, f'must be "Always" in a workload, not "{template.spec.restart_policy}"'))
    if found is None:
        return  # a malformed selector is named by the walk
    if found.empty:
        findings.append(Violation(f"{path}.selector", "must not be empty: it would select every pod"))
    elif not found.matches(template.metadata.labels):
        where = f"{path}.template.metadata.labels"
        findings.append(Violation(where, f'must match the selector "{found}"', "or its pods would not be found again"))


def _selector(selector: LabelSelector) -> Selector | None:
    try:
        return from_label_selector(selector)
    except BadRequest:
        return None


def _replica_set(spec: ReplicaSetSpec, path: str, findings: Findings) -> None:
    if spec.HasField("selector") and spec.HasField("template"):
        _workload(_selector(spec.selector), spec.template, path, findings)


def _replication_controller(spec: ReplicationControllerSpec, path: str, findings: Findings) -> None:
    if not spec.HasField("template"):
        return
    if spec.selector:
        _workload(from_labels(spec.selector), spec.template, path, findings)
    else:
        findings.append(Violation(f"{path}.template.metadata.labels", "must not be empty: they are the selector"))


def _deployment(spec: DeploymentSpec, path: str, findings: Findings) -> None:
    if spec.HasField("selector") and spec.HasField("template"):
        _workload(_selector(spec.selector), spec.template, path, findings)
    deadline = spec.progress_deadline_seconds
    if spec.HasField("progress_deadline_seconds") and deadline <= spec.min_ready_seconds:
        findings.append(
            Violation(f"{path}.progressDeadlineSeconds", f"must be greater than minReadySeconds, not {deadline}")
        )


def _daemon_set(spec: DaemonSetSpec, path: str, findings: Findings) -> None:
    if spec.HasField("selector") and spec.HasField("template"):
        _workload(_selector(spec.selector), spec.template, path, findings)


def update_daemon_set(new: DaemonSet, old: DaemonSet, findings: Findings) -> None:
    """The selector stays."""
    _same_selector(new.spec.selector, old.spec.selector, findings)


_LONGEST_STATEFUL_NAME = 52
"""The name of a revision is a label of its pods: eleven characters more."""
_SETTLED = ("selector", "service_name", "pod_management_policy")


def _stateful_set(obj: StatefulSet, path: str, findings: Findings) -> None:
    name = obj.metadata.name
    problem = names.dns_label(name)
    if not problem and len(name) > _LONGEST_STATEFUL_NAME:
        problem = f"must be at most {_LONGEST_STATEFUL_NAME} characters"
    if name and problem:
        findings.append(Violation(f"{path}.metadata.name", f'"{name}" {problem}', "it begins its pods' host names"))


def _stateful_set_spec(spec: StatefulSetSpec, path: str, findings: Findings) -> None:
    _claim_templates(spec, path, findings)
    if spec.HasField("selector") and spec.HasField("template"):
        _workload(_selector(spec.selector), spec.template, path, findings)


def _claim_templates(spec: StatefulSetSpec, path: str, findings: Findings) -> None:
    known: set[str] = set()
    for index, template in enumerate(spec.volume_claim_templates):
        name, where = template.metadata.name, f"{path}.volumeClaimTemplates[{index}].metadata.name"
        if problem := names.dns_label(name) if name else "is required":
            findings.append(Violation(where, f'"{name}" {problem}' if name else problem))
        elif name in known:
            findings.append(Violation(where, f'must be once: "{name}" is there twice'))
        known.add(name)
    brought = {unknown_volume(name) for name in known}
    findings[:] = [f for f in findings if not (f.description in brought and f.field.startswith(f"{path}.template."))]


def update_stateful_set(new: StatefulSet, old: StatefulSet, findings: Findings) -> None:
    """What gives pods their identity stays."""
    for name in _SETTLED:
        if getattr(new.spec, name) != getattr(old.spec, name):
            json = StatefulSetSpec.DESCRIPTOR.fields_by_name[name].json_name
            findings.append(Violation(f".spec.{json}", "is immutable", "delete the object and create it anew"))
    _same_claim_templates(new.spec, old.spec, findings)


def _same_claim_templates(new: StatefulSetSpec, old: StatefulSetSpec, findings: Findings) -> None:
    """Claims can grow, and are otherwise what they were."""
    path = ".spec.volumeClaimTemplates"
    if [t.metadata.name for t in new.volume_claim_templates] != [t.metadata.name for t in old.volume_claim_templates]:
        findings.append(Violation(path, "is immutable, but for requests that grow"))
        return
    for index, (now, before) in enumerate(zip(new.volume_claim_templates, old.volume_claim_templates, strict=True)):
        requests = f"{path}[{index}].spec.resources.requests[storage]"
        if requested_storage(now) < requested_storage(before):
            findings.append(Violation(requests, "must not shrink"))
        same = PersistentVolumeClaim()
        same.CopyFrom(now)
        same.spec.resources.CopyFrom(before.spec.resources)
        if same != before:
            findings.append(Violation(f"{path}[{index}]", "is immutable, but for a request that grows"))


def update_controller_revision(new: ControllerRevision, old: ControllerRevision, findings: Findings) -> None:
    """Only the number changes."""
    if new.data != old.data:
        findings.append(Violation(".data", "is immutable", "a changed template is another revision"))


def update_replica_set(new: ReplicaSet, old: ReplicaSet, findings: Findings) -> None:
    """The selector stays."""
    _same_selector(new.spec.selector, old.spec.selector, findings)


def update_deployment(new: Deployment, old: Deployment, findings: Findings) -> None:
    """The selector stays."""
    _same_selector(new.spec.selector, old.spec.selector, findings)


def _same_selector(new: LabelSelector, old: LabelSelector, findings: Findings) -> None:
    if new != old:
        findings.append(Violation(".spec.selector", "is immutable", "delete the object and create it anew"))


# ---------------------------------------------------------------- daemon sets


def _daemon_strategy(strategy: DaemonSetUpdateStrategy, path: str, findings: Findings) -> None:
    if strategy.type == "OnDelete" and strategy.HasField("rolling_update"):
        findings.append(Violation(f"{path}.rollingUpdate", 'must not be set when type is "OnDelete"'))


def _rolling_daemons(rolling: RollingUpdateDaemonSet, path: str, findings: Findings) -> None:
    unavailable = share(rolling.max_unavailable, f"{path}.maxUnavailable", findings)
    surge = share(rolling.max_surge, f"{path}.maxSurge", findings)
    if unavailable == 0 and surge == 0:
        findings.append(Violation(f"{path}.maxUnavailable", "must not be 0 when maxSurge is 0: nothing could move"))
    if unavailable and surge:
        hint = "set maxUnavailable: 0 to surge"
        findings.append(Violation(f"{path}.maxSurge", f"must be 0 when maxUnavailable is {unavailable}", hint))


def _stateful_strategy(strategy: StatefulSetUpdateStrategy, path: str, findings: Findings) -> None:
    if strategy.type == "OnDelete" and strategy.HasField("rolling_update"):
        findings.append(Violation(f"{path}.rollingUpdate", 'must not be set when type is "OnDelete"'))


def _rolling_stateful(rolling: RollingUpdateStatefulSetStrategy, path: str, findings: Findings) -> None:
    if rolling.HasField("max_unavailable") and share(rolling.max_unavailable, f"{path}.maxUnavailable", findings) == 0:
        findings.append(Violation(f"{path}.maxUnavailable", "must not be 0: nothing could move"))


MESSAGES: dict[type[Message], MessageRule] = {
    ReplicaSetSpec: _replica_set,
    ReplicationControllerSpec: _replication_controller,
    DeploymentSpec: _deployment,
    DaemonSetSpec: _daemon_set,
    DaemonSetUpdateStrategy: _daemon_strategy,
    RollingUpdateDaemonSet: _rolling_daemons,
    StatefulSet: _stateful_set,
    StatefulSetSpec: _stateful_set_spec,
    StatefulSetUpdateStrategy: _stateful_strategy,
    RollingUpdateStatefulSetStrategy: _rolling_stateful,
}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (ReplicaSetSpec, "replicas"): between(0),
    (ReplicaSetSpec, "min_ready_seconds"): between(0),
    (ReplicationControllerSpec, "selector"): meta.labels,
    (ReplicationControllerSpec, "replicas"): between(0),
    (ReplicationControllerSpec, "min_ready_seconds"): between(0),
    (DaemonSetSpec, "min_ready_seconds"): between(0),
    (DaemonSetSpec, "revision_history_limit"): between(0),
    (ControllerRevision, "revision"): between(0),
    (StatefulSetSpec, "replicas"): between(0),
    (StatefulSetSpec, "min_ready_seconds"): between(0),
    (StatefulSetSpec, "revision_history_limit"): between(0),
    (StatefulSetSpec, "service_name"): by_syntax(names.dns_label),
    (StatefulSetOrdinals, "start"): between(0),
    (RollingUpdateStatefulSetStrategy, "partition"): between(0),
    (DeploymentSpec, "replicas"): between(0),
    (DeploymentSpec, "min_ready_seconds"): between(0),
    (DeploymentSpec, "revision_history_limit"): between(0),
    (DeploymentSpec, "progress_deadline_seconds"): between(0),
}
