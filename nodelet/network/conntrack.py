"""The kernel's table of flows, asked and tidied by netlink (ctnetlink). Blocking; the caller runs it in a thread.

The kernel picks what is handed over (since 5.8): the flows of a few sockets, or of one protocol when there are many; of
TCP only flows that nobody answered yet (since 5.15). An older one hands over more, which is left out here.
"""

from __future__ import annotations

import errno
import socket as sockets
from collections.abc import Collection, Iterable, Iterator
from socket import AF_INET
from typing import Any

from nodelet.network.flows import Flow, Leads, Socket, plan_forget
from nodelet.network.links import own_addresses, tolerating
from nodelet.network.netlink import IPS_SEEN_REPLY, NFCTAttrTuple, NFCTSocket

FEW = 16
"""Up to so many sockets are asked for one by one."""

_NUMBERS = {"tcp": sockets.IPPROTO_TCP, "udp": sockets.IPPROTO_UDP}
_NAMES = {number: name for name, number in _NUMBERS.items()}


def forget_astray(doubted: Leads) -> int:
    """Remove flows of these sockets that lead to nobody who may answer. Returns how many.

    Raises:
        OSError, NetlinkError: The kernel refused.
    """
    found: dict[int, Flow] = {}
    with NFCTSocket() as tracking:
        for entry in _dumps(tracking, doubted.keys()):
            if (flow := _flow(entry)) is not None:
                found[flow.id] = flow
        if not found:
            return 0
        astray = plan_forget(found.values(), doubted, own_addresses())
        for flow in astray:
            with tolerating(errno.ENOENT):  # it ended meanwhile, or the client has begun another one
                tracking.entry("del", tuple_orig=_tuple(flow), id=flow.id)
        return len(astray)


def _dumps(tracking: NFCTSocket, asked: Collection[Socket]) -> Iterator[Any]:
    if any(each.protocol == "tcp" for each in asked):
        yield from tracking.dump(status=0, status_mask=IPS_SEEN_REPLY)
    for wanted in _filters([each for each in asked if each.protocol == "udp"]):
        yield from tracking.dump(tuple_orig=wanted)


def _filters(asked: Collection[Socket]) -> Iterable[NFCTAttrTuple]:
    udp = _NUMBERS["udp"]
    if len(asked) > FEW:
        return [NFCTAttrTuple(proto=udp)]
    return [NFCTAttrTuple(proto=udp, daddr=each.address or None, dport=each.port) for each in asked]


def _flow(entry: Any) -> Flow | None:
    """What an entry says; None of what is neither TCP nor UDP."""
    there, back = (NFCTAttrTuple.from_netlink(AF_INET, entry.get_attr(f"CTA_TUPLE_{way}")) for way in ("ORIG", "REPLY"))
    if there.proto not in _NAMES:
        return None
    return Flow(
        id=entry.get_attr("CTA_ID"),
        client=(there.saddr, there.sport),
        asked=Socket(there.daddr, _NAMES[there.proto], there.dport),
        answers=(back.saddr, back.sport),
        replied=bool(entry.get_attr("CTA_STATUS") & IPS_SEEN_REPLY),
    )


def _tuple(flow: Flow) -> NFCTAttrTuple:
    return NFCTAttrTuple(
        saddr=flow.client[0], sport=flow.client[1], daddr=flow.asked.address, dport=flow.asked.port,
        proto=_NUMBERS[flow.asked.protocol],
    )  # fmt: skip
