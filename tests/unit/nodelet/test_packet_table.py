"""The packet table as data: differences, shared things, conflicts; what services and pods say in it."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodelet.network import nft
from nodelet.network.isolation import Forward, members_of, pod_part, set_name, set_part
from nodelet.network.packet_table import PacketTable
from nodelet.network.protocol import NetworkFault
from nodelet.network.services import service_part, targets
from nodelet.network.table import NOTHING, Part, Table
from podium.v1.networking_pb2 import Endpoint, EndpointPort, EndpointSlice, ServicePort, ServiceSpec, TrafficSplit
from podium.v1.node_session_pb2 import PodRules, PortRange, ServiceRoute
from tests.support.clock import settle

CLUSTER = "10.64.0.0/12"
FRAME = nft.Frame(pod_cidr="10.64.3.0/24", cluster_cidr=CLUSTER, service_cidr="10.63.0.0/16")


class Kernel:
    """Carries out commands as nft would, on dictionaries; refuses what nft refuses."""

    def __init__(self) -> None:
        self.maps: dict[str, dict[str, str]] = {}
        self.sets: dict[str, set[str]] = {"hairpins": set(), "announced": set()}
        self.chains: dict[str, list[str]] = {}

    def run(self, commands: tuple[str, ...]) -> None:
        for command in commands:
            self._one(command)

    def _one(self, command: str) -> None:
        words = command.split(maxsplit=5)
        verb, what, name = words[0], words[1], words[4]
        rest = words[5] if len(words) > 5 else ""
        match verb, what:
            case "add", "set":
                self.sets.setdefault(name, set())
            case "add", "chain":
                self.chains.setdefault(name, [])
            case "add", "rule":
                self.chains[name].append(rest)
                assert set(re.findall(r"@(set_\w+)", rest)) <= self.sets.keys()
            case "add" | "delete", "element":
                for element in rest.strip("{} ").split(", "):
                    self._element(verb, name, element)
            case "flush", "chain":
                self.chains[name] = []
            case "delete", "chain":
                used = [v for entries in self.maps.values() for v in entries.values()]
                assert f"goto {name}" not in used, f"{name} is in use"
                del self.chains[name]
            case "delete", "set":
                assert not any(f"@{name} " in line for lines in self.chains.values() for line in lines)
                del self.sets[name]
            case _:
                raise AssertionError(command)

    def _element(self, verb: str, name: str, element: str) -> None:
        key, colon, value = element.partition(" : ")
        if name in self.sets:
            (self.sets[name].add if verb == "add" else self.sets[name].remove)(element)
        elif verb == "delete":
            del self.maps[name][key]
        else:
            assert colon, element
            assert key not in self.maps.setdefault(name, {}), f"{key} exists"
            if value.startswith("goto "):
                assert value.removeprefix("goto ") in self.chains
            self.maps[name][key] = value

    def holds(self, parts: dict[str, Part]) -> bool:
        entries = {k: v for part in parts.values() for k, v in part.entries.items()}
        members = {m for part in parts.values() for m in part.members}
        found = {(m, k): v for m, held in self.maps.items() for k, v in held.items()}
        sets = {name for part in parts.values() for name in part.sets}
        return (
            found == entries
            and {(s, e) for s, held in self.sets.items() for e in held} == members
            and self.sets.keys() - {"hairpins", "announced"} == sets
            and self.chains == {c: list(lines) for part in parts.values() for c, lines in part.chains.items()}
        )


def _part(owner: str, pods: frozenset[int], namespace: int, closed: bool) -> Part:
    chain = f"c_{namespace}_{closed}"
    lines = ("drop",) if closed else (f"ip saddr @set_{namespace} return",)
    return Part(
        entries={("leaving", f"{owner}{pod}"): f"goto {chain}" for pod in pods},
        members=frozenset((f"set_{namespace}", str(pod)) for pod in pods),
        chains={chain: lines},
        sets={f"set_{namespace}": "type ipv4_addr"},
    )


STEPS = st.tuples(
    st.sampled_from("abc"),
    st.frozensets(st.integers(1, 4), max_size=3),
    st.integers(1, 2),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(STEPS, max_size=30))
def test_differences_add_up_to_what_is_said(steps: list[tuple[str, frozenset[int], int, bool, bool, bool]]) -> None:
    table, kernel = Table(), Kernel()
    said: dict[str, Part] = {}
    for owner, pods, namespace, closed, ends, tell in steps:
        said[owner] = NOTHING if ends else _part(owner, pods, namespace, closed)
        table.say(owner, said[owner])
        if tell:
            update = table.update()
            kernel.run(update.commands)
            table.settled(update)
            assert not table.changed
            assert kernel.holds(said)


def test_an_update_costs_what_changed() -> None:
    table = Table()
    for number in range(1000):
        table.say(f"service/{number}", Part(entries={("services", f"10.63.0.{number} . tcp . 80"): "goto n1"},
                                            chains={"n1": ("dnat",)}))  # fmt: skip
    table.settled(table.update())
    table.say("service/7", Part(entries={("services", "10.63.0.7 . tcp . 80"): "goto n2"}, chains={"n2": ("dnat",)}))
    assert table.update().commands == (
        "add chain ip podium n2",
        "add rule ip podium n2 dnat",
        "delete element ip podium services { 10.63.0.7 . tcp . 80 }",
        "add element ip podium services { 10.63.0.7 . tcp . 80 : goto n2 }",
    )


def test_what_changes_while_the_kernel_is_told_is_told_next() -> None:
    table, kernel = Table(), Kernel()
    first, second = (Part(entries={("host_ports", "tcp . 80"): f"10.64.3.{n} . 80"}) for n in (2, 3))
    table.say("pod/a", first)
    update = table.update()
    table.say("pod/a", second)
    kernel.run(update.commands)
    table.settled(update)
    assert table.changed
    kernel.run(table.update().commands)
    assert kernel.holds({"pod/a": second})


def test_who_wants_a_key_that_is_taken_gets_it_when_it_is_free() -> None:
    table, kernel = Table(), Kernel()
    key = ("node_ports", "tcp . 30080")
    for owner in ("a", "b"):
        table.say(owner, Part(entries={key: f"goto {owner}"}, chains={owner: ("drop",)}))

    def tell() -> None:
        update = table.update()
        kernel.run(update.commands)
        table.settled(update)

    tell()
    tell()
    assert kernel.maps["node_ports"] == {"tcp . 30080": "goto a"}
    assert table.changed, "b waits"
    table.say("a", NOTHING)
    tell()
    assert kernel.maps["node_ports"] == {"tcp . 30080": "goto b"}
    assert not table.changed


# ---------------------------------------------------------------- bringing it into force


async def nothing_learned() -> list[str]:
    return []


async def test_what_was_learned_of_clients_is_carried_over_and_given_up_when_the_kernel_does_not_take_it() -> None:
    given: list[str] = []

    async def apply(text: str) -> None:
        given.append(text)
        if "broken" in text:
            raise nft.Refused("syntax error")

    async def learned() -> list[str]:
        return [f"add element ip podium tcp_sticky {{ {client} }}"]

    for client in ("192.0.2.7", "broken"):
        given.clear()
        table = PacketTable(apply, learned=learned)
        table.frame_with(FRAME)
        await table.tell()
        assert client in given[0]
    assert len(given) == 2
    assert "broken" not in given[1]


async def test_a_refused_difference_sets_the_table_anew() -> None:
    given: list[str] = []

    async def apply(text: str) -> None:
        given.append(text)
        if len(given) == 2:
            raise nft.Refused("No such file or directory")

    table = PacketTable(apply, learned=nothing_learned)
    table.frame_with(FRAME)
    table.say("pod/a", set_part("members/default", ["10.64.3.2"]))
    await table.tell()
    table.say("pod/b", set_part("members/other", ["10.64.3.3"]))
    await table.tell()
    assert [text.startswith("add table") for text in given] == [True, False, True]
    assert "10.64.3.2" in given[2]
    assert "10.64.3.3" in given[2]
    await table.tell()
    assert len(given) == 3, "nothing is left to tell"


async def test_a_table_that_somebody_removed_is_set_anew() -> None:
    given: list[str] = []
    there = True

    async def apply(text: str) -> None:
        given.append(text)

    async def is_there() -> bool:
        return there

    table = PacketTable(apply, is_there, nothing_learned)
    await table.look()
    table.frame_with(FRAME)
    table.say("pod/a", set_part("members/default", ["10.64.3.2"]))
    await table.tell()
    await table.look()
    await table.tell()
    assert len(given) == 1
    there = False
    await table.look()
    await table.tell()
    assert len(given) == 2
    assert given[1] == given[0]


async def test_the_table_of_an_earlier_run_stays_until_it_is_known_what_holds_now() -> None:
    given: list[str] = []

    async def apply(text: str) -> None:
        given.append(text)

    table = PacketTable(apply)
    table.leave()
    table.frame_with(FRAME)
    telling = asyncio.get_running_loop().create_task(table.tell())
    await settle()
    assert (given, table.left, table.stands) == ([], True, False)
    table.go_on()
    await telling
    assert (len(given), table.left, table.stands) == (1, False, True)


async def test_a_kernel_that_refuses_everything_is_a_fault() -> None:
    async def apply(text: str) -> None:
        raise nft.Refused("Operation not permitted")

    table = PacketTable(apply, learned=nothing_learned)
    await table.tell()  # nothing is known yet
    table.frame_with(FRAME)
    with pytest.raises(NetworkFault, match="cannot be set: Operation not permitted"):
        await table.tell()


# ---------------------------------------------------------------- services


def _slice(*endpoints: tuple[str, str, str], port: int = 8080, name: str = "") -> EndpointSlice:
    """Endpoints as (address, node, state): ready, ending or gone."""
    made = EndpointSlice(ports=[EndpointPort(name=name, port=port, protocol="TCP")])
    for address, node, state in endpoints:
        endpoint = Endpoint(addresses=[address], node_name=node)
        endpoint.conditions.ready = state == "ready"
        endpoint.conditions.serving = state != "gone"
        endpoint.conditions.terminating = state != "ready"
        made.endpoints.append(endpoint)
    return made


def _route(*slices: EndpointSlice, **spec: object) -> ServiceRoute:
    ports = [ServicePort(port=80, protocol="TCP")]
    return ServiceRoute(
        namespace="default", name="web", slices=slices,
        spec=ServiceSpec(**{"cluster_ip": "10.63.0.9", "ports": ports, **spec}),  # type: ignore[arg-type]
    )  # fmt: skip


TWO = (("10.64.1.2", "n1", "ready"), ("10.64.2.2", "n2", "ready"))


def test_a_service_balances_over_its_endpoints() -> None:
    part = service_part(_route(_slice(*TWO)), "n1")
    assert part.entries == {
        ("services", "10.63.0.9 . tcp . 80"): "goto tcp_n2",
        ("tcp_endpoints", "10.63.0.9 . 80 . 0"): "10.64.1.2 . 8080",
        ("tcp_endpoints", "10.63.0.9 . 80 . 1"): "10.64.2.2 . 8080",
    }
    [rule] = part.chains["tcp_n2"]
    assert rule == "dnat ip to ip daddr . tcp dport . numgen random mod 2 map @tcp_endpoints"


def test_a_sticky_service_leads_a_client_to_where_it_was_or_else_chooses_by_its_address() -> None:
    spec = ServiceSpec(session_affinity="ClientIP", ports=[ServicePort(port=80, node_port=30080)])
    spec.session_affinity_config.client_ip.timeout_seconds = 60
    route = _route(_slice(*TWO), session_affinity="ClientIP", ports=spec.ports,
                   session_affinity_config=spec.session_affinity_config)  # fmt: skip
    part = service_part(route, "n1")
    assert part.entries["services", "10.63.0.9 . tcp . 80"] == "goto tcp_a2"
    before, first = part.chains["tcp_a2"]
    assert before.endswith("map @tcp_sticky")
    assert "jhash ip saddr mod 2" in first
    assert part.entries["tcp_learners", "10.63.0.9 . 80"] == "jump learn_tcp_60"
    assert part.entries["tcp_node_learners", "30080"] == "jump learn_tcp_60"
    assert "timeout 60s" in part.chains["learn_tcp_60"][0]


def test_node_ports_and_external_addresses_keep_to_the_external_policy() -> None:
    ports = [ServicePort(port=80, protocol="TCP", node_port=30080)]
    part = service_part(
        _route(_slice(*TWO), ports=ports, external_ips=["192.0.2.9"], external_traffic_policy="Local"), "n2"
    )
    assert part.entries["node_ports", "tcp . 30080"] == "goto tcp_node_n1"
    assert part.entries["tcp_node_endpoints", "30080 . 0"] == "10.64.2.2 . 8080"
    assert part.entries["services", "192.0.2.9 . tcp . 80"] == "goto tcp_n1"
    assert part.entries["services", "10.63.0.9 . tcp . 80"] == "goto tcp_n2"
    elsewhere = service_part(_route(_slice(*TWO), ports=ports, external_traffic_policy="Local"), "n3")
    assert ("node_ports", "tcp . 30080") not in elsewhere.entries


@pytest.mark.parametrize(
    ("spec", "node", "count"),
    [
        ({"internal_traffic_policy": "Local"}, "n1", "n1"),
        ({"internal_traffic_policy": "Local"}, "n3", None),
        ({"traffic_distribution": "PreferSameNode"}, "n1", "n1"),
        ({"traffic_distribution": "PreferSameNode"}, "n3", "n2"),
    ],
)
def test_who_asks_from_within_may_be_kept_on_its_node(spec: dict[str, str], node: str, count: str | None) -> None:
    entries = service_part(_route(_slice(*TWO), **spec), node).entries
    assert entries.get(("services", "10.63.0.9 . tcp . 80")) == (f"goto tcp_{count}" if count else None)


def test_a_headless_service_and_a_mere_name_are_not_routed() -> None:
    assert service_part(_route(_slice(*TWO), cluster_ip="None"), "n1") == NOTHING
    assert service_part(_route(type="ExternalName", external_name="example.com"), "n1") == NOTHING


def test_where_a_canary_is_under_way_its_weight_is_drawn_and_not_its_replicas() -> None:
    route = _route(_slice(*TWO))
    for endpoint, canary in zip(route.slices[0].endpoints, (False, True), strict=True):
        endpoint.split.CopyFrom(TrafficSplit(deployment="web", canary=canary, weight=10))
    part = service_part(route, "n3")
    (chain,) = part.chains
    assert part.entries == {("services", "10.63.0.9 . tcp . 80"): f"goto {chain}"}
    ranges = "{ 0-179999 : 10.64.1.2 . 8080, 180000-199999 : 10.64.2.2 . 8080 }"
    assert part.chains[chain] == (f"meta l4proto tcp dnat ip to numgen random mod 200000 map {ranges}",)
    route.spec.session_affinity = "ClientIP"
    sticky = service_part(route, "n3")
    (by_client,) = (rules for name, rules in sticky.chains.items() if name.startswith("tcp_w"))
    assert "tcp_sticky" in by_client[0]
    assert by_client[1].endswith(f"jhash ip saddr mod 200000 seed 0x706f6469 map {ranges}")
    route.spec.internal_traffic_policy = "Local"
    assert service_part(route, "n2").entries["tcp_endpoints", "10.63.0.9 . 80 . 0"] == "10.64.2.2 . 8080"


def test_endpoints_that_end_answer_only_when_no_other_does() -> None:
    port = ServicePort(port=80)
    both = _slice(("10.64.1.2", "n1", "ending"), ("10.64.2.2", "n2", "ready"), ("10.64.3.2", "n3", "gone"))
    assert [t.address for t in targets([both], port)] == ["10.64.2.2"]
    ending = _slice(("10.64.1.2", "n1", "ending"), ("10.64.3.2", "n3", "gone"))
    assert [t.address for t in targets([ending], port)] == ["10.64.1.2"]
    assert targets([_slice(*TWO, name="admin")], port) == [], "another port"


def test_with_a_local_policy_one_that_ends_here_answers_though_others_are_ready_elsewhere() -> None:
    draining = _slice(("10.64.1.2", "n1", "ending"), ("10.64.2.2", "n2", "ready"), ("10.64.2.3", "n2", "ending"))
    ports = [ServicePort(port=80, protocol="TCP", node_port=30080)]
    route = _route(draining, ports=ports, external_traffic_policy="Local", internal_traffic_policy="Local")
    for node, address in (("n1", "10.64.1.2"), ("n2", "10.64.2.2")):
        entries = service_part(route, node).entries
        assert entries["tcp_node_endpoints", "30080 . 0"] == f"{address} . 8080"
        assert entries["tcp_endpoints", "10.63.0.9 . 80 . 0"] == f"{address} . 8080"
        assert len(entries) == 4, "and no other"
    route.spec.ClearField("internal_traffic_policy")
    assert service_part(route, "n1").entries["tcp_endpoints", "10.63.0.9 . 80 . 0"] == "10.64.2.2 . 8080"


# ---------------------------------------------------------------- pods


def test_a_pod_is_judged_by_its_namespace_on_both_ways() -> None:
    part = pod_part("10.64.3.2", "default", (), CLUSTER)
    mine = set_name(members_of("default"))
    (leaving,) = [lines for name, lines in part.chains.items() if name.startswith("out_")]
    (arriving,) = [lines for name, lines in part.chains.items() if name.startswith("in_")]
    opened = f"ip daddr @{set_name('opened/ingress')} return"
    assert leaving == (f"ip daddr @{mine} return", opened, f"ip daddr {CLUSTER} reject with icmp type admin-prohibited")
    assert arriving == (f"ip saddr @{mine} return", f"ip saddr {CLUSTER} drop")
    assert (mine, "10.64.3.2") in part.members
    assert part.chains == pod_part("10.64.3.3", "default", (), CLUSTER).chains, "shared by the namespace's pods"
    assert not part.chains.keys() & pod_part("10.64.3.4", "other", (), CLUSTER).chains.keys()


def test_host_ports_are_entries_of_their_pod() -> None:
    web = Forward(protocol="TCP", host_port=8080, host_ip="", address="10.64.3.7", port=80)
    dns = Forward(protocol="UDP", host_port=53, host_ip="172.29.90.21", address="10.64.3.7", port=5353)
    entries = pod_part("10.64.3.7", "default", (web, dns), CLUSTER).entries
    assert entries["host_ports", "tcp . 8080"] == "10.64.3.7 . 80"
    assert entries["host_ports_at", "172.29.90.21 . udp . 53"] == "10.64.3.7 . 5353"


def test_policies_take_the_place_of_the_default_for_their_direction() -> None:
    rules = PodRules(uid="a")
    rule = rules.ingress.rules.add(policy="default/web", sets=["selected/1"])
    rule.blocks.add(cidr="192.0.2.0/24", excluded=["192.0.2.7/32"])
    rule.ports.append(PortRange(protocol="TCP", first=80))
    rule.ports.append(PortRange(protocol="UDP", first=100, last=200))
    part = pod_part("10.64.3.2", "default", (), CLUSTER, rules)
    (arriving,) = [lines for name, lines in part.chains.items() if name.startswith("in_")]
    chosen = set_name("selected/1")
    assert arriving == (
        f"ip saddr @{chosen} tcp dport 80 return",
        f"ip saddr @{chosen} udp dport 100-200 return",
        "ip saddr 192.0.2.0/24 ip saddr != { 192.0.2.7/32 } tcp dport 80 return",
        "ip saddr 192.0.2.0/24 ip saddr != { 192.0.2.7/32 } udp dport 100-200 return",
        "drop",
    )
    (leaving,) = [lines for name, lines in part.chains.items() if name.startswith("out_")]
    assert leaving[-1].startswith(f"ip daddr {CLUSTER} reject")
    assert chosen in part.sets
