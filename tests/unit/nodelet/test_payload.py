"""Which files volumes of configuration hold."""

from __future__ import annotations

from typing import Any

import pytest

from nodelet.volumes.payload import File, Payload, holds_secrets, payload
from nodelet.volumes.protocol import VolumeFault
from podium.objects.downward import lines
from podium.objects.references import Withheld, references, secret_key, volumes_differ
from tests.support.configuration import by_key, config_map, pod_with, secret

OBJECTS = by_key(config_map("c", {"a.conf": "A", "b.conf": "B"}, raw=b"\xff"), secret("s", {"key": b"K"}))


def files(source: dict[str, Any], **pod: Any) -> Payload:
    made = pod_with([{"name": "v", **source}], **pod)
    return payload(made, made.spec.volumes[0], OBJECTS, {"cpu": "4"})


def text(source: dict[str, Any], **pod: Any) -> dict[str, bytes]:
    return {path: file.data for path, file in files(source, **pod).items()}


def test_every_key_is_a_file() -> None:
    assert text({"configMap": {"name": "c"}}) == {"a.conf": b"A", "b.conf": b"B", "raw": b"\xff"}
    assert files({"configMap": {"name": "c"}})["raw"].mode == 0o644


def test_items_choose_rename_and_set_modes() -> None:
    items = [{"key": "a.conf", "path": "etc/x", "mode": 0o400}, {"key": "raw", "path": "raw"}]
    found = files({"configMap": {"name": "c", "items": items, "defaultMode": 0o440}})
    assert found == {"etc/x": File(data=b"A", mode=0o400), "raw": File(data=b"\xff", mode=0o440)}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"configMap": {"name": "gone"}}, 'configmap "gone" not found'),
        ({"secret": {"secretName": "gone"}}, 'secret "gone" not found'),
        ({"configMap": {"name": "c", "items": [{"key": "x", "path": "x"}]}}, "references non-existent config key: x"),
        (
            {"secret": {"secretName": "s", "items": [{"key": "x", "path": "x"}]}},
            "references non-existent secret key: x",
        ),
        ({"projected": {"sources": [{"secret": {"name": "gone"}}]}}, 'secret "gone" not found'),
    ],
)
def test_what_is_missing_is_named_unless_it_is_optional(source: dict[str, Any], words: str) -> None:
    with pytest.raises(VolumeFault, match=words):
        files(source)
    (kind, body), *_ = source.items()
    inner = next(iter(body["sources"][0].values())) if kind == "projected" else body
    inner["optional"] = True
    assert files(source) == {}


@pytest.mark.parametrize("optional", [True, False])
def test_a_secret_that_is_not_known_now_is_waited_for(optional: bool) -> None:
    """Also where it may be missing: it is not."""
    key = secret_key("ns", "s")
    volumes = [
        {"name": "v", "secret": {"secretName": "s", "optional": optional}},
        {"name": "v", "projected": {"sources": [{"secret": {"name": "s", "optional": optional}}]}},
    ]
    for volume in volumes:
        made = pod_with([volume])
        with pytest.raises(VolumeFault, match=r'secret "s" .* waiting for a master'):
            payload(made, made.spec.volumes[0], {key: Withheld(key)}, {})


def test_the_pod_as_files() -> None:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "note", "fieldRef": {"fieldPath": "metadata.annotations['note']"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "app", "resource": "limits.cpu", "divisor": "1m"}},
    ]
    found = text({"downwardAPI": {"items": items}}, annotations={"note": 'say "hi"\n'})
    labels = b'app="web"\ntier="front"'
    assert found == {"labels": labels, "name": b"p-u1", "note": b'say "hi"\n', "cpu": b"4000"}


def test_maps_are_quoted_as_go_does() -> None:
    assert lines({"b": "x\ty", "a": 'q"\\', "c": "é\x01\u2028"}) == 'a="q\\"\\\\"\nb="x\\ty"\nc="é\\x01\\u2028"'


def test_sources_are_projected_into_one_folder_and_the_later_wins() -> None:
    sources = [
        {"configMap": {"name": "c", "items": [{"key": "a.conf", "path": "key"}]}},
        {"secret": {"name": "s"}},
        {"downwardAPI": {"items": [{"path": "uid", "fieldRef": {"fieldPath": "metadata.uid"}, "mode": 0o600}]}},
    ]
    found = files({"projected": {"sources": sources, "defaultMode": 0o444}})
    assert found == {"key": File(data=b"K", mode=0o444), "uid": File(data=b"u1", mode=0o600)}


def test_what_is_secret_is_known_and_never_shown() -> None:
    def volume(source: dict[str, Any]) -> bool:
        return holds_secrets(pod_with([{"name": "v", **source}]).spec.volumes[0])

    assert volume({"secret": {"secretName": "s"}})
    assert volume({"projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]}})
    assert not volume({"configMap": {"name": "c"}})
    assert "K" not in repr(files({"secret": {"secretName": "s"}})["key"])


# ---------------------------------------------------------------- which objects a pod uses


def test_references_are_all_places_that_name_an_object() -> None:
    pod = pod_with(
        [
            {"name": "a", "configMap": {"name": "c1"}},
            {"name": "b", "secret": {"secretName": "s1"}},
            {"name": "c", "projected": {"sources": [{"configMap": {"name": "c2"}}, {"secret": {"name": "s2"}}]}},
            {"name": "d", "emptyDir": {}},
        ],
        {
            "envFrom": [{"configMapRef": {"name": "c3"}}, {"secretRef": {"name": "s3"}}],
            "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c4", "key": "k"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s4", "key": "k"}}},
                {"name": "C", "value": "x"},
            ],
        },
        imagePullSecrets=[{"name": "s5"}],
        initContainers=[{"name": "i", "image": "i", "envFrom": [{"secretRef": {"name": "s6"}}]}],
    )
    assert sorted((key.kind, key.name) for key in references(pod)) == [
        *(("ConfigMap", f"c{n}") for n in range(1, 5)),
        *(("Secret", f"s{n}") for n in range(1, 7)),
    ]
    assert {key.namespace for key in references(pod)} == {"ns"}
    assert references(pod_with()) == frozenset()


def test_volumes_differ_only_by_what_they_show() -> None:
    shows_config = pod_with([{"name": "a", "configMap": {"name": "c"}}], {"envFrom": [{"secretRef": {"name": "s"}}]})
    changed_config, changed_secret = by_key(config_map("c", {"a": "2"})), by_key(secret("s", {"k": b"2"}))
    assert volumes_differ(shows_config, OBJECTS, shows_config, OBJECTS | changed_config)
    assert not volumes_differ(shows_config, OBJECTS, shows_config, OBJECTS | changed_secret)
    relabelled = pod_with([{"name": "a", "configMap": {"name": "c"}}])
    relabelled.metadata.labels["app"] = "other"
    assert not volumes_differ(shows_config, OBJECTS, relabelled, OBJECTS)
    items = [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]
    shows_pod = pod_with([{"name": "a", "downwardAPI": {"items": items}}])
    relabelled = pod_with([{"name": "a", "downwardAPI": {"items": items}}])
    relabelled.metadata.labels["app"] = "other"
    assert volumes_differ(shows_pod, {}, relabelled, {})
    assert not volumes_differ(shows_pod, {}, shows_pod, {})
