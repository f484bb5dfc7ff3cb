"""For all tests: properties are judged by what holds, never by how fast a busy machine got there."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("podium", deadline=None)
settings.load_profile("podium")
