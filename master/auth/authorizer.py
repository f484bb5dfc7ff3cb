"""Who may do what: three built-in groups, and nothing for anybody else.

    system:masters     everything
    podium:viewers     get, list and watch all but secrets and credentials; logs; no exec, attach, forward, copy
    system:nodes       its own session, its own certificate, and to read its own Node

Verbs are Kubernetes' (`get list watch create update patch delete`), and a sub-resource is checked with its object:
`create` of `Pod` with sub-resource `exec`. What is not an object has a kind of its own: `Cluster`, `JoinToken`,
`Certificate`, `Backup`, `SecretKey`, `Usage`, `NodeSession`.
"""

from __future__ import annotations

from master.auth.principal import MASTERS, NODES, VIEWERS, Principal
from podium.errors import Forbidden

READ_VERBS = frozenset({"get", "list", "watch"})
SECRET_KINDS = frozenset({"Secret", "SecretKey", "JoinToken", "Certificate", "Backup"})
VIEWABLE_SUBRESOURCES = frozenset({"", "status", "scale", "log", "logs"})

NODE_SESSION_VERBS = frozenset({"connect", "stream", "renew"})


class Authorizer:
    """Decides by the caller's groups alone: no I/O, no state."""

    def allowed(
        self, principal: Principal, verb: str, kind: str, namespace: str = "", name: str = "", subresource: str = ""
    ) -> bool:
        """Whether the principal may do this."""
        groups = principal.groups
        if MASTERS in groups:
            return True
        if VIEWERS in groups and _viewer_may(verb, kind, subresource):
            return True
        return NODES in groups and _node_may(principal.node, verb, kind, name, subresource)

    def check(
        self, principal: Principal, verb: str, kind: str, namespace: str = "", name: str = "", subresource: str = ""
    ) -> None:
        """Return when the principal may do this.

        Raises:
            Forbidden: Says who may not do what, and which group could.
        """
        if not self.allowed(principal, verb, kind, namespace, name, subresource):
            raise _refusal(principal, verb, kind, namespace, name, subresource)

    def check_node(self, principal: Principal, node: str, verb: str = "connect") -> None:
        """Return when the principal is exactly this node.

        Raises:
            Forbidden: It is another node, or none; administrators included, for nobody speaks for a node but itself.
        """
        if not node or principal.node != node or verb not in NODE_SESSION_VERBS:
            raise _refusal(principal, verb, "NodeSession", "", node, "")


def _viewer_may(verb: str, kind: str, subresource: str) -> bool:
    return verb in READ_VERBS and kind not in SECRET_KINDS and subresource in VIEWABLE_SUBRESOURCES


def _node_may(node: str, verb: str, kind: str, name: str, subresource: str) -> bool:
    if not node or name != node or subresource:
        return False
    return (kind == "NodeSession" and verb in NODE_SESSION_VERBS) or (kind == "Node" and verb == "get")


def _refusal(principal: Principal, verb: str, kind: str, namespace: str, name: str, subresource: str) -> Forbidden:
    what = kind + (f"/{subresource}" if subresource else "")
    named = f' "{name}"' if name else ""
    where = f' in namespace "{namespace}"' if namespace else ""
    groups = ", ".join(sorted(principal.groups)) or "none"
    return Forbidden(
        f'user "{principal.user}" (groups: {groups}) cannot {verb} {what}{named}{where}: '
        f"that needs {_group_needed(verb, kind, name, subresource)}",
        {"user": principal.user, "verb": verb, "kind": kind, "namespace": namespace, "name": name},
    )


def _group_needed(verb: str, kind: str, name: str, subresource: str) -> str:
    if kind == "NodeSession":
        return f'the certificate of node "{name}"' if name else "a node's certificate"
    if _viewer_may(verb, kind, subresource):
        return f"group {VIEWERS} or {MASTERS}"
    return f"group {MASTERS}"
