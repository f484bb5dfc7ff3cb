"""What happened since parked pods were last looked at: on which nodes, and whether it reaches further than these.

Most changes concern the nodes where they happen. Pods that others speak of, nodes that move between topology domains,
and volumes concern nodes where nothing happened; a line that waits for such a cause is asked about all nodes, if what
came or left is what it counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from master.scheduler.columns import RowArray
from master.scheduler.framework import Profile
from master.scheduler.queue import Line
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import Cause, Snapshot

# Changes of nodes that can open others: their domains count more or less, or no longer.
_MOVES_DOMAINS = Cause.NODE_ADDED | Cause.LABELS_CHANGED | Cause.TAINTS_CHANGED

_NONE: RowArray = np.zeros(0, dtype=np.intp)


@dataclass(slots=True)
class Changes:
    """See the module."""

    _rows: set[int] = field(default_factory=set)
    _causes: Cause = Cause.NOTHING
    _stirred: dict[int, Footprint] = field(default_factory=dict)
    _upheaval: bool = False
    _volumes_moved: bool = False

    def helped(self, row: int | None, cause: Cause) -> None:
        """Something on one node may let pods go there; None: it is no node that is known."""
        if row is not None and cause:
            self._rows.add(row)
            self._causes |= cause
            self._upheaval |= bool(cause & _MOVES_DOMAINS)

    def node_gone(self, row: int | None) -> None:
        """A node is gone, and what its domain counted with it."""
        if row is not None:
            self._rows.discard(row)
            self._upheaval = True

    def stirred(self, footprint: Footprint) -> None:
        """A pod came or left that others may count."""
        if footprint.kin is not None or footprint.volume_claims:
            self._stirred[id(footprint)] = footprint

    def upheaval(self, happened: bool = True) -> None:
        """Everything that counts other pods may be different now."""
        self._upheaval |= happened

    def volumes_moved(self, happened: bool = True) -> None:
        """Claims may be bound elsewhere than before."""
        self._volumes_moved |= happened

    def causes(self) -> Cause:
        """Of everything that happened."""
        causes = self._causes
        if self._stirred or self._upheaval:
            causes |= Cause.NEIGHBOURS
        return causes | Cause.VOLUMES_CHANGED if self._volumes_moved else causes

    def rows(self) -> RowArray:
        """The nodes where something happened."""
        return np.fromiter(self._rows, np.intp, len(self._rows))

    def rows_for(self, line: Line, profile: Profile, cluster: Snapshot) -> RowArray:
        """The nodes that all this may have opened to a line; often none, which costs next to nothing to find."""
        if self._volumes_moved and line.waits_for & Cause.VOLUMES_CHANGED:
            return cluster.rows()
        if line.waits_for & Cause.NEIGHBOURS and self._concern(line, profile, cluster):
            return cluster.rows()
        return self.rows() if line.waits_for & self._causes else _NONE

    def _concern(self, line: Line, profile: Profile, cluster: Snapshot) -> bool:
        return self._upheaval or any(profile.stirred(line.shape, cluster, by) for by in self._stirred.values())

    def clear(self) -> None:
        """All lines know."""
        self._rows.clear()
        self._stirred.clear()
        self._causes = Cause.NOTHING
        self._upheaval = self._volumes_moved = False
