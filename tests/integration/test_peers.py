"""Routes to other nodes on this machine's kernel: over a shared link, and through VXLAN where a router is between.

Two hosts and a router are network namespaces; what a host does is done by a process inside its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.skipif(os.getuid() != 0, reason="network namespaces take root")]

A, B, ROUTER = "podpeer-a", "podpeer-b", "podpeer-r"
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


def _on(host: str, code: str) -> str:
    """What a piece of Python prints in a host's network."""
    command = ["ip", "netns", "exec", host, sys.executable, "-c", code]
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
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('10.64.2.7', 99)); s.settimeout(10)
data, sender = s.recvfrom(99); s.sendto(b'heard ' + data, sender)
"""
SEND = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('10.64.1.7', 0)); s.settimeout(0.5)
for _ in range(20):
    try:
        s.sendto(b'you', ('10.64.2.7', 99)); print(s.recvfrom(99)[0].decode()); break
    except (TimeoutError, ConnectionRefusedError):
        continue
"""


def test_a_peer_behind_a_router_is_reached_through_the_tunnel(hosts: None) -> None:
    for _ in range(2):  # safe to repeat
        assert _set_peers(A, "192.0.2.2", s2="192.0.2.130") == "[]"
    assert _set_peers(B, "192.0.2.130", s1="192.0.2.2") == "[]"
    assert "10.64.2.0/24 via 10.64.2.1 dev podiumvx" in _ip("-n", A, "route")
    with ThreadPoolExecutor(1) as pool:
        receiving = pool.submit(_on, B, RECEIVE)
        assert _on(A, SEND) == "heard you"
        receiving.result()


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


def test_a_peer_that_cannot_be_reached_is_told(hosts: None) -> None:
    _ip("-n", A, "route", "del", "default")
    assert "198.51.100.7" in _set_peers(A, "192.0.2.2", s2="198.51.100.7")
