"""What `expose` and `create service` make of words, and where `port-forward svc/NAME` leads."""

from __future__ import annotations

from typing import Any

import pytest

from podium.cli.commands.create_service import MadePort, parse_tcp
from podium.cli.commands.expose import ports_of, selector_to
from podium.cli.commands.port_forward import target_of
from podium.codec.json import object_from_dict
from podium.errors import BadRequest
from podium.v1.networking_pb2 import Service


def _object(kind: str, api_version: str = "v1", **spec: Any) -> Any:
    metadata = {"name": "x", "labels": {"own": "label"}}
    return object_from_dict({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})


def _deployment(*ports: dict[str, Any], **selector: Any) -> Any:
    template = {"spec": {"containers": [{"name": "c", "image": "i", "ports": list(ports)}]}}
    return _object("Deployment", "apps/v1", selector=selector or {"matchLabels": {"app": "web"}}, template=template)


def test_a_service_selects_what_the_workload_does() -> None:
    assert selector_to(_deployment()) == {"app": "web"}
    assert selector_to(_object("Pod")) == {"own": "label"}
    assert selector_to(_object("ReplicationController", selector={"a": "b"})) == {"a": "b"}
    assert selector_to(_object("Service", selector={"c": "d"})) == {"c": "d"}


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (_deployment(matchExpressions=[{"key": "a", "operator": "Exists"}]), "by expressions"),
        (_object("Node"), "has no pods"),
        (_object("Service"), "no labels"),
    ],
)
def test_what_cannot_be_selected_is_refused(obj: Any, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        selector_to(obj)


def test_ports_are_those_of_the_containers() -> None:
    assert ports_of(_deployment({"containerPort": 80}), "") == [MadePort(80)]
    both = _deployment({"containerPort": 80, "name": "http"}, {"containerPort": 53, "protocol": "UDP"})
    assert ports_of(both, "") == [MadePort(80, name="http"), MadePort(53, protocol="UDP", name="port-2")]
    with pytest.raises(BadRequest, match="give --port"):
        ports_of(_deployment(), "")
    with pytest.raises(BadRequest, match="of one port"):
        ports_of(both, "8080")


def test_ports_of_create_service() -> None:
    assert parse_tcp(["80:web"], 30080) == [MadePort(80, "web", node_port=30080)]
    assert [p.name for p in parse_tcp(["80", "443:8443"])] == ["80-80", "443-8443"]
    for bad in ("", "web", "0", "70000", ":80"):
        with pytest.raises(BadRequest):
            parse_tcp([bad])


def test_a_services_port_leads_to_a_pods() -> None:
    pod = _deployment({"containerPort": 8080, "name": "web"}).spec.template.spec
    service = _object(
        "Service", ports=[{"port": 80, "targetPort": "web"}, {"port": 81}, {"port": 82, "targetPort": "x"}]
    )
    assert isinstance(service, Service)
    assert target_of(service, 80, pod) == 8080
    assert target_of(service, 81, pod) == 81
    with pytest.raises(BadRequest, match='no container of the pod names a port "x"'):
        target_of(service, 82, pod)
    with pytest.raises(BadRequest, match="has no TCP port 8080; it has 80, 81, 82"):
        target_of(service, 8080, pod)
