"""Session affinity: a client of a service stays with its endpoint, until it has not come for a while.

    first time    the chain `tcp_aN` chooses by a hash of the client's address: any node would choose the same
    on its way    the chain `learn_tcp_SECONDS` notes in the map `tcp_sticky` where the connection went
    next time     the map says where, and the time begins anew

So endpoints that come or go move nobody but the clients of those that go. The map is the kernel's: nothing but a packet
adds to it, what is not used in time goes by itself, and when it is full the hash decides. What is done here: elements
that lead to endpoints which take no connections any more are removed, and when the table is replaced as a whole they
are carried over. A node remembers its own clients; they are forgotten when the host starts anew.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from nodelet.network import links, nft
from nodelet.network.flows import Leads, Socket, Target
from nodelet.network.table import TABLE
from podium.objects.service import AFFINITY_SECONDS

PROTOCOLS = ("tcp", "udp")
_TRIES = 5


class Remembered(NamedTuple):
    """A client's endpoint, and after how many seconds it is forgotten when the client does not come."""

    client: str
    asked: Socket
    target: Target
    timeout: int
    left: int

    @property
    def key(self) -> str:
        """The element's key."""
        return f"{self.client} . {self.asked.address} . {self.asked.port}"


def remembered(protocol: str) -> str:
    """The rule that leads a client to where it was before; who is not known passes on."""
    return f"dnat ip to ip saddr . ip daddr . {protocol} dport map @{protocol}_sticky"


def remembering(protocol: str, seconds: int) -> tuple[str, str]:
    """The chain that notes where a connection went, and its rule."""
    held = seconds or AFFINITY_SECONDS
    asked = "ip saddr . ct original ip daddr . ct original proto-dst"
    went = f"{asked} timeout {held}s : ip daddr . {protocol} dport"
    return f"learn_{protocol}_{held}", f"meta l4proto {protocol} update @{protocol}_sticky {{ {went} }}"


def plan_unlearn(known: Iterable[Remembered], doubted: Leads, own: Collection[str]) -> list[Remembered]:
    """Those that lead to an endpoint which takes no connections any more, of the sockets in doubt."""
    return [each for each in known if (allowed := _allowed(each.asked, doubted, own)) is not None
            and each.target not in allowed]  # fmt: skip


def _allowed(asked: Socket, doubted: Leads, own: Collection[str]) -> frozenset[Target] | None:
    if asked in doubted:
        return doubted[asked]
    return doubted.get(asked._replace(address="")) if asked.address in own else None


async def forget(doubted: Leads) -> None:
    """Remove what was learned of endpoints that take no connections any more.

    Raises:
        nft.Refused: It could not be done.
    """
    own = await asyncio.to_thread(links.own_addresses)
    for protocol in sorted({socket.protocol for socket in doubted}):
        for _ in range(_TRIES):
            # Until none is found: a packet that was on its way may have brought one back.
            gone = plan_unlearn(await _known(protocol), doubted, own)
            if not gone:
                break
            try:
                await nft.apply(f"delete element {TABLE} {protocol}_sticky {{ {', '.join(g.key for g in gone)} }}\n")
            except nft.Refused:  # the time of one of them was over meanwhile
                continue
        else:
            raise nft.Refused(f"clients of endpoints that are gone were still there after {_TRIES} times")


async def learned() -> list[str]:
    """The commands that make what is remembered now anew; none when there is no table."""
    try:
        return [command for protocol in PROTOCOLS for command in _anew(protocol, await _known(protocol))]
    except nft.Refused:
        return []


def _anew(protocol: str, known: Iterable[Remembered]) -> Iterator[str]:
    made = [
        f"{each.key} timeout {each.timeout}s expires {each.left}s : {each.target[0]} . {each.target[1]}"
        for each in known
        if 0 < each.left <= each.timeout
    ]
    if made:
        yield f"add element {TABLE} {protocol}_sticky {{ {', '.join(made)} }}"


async def _known(protocol: str) -> list[Remembered]:
    text = await nft.listed(f"{protocol}_sticky")
    return await asyncio.to_thread(lambda: list(parse(protocol, text)))


def parse(protocol: str, text: str) -> Iterator[Remembered]:
    """What nft lists of a map."""
    for part in json.loads(text)["nftables"]:
        for key, value in part.get("map", {}).get("elem", ()):
            element: dict[str, Any] = key["elem"]
            client, address, port = element["val"]["concat"]
            yield Remembered(
                client=client, asked=Socket(address, protocol, port), target=tuple(value["concat"]),
                timeout=element.get("timeout", 0), left=element.get("expires", 0),
            )  # fmt: skip
