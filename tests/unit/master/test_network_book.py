"""What nodes are told of the network: only what concerns them, only what changed, and in the end the whole truth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from master.dispatcher.network import NetworkBook, Told
from master.dispatcher.records import REMEMBERED, Records
from podium.v1.core_pb2 import Node, Pod
from podium.v1.networking_pb2 import Endpoint, EndpointSlice, Service
from podium.v1.node_session_pb2 import NetworkUpdate


class View:
    """A node that believes what it is told."""

    def __init__(self, node: str) -> None:
        self.node, self.told = node, Told()
        self.common: dict[str, object] = {}
        self.members: dict[str, set[str]] = {}

    def hear(self, book: NetworkBook) -> NetworkUpdate | None:
        update = book.news(self.node, self.told)
        if update is None:
            return None
        if update.snapshot:
            self.common, self.members = {}, {}
        for id_ in update.removed:
            self.common.pop(id_, None)
            self.members.pop(id_, None)
        for record in update.records:
            if not record.HasField("addresses"):
                self.common[record.id] = record
                continue
            if not record.id.startswith("members/"):
                continue
            known = self.members.setdefault(record.id, set())
            if not record.addresses.partial:
                known.clear()
            known -= set(record.addresses.removed)
            known |= set(record.addresses.addresses)
        return update


def _node(name: str, address: str = "192.0.2.1", cidr: str = "10.64.1.0/24") -> Node:
    made = Node()
    made.metadata.name, made.spec.pod_cidr = name, cidr
    if address:
        made.status.addresses.add(type="InternalIP", address=address)
    return made


def _pod(name: str, node: str, ip: str = "", namespace: str = "default", **spec: bool) -> Pod:
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, namespace, f"uid-{name}"
    made.spec.node_name, made.status.pod_ip = node, ip
    for field, value in spec.items():
        setattr(made.spec, field, value)
    return made


def test_a_node_hears_of_its_peers_and_not_of_itself() -> None:
    book, view = NetworkBook(), View("n1")
    assert book.node_changed(_node("n1"), deleted=False)
    assert book.node_changed(_node("n2", "192.0.2.2", "10.64.2.0/24"), deleted=False)
    assert not book.node_changed(_node("n2", "192.0.2.2", "10.64.2.0/24"), deleted=False), "nothing new"
    update = view.hear(book)
    assert update is not None
    assert update.snapshot
    assert list(view.common) == ["peer/n2"]
    assert view.hear(book) is None
    book.node_changed(_node("n2"), deleted=True)
    view.hear(book)
    assert not view.common


def test_services_and_their_slices_are_one_record() -> None:
    book, view = NetworkBook(), View("n1")
    view.hear(book)
    part = EndpointSlice(address_type="IPv4", endpoints=[Endpoint(addresses=["10.64.1.2"])])
    part.metadata.name, part.metadata.namespace = "web-1", "default"
    part.metadata.labels["kubernetes.io/service-name"] = "web"
    assert not book.slice_changed(part, deleted=False), "nobody has heard of the service yet"
    service = Service()
    service.metadata.name, service.metadata.namespace, service.spec.cluster_ip = "web", "default", "10.63.0.9"
    assert book.service_changed(service, deleted=False)
    update = view.hear(book)
    assert update is not None
    assert not update.snapshot
    (record,) = update.records
    assert (record.id, record.service.spec.cluster_ip) == ("service/default/web", "10.63.0.9")
    assert [list(e.addresses) for s in record.service.slices for e in s.endpoints] == [["10.64.1.2"]]
    assert book.service_changed(service, deleted=True)
    view.hear(book)
    assert not view.common


def test_a_node_hears_of_members_of_its_own_namespaces_only() -> None:
    book, here, there = NetworkBook(), View("n1"), View("n2")
    assert book.pod_changed(None, _pod("a", "n1"), deleted=False) == {"n1"}
    here.hear(book)
    there.hear(book)
    told = book.pod_changed(_pod("a", "n1"), _pod("a", "n1", "10.64.1.2"), deleted=False)
    assert told == {"n1"}
    book.pod_changed(None, _pod("b", "n2", "10.64.2.2", "other"), deleted=False)
    here.hear(book)
    there.hear(book)
    assert here.members == {"members/default": {"10.64.1.2"}}
    assert there.members == {"members/other": {"10.64.2.2"}}
    book.pod_changed(_pod("b", "n2", "10.64.2.2", "other"), _pod("b", "n2", "10.64.2.2", "other"), deleted=True)
    there.hear(book)
    assert there.members == {}


def test_pods_in_their_hosts_network_are_no_members() -> None:
    book, view = NetworkBook(), View("n1")
    book.pod_changed(None, _pod("a", "n1", "192.0.2.1", host_network=True), deleted=False)
    view.hear(book)
    assert view.members == {}


def test_an_address_that_went_to_another_pod_stays() -> None:
    book, view = NetworkBook(), View("n1")
    old, new = _pod("a", "n1", "10.64.1.2"), _pod("b", "n1", "10.64.1.2")
    book.pod_changed(None, old, deleted=False)
    book.pod_changed(None, new, deleted=False)
    book.pod_changed(old, old, deleted=True)
    view.hear(book)
    assert view.members == {"members/default": {"10.64.1.2"}}


POD_STEPS = st.tuples(
    st.sampled_from("abcd"), st.sampled_from(["", "n1", "n2"]), st.integers(0, 4), st.booleans(),
    st.sampled_from(["n1", "n2", ""]),
)  # fmt: skip


@given(st.lists(POD_STEPS, max_size=40))
def test_who_listens_now_and_then_knows_as_much_as_who_asks_at_the_end(
    steps: list[tuple[str, str, int, bool, str]],
) -> None:
    book, pods = NetworkBook(), dict[str, Pod]()
    views = {name: View(name) for name in ("n1", "n2")}
    for name, node, host, deleted, listens in steps:
        old = pods.get(name)
        if deleted:
            if old is not None:
                book.pod_changed(old, old, deleted=True)
                del pods[name]
        else:
            namespace = "even" if name in "ac" else "odd"
            pods[name] = _pod(name, node, f"10.64.1.{host + 2}{'abcd'.index(name)}" if node and host else "", namespace)
            book.pod_changed(old, pods[name], deleted=False)
        if listens:
            views[listens].hear(book)
    for name, view in views.items():
        view.hear(book)
        fresh = View(name)
        fresh.hear(book)
        assert view.members == fresh.members
        wanted = {p.metadata.namespace for p in pods.values() if p.spec.node_name == name}
        assert view.members == {
            f"members/{ns}": {p.status.pod_ip for p in pods.values() if p.metadata.namespace == ns and p.status.pod_ip}
            for ns in wanted
        }


# ---------------------------------------------------------------- records


@given(st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 3)), st.booleans()), max_size=40))
def test_news_add_up(steps: list[tuple[str, int | None, bool]]) -> None:
    records: Records[str, int] = Records()
    truth, known, version = dict[str, int](), dict[str, int](), 0
    for key, value, ask in steps:
        if value is None:
            records.drop(key)
            truth.pop(key, None)
        else:
            records.put(key, value)
            truth[key] = value
        if ask:
            news = records.since(version)
            known = {} if news.whole else {k: v for k, v in known.items() if k not in news.removed}
            known.update(news.changed)
            version = news.version
            assert known == truth
            assert records.since(version).empty


def test_who_is_too_far_behind_is_told_everything() -> None:
    records: Records[int, int] = Records()
    records.put(-1, 0)
    version = records.since(0).version
    for key in range(REMEMBERED + 1):
        records.put(key, 0)
        records.drop(key)
    news = records.since(version)
    assert news.whole
    assert dict(news.changed) == {-1: 0}
