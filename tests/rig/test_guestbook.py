"""The example of several tiers, as it is in examples/guestbook: applied, used, hurt, copied."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from podium.client import Client
from podium.v1.core_pb2 import Pod
from tests.rig.rig import ADDRESSES, PODIUM, ROOT, podium, run, until

SPACE = "guestbook"


@pytest.fixture
def guestbook() -> Iterator[None]:
    run(PODIUM, "apply", "-f", str(ROOT / "examples/guestbook"))
    yield
    podium("delete", "namespace", SPACE, "--timeout=90s", timeout=120)
    podium("delete", "priorityclass", "guestbook-data")


def _page(query: str = "", host: str = "node1") -> str:
    return run("curl", "-sS", "-m", "5", f"http://{ADDRESSES[host]}:30080/{query}", check=False).stdout


def test_the_guestbook_keeps_what_is_written(client: Client, guestbook: None) -> None:
    for workload in ("statefulset/redis", "deploy/app", "deploy/web"):
        podium("-n", SPACE, "rollout", "status", workload, "--timeout=120s", timeout=150)
    podium("-n", SPACE, "wait", "--for=condition=complete", "job/first-entry", "--timeout=60s", timeout=90)
    until(lambda: "Welcome, sign here." in _page(), seconds=30, what="the first entry on the page")
    assert "Kilroy was here" in until(lambda: _page("?add=Kilroy+was+here", "node2"), seconds=10, what="an answer")

    before = client.get(Pod, "redis-0", namespace=SPACE)
    podium("-n", SPACE, "delete", "pod", "redis-0", timeout=90)
    until(
        lambda: client.get(Pod, "redis-0", namespace=SPACE).metadata.uid != before.metadata.uid,
        seconds=30, what="another redis-0",
    )  # fmt: skip
    podium("-n", SPACE, "wait", "--for=condition=Ready", "pod/redis-0", "--timeout=60s", timeout=90)
    until(lambda: "Kilroy was here" in _page("", "node3"), seconds=30, what="the data of the pod before")

    podium("-n", SPACE, "create", "job", "copy-now", "--from=cronjob/copy")
    podium("-n", SPACE, "wait", "--for=condition=complete", "job/copy-now", "--timeout=60s", timeout=90)
