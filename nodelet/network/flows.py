"""Flows that connection tracking goes on leading to where nobody answers any more: which they are. Pure.

A packet of a flow that is known meets no rule again: it goes where the flow's first packet went. That is what keeps
connections whole while endpoints change, and it is wrong for those that cannot end by themselves: a UDP client with a
steady port keeps its flow alive for ever, and a TCP client whose first packet was never answered repeats it to the same
address for minutes. When an endpoint is gone altogether (one that ends is still led to), when a service gets its first
endpoint, or goes, such flows are to be forgotten, so that their next packet meets the rules.

    Socket   what was asked: an address (empty: any of this node's), protocol and port
    Leads    of each socket of an owner (a service, a pod with host ports) who may answer it
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

Target = tuple[str, int]
"""Address and port of who answers."""


class Socket(NamedTuple):
    """What a client asked. Address empty: any of the node's own."""

    address: str
    protocol: str
    port: int


Leads = Mapping[Socket, frozenset[Target]]


class Flow(NamedTuple):
    """What connection tracking knows of a flow.

    Attributes:
        id: The kernel's number of the entry: another flow of the same client has another.
        client: Who asked: address and port.
        asked: Whom, as the client sees it.
        answers: Who sends the answers.
        replied: Whether there was one.
    """

    id: int
    client: Target
    asked: Socket
    answers: Target
    replied: bool


class Doubts:
    """Sockets whose flows are to be looked at, once the rules that put them in doubt are in force.

        say ──► begin ──(the table is told)──► settle ──► take

    What is said between `begin` and `settle` waits for the next round.
    """

    def __init__(self) -> None:
        self._leads: dict[str, Leads] = {}
        self._owners: dict[Socket, set[str]] = {}
        self._said: set[Socket] = set()
        self._told: set[Socket] = set()
        self._settled: set[Socket] = set()

    def say(self, owner: str, leads: Leads) -> None:
        """Replace what is known of an owner; without leads it is gone."""
        old = self._leads.pop(owner, {})
        for socket in old.keys() - leads.keys():
            self._owners[socket].discard(owner)
            if not self._owners[socket]:
                del self._owners[socket]
        for socket in leads.keys() - old.keys():
            self._owners.setdefault(socket, set()).add(owner)
        if leads:
            self._leads[owner] = leads
        self._said.update(_lost_or_first(old, leads))

    def begin(self) -> None:
        """What was said so far is about to be brought into force."""
        self._told |= self._said
        self._said = set()

    def settle(self) -> bool:
        """What was begun is in force. Whether there is something to look at."""
        self._settled |= self._told
        self._told = set()
        return bool(self._settled)

    def take(self) -> Leads:
        """Who may answer the sockets to be looked at now, by what is known by now."""
        doubted, self._settled = self._settled, set()
        return {socket: self._who_may_answer(socket) for socket in doubted}

    def _who_may_answer(self, socket: Socket) -> frozenset[Target]:
        owners = self._owners.get(socket, ())
        return frozenset().union(*(self._leads[owner][socket] for owner in owners))

    def give_back(self, sockets: Iterable[Socket]) -> None:
        """They could not be looked at."""
        self._settled.update(sockets)


def _lost_or_first(old: Leads, new: Leads) -> Iterable[Socket]:
    nobody = frozenset[Target]()
    for socket in old.keys() | new.keys():
        before, now = old.get(socket, nobody), new.get(socket, nobody)
        if before - now or (now and not before):
            yield socket


def plan_forget(flows: Iterable[Flow], doubted: Leads, own: Collection[str]) -> list[Flow]:
    """The flows that lead to nobody who may answer.

    Args:
        doubted: Of sockets in doubt, who may answer them.
        own: The node's addresses.
    """
    return [flow for flow in flows if (socket := _doubted(flow, doubted, own)) and _is_astray(flow, doubted[socket])]


def _doubted(flow: Flow, doubted: Leads, own: Collection[str]) -> Socket | None:
    """The socket in doubt that a flow is about."""
    if flow.asked in doubted:
        return flow.asked
    anywhere = flow.asked._replace(address="")
    return anywhere if anywhere in doubted and flow.asked.address in own else None


def _is_astray(flow: Flow, allowed: Collection[Target]) -> bool:
    if flow.answers in allowed or (flow.replied and flow.asked.protocol == "tcp"):
        return False
    led_on = flow.answers != (flow.asked.address, flow.asked.port)
    return led_on or bool(allowed)
