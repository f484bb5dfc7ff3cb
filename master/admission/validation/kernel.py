"""Rules of kernel parameters: only those that the kernel keeps for each namespace and that can't harm other pods."""

from __future__ import annotations

from master.admission.validation.containers import duplicates
from master.admission.validation.walk import Findings
from podium.errors import Violation
from podium.v1.core_pb2 import PodSpec

SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
"""Kubernetes' safe set."""


def sysctls(spec: PodSpec, path: str, findings: Findings) -> None:
    """Judge `securityContext.sysctls` of a pod."""
    wanted, where = spec.security_context.sysctls, f"{path}.securityContext.sysctls"
    if not wanted:
        return
    duplicates((sysctl.name for sysctl in wanted), where, "name", findings)
    for index, sysctl in enumerate(wanted):
        if sysctl.name and sysctl.name not in SAFE_SYSCTLS:
            hint = f"the safe ones are {', '.join(SAFE_SYSCTLS)}"
            findings.append(Violation(f"{where}[{index}].name", f'"{sysctl.name}" is not allowed', hint))
        elif sysctl.name.startswith("net.") and spec.host_network:
            findings.append(
                Violation(f"{where}[{index}].name", f'"{sysctl.name}" would change the node: hostNetwork is true')
            )
