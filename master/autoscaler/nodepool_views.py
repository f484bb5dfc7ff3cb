"""Reads what pools are planned by: pools, their hosts' nodes and pods, their credentials."""

from __future__ import annotations

from collections.abc import Mapping

from master.access.protocol import Reader
from master.autoscaler.nodepool_facts import HostView, PoolView
from master.autoscaler.nodepool_plays import PlayKey, Plays
from master.autoscaler.provision import Target
from podium.objects.nodepool import KNOWN_HOSTS, SSH_KEY, join_taints, labels_of
from podium.v1.apps_pb2 import DaemonSet
from podium.v1.core_pb2 import Node, Pod, Secret
from podium.v1.nodepool_pb2 import NodePool, NodePoolHost


def view_of(reader: Reader, pool: NodePool, plays: Plays, held: Mapping[PlayKey, str]) -> PoolView:
    """A pool as it is now; `held` says what keeps pods on hosts that are drained."""
    hosts = []
    for host in pool.spec.hosts:
        key = PlayKey(pool.metadata.uid, host.name)
        node = reader.get(Node, "", host.name)
        hosts.append(
            HostView(
                spec=host,
                node=node,
                pods=reader.pods_on(host.name) if node is not None else (),
                playing=plays.is_running(key),
                played=plays.outcome(key),
                held=held.get(key, ""),
            )
        )
    return PoolView(pool=pool, hosts=hosts, credentials=what_is_wrong(reader, pool))


def what_is_wrong(reader: Reader, pool: NodePool) -> str:
    """Why a pool's credentials are of no use; empty when they are."""
    ref = pool.spec.credentials.secret_ref
    secret = reader.get(Secret, ref.namespace, ref.name)
    if secret is None:
        return f"secret {ref.namespace}/{ref.name} does not exist"
    missing = [name for name in (SSH_KEY, KNOWN_HOSTS) if not secret.data.get(name, b"").strip()]
    return f"secret {ref.namespace}/{ref.name} has no {' and no '.join(missing)}" if missing else ""


def target_of(reader: Reader, pool: NodePool, host: NodePoolHost) -> Target:
    """All that is to be known to set a host up. The pool's credentials must be in order."""
    ref = pool.spec.credentials.secret_ref
    secret = reader.get(Secret, ref.namespace, ref.name)
    data: Mapping[str, bytes] = secret.data if secret is not None else {}
    return Target(
        pool=pool.metadata.name,
        name=host.name,
        address=host.address,
        port=host.port,
        user=host.user,
        labels=labels_of(pool, host),
        taints=join_taints(pool),
        private_key=data.get(SSH_KEY, b""),
        known_hosts=data.get(KNOWN_HOSTS, b""),
        start=pool.spec.power.start,
        stop=pool.spec.power.stop,
        seconds=float(pool.spec.provision_timeout_seconds),
    )


def daemons(reader: Reader) -> list[Pod]:
    """A pod of each DaemonSet: every node that lets it has one."""
    made = []
    for daemon_set in reader.list(DaemonSet):
        pod = Pod(spec=daemon_set.spec.template.spec)
        pod.metadata.CopyFrom(daemon_set.spec.template.metadata)
        pod.metadata.namespace, pod.metadata.name = daemon_set.metadata.namespace, daemon_set.metadata.name
        made.append(pod)
    return made
