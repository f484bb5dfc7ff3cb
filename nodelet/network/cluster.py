"""What a node knows of the cluster's network and makes hold here: peers, services, address sets, rules of pods.

The master says it. It is kept on disk, so that a host that boots while the masters are away routes to services all the
same. The file may be a moment behind: the next snapshot sets it right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from google.protobuf.message import DecodeError

from nodelet.network import affinity, conntrack, nft, peers
from nodelet.network.flows import Doubts, Leads
from nodelet.network.isolation import set_part
from nodelet.network.netlink import NetlinkError
from nodelet.network.packet_table import PacketTable
from nodelet.network.protocol import InForce, NetworkFault
from nodelet.network.services import service_leads, service_part, sticky_leads
from nodelet.network.table import NOTHING
from podium import collector
from podium.aio.clock import Clock
from podium.files import write_atomic
from podium.telemetry.log import get_logger
from podium.telemetry.throttle import Throttle
from podium.v1.node_session_pb2 import AddressSet, NetworkRecord, NetworkUpdate, PodRules, ServiceRoute

log = get_logger(__name__)

_FILE = "cluster-network.pb"
KEEP_SECONDS = 5.0
"""The file is written at most this often."""
RETRY_SECONDS = 2.0
GATHER_SECONDS = 0.2
"""Before flows are looked at, unless somebody waits for it: the kernel goes through all of its table each time, which
takes it some ten milliseconds."""
LOOK_SECONDS = 10.0
UNKNOWN_SECONDS = 5.0
"""After a start, how long the rules of the last run stay as they are while the master says nothing: the file is older
than they are."""

SERVICE, RULES = "service/", "rules/"


async def _nothing_more() -> None:
    """Where the table is all there is to look at."""


class ClusterNetwork:
    """See the module. `take` notes a message of the master; `run` brings into force what was noted."""

    def __init__(
        self, *, directory: Path, table: PacketTable, node: str, own_address: str, clock: Clock,
        rules_changed: Callable[[str], None], look: Callable[[], Awaitable[None]] = _nothing_more,
        mode: peers.Mode = "auto",
    ) -> None:  # fmt: skip
        self._file = directory / _FILE
        self._table, self._node, self._own_address, self._clock = table, node, own_address, clock
        self._rules_changed, self._look, self._mode = rules_changed, look, mode
        self._records: dict[str, NetworkRecord] = {}
        self._sets: dict[str, set[str]] = {}
        self._peers: dict[str, peers.Peer] = {}
        self._routed: set[peers.Peer] | None = None
        self._throttle = Throttle(clock, 300.0)
        self._doubts, self._sticky = Doubts(), Doubts()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._unkept = asyncio.Event()
        self._listeners: list[Callable[[str], None]] = []
        self._asked: InForce | None = None
        self._enforced: InForce | None = None

    # ------------------------------------------------------------ what is known

    def on_service(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with `namespace/name` of a service that came, changed or went."""
        self._listeners.append(listener)

    def service(self, key: str) -> ServiceRoute | None:
        """The service of this `namespace/name`."""
        record = self._records.get(SERVICE + key)
        return record.service if record is not None else None

    def services(self) -> Mapping[str, ServiceRoute]:
        """All services by `namespace/name`."""
        return {id_.removeprefix(SERVICE): r.service for id_, r in self._records.items() if id_.startswith(SERVICE)}

    def rules(self, uid: str) -> PodRules | None:
        """What policies say of a pod; None: nothing, its namespace's default holds."""
        record = self._records.get(RULES + uid)
        return record.rules if record is not None else None

    def take(self, update: NetworkUpdate, in_force: InForce | None = None) -> None:
        """Note what the master says.

        Args:
            update: What it says.
            in_force: Called once that, and all before it, holds; of several who wait the newest.
        """
        with collector.paused():
            self._note(update)
        if in_force is not None:
            self._asked = in_force
        if update.snapshot:
            self._table.go_on()

    def again(self) -> None:
        """Bring into force once more what is known."""
        self._wake.set()

    def _note(self, update: NetworkUpdate) -> None:
        if update.snapshot:
            self._routed = None  # a session begins, maybe because the host had no network
            named = {record.id for record in update.records}
            self._drop([id_ for id_ in (*self._records, *self._sets) if id_ not in named])
        self._drop(update.removed)
        for record in update.records:
            if record.HasField("addresses"):
                self._take_addresses(record.id, record.addresses)
            elif self._records.get(record.id) != record:
                self._records[record.id] = record
                self._say(record.id, record)
        self._wake.set()
        self._unkept.set()

    def _drop(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            if id_ in self._sets:
                self._take_addresses(id_, AddressSet())
                del self._sets[id_]
                self._table.say(id_, NOTHING)
            elif self._records.pop(id_, None) is not None:
                self._say(id_, None)

    def _say(self, id_: str, record: NetworkRecord | None) -> None:
        if id_.startswith(SERVICE):
            self._table.say(id_, service_part(record.service, self._node) if record is not None else NOTHING)
            self._doubts.say(id_, service_leads(record.service) if record is not None else {})
            self._sticky.say(id_, sticky_leads(record.service, self._node) if record is not None else {})
            for listener in self._listeners:
                listener(id_.removeprefix(SERVICE))
        elif id_.startswith(RULES):
            self._rules_changed(id_.removeprefix(RULES))
        elif record is None:
            self._peers.pop(id_, None)
        else:
            self._peers[id_] = peers.Peer(record.peer.pod_cidr, record.peer.address)

    def say_leads(self, owner: str, leads: Leads) -> None:
        """Note where flows to a pod's host ports lead, as its rules say; those of a pod that is gone are forgotten."""
        self._doubts.say(owner, leads)
        self._wake.set()

    def _take_addresses(self, id_: str, news: AddressSet) -> None:
        """Each member is an owner of its own: a set of any size is told at the cost of what changed."""
        known = self._sets.setdefault(id_, set())
        come = set(news.addresses)
        gone = set(news.removed) if news.partial else known - come
        for address in gone & known:
            self._table.say(f"{id_}/{address}", NOTHING)
        for address in come - known:
            self._table.say(f"{id_}/{address}", set_part(id_, (address,)))
        known -= gone
        known |= come
        self._table.say(id_, set_part(id_, ()))

    # ------------------------------------------------------------ bringing it into force

    async def load(self) -> None:
        """Go on with what the last run knew."""
        try:
            update = NetworkUpdate.FromString(await asyncio.to_thread(self._file.read_bytes))
        except FileNotFoundError:
            return
        except (OSError, DecodeError) as error:
            log.warning(
                "what was known of the cluster's network cannot be read", path=str(self._file), error=str(error)
            )
            return
        self._note(update)

    async def run(self) -> None:
        """Bring into force what is noted, as it comes, for ever; and keep it on disk."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._enforce(), name="cluster network")
            tasks.create_task(self._forget_astray(), name="forget flows that lead to nobody")
            tasks.create_task(self._look_again(), name="look at the cluster network again")
            tasks.create_task(self._keep(), name="keep the cluster network")
            await self._clock.sleep(UNKNOWN_SECONDS)
            self._table.go_on()

    async def _enforce(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            asked = self._asked
            self._doubts.begin()
            self._sticky.begin()
            try:
                await self._bring_into_force()
            except NetworkFault as fault:
                log.warning("the cluster's network is not in force; trying again", why=str(fault))
                await self._clock.sleep(RETRY_SECONDS)
                self._wake.set()
                continue
            if asked is not None and self._table.stands:
                self._asked, self._enforced = None if self._asked is asked else self._asked, asked
            if self._table.stands and self._doubts.settle() | self._sticky.settle() | (self._enforced is not None):
                self._settled.set()

    async def _bring_into_force(self) -> None:
        """First the ways to other nodes, then the rules that lead there; rules also when there is a way that fails."""
        try:
            await self._route()
        finally:
            await self._table.tell()

    async def _forget_astray(self) -> None:
        """Let clients meet the new rules that would be led to nobody for ever. Rules do not wait for this; who asked
        whether they are in force does, for a client that is remembered is led by what is remembered."""
        while True:
            await self._settled.wait()
            if self._enforced is None:
                await self._clock.sleep(GATHER_SECONDS)
            self._settled.clear()
            enforced, self._enforced = self._enforced, None
            remembered, flows = self._sticky.take(), self._doubts.take()
            try:
                if remembered:
                    await affinity.forget(remembered)
                forgotten = await asyncio.to_thread(conntrack.forget_astray, flows) if flows else 0
            except (OSError, NetlinkError, nft.Refused) as error:
                if self._throttle.admit("flows") is not None:
                    log.warning("clients that are led to nobody cannot be helped; trying again", error=str(error))
                self._sticky.give_back(remembered)
                self._doubts.give_back(flows)
                self._enforced = self._enforced or enforced
                await self._clock.sleep(RETRY_SECONDS)
                self._settled.set()
                continue
            if enforced is not None:
                enforced()
            if forgotten:
                log.info("forgot flows that led to nobody", flows=forgotten)

    async def _look_again(self) -> None:
        """Now and then see to it that what was set is still there: a link that goes takes its routes along, and who
        reloads the host's firewall may throw away more than its own."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await self._table.look()
            await self._look()
            self._routed = None
            self._wake.set()

    async def _route(self) -> None:
        wanted = set(self._peers.values())
        if wanted == self._routed:
            return
        try:
            lost = await asyncio.to_thread(peers.set_peers, wanted, self._own_address, self._mode)
        except (OSError, NetlinkError) as error:
            raise NetworkFault(f"the routes to other nodes cannot be set: {error}") from None
        for why in lost:
            if self._throttle.admit(why) is not None:
                log.warning("a node is out of reach", why=why)
        self._routed = wanted

    async def _keep(self) -> None:
        while True:
            await self._unkept.wait()
            await self._clock.sleep(KEEP_SECONDS)
            self._unkept.clear()
            data = self._everything().SerializeToString()
            try:
                await asyncio.to_thread(write_atomic, self._file, data)
            except OSError as error:  # the disk is lost, which the node's condition tells; pods go on
                if self._throttle.admit("keep") is not None:
                    log.warning("what is known of the cluster's network cannot be kept; trying again", error=str(error))
                await self._clock.sleep(RETRY_SECONDS)
                self._unkept.set()

    def _everything(self) -> NetworkUpdate:
        sets = (NetworkRecord(id=id_, addresses=AddressSet(addresses=held)) for id_, held in self._sets.items())
        return NetworkUpdate(snapshot=True, records=[*self._records.values(), *sets])
