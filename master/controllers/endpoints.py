"""Endpoints: each service with a selector has EndpointSlices that say who answers it.

Of Deployments with two whole revisions (BlueGreen) only the pods of the active one are led to: so one write of the
Deployment's status moves all connections that begin then.

A pod that changes wakes the services that select it, found by one label of each selector: so a change costs the pod's
labels, and not the number of services. What follows from the pods is `plan_slices`; the slices of one service are
written as one batch. Readiness that a node reports is in a slice, and on its way to every node, within milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from master.access.protocol import Change, ChangeType, Create, Delete, Mutate, Reader, Write, Writer, component
from master.controllers.endpoints_plan import SlicePlan, matters, plan_slices, selects
from master.controllers.traffic_plan import splits_of
from master.reconcile.protocol import Done, Outcome, Trigger
from podium.errors import AlreadyExists, NotFound, PodiumError
from podium.objects.blue_green import active_hash, is_led_to
from podium.objects.canary_split import CanarySplit, canary_split
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.owners import controller_of
from podium.objects.service import EXTERNAL_NAME
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import OwnerReference
from podium.v1.networking_pb2 import EndpointSlice, Service

_BY = component("controller:endpoints")
_Label = tuple[str, str, str]
"""Namespace, key and value."""


class Membership:
    """Which pods each service selects, kept up with changes: no namespace is searched but for a new selector."""

    def __init__(self) -> None:
        self._selectors: dict[Key, Mapping[str, str]] = {}
        self._by_label: dict[_Label, set[Key]] = {}
        self._pods: dict[Key, set[Key]] = {}

    def pods(self, service: Key) -> Iterable[Key]:
        """The pods that a service selects."""
        return self._pods.get(service, ())

    def service_changed(self, service: Service, pods: Callable[[], Iterable[Pod]]) -> None:
        """A service is there, or changed. `pods` finds those of its namespace."""
        key, selector = key_of(service), dict(service.spec.selector)
        if self._selectors.get(key) == selector:
            return
        self.service_gone(key)
        if not selector:
            return
        self._selectors[key] = selector
        self._by_label.setdefault(_label(key, selector), set()).add(key)
        self._pods[key] = {key_of(pod) for pod in pods() if selects(selector, pod.metadata.labels)}

    def service_gone(self, service: Key) -> None:
        """A service is not there any more."""
        selector = self._selectors.pop(service, None)
        self._pods.pop(service, None)
        if selector:
            label = _label(service, selector)
            self._by_label[label].discard(service)
            if not self._by_label[label]:
                del self._by_label[label]

    def pod_changed(self, old: Pod | None, new: Pod, *, gone: bool) -> set[Key]:
        """Follow a pod. Returns the services that select it, or did."""
        if not self._by_label:
            return set()
        key = key_of(new)
        before = self.selecting(old) if old is not None else set()
        now = set() if gone else self.selecting(new)
        for service in before - now:
            self._pods[service].discard(key)
        for service in now:
            self._pods[service].add(key)
        if gone:
            for service in self.selecting(new):
                self._pods[service].discard(key)
                before.add(service)
        return before | now

    def selecting(self, pod: Pod) -> set[Key]:
        """The services that select a pod."""
        namespace, labels = pod.metadata.namespace, pod.metadata.labels
        return {
            service
            for name, value in labels.items()
            for service in self._by_label.get((namespace, name, value), ())
            if selects(self._selectors[service], labels)
        }


def _label(service: Key, selector: Mapping[str, str]) -> _Label:
    name, value = min(selector.items())
    return (service.namespace, name, value)


class Rollouts:
    """What the Deployments of pods ask of services; for one look, each ReplicaSet is asked for once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, Deployment | None] = {}

    def split_of(self, pod: Pod) -> CanarySplit | None:
        """How connections are to be split by the canary of a pod's Deployment."""
        deployment = self._deployment_of(pod)
        return canary_split(deployment) if deployment is not None else None

    def active_of(self, pod: Pod) -> str:
        """The revision that serves, where the pod's Deployment has one that does not."""
        deployment = self._deployment_of(pod)
        return active_hash(deployment) if deployment is not None else ""

    def _deployment_of(self, pod: Pod) -> Deployment | None:
        owner = controller_of(pod)
        if owner is None or owner.kind != "ReplicaSet":
            return None
        if owner.uid not in self._known:
            self._known[owner.uid] = self._find(pod.metadata.namespace, owner)
        return self._known[owner.uid]

    def _find(self, namespace: str, owner: OwnerReference) -> Deployment | None:
        replica_set = self._reader.get(ReplicaSet, namespace, owner.name)
        above = controller_of(replica_set) if replica_set is not None else None
        return self._reader.get(Deployment, namespace, above.name) if above is not None else None


