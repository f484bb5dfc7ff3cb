"""The network's pure parts: addresses, the rules' text, what is asked of a Docker that drops, the record on disk."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodelet.network import ipam, links, nft, record
from nodelet.network.firewalls import plan_accepts, trusts
from nodelet.network.ipam import Exhausted, Leases
from nodelet.network.isolation import Forward

SLICE = "10.64.3.0/29"


def test_the_first_pod_gets_the_address_after_the_gateway() -> None:
    leases = Leases(cidr="10.64.3.0/24")
    assert ipam.gateway_of(leases.cidr) == "10.64.3.1"
    assert leases.lease("a") == "10.64.3.2"
    assert leases.lease("a") == "10.64.3.2"
    assert leases.lease("b") == "10.64.3.3"


def test_a_freed_address_rests_until_the_others_were_used() -> None:
    leases = Leases(cidr=SLICE)
    assert leases.lease("a") == "10.64.3.2"
    leases.release("a")
    assert [leases.lease(uid) for uid in "bcde"] == ["10.64.3.3", "10.64.3.4", "10.64.3.5", "10.64.3.6"]
    assert leases.lease("f") == "10.64.3.2"
    with pytest.raises(Exhausted, match="all 5 addresses"):
        leases.lease("g")


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.booleans()), max_size=60))
def test_no_two_pods_share_an_address_and_none_gets_a_reserved_one(steps: list[tuple[str, bool]]) -> None:
    leases = Leases(cidr=SLICE)
    for uid, wants in steps:
        try:
            if wants:
                leases.lease(uid)
            else:
                leases.release(uid)
        except Exhausted:
            assert len(leases.held) == 5
        assert len(set(leases.held.values())) == len(leases.held)
        usable = {str(a) for a in ipaddress.ip_network(SLICE).hosts()} - {ipam.gateway_of(SLICE)}
        assert set(leases.held.values()) <= usable


def test_retain_frees_what_others_hold() -> None:
    leases = Leases(cidr=SLICE)
    for uid in "abc":
        leases.lease(uid)
    assert sorted(leases.retain({"b"})) == ["a", "c"]
    assert list(leases.held) == ["b"]


def test_names_and_macs_follow_from_the_pod() -> None:
    assert links.host_end("some-uid") == links.host_end("some-uid")
    assert len(links.host_end("some-uid")) <= 15
    assert links.hardware_address("10.64.3.7") == "0a:58:0a:40:03:07"


FRAME = nft.Frame(pod_cidr="10.64.3.0/24", cluster_cidr="10.64.0.0/12", service_cidr="10.63.0.0/16")


def test_the_whole_table_is_replaced_at_once() -> None:
    text = nft.render(FRAME, ["add element ip podium hairpins { 10.64.3.2 . 10.64.3.2 }"])
    assert text.startswith("add table ip podium\ndelete table ip podium\ntable ip podium {")
    assert "ip saddr 10.64.3.0/24 ip daddr != 10.64.0.0/12 masquerade" in text
    assert text.endswith("}\nadd element ip podium hairpins { 10.64.3.2 . 10.64.3.2 }\n")


def test_pods_are_kept_from_the_hosts_loopback_and_from_others_addresses() -> None:
    guard = nft.render(FRAME).partition("chain guard {")[2].partition("}")[0]
    assert "hook prerouting priority raw" in guard, "before host ports are looked at"
    assert "ip daddr 127.0.0.0/8 drop" in guard
    assert "fib saddr . iif oif missing drop" in guard


def test_without_a_service_range_nobody_is_refused_for_it() -> None:
    without = nft.render(replace(FRAME, service_cidr=""))
    assert without.count("reject") == nft.render(FRAME).count("reject") - 2
    assert "ip daddr reject" not in " ".join(without.split())


def test_a_service_without_endpoints_is_answered_at_once() -> None:
    assert nft.render(FRAME).count("ip daddr 10.63.0.0/16 reject") == 2


OPEN = "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n"
DOCKER = "-P FORWARD DROP\n-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n"


PODS = "10.64.0.0/16"
PASSING = [f"-{how} -j ACCEPT" for how in ("i podv+", "o podv+", f"s {PODS}", f"d {PODS}")]


def _rules(chain: str, *rules: str) -> str:
    return "".join(f"-A {chain} {rule}\n" for rule in rules)


@pytest.mark.parametrize(
    ("listing", "chains"),
    [
        (OPEN, []),
        ("", []),
        (DOCKER, ["DOCKER-USER"] * 4),
        ("-P FORWARD DROP\n", ["FORWARD"] * 4),
        (DOCKER + _rules("DOCKER-USER", PASSING[0]), ["DOCKER-USER"] * 3),
        (DOCKER + _rules("DOCKER-USER", *PASSING), []),
        ("-P INPUT DROP\n-P FORWARD DROP\n" + _rules("FORWARD", *PASSING), ["INPUT"] * 2),
    ],
)
def test_only_a_firewall_that_drops_is_asked_to_accept(listing: str, chains: list[str]) -> None:
    assert [arguments[1] for arguments in plan_accepts(listing, "podv+", PODS)] == chains


@pytest.mark.parametrize("closed", ["INPUT", "FORWARD"])
def test_a_rule_that_was_added_is_not_added_again(closed: str) -> None:
    listing = f"-P {closed} DROP\n"
    added = plan_accepts(listing, "podv+", PODS)
    again = listing + "".join(f"-A {chain} {' '.join(rule)}\n" for _, chain, _, *rule in added)
    assert added
    assert plan_accepts(again, "podv+", PODS) == []


def test_firewalld_is_asked_only_once() -> None:
    zones = "chain filter_FORWARD_ZONES {{\n\t\t{}\n\t\tgoto filter_FWD_public\n\t}}\n"
    assert trusts(zones.format(f"ip saddr {PODS} goto filter_FWD_trusted"), PODS)
    assert not trusts(zones.format("ip saddr 10.0.0.0/8 goto filter_FWD_trusted"), PODS)


def test_the_record_survives_and_a_broken_one_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    assert record.load(path) is None
    leases = Leases(cidr=SLICE)
    leases.lease("a")
    forward = Forward(protocol="TCP", host_port=1, host_ip="", address="10.64.3.2", port=2)
    kept = record.Record(
        leases=leases,
        cluster_cidr="10.64.0.0/12",
        service_cidr="10.63.0.0/16",
        namespaces={"a": "default"},
        forwards={"a": (forward,)},
    )
    record.save(path, kept)
    assert record.load(path) == kept
    path.write_text('{"version": 1}')
    assert record.load(path) is None
    path.write_text("not json")
    assert record.load(path) is None
