"""Which pods of a BlueGreen Deployment a service leads to."""

from __future__ import annotations

import pytest

from podium.objects.blue_green import active_hash, is_led_to
from podium.v1.apps_pb2 import Deployment


@pytest.mark.parametrize(
    ("selector", "digest", "active", "led"),
    [
        ({"app": "web"}, "old", "old", True),
        ({"app": "web"}, "new", "old", False),
        ({"app": "web"}, "new", "", True),
        ({"app": "web", "podium.dev/rollout-role": "preview"}, "new", "old", True),
        ({"app": "web", "pod-template-hash": "new"}, "new", "old", True),
    ],
)
def test_a_service_leads_to_the_active_revision_unless_its_selector_names_another(
    selector: dict[str, str], digest: str, active: str, led: bool
) -> None:
    assert is_led_to(selector, {"app": "web", "pod-template-hash": digest}, active) is led


def test_what_another_strategy_left_in_the_status_says_nothing() -> None:
    made = Deployment()
    made.status.blue_green.active_hash = "old"
    assert active_hash(made) == ""
    made.spec.strategy.type = "BlueGreen"
    assert active_hash(made) == "old"
