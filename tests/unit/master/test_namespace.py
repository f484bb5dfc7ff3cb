"""A namespace that is being deleted: what goes first, and what it says of what is left."""

from __future__ import annotations

from master.controllers.namespace import plan_namespace, set_deletion_conditions
from podium.errors import Forbidden
from podium.objects.conditions import get_condition
from podium.v1.core_pb2 import Namespace, Secret
from tests.support.workloads import T0, deployment, pod, replica_set


def _held(name: str) -> Secret:
    secret = Secret()
    secret.metadata.name, secret.metadata.namespace = name, "default"
    secret.metadata.deletion_timestamp.seconds = 1
    secret.metadata.finalizers.append("example.com/keep")
    return secret


def test_owners_go_before_what_they_own() -> None:
    plan = plan_namespace([pod("p"), replica_set("rs"), deployment("d")])
    assert [k.kind for k in plan.delete] == ["Deployment", "ReplicaSet", "Pod"]
    assert not plan.empty


def test_what_is_going_already_is_not_deleted_again_but_told() -> None:
    plan = plan_namespace([_held("a"), _held("b"), pod("p", node="n1", terminating=True)])
    assert not plan.delete
    assert plan.remaining == "pods that node n1 has yet to end (1), secrets (2)"
    assert plan.finalizers == "example.com/keep (2)"


def test_an_empty_namespace_may_go() -> None:
    assert plan_namespace([]).empty


def test_conditions_say_what_is_left_who_holds_it_and_what_failed() -> None:
    namespace = Namespace()
    set_deletion_conditions(namespace, plan_namespace([_held("a")]), Forbidden("no"), T0)
    assert namespace.status.phase == "Terminating"
    messages = {c.type: (c.status, c.message) for c in namespace.status.conditions}
    assert messages["NamespaceContentRemaining"] == ("True", "Some resources are remaining: secrets (1)")
    assert messages["NamespaceFinalizersRemaining"] == (
        "True",
        "Some content has finalizers remaining: example.com/keep (1)",
    )
    assert messages["NamespaceDeletionContentFailure"] == ("True", "Some content could not be deleted: no")
    set_deletion_conditions(namespace, plan_namespace([pod("p")]), None, T0)
    failure = get_condition(namespace.status.conditions, "NamespaceDeletionContentFailure")
    assert failure is not None
    assert failure.status == "False"
