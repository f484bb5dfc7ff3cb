"""A container's environment: where each variable comes from, what wins, what is missed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodelet.pods.environment import ConfigFault, Environment, environment, expand_path
from podium.objects.downward import Whereabouts
from podium.objects.references import Withheld, secret_key
from podium.v1.core_pb2 import Container, EnvFromSource, EnvVar
from tests.support.configuration import by_key, config_map, pod_with, secret

OBJECTS = by_key(
    config_map("settings", {"MODE": "fast", "level": "3", "1st": "x", "with space": "y"}, raw=b"\xff"),
    config_map("more", {"MODE": "slow", "OTHER": "o"}),
    secret("db", {"PASSWORD": b"hunter2", "KEYTAB": b"\xff\xfe", "ZERO": b"a\0b"}),
)
WHERE = Whereabouts(node_ip="192.0.2.1", pod_ip="10.0.0.5", allocatable={"cpu": "3500m", "memory": "4Gi"})


def made(annotations: dict[str, str] | None = None, **container: Any) -> Environment:
    pod = pod_with(container=container, annotations=annotations)
    return environment(pod, pod.spec.containers[0], OBJECTS, WHERE)


def value(source: dict[str, Any], **container: Any) -> str | None:
    return made(env=[{"name": "V", "valueFrom": source}], **container).values.get("V")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"configMapKeyRef": {"name": "settings", "key": "MODE"}}, "fast"),
        ({"configMapKeyRef": {"name": "settings", "key": "gone", "optional": True}}, None),
        ({"configMapKeyRef": {"name": "gone", "key": "gone", "optional": True}}, None),
        ({"secretKeyRef": {"name": "db", "key": "PASSWORD"}}, "hunter2"),
        ({"secretKeyRef": {"name": "gone", "key": "PASSWORD", "optional": True}}, None),
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "p-u1"),
        ({"fieldRef": {"fieldPath": "metadata.namespace"}}, "ns"),
        ({"fieldRef": {"fieldPath": "metadata.uid"}}, "u1"),
        ({"fieldRef": {"fieldPath": "metadata.labels['tier']"}}, "front"),
        ({"fieldRef": {"fieldPath": "metadata.labels['none']"}}, ""),
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "n1"),
        ({"fieldRef": {"fieldPath": "status.hostIP"}}, "192.0.2.1"),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "10.0.0.5"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "2"),
        ({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}, "1500"),
        ({"resourceFieldRef": {"resource": "requests.cpu", "divisor": "100m"}}, "3"),
        ({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}, "4096"),
        ({"resourceFieldRef": {"resource": "requests.memory"}}, "0"),
        ({"resourceFieldRef": {"resource": "limits.ephemeral-storage"}}, "0"),
    ],
)
def test_a_value_from_elsewhere(source: dict[str, Any], expected: str | None) -> None:
    assert value(source, resources={"limits": {"cpu": "1500m"}, "requests": {"cpu": "250m"}}) == expected


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"configMapKeyRef": {"name": "settings", "key": "gone"}}, "couldn't find key gone in ConfigMap ns/settings"),
        ({"configMapKeyRef": {"name": "gone", "key": "k"}}, 'configmap "gone" not found'),
        ({"secretKeyRef": {"name": "db", "key": "gone"}}, "couldn't find key gone in Secret ns/db"),
        ({"secretKeyRef": {"name": "gone", "key": "k"}}, 'secret "gone" not found'),
        ({"secretKeyRef": {"name": "db", "key": "KEYTAB"}}, "key KEYTAB in Secret ns/db is no text"),
        ({"secretKeyRef": {"name": "db", "key": "ZERO"}}, "key ZERO in Secret ns/db is no text"),
        ({"configMapKeyRef": {"name": "settings", "key": "raw"}}, "couldn't find key raw"),
    ],
)
def test_what_is_missing_is_named(source: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        value(source)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("source", ["envFrom", "env"])
def test_a_secret_that_is_not_known_now_is_waited_for(source: str, optional: bool) -> None:
    """Also where it may be missing: it is not."""
    ref = {"name": "db", "optional": optional}
    whole = {"envFrom": [{"secretRef": ref}]}
    one = {"env": [{"name": "V", "valueFrom": {"secretKeyRef": ref | {"key": "PASSWORD"}}}]}
    pod, key = pod_with(container=whole if source == "envFrom" else one), secret_key("ns", "db")
    with pytest.raises(ConfigFault, match=r'secret "db" .* waiting for a master'):
        environment(pod, pod.spec.containers[0], {key: Withheld(key)}, WHERE)


def test_whole_objects_become_variables_and_what_cannot_be_one_is_reported() -> None:
    env = made(envFrom=[{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "db"}, "prefix": "DB_"}])
    assert env.values == {"MODE": "fast", "level": "3", "DB_PASSWORD": "hunter2"}
    assert env.skipped == {"configMap ns/settings": ["1st", "with space"], "secret ns/db": ["DB_KEYTAB", "DB_ZERO"]}
    assert "hunter2" not in repr(env)


def test_a_prefix_can_make_a_name_of_a_key() -> None:
    env = made(envFrom=[{"configMapRef": {"name": "settings"}, "prefix": "X_"}])
    assert env.values["X_1st"] == "x"
    assert env.skipped == {"configMap ns/settings": ["X_with space"]}


def test_later_sources_win_and_env_wins_over_them() -> None:
    sources = [{"configMapRef": {"name": "settings"}}, {"configMapRef": {"name": "more"}}]
    assert made(envFrom=sources).values["MODE"] == "slow"
    env = made(envFrom=sources, env=[{"name": "MODE", "value": "own"}, {"name": "SEEN", "value": "$(MODE) $(OTHER)"}])
    assert (env.values["MODE"], env.values["SEEN"]) == ("own", "own o")


def test_a_missing_source_is_an_error_unless_it_is_optional() -> None:
    assert made(envFrom=[{"configMapRef": {"name": "gone", "optional": True}}]).values == {}
    with pytest.raises(ConfigFault, match='secret "gone" not found'):
        made(envFrom=[{"secretRef": {"name": "gone"}}])


def test_a_value_from_elsewhere_is_not_expanded_but_can_be_referred_to() -> None:
    entries = [
        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['text']"}}},
        {"name": "B", "value": "<$(A)>"},
    ]
    env = made(annotations={"text": "$(HOME) $$"}, env=entries)
    assert env.values == {"A": "$(HOME) $$", "B": "<$(HOME) $$>"}


def test_a_sub_path_needs_all_its_variables() -> None:
    assert expand_path("a/$(POD)/$$(x)", {"POD": "p"}) == "a/p/$(x)"
    with pytest.raises(ConfigFault, match="the variable GONE is not set"):
        expand_path("a/$(GONE)", {"POD": "p"})


NAMES = st.text("ABC1 -", min_size=1, max_size=3)


@given(
    st.dictionaries(NAMES, st.text(max_size=3)),
    st.dictionaries(NAMES, st.text(max_size=3)),
    st.sampled_from(["", "P_"]),
)
def test_every_key_is_a_variable_or_reported(one: dict[str, str], two: dict[str, str], prefix: str) -> None:
    objects = by_key(config_map("one", one), config_map("two", two))
    container = Container(env=[EnvVar(name="LAST", value="x")])
    for name in ("one", "two"):
        source = EnvFromSource(prefix=prefix)
        source.config_map_ref.name = name
        container.env_from.append(source)
    env = environment(pod_with(), container, objects, WHERE)
    for name, data in (("one", one), ("two", two)):
        skipped = env.skipped.get(f"configMap ns/{name}", [])
        assert skipped == sorted(skipped)
        for key in data:
            assert (prefix + key in env.values) != (prefix + key in skipped)
    for key, text in two.items():
        assert env.values.get(prefix + key, text) == text
