"""Between our words and the Docker Engine API's: pure functions, no calls.

Down: a `ContainerSpec` or `SandboxSpec` becomes the body of `POST /containers/create`. Up: the answer of
`GET /containers/ID/json` becomes a record. All that the nodelet must find again after its own restart is in labels,
and names are made from the identity alone, so that creating twice meets the first one.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from nodelet.runtime.protocol import (
    CPU_PERIOD,
    Allowance,
    ContainerRecord,
    ContainerSpec,
    Mount,
    PodIdentity,
    Sandbox,
    SandboxSpec,
    State,
)

OWNER = "io.podium.owner"
KIND = "io.podium.kind"
POD_NAMESPACE = "io.podium.pod.namespace"
POD_NAME = "io.podium.pod.name"
POD_UID = "io.podium.pod.uid"
CONTAINER = "io.podium.container.name"
ATTEMPT = "io.podium.attempt"
CONFIG_HASH = "io.podium.config-hash"
MESSAGE_FROM_LOG = "io.podium.message-from-log"
_OURS = frozenset({OWNER, KIND, POD_NAMESPACE, POD_NAME, POD_UID, CONTAINER, ATTEMPT, CONFIG_HASH, MESSAGE_FROM_LOG})

SANDBOX_NAME = "POD"
MIN_CPU_SHARES = 2
START_FAILED = 128
"""Exit code of a container whose process could not be started, where the engine names none (as containerd's CRI)."""

_NO_SEARCH, _NO_OPTIONS = (".",), ("ndots:1",)
"""What the engine takes for no search list, and an option that is every resolver's default: it fills an empty list from
the host's resolv.conf."""

_LOG_CONFIG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}


def sandbox_name(spec: SandboxSpec) -> str:
    return _name(SANDBOX_NAME, spec.pod, spec.attempt)


def container_name(spec: ContainerSpec) -> str:
    return _name(spec.name, spec.pod, spec.attempt)


def _name(container: str, pod: PodIdentity, attempt: int) -> str:
    return f"podium_{container}_{pod.name}_{pod.namespace}_{pod.uid[:8]}_{attempt}"


# ---------------------------------------------------------------- down: what to create


def sandbox_body(spec: SandboxSpec, *, image: str, owner: str, oom_floor: int) -> dict[str, Any]:
    """The sandbox: it holds the pod's namespaces, its hosts and resolv.conf files, and does nothing."""
    return {
        "Image": image,
        "Hostname": "" if spec.host_network else spec.hostname,
        "Labels": {**spec.labels, **_labels(spec.pod, owner, "sandbox", SANDBOX_NAME, spec.attempt)},
        "HostConfig": {
            "NetworkMode": "host" if spec.host_network else "none",
            "IpcMode": "shareable",
            "Dns": list(spec.dns_servers),
            "DnsSearch": list(spec.dns_searches or (_NO_SEARCH if spec.dns_servers else ())),
            "DnsOptions": list(spec.dns_options or (_NO_OPTIONS if spec.dns_servers else ())),
            "ExtraHosts": [f"{host}:{address}" for host, address in spec.hosts],
            "Sysctls": dict(spec.sysctls),
            "CpuShares": MIN_CPU_SHARES,
            "PidsLimit": 16,
            "OomScoreAdj": max(-998, oom_floor),
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "none", "Config": {}},
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "Init": False,
        },
    }


def container_body(spec: ContainerSpec, sandbox_id: str, *, owner: str, user: str, oom_floor: int) -> dict[str, Any]:
    """A container of a pod, joined to the sandbox's network, host name and IPC.

    `user` is what to run as, already worked out (`run_as`); empty means the image's own.
    """
    return {
        "Image": spec.image,
        "Entrypoint": list(spec.command) or None,
        "Cmd": list(spec.args) or None,
        "WorkingDir": spec.working_dir,
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "User": user,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        "AttachStdin": spec.stdin and spec.stdin_once,
        "Tty": spec.tty,
        "Labels": {
            **spec.labels,
            **_labels(spec.pod, owner, "container", spec.name, spec.attempt),
            CONFIG_HASH: spec.config_hash,
            **({MESSAGE_FROM_LOG: "true"} if spec.message_from_log else {}),
        },
        "HostConfig": _host_config(spec, sandbox_id, oom_floor),
    }