class EndpointsController:
    """See the module. Keys are services."""

    name = "endpoints"
    workers = 4

    def __init__(self, *, reader: Reader, writer: Writer) -> None:
        self._reader, self._writer = reader, writer
        self._membership = Membership()
        self.triggers = (
            Trigger(Service, self._key_of_service),
            Trigger(Pod, self._keys_of_pod),
            Trigger(EndpointSlice, self._key_of_slice),
            Trigger(Deployment, self._keys_of_deployment),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Bring the slices of one service up to date."""
        service = self._reader.get(Service, key.namespace, key.name)
        if service is None:
            return Done("is gone; its slices go with it")
        if not service.spec.selector or service.spec.type == EXTERNAL_NAME or is_terminating(service):
            return Done("others write its slices")
        rollouts, pods = Rollouts(self._reader), list(self._selected(service))
        led = [p for p in pods if is_led_to(service.spec.selector, p.metadata.labels, rollouts.active_of(p))]
        there = self._reader.owned_by(EndpointSlice, service.metadata.uid)
        plan = plan_slices(service, led, there, splits_of(led, rollouts.split_of))
        await self._carry_out(plan)
        return Done(f"created {len(plan.create)}, updated {len(plan.update)}, removed {len(plan.delete)} slices")

    def _selected(self, service: Service) -> Iterator[Pod]:
        for key in self._membership.pods(key_of(service)):
            pod = self._reader.get(Pod, key.namespace, key.name)
            if pod is not None and selects(service.spec.selector, pod.metadata.labels):
                yield pod

    async def _carry_out(self, plan: SlicePlan) -> None:
        writes: list[Write] = [Create(made) for made in plan.create]
        writes += [Mutate(key_of(made), _becoming(made)) for made in plan.update]
        writes += [Delete(key) for key in plan.delete]
        if not writes:
            return
        for result in await self._writer.write_many(writes, by=_BY):
            if isinstance(result, PodiumError) and not isinstance(result, NotFound | AlreadyExists):
                raise result

    def _key_of_service(self, change: Change[Service]) -> Iterable[Key]:
        key = key_of(change.new)
        if change.type is ChangeType.DELETED:
            self._membership.service_gone(key)
        else:
            self._membership.service_changed(change.new, lambda: self._reader.list(Pod, key.namespace))
        return (key,)

    def _keys_of_pod(self, change: Change[Pod]) -> Iterable[Key]:
        old, gone = change.old, change.type is ChangeType.DELETED
        if change.type is ChangeType.MODIFIED and old is not None and not matters(old, change.new):
            return ()
        return self._membership.pod_changed(old, change.new, gone=gone)

    def _keys_of_deployment(self, change: Change[Deployment]) -> Iterable[Key]:
        """How a canary's connections are split has changed, or which revision serves."""
        old, new = change.old, change.new
        if change.type is not ChangeType.MODIFIED or old is None:
            return ()
        if canary_split(old) == canary_split(new) and active_hash(old) == active_hash(new):
            return ()
        sets = self._reader.owned_by(ReplicaSet, new.metadata.uid)
        pods = (pod for each in sets for pod in self._reader.owned_by(Pod, each.metadata.uid))
        return {service for pod in pods for service in self._membership.selecting(pod)}

    def _key_of_slice(self, change: Change[EndpointSlice]) -> Iterable[Key]:
        owner = controller_of(change.new)
        if owner is None or owner.kind != "Service":
            return ()
        return (Key("Service", change.new.metadata.namespace, owner.name),)


def _becoming(wanted: EndpointSlice) -> Callable[[EndpointSlice], None]:
    def change(obj: EndpointSlice) -> None:
        obj.ClearField("endpoints")
        obj.ClearField("ports")
        obj.endpoints.extend(wanted.endpoints)
        obj.ports.extend(wanted.ports)
        obj.metadata.labels.clear()
        obj.metadata.labels.update(wanted.metadata.labels)

    return change
