"""Routes to other nodes on this machine's kernel: over a shared link, and through VXLAN where a router is between.

Two hosts and a router are network namespaces; what a host does is done by a process inside its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.skipif(os.getuid() != 0, reason="network namespaces take root")]

A, B, ROUTER = "podpeer-a", "podpeer-b", "podpeer-r"
POD_A, POD_B = "podpeer-pa", "podpeer-pb"
WORLD = f"""
link add veth-a netns {A} type veth peer name ra netns {ROUTER}
link add veth-b netns {B} type veth peer name rb netns {ROUTER}
-n {A} addr add 192.0.2.2/25 dev veth-a
-n {B} addr add 192.0.2.130/25 dev veth-b
-n {ROUTER} addr add 192.0.2.1/25 dev ra
-n {ROUTER} addr add 192.0.2.129/25 dev rb
-n {A} link set veth-a up
-n {B} link set veth-b up
-n {ROUTER} link set ra up
-n {ROUTER} link set rb up
-n {A} route add default via 192.0.2.1
-n {B} route add default via 192.0.2.129
-n {A} addr add 10.64.1.7/32 dev lo
-n {B} addr add 10.64.2.7/32 dev lo
"""


def _ip(*words: str, check: bool = True) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=check, timeout=20).stdout


def _on(host: str, code: str, *arguments: str) -> str:
    """What a piece of Python prints in a host's network."""
    command = ["ip", "netns", "exec", host, sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def hosts() -> Iterator[None]:
    names = (A, B, ROUTER)
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        for line in WORLD.strip().splitlines():
            _ip(*line.split())
        _on(ROUTER, "open('/proc/sys/net/ipv4/ip_forward', 'w').write('1')")
        yield
    finally:
        for name in names:
            _ip("netns", "del", name, check=False)


def _set_peers(host: str, own: str, mode: str = "auto", **peers: str) -> str:
    """Make the peers of a host those whose slices (`s2` is 10.64.2.0/24) are at these addresses."""
    made = "".join(f"Peer('10.64.{slice_[1:]}.0/24', '{address}')," for slice_, address in peers.items())
    return _on(
        host, f"from nodelet.network.peers import Peer, set_peers; print(set_peers([{made}], '{own}', '{mode}'))"
    )


RECEIVE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], 99)); s.settimeout(20)
data, sender = s.recvfrom(9999); s.sendto(b'heard %d octets' % len(data), sender)
"""
SEND = """
import socket, sys
source, target, octets = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((source, 0)); s.settimeout(0.5)
for _ in range(40):
    try:
        s.sendto(bytes(int(octets)), (target, 99)); print(s.recvfrom(99)[0].decode()); break
    except OSError:  # nobody listens yet; or it is too long, which the kernel has just been told
        continue
"""


def _talk(a: str, b: str, host: str, octets: int = 3) -> str:
    """What is answered to a datagram from one namespace to another, at 10.64.1.HOST and 10.64.2.HOST."""
    with ThreadPoolExecutor(1) as pool:
        receiving = pool.submit(_on, b, RECEIVE, f"10.64.2.{host}")
        answer = _on(a, SEND, f"10.64.1.{host}", f"10.64.2.{host}", str(octets))
        receiving.result()
    return answer


def test_a_peer_behind_a_router_is_reached_through_the_tunnel(hosts: None) -> None:
    for _ in range(2):  # safe to repeat
        assert _set_peers(A, "192.0.2.2", s2="192.0.2.130") == "[]"
    assert _set_peers(B, "192.0.2.130", s1="192.0.2.2") == "[]"
    assert "10.64.2.0/24 via 10.64.2.1 dev podiumvx" in _ip("-n", A, "route")
    assert _talk(A, B, "7") == "heard 3 octets"


def test_a_peer_on_the_same_link_is_reached_directly_and_one_that_goes_is_forgotten(hosts: None) -> None:
    assert _set_peers(A, "192.0.2.2", s2="192.0.2.9", s3="192.0.2.130") == "[]"
    routes = _ip("-n", A, "route")
    assert "10.64.2.0/24 via 192.0.2.9 dev veth-a" in routes
    assert "10.64.3.0/24 via 10.64.3.1 dev podiumvx" in routes
    assert _set_peers(A, "192.0.2.2", s3="192.0.2.131") == "[]", "it has another address now"
    assert "10.64.2.0/24" not in _ip("-n", A, "route")
    tunnel = subprocess.run(["bridge", "-n", A, "fdb", "show", "dev", "podiumvx"], capture_output=True, text=True,
                            check=True, timeout=20).stdout  # fmt: skip
    assert "dst 192.0.2.131" in tunnel
    assert "dst 192.0.2.130" not in tunnel
    assert _set_peers(A, "192.0.2.2") == "[]"
    assert "proto 173" not in _ip("-n", A, "route")


def test_the_way_may_be_given(hosts: None) -> None:
    assert _set_peers(A, "192.0.2.2", "direct", s2="192.0.2.9", s3="192.0.2.130") == "[]"
    routes = _ip("-n", A, "route")
    assert "10.64.2.0/24 via 192.0.2.9 dev veth-a" in routes
    assert "10.64.3.0/24 via 192.0.2.1 dev veth-a" in routes, "its router knows the slices"
    assert _set_peers(A, "192.0.2.2", "vxlan", s2="192.0.2.9") == "[]"
    assert "10.64.2.0/24 via 10.64.2.1 dev podiumvx" in _ip("-n", A, "route"), "though it is on the link"


def test_the_tunnel_follows_the_nodes_address_and_its_links_mtu(hosts: None) -> None:
    assert _set_peers(A, "192.0.2.2", s2="192.0.2.130") == "[]"
    assert _tunnel(A) == ("192.0.2.2", 1450)
    _ip("-n", A, "link", "set", "veth-a", "mtu", "1400")
    assert _set_peers(A, "192.0.2.2", s2="192.0.2.130") == "[]"
    assert _tunnel(A) == ("192.0.2.2", 1350)
    _ip("-n", A, "link", "set", "veth-a", "mtu", "1500")
    _ip("-n", A, "addr", "add", "192.0.2.3/25", "dev", "veth-a")
    assert _set_peers(A, "192.0.2.3", s2="192.0.2.130") == "[]"
    assert _tunnel(A) == ("192.0.2.3", 1450)
    assert _set_peers(B, "192.0.2.130", s1="192.0.2.3") == "[]"
    assert _talk(A, B, "7") == "heard 3 octets"


def _tunnel(host: str) -> tuple[str, int]:
    """From which address a host's tunnel sends, and its MTU."""
    (link,) = json.loads(_ip("-n", host, "-d", "-j", "link", "show", "podiumvx"))
    return link["linkinfo"]["info_data"]["local"], link["mtu"]


