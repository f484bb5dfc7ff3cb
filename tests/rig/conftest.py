"""One rig for the whole run. It is left running when it was running before, and removed when the tests started it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from podium.client import Client
from tests.rig.rig import CONFIG, NODES, PROJECT, ROOT, Host, podium, run

_END = re.compile(r"^ +\+-+\nnode-init: nodelet ended", re.MULTILINE)
"""Of an exception that nobody caught: the last line that Python writes, and what node-init says then."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/rig" in str(item.path):
            item.add_marker(pytest.mark.rig)


def _is_up() -> bool:
    found = run("docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}", check=False)
    return len(found.stdout.split()) == 5


@pytest.fixture(scope="session", autouse=True)
def rig() -> Iterator[None]:
    """Bring the rig up, with the code as it is now."""
    was_up = _is_up()
    run(ROOT / "tools/rig/up.sh", timeout=1200)
    yield
    if not was_up:
        run("make", "down", timeout=120)


@pytest.fixture(scope="session", autouse=True)
def unbroken(rig: None) -> Iterator[None]:
    """No nodelet ends by a fault of its own, whatever the tests do to it: it is started again, and hides that."""
    before = {host.name: len(_log(host)) for host in NODES}
    yield
    for host in NODES:
        log = _log(host)
        new = log[before[host.name] if len(log) >= before[host.name] else 0 :]
        ended = _END.search(new)
        assert ended is None, f"the nodelet of {host.name} ended:\n{new[: ended.end()][-4000:]}"


def _log(host: Host) -> str:
    return host.sh("cat /var/log/podium/nodelet.log 2>/dev/null || true")


@pytest.fixture
def client() -> Iterator[Client]:
    """A client with administrator's rights."""
    from pathlib import Path

    with Client.from_config(Path(CONFIG)) as made:
        yield made


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, removed with all that is in it."""
    name = "t-" + request.node.name.replace("_", "-").replace("[", "-").rstrip("]").lower()[:40].strip("-")
    podium("create", "namespace", name)
    yield name
    podium("delete", "namespace", name, "--timeout=60s", timeout=90)


@pytest.fixture
def whole() -> Iterator[None]:
    """Heals every host after a test that hurts one."""
    yield
    podium("wait", "--for=condition=Ready", *(f"node/{h.name}" for h in NODES), "--timeout=60s", timeout=90)
