"""NetworkPolicies as nodes are told of them: rules of pods, sets of addresses, who hears of what."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from master.dispatcher.network import NetworkBook, Told
from master.dispatcher.policies import OPENED, peer_id, rules_of
from podium.v1.core_pb2 import Namespace, Pod
from podium.v1.meta_pb2 import IntOrString, LabelSelector
from podium.v1.networking_pb2 import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort


def _pod(name: str, labels: dict[str, str] | None = None, *, namespace: str = "default", node: str = "n1",
         ip: str = "10.64.1.2") -> Pod:  # fmt: skip
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, namespace, f"uid-{name}"
    made.metadata.labels.update(labels or {})
    made.spec.node_name, made.status.pod_ip = node, ip
    made.spec.containers.add(name="c").ports.add(name="web", container_port=8080, protocol="TCP")
    return made


def _selector(**labels: str) -> LabelSelector:
    return LabelSelector(match_labels=labels)


def _policy(name: str = "p", namespace: str = "default", selects: LabelSelector | None = None,
            types: Iterable[str] = ("Ingress",)) -> NetworkPolicy:  # fmt: skip
    made = NetworkPolicy()
    made.metadata.name, made.metadata.namespace = name, namespace
    made.spec.pod_selector.CopyFrom(selects or LabelSelector())
    made.spec.policy_types.extend(types)
    return made


def _allow(policy: NetworkPolicy, *peers: NetworkPolicyPeer, port: IntOrString | None = None) -> NetworkPolicy:
    rule = policy.spec.ingress.add(from_peers=peers)
    if port is not None:
        rule.ports.append(NetworkPolicyPort(protocol="TCP", port=port))
    return policy


def test_who_is_selected_by_none_has_no_rules() -> None:
    assert rules_of(_pod("a"), [_policy(selects=_selector(app="db"))]) is None


def test_a_policy_without_rules_lets_nothing_in_and_leaves_the_other_way_alone() -> None:
    rules = rules_of(_pod("a"), [_policy()])
    assert rules is not None
    assert rules.HasField("ingress")
    assert not rules.ingress.rules
    assert not rules.HasField("egress")


def test_rules_of_several_policies_add_up() -> None:
    db, web = (
        NetworkPolicyPeer(pod_selector=_selector(app="web")),
        NetworkPolicyPeer(ip_block=IPBlock(cidr="192.0.2.0/24")),
    )
    rules = rules_of(_pod("a"), [_allow(_policy("b"), db), _allow(_policy("a"), web, port=IntOrString(int_value=80))])
    assert rules is not None
    first, second = rules.ingress.rules
    assert (first.policy, [b.cidr for b in first.blocks], [p.first for p in first.ports]) == (
        "default/a", ["192.0.2.0/24"], [80],
    )  # fmt: skip
    assert (second.policy, list(second.sets)) == ("default/b", [peer_id("default", db)])


def test_a_named_port_is_the_pods_own_and_one_that_it_has_not_opens_nothing() -> None:
    rules = rules_of(_pod("a"), [_allow(_policy(), port=IntOrString(str_value="web"))])
    assert rules is not None
    assert [p.first for rule in rules.ingress.rules for p in rule.ports] == [8080]
    rules = rules_of(_pod("a"), [_allow(_policy(), port=IntOrString(str_value="admin"))])
    assert rules is not None
    assert not rules.ingress.rules


# ---------------------------------------------------------------- what nodes hear


class World:
    """Pods, policies and namespaces, followed by a book as the dispatcher does it."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.policies: dict[str, NetworkPolicy] = {}
        self.namespaces: dict[str, dict[str, str]] = {}
        self.book = NetworkBook(lambda ns: [p for p in self.pods.values() if ns in ("", p.metadata.namespace)])

    def pod(self, pod: Pod, *, gone: bool = False) -> set[str]:
        old = self.pods.get(pod.metadata.name)
        if gone:
            self.pods.pop(pod.metadata.name, None)
        else:
            self.pods[pod.metadata.name] = pod
        return set(self.book.pod_changed(old, pod, deleted=gone))

    def policy(self, policy: NetworkPolicy, *, gone: bool = False) -> None:
        if gone:
            del self.policies[policy.metadata.name]
        else:
            self.policies[policy.metadata.name] = policy
        self.book.policy_changed(policy, deleted=gone)

    def namespace(self, name: str, **labels: str) -> None:
        made = Namespace()
        made.metadata.name = name
        made.metadata.labels.update(labels)
        self.namespaces[name] = labels
        self.book.namespace_changed(made, deleted=False)

    def heard(self, node: str) -> tuple[dict[str, set[str]], set[str]]:
        """Address sets, and uids that have rules, as a new session hears them."""
        update = self.book.news(node, Told())
        assert update is not None
        sets = {r.id: set(r.addresses.addresses) for r in update.records if r.HasField("addresses")}
        return sets, {r.rules.uid for r in update.records if r.HasField("rules")}


