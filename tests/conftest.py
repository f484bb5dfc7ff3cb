"""For all tests: properties are judged by what holds, never by how fast a busy machine got there."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How fast examples are made says something of the machine, and nothing of what is tested.
settings.register_profile("podium", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("podium")
