"""From a pod's specification to what the runtime is asked to make. Pure.

Here are Kubernetes' rules for merging the pod's security context into the container's, for
DNS, and for how the kernel should choose under memory pressure (`oom_score_adj` by quality of service).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nodelet.pods.blueprint import Blueprint, Unit
from nodelet.pods.environment import expand, expand_path
from nodelet.resolv_conf import HostNames
from nodelet.runtime.protocol import FULL_NAME, ContainerSpec, Mount, PodIdentity, PortMapping, SandboxSpec
from nodelet.state.lease_file import EXCLUSIVE_LABEL
from podium.objects.fencing import is_exclusive
from podium.objects.pod import BEST_EFFORT, CPU, GUARANTEED, MEMORY, amount, host_ports, qos_class
from podium.v1.core_pb2 import Container, Pod, PodSecurityContext, PodSpec, SecurityContext

TERMINATION_LOG = "/dev/termination-log"
"""Where a container leaves its message unless it says otherwise."""

LEVEL_LABEL = "podium.dev/crash-level"
GENERATION_LABEL = "podium.dev/sandbox-attempt"
GRACE_LABEL = "podium.dev/grace-seconds"

_NODE_CRITICAL_PRIORITY = 2_000_000_000
_LONGEST_HOSTNAME = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What pods inherit from their node.

    Attributes:
        memory: Capacity in bytes.
        allocatable: What pods may have in all, as quantities.
        dns_servers: Resolvers that serve cluster names, if there are any.
        host_names: Whom the host asks for names, for a pod that adds to that (`adds_to_hosts_names`).
        runtime: The scheme of container ids in statuses (`docker` makes `docker://ID`).
        seccomp: The folder of the node's own seccomp profiles.
    """

    name: str
    ip: str
    memory: int = 0
    allocatable: Mapping[str, str] = field(default_factory=dict)
    dns_servers: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    host_names: HostNames = field(default_factory=HostNames)
    runtime: str = ""
    seccomp: Path | None = None

    def container_id(self, id_: str) -> str:
        """A container's id as statuses show it."""
        return f"{self.runtime}://{id_}" if self.runtime else id_


def identity(pod: Pod) -> PodIdentity:
    """Which pod the runtime's things belong to."""
    return PodIdentity(namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid)


# ---------------------------------------------------------------- sandbox


def sandbox_spec(pod: Pod, attempt: int, node: NodeFacts) -> SandboxSpec:
    """The sandbox of a pod."""
    servers, searches, options = _dns(pod, node)
    return SandboxSpec(
        pod=identity(pod),
        attempt=attempt,
        hostname=_hostname(pod, node),
        host_network=pod.spec.host_network,
        dns_servers=servers,
        dns_searches=searches,
        dns_options=options,
        hosts=[(name, alias.ip) for alias in pod.spec.host_aliases for name in alias.hostnames],
        sysctls={sysctl.name: sysctl.value for sysctl in pod.spec.security_context.sysctls},
        labels={FULL_NAME: full_name(pod, node.cluster_domain)} if pod.spec.subdomain else {},
    )


def _hostname(pod: Pod, node: NodeFacts) -> str:
    """A full name is not cut: one that the kernel can't take is refused by the runtime, and said in an event."""
    if pod.spec.set_hostname_as_fqdn and pod.spec.subdomain:
        return full_name(pod, node.cluster_domain)
    return (pod.spec.hostname or pod.metadata.name)[:_LONGEST_HOSTNAME].rstrip("-.")


def full_name(pod: Pod, cluster_domain: str) -> str:
    """The name that a pod with a subdomain has in the cluster's domain."""
    meta, spec = pod.metadata, pod.spec
    return f"{spec.hostname or meta.name}.{spec.subdomain}.{meta.namespace}.svc.{cluster_domain}"


def port_mappings(spec: PodSpec) -> list[PortMapping]:
    """The host ports of a pod that has a network of its own."""
    if spec.host_network or not host_ports(spec):
        return []
    return [
        PortMapping(
            host_port=port.host_port,
            container_port=port.container_port,
            protocol=port.protocol or "TCP",
            host_ip=port.host_ip,
        )
        for container in (*spec.containers, *(c for c in spec.init_containers if c.restart_policy == "Always"))
        for port in container.ports
        if port.host_port
    ]


def asks_cluster(pod: Pod) -> bool:
    """Whether the pod's names are looked up in the cluster first."""
    policy = pod.spec.dns_policy or "ClusterFirst"
    return policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not pod.spec.host_network)


def adds_to_hosts_names(pod: Pod) -> bool:
    """Whether the pod asks whom the host asks, and has settings of its own besides."""
    return not asks_cluster(pod) and pod.spec.dns_policy != "None" and bool(pod.spec.dns_config.ByteSize())


def _dns(pod: Pod, node: NodeFacts) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    spec = pod.spec
    own = spec.dns_config
    servers, searches, options = _policy_dns(pod, node)
    return (
        tuple(dict.fromkeys((*servers, *own.nameservers))),
        tuple(dict.fromkeys((*searches, *own.searches))),
        _merged_options(options, [(o.name, o.value) for o in own.options]),
    )


