"""Resources of a pod's containers changed in place: what a template asks of a pod, and how far the pod's node has got.

A pod is asked through sub-resource `resize`; its node answers in its status (KEP-1287). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from podium.objects.conditions import get_condition
from podium.objects.pod import CPU, MEMORY, all_containers, is_sidecar, qos_class
from podium.objects.template import same_template
from podium.v1.core_pb2 import Container, Pod, PodSpec, PodTemplateSpec, ResourceRequirements

PENDING, IN_PROGRESS, ERROR = "PodResizePending", "PodResizeInProgress", "Error"
REFUSED = "podium.dev/resize-refused"
"""On a pod: the hash of the template whose resources it was asked to take and could not."""


def in_place(old: PodTemplateSpec, new: PodTemplateSpec) -> bool:
    """Whether pods of one template become pods of the other by CPU and memory alone, under their containers' feet."""
    if same_template(old, new) or not same_template(_without_resources(old), _without_resources(new)):
        return False
    pairs = zip(all_containers(old.spec), all_containers(new.spec), strict=True)
    return all(_is_resizable(before, after, old.spec) for before, after in pairs) and _qos(old) == _qos(new)


def _without_resources(template: PodTemplateSpec) -> PodTemplateSpec:
    bare = PodTemplateSpec()
    bare.CopyFrom(template)
    for container in all_containers(bare.spec):
        container.ClearField("resources")
    return bare


def _is_resizable(before: Container, after: Container, spec: PodSpec) -> bool:
    was, now = wanted(before), wanted(after)
    if was == now:
        return True
    if any(before.name == init.name for init in spec.init_containers) and not is_sidecar(before):
        return False
    restarts = {policy.resource_name for policy in before.resize_policy if policy.restart_policy != "NotRequired"}
    return not any(
        old.get(name) != new.get(name) and (name not in new or name not in (CPU, MEMORY) or name in restarts)
        for old, new in ((was.requests, now.requests), (was.limits, now.limits))
        for name in {*old, *new}
    )


def _qos(template: PodTemplateSpec) -> str:
    return qos_class(template.spec)


def wanted(container: Container) -> ResourceRequirements:
    """What a container of a pod has of a template's: what is only limited is requested as well."""
    resources = ResourceRequirements()
    resources.CopyFrom(container.resources)
    for name in container.resources.limits:
        if name not in resources.requests:
            resources.requests[name] = resources.limits[name]
    return resources


def asks_for(pod: Pod, template: PodTemplateSpec) -> bool:
    """Whether the pod asks for the template's resources, whatever it has by now."""
    resources = {container.name: container.resources for container in all_containers(pod.spec)}
    return all(resources.get(each.name) == wanted(each) for each in all_containers(template.spec))


def take_resources(pod: Pod, template: PodTemplateSpec) -> None:
    """Make the pod ask for the template's resources, in place."""
    templates = {container.name: container for container in all_containers(template.spec)}
    for container in all_containers(pod.spec):
        if container.name in templates:
            container.resources.CopyFrom(wanted(templates[container.name]))


def is_settled(pod: Pod) -> bool:
    """Whether the pod's containers have what it asks for."""
    if any(get_condition(pod.status.conditions, type_) is not None for type_ in (PENDING, IN_PROGRESS)):
        return False
    has = {status.name: status for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)}
    return all(
        container.name in has and has[container.name].resources == container.resources for container in _lasting(pod)
    )


def _lasting(pod: Pod) -> Iterator[Container]:
    yield from pod.spec.containers
    yield from filter(is_sidecar, pod.spec.init_containers)


def refusal(pod: Pod) -> str:
    """Why the pod does not get what it asks for, in its node's words; empty when it does, or may yet."""
    pending = get_condition(pod.status.conditions, PENDING)
    if pending is not None:
        return f"{pending.reason}: {pending.message}"
    progress = get_condition(pod.status.conditions, IN_PROGRESS)
    if progress is not None and progress.reason == ERROR:
        return f"{progress.reason}: {progress.message}"
    return ""