def _host_config(spec: ContainerSpec, sandbox_id: str, oom_floor: int) -> dict[str, Any]:
    return {
        "NetworkMode": f"container:{sandbox_id}",
        "IpcMode": f"container:{sandbox_id}",
        "PidMode": _process_namespace(spec, sandbox_id),
        **resources(spec.allowance),
        "OomScoreAdj": max(spec.oom_score_adj, oom_floor),
        "RestartPolicy": {"Name": "no"},
        "LogConfig": _LOG_CONFIG,
        "Privileged": spec.privileged,
        "ReadonlyRootfs": spec.read_only_root,
        "SecurityOpt": _security_options(spec),
        "GroupAdd": [str(group) for group in spec.supplemental_groups],
        "CapAdd": list(spec.capabilities_add),
        "CapDrop": list(spec.capabilities_drop),
        "Mounts": [mount(one) for one in spec.mounts],
        "Init": False,
    }


def _process_namespace(spec: ContainerSpec, sandbox_id: str) -> str:
    if spec.share_processes:
        return f"container:{sandbox_id}"
    return f"container:{spec.process_target}" if spec.process_target else ""


def _security_options(spec: ContainerSpec) -> list[str]:
    options = ["no-new-privileges"] if spec.no_new_privileges else []
    return [*options, f"seccomp={spec.seccomp}"] if spec.seccomp else options


def mount(what: Mount) -> dict[str, Any]:
    """Private: what a container mounts below stays its own. A source that is missing is an error, never made.

    A driver's volume has no name, so that the engine removes it with its container; images' content is not copied in.
    """
    if what.volume is not None:
        return {
            "Type": "volume",
            "Target": what.target,
            "ReadOnly": what.read_only,
            "VolumeOptions": {
                "NoCopy": True,
                "DriverConfig": {"Name": what.volume.driver, "Options": dict(what.volume.options)},
            },
        }
    return {
        "Type": "bind",
        "Source": what.source,
        "Target": what.target,
        "ReadOnly": what.read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }


def resources(share: Allowance) -> dict[str, int]:
    """What the engine is told when a container is made."""
    out = {"CpuShares": share.cpu_shares}
    if share.cpu_quota:
        out |= {"CpuPeriod": CPU_PERIOD, "CpuQuota": share.cpu_quota}
    if share.memory_limit:
        # Swap counts into MemorySwap: equal means none, as in a pod of Kubernetes.
        out |= {"Memory": share.memory_limit, "MemorySwap": share.memory_limit}
    if share.memory_reservation:
        out["MemoryReservation"] = share.memory_reservation
    return out


def allowance_of(host_config: Mapping[str, Any]) -> Allowance:
    """The share that a container has."""
    return Allowance(
        cpu_shares=int(host_config.get("CpuShares") or 0),
        cpu_quota=int(host_config.get("CpuQuota") or 0),
        memory_limit=int(host_config.get("Memory") or 0),
        memory_reservation=int(host_config.get("MemoryReservation") or 0),
    )


def tightens(has: Allowance, wanted: Allowance) -> bool:
    """Whether a container would be left with less memory than it may use now."""
    return wanted.memory_limit > 0 and (not has.memory_limit or wanted.memory_limit < has.memory_limit)


def memory_in_use(stats: Mapping[str, Any]) -> int:
    """The working set in bytes, from `memory_stats`: without the page cache that the kernel would give up first.

    0 where the engine's kernel doesn't tell.
    """
    details = stats.get("stats") or {}
    cache = details.get("inactive_file", details.get("total_inactive_file", 0))
    return max(0, int(stats.get("usage", 0)) - int(cache))


def _labels(pod: PodIdentity, owner: str, kind: str, name: str, attempt: int) -> dict[str, str]:
    return {
        OWNER: owner,
        KIND: kind,
        POD_NAMESPACE: pod.namespace,
        POD_NAME: pod.name,
        POD_UID: pod.uid,
        CONTAINER: name,
        ATTEMPT: str(attempt),
    }


