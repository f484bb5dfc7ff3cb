"""Differences between templates, as a person would name them."""

from __future__ import annotations

from podium.objects.diff import differences, template_changes
from podium.objects.template import HASH_LABEL
from podium.v1.core_pb2 import EnvVar, PodTemplateSpec
from tests.support.workloads import replica_set


def _template() -> PodTemplateSpec:
    template = PodTemplateSpec()
    template.metadata.labels["app"] = "web"
    web = template.spec.containers.add(name="web", image="nginx:1.14.2", command=["nginx"])
    web.env.add(name="MODE", value="slow")
    web.ports.add(container_port=80, protocol="TCP")
    web.resources.limits["cpu"] = "1"
    web.readiness_probe.http_get.port.int_value = 80
    return template


def _after(old: PodTemplateSpec) -> PodTemplateSpec:
    new = PodTemplateSpec()
    new.CopyFrom(old)
    return new


def test_equal_messages_have_no_differences() -> None:
    assert not list(differences(_template(), _template()))


def test_each_kind_of_change_has_its_line() -> None:
    old = _template()
    new = _after(old)
    web = new.spec.containers[0]
    web.image = "nginx:1.16.1"
    web.command[:] = ["nginx", "-g"]
    web.env[0].value = "fast"
    web.env.add(name="NEW", value="1")
    del web.ports[:]
    web.resources.limits["cpu"] = "2"
    web.readiness_probe.http_get.port.int_value = 8080
    web.security_context.run_as_user = 0
    new.spec.host_network = True
    new.metadata.annotations["note"] = "x"
    assert list(differences(old, new)) == [
        "metadata.annotations[note]: (none) -> x",
        "spec.containers[web].image: nginx:1.14.2 -> nginx:1.16.1",
        "spec.containers[web].command: [nginx] -> [nginx, -g]",
        "spec.containers[web].ports[80/TCP]: {} -> (none)",
        "spec.containers[web].env[MODE].value: slow -> fast",
        "spec.containers[web].env[NEW]: (none) -> {value: 1}",
        "spec.containers[web].resources.limits[cpu]: 1 -> 2",
        "spec.containers[web].readinessProbe.httpGet.port: 80 -> 8080",
        "spec.containers[web].securityContext.runAsUser: (none) -> 0",
        "spec.hostNetwork: (none) -> true",
    ]


def test_order_of_keyed_lists_is_no_difference() -> None:
    old, new = _template(), _template()
    for template, names in ((old, ("A", "B")), (new, ("B", "A"))):
        template.spec.containers[0].env.extend(EnvVar(name=n, value="1") for n in names)
    assert not list(differences(old, new))


def test_a_container_that_comes_is_one_line() -> None:
    new = _template()
    new.spec.containers.add(name="debug", image="busybox")
    assert list(differences(_template(), new)) == ["spec.containers[debug]: (none) -> {image: busybox}"]


def test_the_hash_label_is_no_change_of_a_template() -> None:
    old, new = replica_set(image="a"), replica_set(image="b")
    old.spec.template.metadata.labels[HASH_LABEL] = "x"
    new.spec.template.metadata.labels[HASH_LABEL] = "y"
    assert template_changes(old, new) == ["spec.containers[c].image: a -> b"]
