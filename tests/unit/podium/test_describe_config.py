"""What describe says of configuration; and that it never says a secret."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest

from podium.cli.describe.objects import describe
from podium.cli.describe.page import Page
from tests.support.configuration import config_map, pod_with, secret
from tests.support.workloads import daemon_set, deployment, stateful_set

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def said(obj: Any) -> str:
    page = Page()
    describe(page, obj, NOW)
    return str(page)


def test_a_config_map_is_shown_and_a_secret_only_measured() -> None:
    text = said(config_map("c", {"a": "one\ntwo\n", "empty": ""}, raw=b"\xff\xff"))
    assert "one" in text
    assert "two" in text
    assert "2 bytes" in text
    hidden = said(secret("s", {"password": b"hunter2"}))
    assert "hunter2" not in hidden
    assert "7 bytes" in hidden


def test_a_pod_says_where_its_volumes_and_variables_come_from() -> None:
    sources = [
        {"configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}},
        {"secret": {"name": "s", "optional": True}},
        {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    pod = pod_with(
        [
            {"name": "cache", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "host", "hostPath": {"path": "/data", "type": "Directory"}},
            {"name": "config", "configMap": {"name": "settings", "optional": True}},
            {"name": "all", "projected": {"sources": sources}},
        ],
        {
            "envFrom": [{"prefix": "X_", "secretRef": {"name": "s"}}],
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
                {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            ],
            "volumeMounts": [{"name": "config", "mountPath": "/etc/app", "subPath": "a", "readOnly": True}],
        },
    )
    text = said(pod)
    for words in (
        "EmptyDir in memory, at most 1Mi", "HostPath /data (Directory)", "ConfigMap settings optional",
        "ConfigMap c (k as p)", "Secret s optional", "DownwardAPI (metadata.labels as l)",
        "all of Secret s with prefix X_", "A=1", "B=<key k of ConfigMap c>", "C=<limits.cpu>",
        "/etc/app from config/a (ro)",
    ):  # fmt: skip
        assert words in text, text


@pytest.mark.parametrize("made", [deployment(), stateful_set(), daemon_set()], ids=lambda made: type(made).__name__)
def test_a_workload_says_whether_its_configuration_rolls_with_it(made: Any) -> None:
    assert "ConfigRollout" not in said(made)
    made.spec.config_rollout = "Automatic"
    assert re.search(r"^ConfigRollout: +Automatic$", said(made), flags=re.MULTILINE)
