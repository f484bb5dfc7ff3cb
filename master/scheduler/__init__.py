"""Decides which node each pod runs on, from arrays: see `docs/scheduling.md`."""
