"""A pod as the planner sees it: its containers with their roles, worked out once per change of the object.

Roles (KEP-753): an *init* container runs to completion before the next; a *sidecar* is an init container that restarts
always and outlives the main ones; *main* containers make the pod; *ephemeral* ones look into it (KEP-277): they are
started once, whatever became of them. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from nodelet.pods.backoff import CrashLoop, crash_loop
from nodelet.runtime.protocol import Allowance
from podium.objects.kinds import Key
from podium.objects.pod import CPU, MEMORY, amount, as_container, is_sidecar
from podium.objects.references import references
from podium.v1.core_pb2 import Container, LifecycleHandler, Pod, ResourceRequirements

DEFAULT_GRACE_SECONDS = 30.0


_NOTHING = Allowance()


class Role(Enum):
    """What a container is to its pod."""

    INIT = "init"
    SIDECAR = "sidecar"
    MAIN = "main"
    EPHEMERAL = "ephemeral"


class Restart(Enum):
    """When a container that ended runs again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"

    def again(self, exit_code: int) -> bool:
        """Whether a run that ended so is followed by another."""
        return self is Restart.ALWAYS or (self is Restart.ON_FAILURE and exit_code != 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One container of the pod's specification. `config_hash` changes when a running one must be replaced.

    `target` names the container whose processes it sees besides its own.
    """

    name: str
    role: Role
    restart: Restart
    config_hash: str
    container: Container
    target: str = ""
    allowance: Allowance = _NOTHING

    def must_restart(self, share: Allowance) -> bool:
        """Whether going from this share of the host to the wanted one takes a restart (`resizePolicy`)."""
        restarts = {p.resource_name for p in self.container.resize_policy if p.restart_policy == "RestartContainer"}
        return (CPU in restarts and share.cpu != self.allowance.cpu) or (
            MEMORY in restarts and share.memory != self.allowance.memory
        )

    @property
    def post_start(self) -> LifecycleHandler | None:
        life = self.container.lifecycle
        return life.post_start if life.HasField("post_start") else None

    @property
    def pre_stop(self) -> LifecycleHandler | None:
        life = self.container.lifecycle
        return life.pre_stop if life.HasField("pre_stop") else None

    @property
    def gates_next(self) -> bool:
        """Whether what comes after must wait for this one's postStart hook."""
        return self.role is Role.MAIN and self.post_start is not None


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """See the module. `grace` is the pod's termination grace in seconds. The pod message is not to be changed."""

    pod: Pod
    units: tuple[Unit, ...]
    grace: float
    crash_loop: CrashLoop

    @property
    def host_network(self) -> bool:
        return self.pod.spec.host_network

    @cached_property
    def references(self) -> frozenset[Key]:
        """The objects that the pod uses."""
        return references(self.pod)

    @cached_property
    def by_name(self) -> Mapping[str, Unit]:
        return {unit.name: unit for unit in self.units}

    @cached_property
    def init(self) -> tuple[Unit, ...]:
        """Init containers and sidecars, in their order."""
        return tuple(unit for unit in self.units if unit.role in (Role.INIT, Role.SIDECAR))

    @cached_property
    def sidecars(self) -> tuple[Unit, ...]:
        return tuple(unit for unit in self.units if unit.role is Role.SIDECAR)

    @cached_property
    def main(self) -> tuple[Unit, ...]:
        return tuple(unit for unit in self.units if unit.role is Role.MAIN)

    @cached_property
    def ephemeral(self) -> tuple[Unit, ...]:
        return tuple(unit for unit in self.units if unit.role is Role.EPHEMERAL)


def blueprint(pod: Pod) -> Blueprint:
    """Work out a pod's units."""
    spec = pod.spec
    policy = Restart(spec.restart_policy or "Always")
    init_policy = Restart.NEVER if policy is Restart.NEVER else Restart.ON_FAILURE
    units = [
        _unit(c, Role.SIDECAR, Restart.ALWAYS) if is_sidecar(c) else _unit(c, Role.INIT, init_policy)
        for c in spec.init_containers
    ]
    units += [_unit(c, Role.MAIN, policy) for c in spec.containers]
    units += [
        _unit(as_container(e), Role.EPHEMERAL, Restart.NEVER, e.target_container_name)
        for e in spec.ephemeral_containers
    ]
    return Blueprint(pod=pod, units=tuple(units), grace=_grace(pod), crash_loop=crash_loop(spec))


def _unit(container: Container, role: Role, restart: Restart, target: str = "") -> Unit:
    return Unit(
        name=container.name,
        role=role,
        restart=restart,
        config_hash=config_hash(container),
        container=container,
        target=target,
        allowance=allowance(container.resources),
    )


def allowance(resources: ResourceRequirements) -> Allowance:
    """A container's share of the host."""
    limits, requests = resources.limits, resources.requests
    return Allowance.of(
        cpu_request=_amount(requests, limits, CPU) / 1000,
        cpu_limit=_amount(limits, {}, CPU) / 1000,
        memory_request=_amount(requests, limits, MEMORY),
        memory_limit=_amount(limits, {}, MEMORY),
    )


def _amount(first: Mapping[str, str], then: Mapping[str, str], resource: str) -> int:
    text = first.get(resource) or then.get(resource)
    return amount(resource, text) if text else 0


def _grace(pod: Pod) -> float:
    """A deletion's own grace wins over the specification's."""
    if pod.metadata.HasField("deletion_grace_period_seconds"):
        return float(max(0, pod.metadata.deletion_grace_period_seconds))
    if pod.spec.HasField("termination_grace_period_seconds"):
        return float(max(0, pod.spec.termination_grace_period_seconds))
    return DEFAULT_GRACE_SECONDS


def config_hash(container: Container) -> str:
    """Identity of what a container is made from.

    Probes, hooks, ports and pull policy may change while it runs, and resources are changed in place.
    """
    made_of = Container()
    made_of.CopyFrom(container)
    for name in ("liveness_probe", "readiness_probe", "startup_probe", "lifecycle", "ports", "image_pull_policy",
                 "resources", "resize_policy"):  # fmt: skip
        made_of.ClearField(name)
    return hashlib.blake2b(made_of.SerializeToString(deterministic=True), digest_size=8).hexdigest()
