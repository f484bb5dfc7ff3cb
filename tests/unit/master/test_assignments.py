"""The ledger of assignments: what it says in deltas is what a snapshot would say."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from master.dispatcher.assignments import Book, Ledger, concerns_node
from podium.objects.kinds import Key, key_of
from podium.objects.references import loaded, references, secret_key, unloaded
from podium.v1.core_pb2 import ConfigMap, Container, EnvFromSource, LocalObjectReference, Pod, Secret
from podium.v1.node_session_pb2 import Assignments

PODS: dict[str, Pod] = {}
"""The pods that exist, by name, as they were made last."""


def pod(uid: str, node: str = "n1", *, secrets: tuple[str, ...] = (), generation: int = 1, name: str = "") -> Pod:
    made = Pod()
    made.metadata.namespace, made.metadata.name, made.metadata.uid = "ns", name or uid, uid
    made.metadata.generation = generation
    made.spec.node_name = node
    made.spec.image_pull_secrets.extend(LocalObjectReference(name=s) for s in secrets)
    PODS[made.metadata.name] = made
    return made


def secret(name: str, value: bytes = b"") -> Secret:
    made = Secret(data={"k": value})
    made.metadata.namespace, made.metadata.name = "ns", name
    return made


class Known:
    """Secrets that exist; and all pods."""

    def __init__(self, *secrets: Secret) -> None:
        self.by_name = {s.metadata.name: s for s in secrets}

    def __call__(self, key: Key) -> Secret | Pod | None:
        if key.kind == "Pod":
            return PODS.get(key.name)
        return self.by_name.get(key.name)


NONE = Known()


def uids(message: Assignments) -> set[str]:
    return {p.metadata.uid for p in message.pods}


def test_a_snapshot_holds_the_nodes_pods_and_only_the_secrets_they_use() -> None:
    ledger = Ledger()
    ledger.pod_changed(None, pod("a", secrets=("s1", "missing")), deleted=False)
    ledger.pod_changed(None, pod("b", "n2", secrets=("s2",)), deleted=False)
    message = ledger.book("n1").snapshot(Known(secret("s1"), secret("s2")))
    assert message.snapshot
    assert message.results_in == 1
    assert uids(message) == {"a"}
    assert [s.metadata.name for s in message.secrets] == ["s1"]


def test_only_the_node_concerned_is_told() -> None:
    ledger = Ledger()
    assert ledger.pod_changed(None, pod("a"), deleted=False) == {"n1"}
    assert ledger.pod_changed(None, pod("unbound", ""), deleted=False) == set()
    assert ledger.pod_changed(pod("a"), pod("a"), deleted=True) == {"n1"}
    assert ledger.node_of("a") == ""


def test_a_status_change_is_not_sent_back_but_is_in_the_next_snapshot() -> None:
    ledger = Ledger()
    ledger.pod_changed(None, pod("a"), deleted=False)
    book = ledger.book("n1")
    book.snapshot(NONE)
    before, running = pod("a"), pod("a")
    running.status.phase = "Running"
    assert ledger.pod_changed(before, running, deleted=False) == set()
    assert book.delta(NONE) is None
    assert book.snapshot(NONE).pods[0].status.phase == "Running"


def test_deletion_labels_and_annotations_concern_the_node() -> None:
    before = pod("a")
    for change in ("labels", "annotations"):
        after = pod("a")
        getattr(after.metadata, change)["k"] = "v"
        assert concerns_node(before, after)
    deleted = pod("a")
    deleted.metadata.deletion_timestamp.seconds = 1
    assert concerns_node(before, deleted)
    assert not concerns_node(before, pod("a"))


def test_deltas_chain() -> None:
    book = Book()
    book.put(pod("a"))
    first = book.snapshot(NONE)
    book.put(pod("b"))
    book.drop("a")
    second = book.delta(NONE)
    assert second is not None
    assert (second.applies_to, second.results_in) == (first.results_in, first.results_in + 1)
    assert uids(second) == {"b"}
    assert list(second.removed_pods) == ["a"]
    assert book.delta(NONE) is None


def test_a_recreated_pod_of_the_same_name_replaces_the_old_one() -> None:
    ledger = Ledger()
    ledger.pod_changed(None, pod("old", name="web"), deleted=False)
    ledger.book("n1").snapshot(NONE)
    assert ledger.pod_changed(pod("old", name="web"), pod("new", "n2", name="web"), deleted=False) == {"n1", "n2"}
    delta = ledger.book("n1").delta(NONE)
    assert delta is not None
    assert list(delta.removed_pods) == ["old"]


def test_a_pod_that_is_gone_already_is_left_out_and_then_removed() -> None:
    ledger = Ledger()
    ledger.pod_changed(None, pod("a"), deleted=False)
    ledger.pod_changed(None, pod("old", name="web"), deleted=False)
    gone, old = PODS.pop("a"), pod("old", name="web")
    pod("new", "n2", name="web")
    book = ledger.book("n1")
    assert uids(book.snapshot(NONE)) == set()
    ledger.pod_changed(gone, gone, deleted=True)
    ledger.pod_changed(old, PODS["web"], deleted=False)
    delta = book.delta(NONE)
    assert delta is not None
    assert set(delta.removed_pods) == {"a", "old"}


def test_a_secret_is_sent_when_it_appears_changes_and_goes() -> None:
    ledger = Ledger()
    ledger.pod_changed(None, pod("a", secrets=("s",)), deleted=False)
    book = ledger.book("n1")
    assert not book.snapshot(NONE).secrets
    for known, sent, removed in (
        (Known(secret("s", b"1")), 1, []),
        (Known(secret("s", b"2")), 1, []),
        (NONE, 0, ["ns/s"]),
    ):
        assert ledger.object_changed(secret_key("ns", "s")) == ["n1"]
        delta = book.delta(known)
        assert delta is not None
        assert (len(delta.secrets), list(delta.removed_secrets)) == (sent, removed)
    assert ledger.object_changed(secret_key("ns", "unused")) == []


def test_a_secret_that_no_pod_uses_any_more_is_taken_away() -> None:
    ledger = Ledger()
    known = Known(secret("s"))
    ledger.pod_changed(None, pod("a", secrets=("s",)), deleted=False)
    ledger.pod_changed(None, pod("b", secrets=("s",)), deleted=False)
    book = ledger.book("n1")
    book.snapshot(known)
    ledger.pod_changed(pod("a"), pod("a"), deleted=True)
    delta = book.delta(known)
    assert delta is not None
    assert not delta.removed_secrets
    ledger.pod_changed(pod("b"), pod("b"), deleted=True)
    delta = book.delta(known)
    assert delta is not None
    assert list(delta.removed_secrets) == ["ns/s"]


def test_field_ownership_is_not_sent() -> None:
    book = Book()
    owned = pod("a")
    owned.metadata.managed_fields.add(manager="m")
    book.put(owned)
    assert not book.snapshot(NONE).pods[0].metadata.managed_fields
    assert owned.metadata.managed_fields


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "Secret", "ConfigMap", "send"]), st.integers(0, 4), st.integers(0, 3)),
    max_size=40,
)
"""What happens, to which pod (or with which content, 0: none), and which object it uses (or which one changes)."""


def using(uid: str, number: int, generation: int) -> Pod:
    """A pod that uses one Secret and one ConfigMap."""
    made = pod(uid, secrets=(f"o{number}",), generation=generation)
    source = EnvFromSource()
    source.config_map_ref.name = f"o{number}"
    made.spec.containers.append(Container(env_from=[source]))
    return made


def changed(kind: str, number: int, content: int) -> tuple[Key, Secret | ConfigMap | None]:
    """An object as it is now; None when it is gone."""
    key = Key(kind, "ns", f"o{number}")
    if not content:
        return key, None
    made: Secret | ConfigMap = Secret(data={"k": bytes([content])}) if kind == "Secret" else ConfigMap()
    if isinstance(made, ConfigMap):
        made.data["k"] = str(content)
    made.metadata.namespace, made.metadata.name = key.namespace, key.name
    return key, made


@given(STEPS)
def test_deltas_add_up_to_the_snapshot(steps: list[Step]) -> None:
    ledger, known = Ledger(), dict[Key, Any]()
    book = ledger.book("n1")
    told = _Told()
    told.take(book.snapshot(known.get))
    living: dict[str, Pod] = {}
    for generation, (what, which, use) in enumerate(steps):
        uid = f"p{which}"
        if what == "put":
            new = using(uid, use, generation)
            ledger.pod_changed(living.get(uid), new, deleted=False)
            living[uid] = known[key_of(new)] = new
        elif what == "delete" and uid in living:
            gone = living.pop(uid)
            del known[key_of(gone)]
            ledger.pod_changed(gone, gone, deleted=True)
        elif what in ("Secret", "ConfigMap"):
            key, now = changed(what, use, which)
            known.pop(key, None)
            if now is not None:
                known[key] = now
            ledger.object_changed(key)
        elif what == "send" and (delta := book.delta(known.get)) is not None:
            told.take(delta)
    if (delta := book.delta(known.get)) is not None:
        told.take(delta)
    expected = _Told()
    expected.take(book.snapshot(known.get))
    assert (told.pods, told.objects) == (expected.pods, expected.objects)
    assert told.pods.keys() == living.keys()
    assert told.objects.keys() <= {key for p in living.values() for key in references(p)}


class _Told:
    """What a node makes of the messages."""

    def __init__(self) -> None:
        self.pods: dict[str, int] = {}
        self.objects: dict[Key, Any] = {}
        self.version = 0

    def take(self, message: Assignments) -> None:
        if message.snapshot:
            self.pods, self.objects = {}, {}
        else:
            assert message.applies_to == self.version
        self.version = message.results_in
        for uid in message.removed_pods:
            self.pods.pop(uid, None)
        for key in unloaded(message):
            self.objects.pop(key, None)
        self.pods.update((p.metadata.uid, p.metadata.generation) for p in message.pods)
        self.objects.update(loaded(message))
