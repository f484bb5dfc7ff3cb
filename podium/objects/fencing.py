"""Fencing: why a pod that must not run twice does not, though its node can't be asked. Which pods, and when.

A node that its master does not hear may be dead, or cut off and running everything. Its pods are replaced at once when
that does no harm (Deployments). A pod with an identity or with data of its own must first be known to have stopped:

    node   last acknowledged beat sent
           │
           ├─── `silence` ───────► asks its peers ─► stops exclusive pods ─── `grace` ───► SIGKILL
           │
    master └heard it, or something later
             ├─── lease ───► unreachable, pods Terminating
             └────────────────────────────── `release` ───────────────────────────────────► removes their objects

**The argument.** The node counts from when it *sent* a beat that was later acknowledged; the master counts from when it
*heard* anything, which for that beat was later. So the node's count starts first. On the node an exclusive pod has
ended `silence + evidence + grace` after that start, give or take what a kill takes; the master removes its object
`release` after its own start. `release` is greater by `SLACK` leases (6 s by default): that covers the kill, a
watchdog's turn, clocks that run apart by less than a twentieth, and the worst of the excuses below. The master counts
only time in which it listened, and a new master begins with patience, so both only ever wait longer.

**When the master itself is gone** nobody replaces anything, and stopping would only add to the harm. So before it stops
pods a node asks its peers for how long they have not heard the master. If more than half of all nodes, and more than
two (or simply all), fell silent together with it, the pods go on: a master that lives behind such a partition *holds*
these nodes (`master.controllers.fleet`), and counts `release` from the end of a hold. The answer extends the lease by
`evidence`, as long as a lease itself: so that, when the master is back and the first nodes have heard it, the others
have time to be heard as well.

A peer's answer is somewhat older than what the master heard (half a lease: beats are not all acknowledged), so peers
may excuse a node although the master hears them again before it holds anybody. That can happen only until they would
have lapsed, a lease, half a lease and `together` after the start: 2.5 leases, and with evidence and grace 6.5.

A node counts those nodes that it has been told of, which is all that joined more than `ACQUAINTED` seconds before the
master last heard it. Nodes that join later make most nodes few: so before it removes anything the master also asks
whether the node could be excused among the nodes that it knows (`may_be_excused`), and then leaves its pods alone.

**What it takes**: that the node acts in time. A nodelet that starts acts on the lease that it left on disk before it
starts anything; one that is frozen, killed or gone is stood in for by a watchdog process of its own, which kills what
outlives the lease. **Not guaranteed**: nothing on a host can act while the whole host is frozen (a paused virtual
machine) longer than `release`: until it wakes, nothing runs there, but then its containers run until nodelet or
watchdog act, within a second. A Docker Engine that does not answer can't be told to stop anything. Who needs more
fences the storage itself, or deletes Node objects by hand.

Who deletes a Node object says that the host is gone, and its pods are replaced at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from podium.objects.owners import controller_of
from podium.v1.core_pb2 import Pod

SILENCE, EVIDENCE, GRACE, SLACK = 1.5, 1.5, 2.5, 1.5
"""In leases."""
TOGETHER = 4.0
"""Seconds, or a lease when that is less; much less than the 10 s that the master calls together, since beats and their
answers are some seconds apart."""
ACQUAINTED = 20.0
"""Seconds after which a node has surely been told of another one that joined."""
SAMPLE, SAMPLE_SHARE = 50, 2 / 3
"""So many nodes, the asking one included, are asked when there are more; then this share must have fallen silent."""

FENCED = "Fenced"
"""The reason of a pod that its own node stopped."""


@dataclass(frozen=True, slots=True)
class FencingTimes:
    """All times in seconds, from the lease after which a silent node is lost."""

    lease: float

    @property
    def silence(self) -> float:
        """After so long without an acknowledgement a node stops exclusive pods."""
        return SILENCE * self.lease

    @property
    def evidence(self) -> float:
        """By so much the peers' answer extends the lease, from when they were asked."""
        return EVIDENCE * self.lease

    @property
    def grace(self) -> float:
        """What an exclusive pod gets to end in, at most."""
        return GRACE * self.lease

    @property
    def together(self) -> float:
        """Nodes that fell silent within so long of each other did so together."""
        return min(TOGETHER, self.lease)

    @property
    def least(self) -> float:
        """A node that was acknowledged since is not silent: more than healthy ones ever wait for an answer."""
        return self.silence / 2

    @property
    def release(self) -> float:
        """After so long a silent node's exclusive pods have ended."""
        return self.silence + self.evidence + self.grace + SLACK * self.lease


def is_exclusive(pod: Pod) -> bool:
    """Whether the pod must not run twice: it has an identity (StatefulSet), or may write to a claimed volume.

    Decided from the pod alone, so that node and master agree; a claim that many may write to counts as well.
    """
    owner = controller_of(pod)
    if owner is not None and owner.kind == "StatefulSet":
        return True
    return any(
        v.HasField("persistent_volume_claim") and not v.persistent_volume_claim.read_only for v in pod.spec.volumes
    )


def may_be_excused(silent: int, known: int) -> bool:
    """Whether a node may believe that it is excused: `silent` fell silent about when it did, itself included, of at
    least `known` that it knows."""
    return silent >= known or (silent > 2 and silent > known / 2)


def fell_silent_together(mine: float, peers: Iterable[float | None], *, nodes: int, times: FencingTimes) -> bool:
    """Whether so many nodes lost the master at once that a master, if there is one, holds all of them.

    Args:
        mine: For how many seconds this node has not heard the master.
        peers: The same of each other node that was asked; None: it did not answer.
        nodes: How many nodes there are, this one included.
        times: Of the cluster.
    """
    answers = list(peers)
    silent = (silence for silence in answers if silence is not None and silence >= times.least)
    together = 1 + sum(1 for silence in silent if abs(silence - mine) <= times.together)
    asked = 1 + len(answers)
    if SAMPLE <= asked < nodes:
        return together > SAMPLE_SHARE * asked
    return may_be_excused(together, nodes)
