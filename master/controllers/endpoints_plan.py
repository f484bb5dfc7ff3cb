"""Who answers a service: the EndpointSlices that its pods make. Pure.

Pods that resolve the service's target ports to the same numbers share slices, of at most `MOST` endpoints each. A
slice's name follows from the service, those numbers and its place, so the same pods always make the same slices and
nothing has to be remembered.

    pod                              ready   serving   terminating
    Ready                            yes     yes
    not Ready                        no      no                      (ready with publishNotReadyAddresses)
    being deleted, still Ready       no      yes       yes
    over, or without an address      is no endpoint
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from podium.objects.kinds import Key, key_of, kind_of
from podium.objects.meta import is_terminating
from podium.objects.owners import owner_reference
from podium.objects.pod import is_ready, is_terminal
from podium.objects.service import MANAGED_BY, SERVICE_LABEL, is_headless, target_number
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import Endpoint, EndpointPort, EndpointSlice, Service, TrafficSplit

MANAGER = "endpoints.podium.dev"
MOST = 1000

Splits = Mapping[str, TrafficSplit]
"""How connections are split, by the uids of the pods that take part."""
_NO_SPLITS: Splits = {}
_Ports = tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePlan:
    """Slices to create, to bring up to date, and to remove."""

    create: Sequence[EndpointSlice] = ()
    update: Sequence[EndpointSlice] = ()
    delete: Sequence[Key] = ()


def plan_slices(
    service: Service, pods: Iterable[Pod], existing: Iterable[EndpointSlice], splits: Splits = _NO_SPLITS
) -> SlicePlan:
    """Compare the slices that these pods make with those that there are."""
    wanted = {made.metadata.name: made for made in slices_of(service, pods, splits)}
    present = {found.metadata.name: found for found in existing}
    return SlicePlan(
        create=[made for name, made in wanted.items() if name not in present],
        update=[made for name, made in wanted.items() if name in present and not _same(made, present[name])],
        delete=[key_of(found) for name, found in present.items() if name not in wanted],
    )


def slices_of(service: Service, pods: Iterable[Pod], splits: Splits = _NO_SPLITS) -> Iterator[EndpointSlice]:
    """The slices of a service, in no order. A service without pods has one, empty: so that it is seen to be known."""
    groups: dict[_Ports, list[Pod]] = {}
    for pod in sorted((p for p in pods if answers(p)), key=lambda p: p.metadata.name):
        groups.setdefault(_ports(service, pod), []).append(pod)
    for ports, members in (groups or {(): []}).items():
        if members and not ports and not is_headless(service.spec):
            continue  # none of the service's ports is a port of these pods
        for place in range(0, max(len(members), 1), MOST):
            yield _slice(service, ports, place // MOST, members[place : place + MOST], splits)


def answers(pod: Pod) -> bool:
    """Whether a pod is an endpoint, ready or not."""
    return bool(pod.status.pod_ip) and not is_terminal(pod)


def matters(old: Pod, new: Pod) -> bool:
    """Whether a change of a pod can change an endpoint."""
    return (
        old.status.pod_ip != new.status.pod_ip
        or is_ready(old) != is_ready(new)
        or is_terminating(old) != is_terminating(new)
        or is_terminal(old) != is_terminal(new)
        or old.metadata.labels != new.metadata.labels
        or old.spec.node_name != new.spec.node_name
    )


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a service's selector finds a pod with these labels; an empty one finds none."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _ports(service: Service, pod: Pod) -> _Ports:
    found = ((port, target_number(port, pod.spec)) for port in service.spec.ports)
    return tuple((port.name, port.protocol or "TCP", number) for port, number in found if number is not None)


def _slice(service: Service, ports: _Ports, place: int, pods: Sequence[Pod], splits: Splits) -> EndpointSlice:
    made = EndpointSlice(address_type="IPv4")
    made.metadata.namespace = service.metadata.namespace
    made.metadata.name = f"{service.metadata.name[:200]}-{_digest(ports, place)}"
    made.metadata.labels.update({SERVICE_LABEL: service.metadata.name, MANAGED_BY: MANAGER})
    if is_headless(service.spec):
        made.metadata.labels["service.kubernetes.io/headless"] = ""
    made.metadata.owner_references.append(owner_reference(service))
    spoken = {port.name: port.app_protocol for port in service.spec.ports}
    for name, protocol, number in ports:
        made.ports.append(EndpointPort(name=name, protocol=protocol, port=number, app_protocol=spoken[name]))
    for pod in pods:
        made.endpoints.append(_endpoint(service, pod, splits.get(pod.metadata.uid)))
    return made


def _endpoint(service: Service, pod: Pod, split: TrafficSplit | None) -> Endpoint:
    ready, ending = is_ready(pod) or service.spec.publish_not_ready_addresses, is_terminating(pod)
    endpoint = Endpoint(addresses=[pod.status.pod_ip], node_name=pod.spec.node_name, split=split)
    endpoint.conditions.ready = ready and (not ending or service.spec.publish_not_ready_addresses)
    endpoint.conditions.serving = ready
    endpoint.conditions.terminating = ending
    if pod.spec.hostname and pod.spec.subdomain == service.metadata.name:
        endpoint.hostname = pod.spec.hostname
    ref, meta = endpoint.target_ref, pod.metadata
    ref.kind, ref.namespace, ref.name, ref.uid = kind_of(pod).name, meta.namespace, meta.name, meta.uid
    return endpoint


def _same(wanted: EndpointSlice, present: EndpointSlice) -> bool:
    return (
        list(wanted.endpoints) == list(present.endpoints)
        and list(wanted.ports) == list(present.ports)
        and wanted.metadata.labels == present.metadata.labels
    )


def _digest(ports: _Ports, place: int) -> str:
    text = f"{ports}/{place}".encode()
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()[:8]