def needs_image_user(spec: ContainerSpec) -> bool:
    """Whether `run_as` must know the user that the image names."""
    return spec.run_as_user is None and (spec.run_as_non_root or spec.run_as_group is not None)


def run_as(spec: ContainerSpec, image_user: str) -> str:
    """What to run as, `USER[:GROUP]`; empty for the image's own.

    Raises:
        ValueError: The pod asks for a user other than root, and this is root or may be (kubelet's own words).
    """
    if spec.run_as_non_root:
        _refuse_root(spec, image_user)
    user = image_user.partition(":")[0] if spec.run_as_user is None else str(spec.run_as_user)
    if spec.run_as_group is not None:
        return f"{user or 0}:{spec.run_as_group}"
    return "" if spec.run_as_user is None else user


def _refuse_root(spec: ContainerSpec, image_user: str) -> None:
    if spec.run_as_user is not None:
        if spec.run_as_user == 0:
            raise ValueError("container's runAsUser breaks non-root policy")
        return
    name = image_user.partition(":")[0]
    if name in ("", "0", "root"):
        raise ValueError("container has runAsNonRoot and image will run as root")
    if not name.isdecimal():
        raise ValueError(
            f"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
        )


# ---------------------------------------------------------------- up: what is there


def kind_of(labels: Mapping[str, str]) -> str:
    """`sandbox` or `container`; empty when it is none of ours."""
    return labels.get(KIND, "")


def state_of(status: str) -> State:
    """The engine's seven states (`paused`, `dead`, …) as our three."""
    match status:
        case "created":
            return State.CREATED
        case "running" | "paused" | "restarting":
            return State.RUNNING
        case _:
            return State.EXITED


def sandbox_of(inspect: Mapping[str, Any]) -> Sandbox:
    """The sandbox that an inspection describes."""
    labels, pid = inspect["Config"]["Labels"], inspect["State"].get("Pid", 0)
    return Sandbox(
        id=inspect["Id"],
        pod=_pod_of(labels),
        attempt=int(labels[ATTEMPT]),
        state=state_of(inspect["State"]["Status"]),
        created_at=_created(inspect),
        netns_path=f"/proc/{pid}/ns/net" if pid else "",
        labels=_others(labels),
    )


def container_of(inspect: Mapping[str, Any]) -> ContainerRecord:
    """The container that an inspection describes.

    One whose process could not be started stays `created` for Docker; here it has ended, with its code and error.
    """
    labels, state = inspect["Config"]["Labels"], inspect["State"]
    failed = state["Status"] == "created" and bool(state.get("Error"))
    ended = failed or state_of(state["Status"]) is State.EXITED
    return ContainerRecord(
        id=inspect["Id"],
        pod=_pod_of(labels),
        name=labels[CONTAINER],
        attempt=int(labels[ATTEMPT]),
        state=State.EXITED if ended else state_of(state["Status"]),
        image=inspect["Config"]["Image"],
        image_id=inspect["Image"],
        config_hash=labels.get(CONFIG_HASH, ""),
        created_at=_created(inspect),
        started_at=parse_time(state["StartedAt"]),
        finished_at=(parse_time(state["FinishedAt"]) or _created(inspect)) if ended else None,
        exit_code=(state["ExitCode"] or START_FAILED if failed else state["ExitCode"]) if ended else 0,
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error", ""),
        allowance=allowance_of(inspect["HostConfig"]) if "HostConfig" in inspect else None,
        labels=_others(labels),
    )


def _pod_of(labels: Mapping[str, str]) -> PodIdentity:
    return PodIdentity(namespace=labels[POD_NAMESPACE], name=labels[POD_NAME], uid=labels[POD_UID])


def _others(labels: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key not in _OURS}


def _created(inspect: Mapping[str, Any]) -> datetime.datetime:
    return parse_time(inspect["Created"]) or datetime.datetime.fromtimestamp(0, datetime.UTC)


def parse_time(text: str) -> datetime.datetime | None:
    """An RFC 3339 time of the engine's, cut to microseconds; None for Go's zero time."""
    return None if not text or text.startswith("0001-") else datetime.datetime.fromisoformat(text)
