"""The network's pure parts: addresses, the rules' text, what is asked of a Docker that drops, the record on disk."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodelet.network import ipam, links, nft, record
from nodelet.network.beside_docker import plan_accepts
from nodelet.network.ipam import Exhausted, Leases

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


def _rules(*forwards: nft.Forward) -> nft.Rules:
    return nft.Rules(bridge="podium0", pod_cidr="10.64.3.0/24", cluster_cidr="10.64.0.0/12", forwards=forwards)


def test_the_rules_replace_the_whole_table_at_once() -> None:
    text = nft.render(_rules())
    assert text.startswith("add table ip podium\ndelete table ip podium\ntable ip podium {")
    assert "ip saddr 10.64.3.0/24 ip daddr != 10.64.0.0/12 masquerade" in text


def test_pods_are_kept_from_the_hosts_loopback() -> None:
    guard = nft.render(_rules()).partition("chain loopback_guard {")[2].partition("}")[0]
    assert "hook prerouting priority raw" in guard, "before host ports are looked at"
    assert "ip daddr 127.0.0.0/8 drop" in guard


def test_host_ports_lead_to_pods() -> None:
    web = nft.Forward(protocol="TCP", host_port=8080, host_ip="", address="10.64.3.7", port=80)
    dns = nft.Forward(protocol="UDP", host_port=53, host_ip="172.29.90.21", address="10.64.3.8", port=5353)
    text = nft.render(_rules(web, dns))
    assert "        tcp dport 8080 dnat to 10.64.3.7:80\n" in text
    assert "        ip daddr 172.29.90.21 udp dport 53 dnat to 10.64.3.8:5353\n" in text
    assert nft.render(_rules(web, dns)) == nft.render(_rules(dns, web))


OPEN = "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n"
DOCKER = "-P FORWARD DROP\n-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n"


@pytest.mark.parametrize(
    ("listing", "chains"),
    [
        (OPEN, []),
        (DOCKER, ["DOCKER-USER", "DOCKER-USER"]),
        ("-P FORWARD DROP\n", ["FORWARD", "FORWARD"]),
        (DOCKER + "-A DOCKER-USER -i podium0 -j ACCEPT\n", ["DOCKER-USER"]),
        (DOCKER + "-A DOCKER-USER -i podium0 -j ACCEPT\n-A DOCKER-USER -o podium0 -j ACCEPT\n", []),
    ],
)
def test_only_a_firewall_that_drops_is_asked_to_accept(listing: str, chains: list[str]) -> None:
    assert [arguments[1] for arguments in plan_accepts(listing, "podium0")] == chains


def test_the_record_survives_and_a_broken_one_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    assert record.load(path) is None
    leases = Leases(cidr=SLICE)
    leases.lease("a")
    forward = nft.Forward(protocol="TCP", host_port=1, host_ip="", address="10.64.3.2", port=2)
    kept = record.Record(leases=leases, cluster_cidr="10.64.0.0/12", forwards={"a": (forward,)})
    record.save(path, kept)
    assert record.load(path) == kept
    path.write_text('{"version": 1}')
    assert record.load(path) is None
    path.write_text("not json")
    assert record.load(path) is None
