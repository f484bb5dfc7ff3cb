"""What each built-in group may do, and what a refusal says."""

from __future__ import annotations

import pytest

from master.auth.authorizer import Authorizer
from master.auth.principal import Principal
from podium.errors import Forbidden

ADMIN = Principal("admin", frozenset({"system:masters"}))
VIEWER = Principal("eve", frozenset({"podium:viewers"}))
NODE = Principal("system:node:n1", frozenset({"system:nodes"}))
NOBODY = Principal("nobody", frozenset({"developers"}))

authorizer = Authorizer()


@pytest.mark.parametrize(
    ("who", "verb", "kind", "name", "subresource", "allowed"),
    [
        (ADMIN, "delete", "Secret", "x", "", True),
        (ADMIN, "create", "Pod", "x", "exec", True),
        (VIEWER, "get", "Pod", "x", "", True),
        (VIEWER, "list", "Deployment", "", "", True),
        (VIEWER, "watch", "Event", "", "", True),
        (VIEWER, "get", "Pod", "x", "log", True),
        (VIEWER, "get", "Deployment", "x", "scale", True),
        (VIEWER, "get", "Cluster", "", "", True),
        (VIEWER, "get", "Service", "x", "", True),
        (VIEWER, "list", "EndpointSlice", "", "", True),
        (VIEWER, "watch", "NetworkPolicy", "", "", True),
        (VIEWER, "update", "Service", "x", "", False),
        (VIEWER, "get", "Secret", "x", "", False),
        (VIEWER, "list", "Secret", "", "", False),
        (VIEWER, "watch", "Secret", "", "", False),
        (VIEWER, "list", "JoinToken", "", "", False),
        (VIEWER, "get", "Backup", "", "", False),
        (VIEWER, "create", "Certificate", "", "", False),
        (VIEWER, "create", "Pod", "x", "", False),
        (VIEWER, "create", "Pod", "x", "exec", False),
        (VIEWER, "get", "Pod", "x", "exec", False),
        (VIEWER, "get", "Pod", "x", "attach", False),
        (VIEWER, "get", "Pod", "x", "portforward", False),
        (VIEWER, "delete", "Pod", "x", "", False),
        (VIEWER, "connect", "NodeSession", "n1", "", False),
        (NODE, "connect", "NodeSession", "n1", "", True),
        (NODE, "renew", "NodeSession", "n1", "", True),
        (NODE, "get", "Node", "n1", "", True),
        (NODE, "connect", "NodeSession", "n2", "", False),
        (NODE, "get", "Node", "n2", "", False),
        (NODE, "list", "Node", "", "", False),
        (NODE, "update", "Node", "n1", "status", False),
        (NODE, "get", "Secret", "x", "", False),
        (NODE, "list", "Pod", "", "", False),
        (NOBODY, "get", "Pod", "x", "", False),
        (Principal("system:node:n1"), "get", "Node", "n1", "", False),
        (Principal("n1", frozenset({"system:nodes"})), "connect", "NodeSession", "n1", "", False),
        (Principal("n1", frozenset({"system:nodes"})), "connect", "NodeSession", "", "", False),
    ],
)
def test_rules(who: Principal, verb: str, kind: str, name: str, subresource: str, allowed: bool) -> None:
    assert authorizer.allowed(who, verb, kind, "default", name, subresource) is allowed


def test_a_refusal_says_who_what_where_and_which_group_could() -> None:
    with pytest.raises(Forbidden) as caught:
        authorizer.check(VIEWER, "create", "Pod", "shop", "web-1", "exec")
    assert str(caught.value) == (
        'user "eve" (groups: podium:viewers) cannot create Pod/exec "web-1" in namespace "shop": '
        "that needs group system:masters"
    )


def test_a_refused_read_names_the_smaller_group_too() -> None:
    with pytest.raises(Forbidden, match="that needs group podium:viewers or system:masters"):
        authorizer.check(NOBODY, "list", "Pod", "default")


@pytest.mark.parametrize("who", [ADMIN, VIEWER, NODE, NOBODY])
def test_nobody_speaks_for_a_node_but_itself(who: Principal) -> None:
    with pytest.raises(Forbidden, match='the certificate of node "n2"'):
        authorizer.check_node(who, "n2")


def test_a_node_speaks_for_itself() -> None:
    authorizer.check_node(NODE, "n1")
    authorizer.check_node(NODE, "n1", "stream")
