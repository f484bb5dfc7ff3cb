"""A Deployment's strategy and where it stands, in a word or two for a table."""

from __future__ import annotations

import datetime

from podium.v1.apps_pb2 import Deployment


def strategy_word(obj: Deployment, _: datetime.datetime) -> str:
    """`RollingUpdate`, `BlueGreen:2`, `BlueGreen:2<-3` (3 waits), `Canary:20%`, `Canary:rolled-back`."""
    type_, status = obj.spec.strategy.type, obj.status
    if status.HasField("aborted"):
        return f"{type_}:rolled-back"
    if type_ == "BlueGreen" and status.blue_green.active_revision:
        preview = f"<-{status.blue_green.preview_revision}" if status.blue_green.preview_hash else ""
        return f"{type_}:{status.blue_green.active_revision}{preview}"
    if type_ == "Canary" and status.canary.canary_hash:
        return f"{type_}:{status.canary.weight}%"
    return type_
