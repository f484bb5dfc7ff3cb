"""The proxy's manifests are what Podium takes."""

from __future__ import annotations

from typing import Any

from master.admission import apply_defaults, validate
from podium.cli.ingress_proxy import manifests
from podium.codec.json import object_from_dict
from podium.objects.ingress import CONTROLLER, PROXY_LABEL, is_default


def _admitted(**options: Any) -> list[Any]:
    objects = [object_from_dict(manifest) for manifest in manifests(**options)]
    for obj in objects:
        apply_defaults(obj)
        assert validate(obj) == []
    return objects


def test_they_are_admitted_and_fit_what_the_master_looks_for() -> None:
    cls, program, proxies = _admitted()
    assert (cls.spec.controller, is_default(cls)) == (CONTROLLER, True)
    assert program.data["run.sh"].startswith("#!/bin/sh\n")
    template = proxies.spec.template
    assert template.metadata.labels[PROXY_LABEL] == "true"
    assert [port.host_port for port in template.spec.containers[0].ports] == [80, 443, 7446]
    assert template.spec.containers[0].image == "haproxy:2.6"
    assert not template.spec.node_selector


def test_options() -> None:
    cls, _, proxies = _admitted(image="registry.example.com/haproxy:2.8", node_selector={"edge": "true"}, default=False)
    assert not is_default(cls)
    pod = proxies.spec.template.spec
    assert (pod.containers[0].image, dict(pod.node_selector)) == ("registry.example.com/haproxy:2.8", {"edge": "true"})
