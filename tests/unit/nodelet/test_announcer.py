"""Which addresses of pools a node answers for, and how it tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from nodelet.network.announcer import LOOK_SECONDS, SHOUT_AFTER, Announcer
from nodelet.network.arp import frames
from nodelet.network.protocol import NetworkFault
from podium.v1.node_session_pb2 import ServiceRoute
from tests.support.clock import VirtualClock, settle


class Node:
    """Services and a link, by hand."""

    def __init__(self) -> None:
        self.routes: dict[str, ServiceRoute] = {}
        self.listener: Callable[[str], None] = lambda key: None
        self.answering: frozenset[str] = frozenset()
        self.shouts: list[frozenset[str]] = []
        self.fails = self.cut_off = False

    def on_service(self, listener: Callable[[str], None]) -> None:
        self.listener = listener

    def service(self, key: str) -> ServiceRoute | None:
        return self.routes.get(key)

    def services(self) -> Mapping[str, ServiceRoute]:
        return self.routes

    def put(self, key: str, announcer: str, *addresses: str) -> None:
        self.routes[key] = ServiceRoute(announcer=announcer, load_balancer=addresses)
        self.listener(key)

    async def answer_for(self, addresses: Collection[str]) -> Collection[str]:
        if self.fails:
            raise NetworkFault("no device")
        come, self.answering = frozenset(addresses) - self.answering, frozenset(addresses)
        return come

    async def shout(self, addresses: Collection[str]) -> None:
        self.shouts.append(frozenset(addresses))

    def announcer(self, clock: VirtualClock) -> Announcer:
        return Announcer(services=self, node="n1", link=self, may=lambda: not self.cut_off, clock=clock)


def _run(node: Node, clock: VirtualClock) -> asyncio.Task[None]:
    return asyncio.create_task(node.announcer(clock).run())


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def test_a_node_answers_for_what_the_master_says_and_tells_so_several_times() -> None:
    node, clock = Node(), VirtualClock()
    node.put("default/web", "n1", "192.0.2.10")
    node.put("default/else", "n2", "192.0.2.11")
    running = _run(node, clock)
    await settle()
    assert node.answering == {"192.0.2.10"}
    await clock.advance(sum(SHOUT_AFTER))
    assert node.shouts == [{"192.0.2.10"}] * len(SHOUT_AFTER)
    node.put("default/else", "n1", "192.0.2.11")
    await settle()
    assert node.answering == {"192.0.2.10", "192.0.2.11"}
    assert node.shouts[-1] == {"192.0.2.11"}, "nothing new is said of the other"
    node.put("default/else", "n2", "192.0.2.11")
    await settle()
    assert node.answering == {"192.0.2.10"}
    told = len(node.shouts)
    await clock.advance(sum(SHOUT_AFTER))
    assert len(node.shouts) == told, "what is another's is not shouted any more"
    await _stop(running)


async def test_a_node_that_is_cut_off_lets_go_and_answers_again_later() -> None:
    node, clock = Node(), VirtualClock()
    node.put("default/web", "n1", "192.0.2.10")
    running = _run(node, clock)
    await settle()
    node.cut_off = True
    await clock.advance(LOOK_SECONDS)
    assert not node.answering
    node.cut_off = False
    await clock.advance(LOOK_SECONDS)
    assert node.answering == {"192.0.2.10"}
    await _stop(running)


async def test_a_service_that_went_is_not_answered_for_and_a_failure_is_tried_again() -> None:
    node, clock = Node(), VirtualClock()
    node.fails = True
    node.put("default/web", "n1", "192.0.2.10")
    running = _run(node, clock)
    await settle()
    assert not node.answering
    node.fails = False
    await clock.advance(LOOK_SECONDS)
    assert node.answering == {"192.0.2.10"}
    del node.routes["default/web"]
    node.listener("default/web")
    await settle()
    assert not node.answering
    await _stop(running)


def test_gratuitous_arp_says_who_has_an_address_as_request_and_answer() -> None:
    mac = bytes.fromhex("0a580a400102")
    asked, answered = frames("192.0.2.10", mac)
    for frame, operation in ((asked, 1), (answered, 2)):
        assert frame[:6] == b"\xff" * 6
        assert frame[6:12] == frame[22:28] == mac
        assert frame[12:14] == b"\x08\x06"
        assert frame[20:22] == operation.to_bytes(2, "big")
        assert frame[28:32] == frame[38:42] == bytes([192, 0, 2, 10])
