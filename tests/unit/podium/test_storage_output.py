"""How volumes, claims and classes are shown: where data lies, how full it is, why a claim waits."""

from __future__ import annotations

from typing import Any

from podium.aio.clock import SystemClock
from podium.cli.describe.objects import describe
from podium.cli.describe.page import Page
from podium.cli.output.columns import cells, columns_of
from podium.objects.kinds import kind_of
from tests.support.storage import bind, claim, stateful_set, storage_class, volume

NOW = SystemClock().now()


def row(obj: Any, *, wide: bool = False) -> dict[str, str]:
    columns = columns_of(kind_of(obj), wide=wide, namespaces=False, labels=False)
    return dict(zip([c.header for c in columns], cells(obj, columns, NOW), strict=True))


def page(obj: Any) -> str:
    sheet = Page()
    describe(sheet, obj, NOW)
    return str(sheet)


def test_a_volume_shows_where_its_data_lies_and_whose_it_is() -> None:
    its, wanted = volume("v", "5Gi", cls="disks"), claim()
    bind(its, wanted)
    its.status.used, its.status.free = "1Gi", "90Gi"
    shown = row(its, wide=True)
    assert (shown["STATUS"], shown["CLAIM"]) == ("Bound", "default/c")
    assert (shown["LOCATION"], shown["USED"]) == ("n1:/srv/v", "1Gi")
    said = page(its)
    assert "n1:/srv/v" in said
    assert "1Gi; its disk has 90Gi left" in said
    assert "kubernetes.io/hostname In n1" in said


def test_a_claim_shows_why_it_waits() -> None:
    wanted = claim(size="2Gi")
    wanted.status.conditions.add(type="Bound", status="False", reason="FailedBinding", message="no volume is there")
    assert row(wanted, wide=True)["REQUESTED"] == "2Gi"
    assert "no volume is there" in page(wanted)
    wanted.metadata.deletion_timestamp.seconds = 1
    assert row(wanted)["STATUS"] == "Terminating"


def test_the_default_class_is_marked() -> None:
    assert row(storage_class(default=True))["NAME"] == "local (default)"
    assert "WaitForFirstConsumer" in page(storage_class())


def test_a_stateful_set_shows_its_claims() -> None:
    assert "data   1Gi    RWO" in page(stateful_set())
