"""What nodes are told of the cluster's network. Pure: changes in, messages out.

    every node             its peers (other nodes' slices and addresses), and all services with who answers them
    nodes with a pod of a  the addresses of the namespace's pods, on all nodes: within a namespace pods reach each
    namespace              other, and no others
    nodes with a pod that  its rules, and the sets of addresses that these speak of
    policies select

A node that has no pod of a namespace is not told of it. A `Told` remembers what one session knows, by version, so a
message costs what changed. While pods that end are waited for, nodes are asked to say what they have in force; the
version of what is common to all is what they are asked for by.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from master.dispatcher.drains import NOBODY, DrainBook, Leads, leading_to
from master.dispatcher.policies import Pods, PolicyBook
from master.dispatcher.records import Records
from podium.objects.kinds import Key
from podium.objects.pod import is_terminal
from podium.objects.service import SERVICE_LABEL, takes_connections
from podium.v1.core_pb2 import Namespace, Node, Pod
from podium.v1.networking_pb2 import EndpointSlice, NetworkPolicy, Service
from podium.v1.node_session_pb2 import AddressSet, NetworkRecord, NetworkUpdate, Peer, PodRules, ServiceRoute

_COMMON, _RULES = "common", "rules"


@dataclass(slots=True)
class Told:
    """What a node knows.

    Attributes:
        versions: By group.
        asked: The version that it was asked to say it has in force.
        in_force: The version that it said it has in force.
    """

    versions: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    in_force: int = 0


class _Slice(NamedTuple):
    """An EndpointSlice as nodes are told, and the pods that it leads to."""

    told: EndpointSlice
    leads: Leads


class NetworkBook:
    """See the module.

    Args:
        pods: Finds the pods of a namespace, or of all; asked when a policy comes or changes.
    """

    def __init__(self, pods: Pods = lambda namespace: ()) -> None:
        self.policies = PolicyBook(pods, lambda: self._interest)
        self.drains = DrainBook()
        self._common: Records[str, NetworkRecord] = Records()
        self._members: dict[str, Records[str, str]] = {}
        self._interest: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._nodes_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.newcomers: set[str] = set()
        """Nodes that got their first pod of a namespace, whose members they must know before they run it. The taker's
        to clear."""
        self._services: dict[Key, Service] = {}
        self._slices: dict[Key, dict[str, _Slice]] = {}

    # ------------------------------------------------------------ what is; each answers whom it concerns

    def node_changed(self, node: Node, *, deleted: bool) -> bool:
        """A node was added, changed or deleted. Whether the others must be told."""
        name = node.metadata.name
        address = next((a.address for a in node.status.addresses if a.type == "InternalIP"), "")
        if deleted or not address or not node.spec.pod_cidr:
            return self._common.drop(f"peer/{name}")
        peer = Peer(node=name, address=address, pod_cidr=node.spec.pod_cidr)
        return self._put(NetworkRecord(id=f"peer/{name}", peer=peer))

    def service_changed(self, service: Service, *, deleted: bool) -> bool:
        """A service was added, changed or deleted. Whether nodes must be told."""
        key = _service_key(service.metadata.namespace, service.metadata.name)
        if deleted:
            self._services.pop(key, None)
        else:
            self._services[key] = service
        return self._say_service(key)

    def slice_changed(self, endpoint_slice: EndpointSlice, *, deleted: bool) -> bool:
        """An EndpointSlice was added, changed or deleted. Whether nodes must be told."""
        metadata = endpoint_slice.metadata
        key = _service_key(metadata.namespace, metadata.labels.get(SERVICE_LABEL, ""))
        slices = self._slices.setdefault(key, {})
        if deleted:
            slices.pop(metadata.name, None)
        else:
            slices[metadata.name] = self._take(endpoint_slice, self._services.get(key))
        if not slices:
            del self._slices[key]
        news = self._say_service(key)
        if deleted:
            self.drains.lead(_slice_id(key, metadata.name), NOBODY, self._common.version)
        return news

    def _take(self, endpoint_slice: EndpointSlice, service: Service | None) -> _Slice:
        """What a node needs of a slice: who answers, without who wrote it.

        A pod that ends is led to no more once that was decided, though a slice that was written a moment before it was
        to end says so still.
        """
        made = EndpointSlice(address_type=endpoint_slice.address_type, ports=endpoint_slice.ports)
        publishes = service is not None and service.spec.publish_not_ready_addresses
        for endpoint in endpoint_slice.endpoints:
            kept = made.endpoints.add()
            kept.CopyFrom(endpoint)
            if self.drains.ends(kept.target_ref.uid) and not kept.conditions.terminating:
                kept.conditions.serving = takes_connections(kept)
                kept.conditions.ready, kept.conditions.terminating = publishes and kept.conditions.serving, True
        leads = leading_to(made)
        for endpoint in made.endpoints:
            endpoint.ClearField("target_ref")
        return _Slice(made, leads)

    def _say_service(self, key: Key) -> bool:
        service, id_ = self._services.get(key), f"service/{key.namespace}/{key.name}"
        slices = self._slices.get(key, {})
        if service is None:
            news = self._common.drop(id_)
        else:
            route = ServiceRoute(
                namespace=key.namespace, name=key.name, spec=service.spec,
                slices=[slices[name].told for name in sorted(slices)],
                load_balancer=[ingress.ip for ingress in service.status.load_balancer.ingress],
                announcer=service.status.announcer,
            )  # fmt: skip
            news = self._put(NetworkRecord(id=id_, service=route))
        for name, each in slices.items():
            leads = each.leads if service is not None else NOBODY
            self.drains.lead(_slice_id(key, name), leads, self._common.version)
        return news

    def _put(self, record: NetworkRecord) -> bool:
        return self._common.put(record.id, record)

    def namespace_changed(self, namespace: Namespace, *, deleted: bool) -> bool:
        """A namespace was added, changed or deleted. Whether nodes must be told."""
        return self.policies.namespace_changed(namespace, deleted=deleted)

    def policy_changed(self, policy: NetworkPolicy, *, deleted: bool) -> bool:
        """A policy was added, changed or deleted. Whether nodes must be told."""
        self.policies.policy_changed(policy, deleted=deleted)
        return True

    def pod_changed(self, old: Pod | None, new: Pod, *, deleted: bool) -> Collection[str]:
        """Follow a pod. Returns the nodes that must be told."""
        self.drains.pod_changed(new, deleted=deleted)
        namespace = new.metadata.namespace
        before, now = _NOWHERE if old is None else _whereabouts(old), _NOWHERE if deleted else _whereabouts(new)
        told = self._moved(namespace, before.node, now.node) if before.node != now.node else set()
        if self._readdressed(namespace, before, now):
            told.update(self._nodes_of.get(namespace, ()))
        return told | self.policies.pod_changed(old, new, deleted=deleted)

    def _moved(self, namespace: str, before: str, now: str) -> set[str]:
        """A pod of the namespace left a node, or came to one, which then has to know the namespace."""
        if before:
            for counter, key in ((self._interest[before], namespace), (self._nodes_of[namespace], before)):
                counter[key] -= 1
                if not counter[key]:
                    del counter[key]
        if not now:
            return {before} if before else set()
        interest = self._interest[now]
        interest[namespace] += 1
        if interest[namespace] == 1:
            self.newcomers.add(now)
        self._nodes_of[namespace][now] += 1
        return {before, now} if before else {now}

    def _readdressed(self, namespace: str, before: _Whereabouts, now: _Whereabouts) -> bool:
        """Whether the namespace's addresses are others since a pod's are."""
        if not (before.address or now.address) or (before.address, before.uid) == (now.address, now.uid):
            return False
        members = self._members.setdefault(namespace, Records())
        changed = False
        if before.address and members.get(before.address) == before.uid:  # or else another pod has it by now
            changed = members.drop(before.address)
        if now.address:
            changed |= members.put(now.address, now.uid)
        return changed

    # ------------------------------------------------------------ what to say

    def news(self, node: str, told: Told) -> NetworkUpdate | None:
        """What a node does not know yet, or None; it counts as told."""
        rules = self.policies.rules(node)
        if _lost(self._common, told, _COMMON) or (rules is not None and _lost(rules, told, _RULES)):
            told.versions.clear()
        update = NetworkUpdate(snapshot=not told.versions)
        common = self._common.since(told.versions.get(_COMMON, 0))
        own = f"peer/{node}"
        update.records.extend(record for id_, record in common.changed.items() if id_ != own)
        update.removed.extend(common.removed)
        told.versions[_COMMON] = common.version
        if rules is not None:
            _tell_rules(rules, told, update)
        wanted = self._sets_for(node)
        for id_ in [known for known in told.versions if "/" in known and known not in wanted]:
            del told.versions[id_]
            update.removed.append(id_)
        for id_, addresses in wanted.items():
            _tell_addresses(id_, addresses, told, update)
        if self.drains.wanted > told.asked:
            told.asked = update.sequence = common.version
        return update if update.snapshot or update.records or update.removed or update.sequence else None

    def _sets_for(self, node: str) -> dict[str, Records[str, str]]:
        """The address sets that a node needs: of its pods' namespaces, and of its pods' policies."""
        namespaces = self._interest.get(node)
        if not namespaces:
            return {}
        found = {f"members/{ns}": self._members.setdefault(ns, Records()) for ns in namespaces}
        return found | dict(self.policies.sets(node))


def _lost(records: Records[Any, Any], told: Told, group: str) -> bool:
    """Whether a node is so far behind that only a snapshot takes away what is gone."""
    known = told.versions.get(group, 0)
    return known > 0 and records.since(known).whole


def _tell_rules(rules: Records[str, PodRules], told: Told, update: NetworkUpdate) -> None:
    news = rules.since(told.versions.get(_RULES, 0))
    update.records.extend(NetworkRecord(id=f"rules/{uid}", rules=rule) for uid, rule in news.changed.items())
    update.removed.extend(f"rules/{uid}" for uid in news.removed)
    told.versions[_RULES] = news.version


def _tell_addresses(id_: str, addresses: Records[str, str], told: Told, update: NetworkUpdate) -> None:
    known = told.versions.get(id_, 0)
    news = addresses.since(known)
    told.versions[id_] = news.version
    if known and news.empty:
        return
    said = AddressSet(addresses=news.changed.keys(), partial=known > 0 and not news.whole, removed=news.removed)
    update.records.append(NetworkRecord(id=id_, addresses=said))


class _Whereabouts(NamedTuple):
    """The node whose rules are about a pod, and its address there; empty while it has none."""

    node: str
    address: str
    uid: str


_NOWHERE = _Whereabouts("", "", "")
"""Of pods that are not there, or over, or in their host's network."""


def _whereabouts(pod: Pod) -> _Whereabouts:
    spec = pod.spec
    if spec.host_network or is_terminal(pod):
        return _NOWHERE
    return _Whereabouts(spec.node_name, pod.status.pod_ip, pod.metadata.uid)


def _service_key(namespace: str, name: str) -> Key:
    return Key("Service", namespace, name)


def _slice_id(service: Key, name: str) -> str:
    return f"{service.namespace}/{service.name}/{name}"
