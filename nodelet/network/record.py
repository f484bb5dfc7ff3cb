"""What the network must know after a restart, in one file: leases, ranges, host ports. Written wholly or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nodelet.network.ipam import Leases
from nodelet.network.isolation import Forward
from podium.files import write_atomic
from podium.telemetry.log import get_logger

log = get_logger(__name__)
_VERSION = 2


@dataclass(slots=True, kw_only=True)
class Record:
    """Leases of the node's slice, the cluster's ranges, and of each pod by uid: its namespace and its host ports."""

    leases: Leases
    cluster_cidr: str
    service_cidr: str = ""
    domain: str = "cluster.local"
    namespaces: dict[str, str] = field(default_factory=dict)
    forwards: dict[str, tuple[Forward, ...]] = field(default_factory=dict)


def load(path: Path) -> Record | None:
    """The record as it was saved; None when there is none, or one that cannot be read.

    What is lost then is found again: a sandbox that is adopted brings its address with it.
    """
    try:
        data = json.loads(path.read_text())
        if not isinstance(data, Mapping) or data["version"] != _VERSION:
            raise ValueError("of another version")
        leases = Leases(cidr=data["cidr"], held=dict(data["held"]), last=data["last"])
        forwards = {uid: tuple(Forward(**f) for f in held) for uid, held in data["forwards"].items()}
        return Record(
            leases=leases,
            cluster_cidr=data["cluster_cidr"],
            service_cidr=data["service_cidr"],
            domain=data["domain"],
            namespaces=dict(data["namespaces"]),
            forwards=forwards,
        )
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        log.warning("the network's record cannot be read; beginning anew", path=str(path), error=str(error))
        return None


def save(path: Path, record: Record) -> None:
    """Write the record. Blocks for an fsync."""
    data = {
        "version": _VERSION,
        "cidr": record.leases.cidr,
        "cluster_cidr": record.cluster_cidr,
        "service_cidr": record.service_cidr,
        "domain": record.domain,
        "namespaces": record.namespaces,
        "held": record.leases.held,
        "last": record.leases.last,
        "forwards": {uid: [asdict(f) for f in held] for uid, held in record.forwards.items()},
    }
    write_atomic(path, json.dumps(data).encode())
