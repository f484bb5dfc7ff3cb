"""The load balancer: services of type LoadBalancer are reached at an address of a pool, or at the nodes' own.

There is one decision for all of them, as a port leads to one service: it is made anew when one of them changes, or a
node's readiness, or a pool. What is decided (`plan_pools`, `plan_balancers`) is written into `status.loadBalancer`,
and the node that answers for an address of a pool into `status.announcer`; the nodes lead from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from master.access.protocol import Change, ChangeType, EventRecorder, Mutate, Reader, Writer, component
from master.controllers.balancer_plan import (
    Balance,
    Socket,
    is_balanced,
    keeps_local,
    nodes_of,
    plan_balancers,
    reachable,
    sockets_of_hosts,
)
from master.controllers.ingress.haproxy import PORTS
from master.controllers.pool_plan import announcer, counts, plan_pools, pooled
from master.reconcile.protocol import Done, Outcome, Trigger
from podium.errors import NotFound, PodiumError
from podium.objects.address_pool import is_ours
from podium.objects.ingress import served_classes
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.selectors import from_labels
from podium.objects.service import LOAD_BALANCER, SERVICE_LABEL, wants_node_ports
from podium.tls import API_PORT, JOIN_PORT, MASTER_HTTP_PORT, NODELET_HTTP_PORT
from podium.v1.core_pb2 import Namespace, Node
from podium.v1.ingress_pb2 import IngressClass
from podium.v1.networking_pb2 import AddressPool, EndpointSlice, Service

_BY = component("controller:load-balancer")
_ALL = Key("Service", "", "")
_SSH, _VXLAN = 22, 4789
RESERVED = sockets_of_hosts(tcp=(_SSH, JOIN_PORT, API_PORT, MASTER_HTTP_PORT, NODELET_HTTP_PORT), udp=(_VXLAN,))
OF_PROXIES = sockets_of_hosts(tcp=PORTS, udp=())


class BalancerController:
    """See the module. The only key is all services."""

    name = "load-balancer"
    workers = 1

    def __init__(self, *, reader: Reader, writer: Writer, events: EventRecorder) -> None:
        self._reader, self._writer, self._events = reader, writer, events
        self._balanced: set[Key] = set()
        self._refused: dict[Key, str] = {}
        self.triggers = (
            Trigger(Service, self._keys_of_service),
            Trigger(Node, self._keys_of_node),
            Trigger(EndpointSlice, self._keys_of_slice),
            Trigger(AddressPool, _keys_of_pool),
            Trigger(Namespace, _keys_of_namespace),
            Trigger(IngressClass, lambda _: (_ALL,)),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Decide for all services, and write what is new of it."""
        pools = self._reader.list(AddressPool)
        if not self._balanced and not pools:
            return Done("no service has a load balancer")
        services = [s for s in self._reader.list(Service) if wants_node_ports(s.spec) or _addresses(s)]
        found = ((node.metadata.name, reachable(node)) for node in self._reader.list(Node))
        nodes = {name: address for name, address in found if address}
        plan = self._plan(services, pools, nodes)
        self._tell_refusals(services, plan)
        writes = [*_service_writes(services, plan), *_pool_writes(pools, plan)]
        for result in await self._writer.write_many(writes, by=_BY) if writes else ():
            if isinstance(result, PodiumError) and not isinstance(result, NotFound):
                raise result
        self._balanced = {k for k in self._balanced if self._is_balanced(k)}
        return Done(f"{len(plan)} services on {len(nodes)} nodes, {len(writes)} changed")

    def _plan(
        self, services: Sequence[Service], pools: Sequence[AddressPool], nodes: Mapping[str, str]
    ) -> Mapping[Key, Balance]:
        answering = self._answering(services)
        labels = {ns.metadata.name: dict(ns.metadata.labels) for ns in self._reader.list(Namespace)} if pools else {}
        ours = [service for service in services if is_balanced(service)]
        in_pools = plan_pools(pooled(ours, pools, labels), pools, labels, self._hosts())
        plan = plan_balancers(services, nodes, self._reserved(), answering, in_pools.keys())
        for key, made in in_pools.items():
            if made.refusal:
                plan[key] = Balance(refusal=made.refusal, reason=made.reason)
            else:
                candidates = [node for node in nodes if node in answering.get(key, nodes)]
                plan[key] = Balance((made.address,), announcer=announcer(made.address, candidates))
        return plan

    def _reserved(self) -> frozenset[Socket]:
        """What the hosts answer themselves: of the ingress proxies' ports, too, where those are installed."""
        return RESERVED | OF_PROXIES if served_classes(self._reader.list(IngressClass)) else RESERVED

    def _hosts(self) -> set[str]:
        return {address.address for node in self._reader.list(Node) for address in node.status.addresses
                if address.type == "InternalIP"}  # fmt: skip

    def _is_balanced(self, key: Key) -> bool:
        service = self._reader.get(Service, key.namespace, key.name)
        return service is not None and (is_balanced(service) or bool(_addresses(service)))

    def _answering(self, services: Iterable[Service]) -> Mapping[Key, set[str]]:
        return {key_of(s): nodes_of(self._slices(key_of(s))) for s in services if is_balanced(s) and keeps_local(s)}

    def _slices(self, service: Key) -> Iterable[EndpointSlice]:
        return self._reader.list(EndpointSlice, service.namespace, from_labels({SERVICE_LABEL: service.name}))

    def _tell_refusals(self, services: Iterable[Service], plan: Mapping[Key, Balance]) -> None:
        """Each refusal once; again when it is another one."""
        before, self._refused = self._refused, {key: made.refusal for key, made in plan.items() if made.refusal}
        for service in services:
            made = plan.get(key_of(service), Balance())
            if made.refusal and before.get(key_of(service)) != made.refusal:
                self._events.warning(service, made.reason, made.refusal)

    def _keys_of_service(self, change: Change[Service]) -> Iterable[Key]:
        key = key_of(change.new)
        known = key in self._balanced
        if change.type is ChangeType.DELETED:
            self._balanced.discard(key)
            self._refused.pop(key, None)
            return (_ALL,) if known else ()
        if is_balanced(change.new) or _addresses(change.new):
            self._balanced.add(key)
            return (_ALL,)
        return (_ALL,) if known else ()

    def _keys_of_node(self, change: Change[Node]) -> Iterable[Key]:
        before = reachable(change.old) if change.old is not None else ""
        now = "" if change.type is ChangeType.DELETED else reachable(change.new)
        came_or_went = change.type is not ChangeType.MODIFIED
        return (_ALL,) if before != now or came_or_went else ()

    def _keys_of_slice(self, change: Change[EndpointSlice]) -> Iterable[Key]:
        metadata = change.new.metadata
        key = Key("Service", metadata.namespace, metadata.labels.get(SERVICE_LABEL, ""))
        if key not in self._balanced:
            return ()
        service = self._reader.get(Service, key.namespace, key.name)
        return (_ALL,) if service is not None and keeps_local(service) else ()


