"""The lease as it is kept over the nodelet's end, and its form on disk. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nodelet.session.lease import Terms
from podium.v1.node_session_pb2 import Peers


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLease:
    """What a nodelet that starts must know: `until` when exclusive pods may run, when the watchdog kills what is
    left of them (both in seconds since the boot of that name), and from what that follows."""

    until: float
    kill_at: float
    boot: str
    acknowledged_at: float
    terms: Terms
    peers: Peers


def to_data(kept: KeptLease) -> dict[str, Any]:
    """The lease as plain data."""
    return {
        "until": kept.until,
        "kill_at": kept.kill_at,
        "boot": kept.boot,
        "acknowledged_at": kept.acknowledged_at,
        "terms": asdict(kept.terms),
        "peers": list(kept.peers.addresses),
        "nodes": kept.peers.nodes,
    }


def from_data(data: Mapping[str, Any] | None) -> KeptLease | None:
    """The lease from plain data; None when there is none, or it is none."""
    try:
        if data is None:
            return None
        return KeptLease(
            until=float(data["until"]),
            kill_at=float(data["kill_at"]),
            boot=str(data["boot"]),
            acknowledged_at=float(data["acknowledged_at"]),
            terms=Terms(**{name: float(data["terms"][name]) for name in ("silence", "evidence", "grace")}),
            peers=Peers(addresses=data["peers"], nodes=data["nodes"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