def _policy_dns(pod: Pod, node: NodeFacts) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    if not asks_cluster(pod) or not node.dns_servers:
        names = node.host_names if pod.spec.host_network else node.host_names.elsewhere()
        return names.servers, names.searches, names.options
    domain = node.cluster_domain
    searches = (f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain)
    return node.dns_servers, searches, ("ndots:5",)


def _merged_options(base: Iterable[str], own: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    merged = dict(option.partition(":")[::2] for option in base) | dict(own)
    return tuple(f"{name}:{value}" if value else name for name, value in merged.items())


# ---------------------------------------------------------------- container


def container_spec(blue: Blueprint, unit: Unit, *, attempt: int, level: int, generation: int, node: NodeFacts,
                   env: Mapping[str, str], mounts: Sequence[Mount] = (), image: str = "",
                   target_id: str = "", seccomp: str = "") -> ContainerSpec:  # fmt: skip
    """One run of a container. `image` is what the image store resolved the name to, when it did.

    `target_id` is the container whose processes it sees, if it has a target; `seccomp` as `seccomp_of` found it.
    """
    pod, container = blue.pod, unit.container
    security = container.security_context
    merged = _identity_of_process(pod.spec.security_context, security)
    requests, limits = container.resources.requests, container.resources.limits
    return ContainerSpec(
        pod=identity(pod),
        name=unit.name,
        attempt=attempt,
        image=image or container.image,
        config_hash=unit.config_hash,
        command=tuple(expand(part, env) for part in container.command),
        args=tuple(expand(part, env) for part in container.args),
        working_dir=container.working_dir,
        env=env,
        mounts=mounts,
        cpu_request=_amount(requests, limits, CPU) / 1000,
        cpu_limit=_amount(limits, {}, CPU) / 1000,
        memory_request=_amount(requests, limits, MEMORY),
        memory_limit=_amount(limits, {}, MEMORY),
        oom_score_adj=oom_score_adj(pod.spec, container, node.memory),
        privileged=security.privileged,
        read_only_root=security.read_only_root_filesystem,
        no_new_privileges=security.HasField("allow_privilege_escalation") and not security.allow_privilege_escalation,
        run_as_user=merged.user,
        run_as_group=merged.group,
        run_as_non_root=merged.non_root,
        supplemental_groups=_groups(pod.spec.security_context),
        capabilities_add=tuple(security.capabilities.add),
        capabilities_drop=tuple(security.capabilities.drop),
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        host_network=pod.spec.host_network,
        process_target=target_id,
        share_processes=pod.spec.share_process_namespace,
        seccomp=seccomp,
        message_path=_message_path(container),
        message_from_log=container.termination_message_policy == "FallbackToLogsOnError",
        labels={
            LEVEL_LABEL: str(level),
            GENERATION_LABEL: str(generation),
            GRACE_LABEL: f"{blue.grace:g}",
            **({EXCLUSIVE_LABEL: "true"} if is_exclusive(pod) else {}),
        },
    )


def _amount(first: Mapping[str, str], then: Mapping[str, str], resource: str) -> int:
    text = first.get(resource) or then.get(resource)
    return amount(resource, text) if text else 0


@dataclass(frozen=True, slots=True)
class _ProcessIdentity:
    user: int | None
    group: int | None
    non_root: bool


def _identity_of_process(pod: PodSecurityContext, own: SecurityContext) -> _ProcessIdentity:
    """The container's own settings win, field by field."""

    def number(name: str) -> int | None:
        for source in (own, pod):
            if source.HasField(name):  # type: ignore[arg-type]  # the same names in both messages
                return int(getattr(source, name))
        return None

    non_root = own.run_as_non_root if own.HasField("run_as_non_root") else pod.run_as_non_root
    return _ProcessIdentity(number("run_as_user"), number("run_as_group"), non_root)


def _message_path(container: Container) -> str:
    """Empty where a volume is mounted: what the container leaves there is not a message."""
    path = container.termination_message_path or TERMINATION_LOG
    return "" if any(mount.mount_path == path for mount in container.volume_mounts) else path


def _groups(context: PodSecurityContext) -> tuple[int, ...]:
    own = (context.fs_group,) if context.HasField("fs_group") else ()
    return tuple(dict.fromkeys((*context.supplemental_groups, *own)))


def with_sub_paths(container: Container, env: Mapping[str, str]) -> Container:
    """The container with each `subPathExpr` of its mounts worked out.

    Raises:
        ConfigFault: One refers to a variable that is not set.
    """
    if not any(mount.sub_path_expr for mount in container.volume_mounts):
        return container
    resolved = Container()
    resolved.CopyFrom(container)
    for mount in resolved.volume_mounts:
        if mount.sub_path_expr:
            mount.sub_path = expand_path(mount.sub_path_expr, env)
    return resolved


def oom_score_adj(spec: PodSpec, container: Container, node_memory: int) -> int:
    """How readily the kernel kills: node-critical and Guaranteed last, BestEffort first, else by request."""
    quality = qos_class(spec)
    if spec.priority >= _NODE_CRITICAL_PRIORITY or quality == GUARANTEED:
        return -997
    if quality == BEST_EFFORT or node_memory <= 0:
        return 1000 if quality == BEST_EFFORT else 999
    requested = _amount(container.resources.requests, container.resources.limits, MEMORY)
    return min(max(3, 1000 - 1000 * requested // node_memory), 999)