def _keys_of_pool(change: Change[AddressPool]) -> Iterable[Key]:
    """What is counted of a pool is written here, and changes nothing."""
    old = change.old if change.type is ChangeType.MODIFIED else None
    same = old is not None and old.spec == change.new.spec and is_terminating(old) == is_terminating(change.new)
    return () if same else (_ALL,)


def _keys_of_namespace(change: Change[Namespace]) -> Iterable[Key]:
    """Pools may select namespaces by their labels."""
    relabelled = change.old is None or change.old.metadata.labels != change.new.metadata.labels
    return (_ALL,) if relabelled else ()


def _service_writes(services: Iterable[Service], plan: Mapping[Key, Balance]) -> Iterator[Mutate]:
    for service in services:
        if service.spec.type == LOAD_BALANCER and not is_ours(service.spec):
            continue  # somebody else says where it is reached
        wanted = plan.get(key_of(service), Balance())
        if _addresses(service) != wanted.addresses or service.status.announcer != wanted.announcer:
            yield Mutate(key_of(service), _reached_at(wanted), subresource="status")


def _pool_writes(pools: Iterable[AddressPool], plan: Mapping[Key, Balance]) -> Iterator[Mutate]:
    given = [address for made in plan.values() for address in made.addresses]
    for pool in pools:
        total, assigned = counts(pool, given)
        if (pool.status.total, pool.status.assigned) != (total, assigned):
            yield Mutate(key_of(pool), _counted(total, assigned), subresource="status")


def _counted(total: int, assigned: int) -> Callable[[AddressPool], None]:
    def change(pool: AddressPool) -> None:
        pool.status.total, pool.status.assigned = total, assigned

    return change


def _addresses(service: Service) -> tuple[str, ...]:
    return tuple(ingress.ip for ingress in service.status.load_balancer.ingress)


def _reached_at(wanted: Balance) -> Callable[[Service], None]:
    def change(service: Service) -> None:
        service.status.announcer = wanted.announcer
        service.status.load_balancer.ClearField("ingress")
        for address in wanted.addresses:
            service.status.load_balancer.ingress.add(ip=address)

    return change
