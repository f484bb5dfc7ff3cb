"""Asking other nodes for how long they have not heard the master, and answering them (GET /lease, plain HTTP)."""

from __future__ import annotations

import asyncio

from nodelet.probes.http import NotHttp, Request, get
from podium.v1.node_session_pb2 import Peers

PATH = "/lease"
_SECONDS = 0.8


async def ask_peers(peers: Peers) -> list[float | None]:
    """The silence of each peer in seconds; None of those that do not answer in time, or never heard the master."""
    return await asyncio.gather(*(_ask(address) for address in peers.addresses))


async def _ask(address: str) -> float | None:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_SECONDS):
            response = await get(Request(host=host.strip("[]"), port=int(port), path=PATH))
        return float(response.body) if response.status == 200 else None
    except (TimeoutError, OSError, NotHttp, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None


def answer(silence: float | None) -> bytes:
    """What a node answers: its silence in seconds, or `never`."""
    return b"never\n" if silence is None else f"{silence:.2f}\n".encode()