def test_a_set_follows_pods_and_namespaces() -> None:
    world, peer = World(), NetworkPolicyPeer(pod_selector=_selector(app="web"), namespace_selector=_selector(team="x"))
    id_ = peer_id("default", peer)
    world.namespace("shop", team="x")
    world.namespace("other", team="y")
    world.pod(_pod("db"))
    world.pod(_pod("w1", {"app": "web"}, namespace="shop", node="n2", ip="10.64.2.2"))
    world.pod(_pod("w2", {"app": "web"}, namespace="other", node="n2", ip="10.64.2.3"))
    world.policy(_allow(_policy(), peer))
    sets, ruled = world.heard("n1")
    assert (sets[id_], sets[OPENED], ruled) == ({"10.64.2.2"}, {"10.64.1.2"}, {"uid-db"})
    assert id_ not in world.heard("n2")[0], "none of its pods is judged by it"
    assert world.heard("n2")[0][OPENED] == {"10.64.1.2"}, "but it lets its pods try"

    told = world.pod(_pod("w3", {"app": "web"}, namespace="shop", node="n3", ip="10.64.3.2"))
    assert "n1" in told
    assert world.heard("n1")[0][id_] == {"10.64.2.2", "10.64.3.2"}
    world.namespace("other", team="x")
    world.namespace("shop", team="y")
    assert world.heard("n1")[0][id_] == {"10.64.2.3"}
    world.policy(world.policies["p"], gone=True)
    sets, ruled = world.heard("n1")
    assert (id_ in sets, sets[OPENED], ruled) == (False, set(), set())


POLICY_STEPS = st.one_of(
    st.tuples(
        st.just("pod"), st.sampled_from("abcd"), st.sampled_from("xy"), st.sampled_from(["n1", "n2"]), st.booleans()
    ),
    st.tuples(st.just("policy"), st.sampled_from("pq"), st.sampled_from("xy"), st.sampled_from("xy"), st.booleans()),
)


@given(st.lists(POLICY_STEPS, max_size=25))
def test_what_is_heard_is_what_holds(steps: list[tuple[str, str, str, str, bool]]) -> None:
    world, uid = World(), 0
    for what, name, one, two, gone in steps:
        if what == "pod":
            uid += 1
            if gone and name in world.pods:
                world.pod(world.pods[name], gone=True)
            elif not gone:
                known = world.pods.get(name)
                pod = _pod(name, {"app": one}, node=two, ip=f"10.64.{two[1]}.{'abcd'.index(name) + 2}")
                pod.metadata.uid = known.metadata.uid if known is not None else f"uid-{uid}"
                world.pod(pod)
        elif gone and name in world.policies:
            world.policy(world.policies[name], gone=True)
        elif not gone:
            peer = NetworkPolicyPeer(pod_selector=_selector(app=two))
            world.policy(_allow(_policy(name, selects=_selector(app=one)), peer))
    for node in ("n1", "n2"):
        here = [p for p in world.pods.values() if p.spec.node_name == node]
        if not here:
            continue
        sets, ruled = world.heard(node)
        judged = {p.metadata.uid for p in here if rules_of(p, world.policies.values()) is not None}
        assert ruled == judged
        for policy in world.policies.values():
            (peer,) = policy.spec.ingress[0].from_peers
            if any(policy.spec.pod_selector.match_labels["app"] == p.metadata.labels["app"] for p in here):
                wanted = peer.pod_selector.match_labels["app"]
                assert sets[peer_id("default", peer)] == {
                    p.status.pod_ip for p in world.pods.values() if p.metadata.labels["app"] == wanted
                }
        assert sets[OPENED] == {
            p.status.pod_ip for p in world.pods.values() if rules_of(p, world.policies.values()) is not None
        }
