"""The hosts of an inventory beside the nodes of the cluster, as a table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from podium.objects.conditions import is_true
from podium.provisioning import HostState, Outcome
from podium.provisioning.inventory import Host
from podium.v1.core_pb2 import Node

HEADERS = ("NAME", "ADDRESS", "ROLES", "SSH", "NODE", "VERSION")
NONE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the cluster says of itself; `nodes` is None when it could not be asked."""

    nodes: Sequence[Node] | None = None
    master_version: str = ""


def rows(hosts: Sequence[Host], reached: Outcome, seen: Seen) -> list[list[str]]:
    """A row a host, masters first; then nodes that are not in the inventory."""
    nodes = {node.metadata.name: node for node in seen.nodes or ()}
    found = [_row(host, reached, seen, nodes.get(host.node_name)) for host in hosts]
    known = {host.node_name for host in hosts if host.is_node}
    strange = sorted(name for name in nodes if name not in known)
    return [*found, *([name, NONE, "node", NONE, *_node(nodes[name])] for name in strange)]


def troubles(hosts: Sequence[Host], reached: Outcome, seen: Seen) -> Iterator[str]:
    """What is not as it should be, a sentence each."""
    for result in reached.failed:
        yield result.sentence
    if reached.message:
        yield reached.message
    nodes = {node.metadata.name: node for node in seen.nodes or ()}
    for host in hosts:
        if not host.is_node or seen.nodes is None:
            continue
        node = nodes.get(host.node_name)
        if node is None:
            yield f"{host.name}: not a node yet: podium cluster add"
        elif not is_true(node.status.conditions, "Ready"):
            yield f"{host.name}: {_why(node)}"


def _row(host: Host, reached: Outcome, seen: Seen, node: Node | None) -> list[str]:
    roles = ",".join(role for role, has in (("master", host.is_master), ("node", host.is_node)) if has)
    state, version = NONE, seen.master_version or NONE
    if host.is_node:
        state, version = _node(node) if seen.nodes is not None else ("unknown", NONE)
    if host.is_master and host.is_node and seen.master_version not in ("", version):
        version = f"{seen.master_version} (master), {version} (node)"
    return [host.name, host.address, roles, _ssh(host, reached), state, version]


def _ssh(host: Host, reached: Outcome) -> str:
    result = reached.hosts.get(host.name)
    if result is None:
        return "unknown"
    return {HostState.OK: "ok", HostState.FAILED: "refused"}.get(result.state, "unreachable")


def _node(node: Node | None) -> tuple[str, str]:
    if node is None:
        return "missing", NONE
    state = "Ready" if is_true(node.status.conditions, "Ready") else "NotReady"
    if node.spec.unschedulable:
        state += ",SchedulingDisabled"
    return state, node.status.node_info.kubelet_version or NONE


def _why(node: Node) -> str:
    ready = next((c for c in node.status.conditions if c.type == "Ready"), None)
    return f"not Ready: {ready.message or ready.reason}" if ready is not None else "not Ready"