# ---------------------------------------------------------------- packets of full size


WIRE = """
import asyncio, sys
from nodelet.network import links, nft
from nodelet.network.isolation import pod_part
from nodelet.network.packet_table import PacketTable

slice_, netns = sys.argv[1:]
links.ensure_gateway('podium0', f'10.64.{slice_}.1')
table = PacketTable()
table.frame_with(nft.Frame(pod_cidr=f'10.64.{slice_}.0/24', cluster_cidr='10.64.0.0/12'))
for pod in ('10.64.1.8', '10.64.2.8'):
    table.say(f'pod/{pod}', pod_part(pod, 'default', (), '10.64.0.0/12'))
asyncio.run(table.tell())
links.wire(uid='one', netns=netns, address=f'10.64.{slice_}.8', gateway=f'10.64.{slice_}.1')
"""
TAKE = """
import socket
with socket.create_server(('10.64.2.8', 99)) as server:
    server.settimeout(20)
    taking, _ = server.accept()
    with taking, taking.makefile('rb') as file:
        taking.settimeout(20)
        taking.sendall(b'%d octets' % len(file.read(1 << 20)))
"""
GIVE = """
import socket, time
for _ in range(100):
    try:
        tcp = socket.create_connection(('10.64.2.8', 99), timeout=20); break
    except ConnectionRefusedError:
        time.sleep(0.1)
with tcp:
    print('segments of', tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
    tcp.sendall(bytes(1 << 20)); print(tcp.recv(99).decode())
"""
DEAF = "add table ip deaf; add chain ip deaf in { type filter hook input priority 0; }; add rule ip deaf in"


@pytest.fixture
def pods(hosts: None) -> Iterator[None]:
    """A pod on each host, wired as a nodelet does it, with a nodelet's rules in between."""
    try:
        for slice_, host, pod in (("1", A, POD_A), ("2", B, POD_B)):
            _ip("netns", "add", pod)
            _on(host, WIRE, slice_, f"/run/netns/{pod}")
        yield
    finally:
        for pod in (POD_A, POD_B):
            _ip("netns", "del", pod, check=False)


@pytest.mark.parametrize(("mode", "segments"), [("vxlan", 1398), ("direct", 1448)])
def test_a_connection_through_the_tunnel_has_segments_that_fit_and_a_direct_one_is_not_made_smaller(
    pods: None, mode: str, segments: int
) -> None:
    for slice_, via, pod in (("1", "192.0.2.2", POD_A), ("2", "192.0.2.130", POD_B)):
        _ip("-n", ROUTER, "route", "add", f"10.64.{slice_}.0/24", "via", via)
        _ip("netns", "exec", pod, "nft", f"{DEAF} meta l4proto icmp drop")
    assert _set_peers(A, "192.0.2.2", mode, s2="192.0.2.130") == "[]"
    assert _set_peers(B, "192.0.2.130", mode, s1="192.0.2.2") == "[]"
    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(_on, POD_B, TAKE)
        assert _on(POD_A, GIVE).splitlines() == [f"segments of {segments}", f"{1 << 20} octets"]
        taking.result()


def test_a_datagram_of_full_size_gets_through_the_tunnel(pods: None) -> None:
    assert _set_peers(A, "192.0.2.2", s2="192.0.2.130") == "[]"
    assert _set_peers(B, "192.0.2.130", s1="192.0.2.2") == "[]"
    assert _talk(POD_A, POD_B, "8", 1472) == "heard 1472 octets"


def test_a_peer_that_cannot_be_reached_is_told(hosts: None) -> None:
    _ip("-n", A, "route", "del", "default")
    assert "198.51.100.7" in _set_peers(A, "192.0.2.2", s2="198.51.100.7")
