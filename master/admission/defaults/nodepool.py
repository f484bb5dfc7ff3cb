"""Defaults of podium.dev: a pool needs no host, and lets go of one after ten idle minutes."""

from __future__ import annotations

from podium.v1.nodepool_pb2 import NodePool

SYSTEM_NAMESPACE = "podium-system"
_SSH_PORT, _USER = 22, "root"
_PROVISION_SECONDS = 600
_IDLE_SECONDS, _UTILIZATION_PERCENT = 600, 50


def node_pool(obj: NodePool) -> None:
    """The lower bound, where the credentials are, how hosts are reached, and when they are let go.

    `max` is left open: without it, hosts that are added to the list later may be taken as well.
    """
    spec = obj.spec
    if not spec.HasField("min"):
        spec.min = 0
    if spec.credentials.HasField("secret_ref") and not spec.credentials.secret_ref.namespace:
        spec.credentials.secret_ref.namespace = SYSTEM_NAMESPACE
    if not spec.provision_timeout_seconds:
        spec.provision_timeout_seconds = _PROVISION_SECONDS
    for host in spec.hosts:
        host.port = host.port or _SSH_PORT
        host.user = host.user or _USER
    if not spec.scale_down.HasField("idle_seconds"):
        spec.scale_down.idle_seconds = _IDLE_SECONDS
    if not spec.scale_down.HasField("utilization_percent"):
        spec.scale_down.utilization_percent = _UTILIZATION_PERCENT
