"""The runtime boundary: what a nodelet asks of whatever runs containers. Docker and the hollow one implement it.

A pod is a sandbox (holds the network namespace) and containers that join it. Everything the nodelet must know after
its own restart is in labels that the runtime keeps (`Sandbox`, `ContainerRecord`). Methods are idempotent where said,
and cancellable; a cancelled call may still take effect, which the next listing shows.
"""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable


class RuntimeFault(Exception):
    """The runtime refused or failed. `reason` is a Kubernetes-style CamelCase word, `message` the runtime's own."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason, self.message = reason, message


class RuntimeDown(RuntimeFault):
    """The runtime does not answer at all (dockerd is restarting); retry later."""

    def __init__(self, message: str) -> None:
        super().__init__("RuntimeDown", message)


class State(Enum):
    """A container's life, as the runtime sees it."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodIdentity:
    """Which pod a sandbox or container belongs to."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    """A host port (container ports need no mapping)."""

    host_port: int
    container_port: int
    protocol: str = "TCP"
    host_ip: str = ""


FULL_NAME = "podium.dev/full-name"
"""Label of a sandbox: the pod's name in the cluster's domain, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """What a sandbox needs. Its network, unless the host's, is wired by the nodelet afterwards (`netns_path`).

    With `dns_servers`, names are looked up by exactly what is here; without, by what the host has for whatever is not.
    `hosts` are pairs of a name and its address, in the order of their lines in /etc/hosts.
    """

    pod: PodIdentity
    attempt: int
    hostname: str
    host_network: bool = False
    dns_servers: Sequence[str] = ()
    dns_searches: Sequence[str] = ()
    dns_options: Sequence[str] = ()
    hosts: Sequence[tuple[str, str]] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """An existing sandbox. `netns_path` is set while it runs (`/proc/PID/ns/net`)."""

    id: str
    pod: PodIdentity
    attempt: int
    state: State
    created_at: datetime.datetime
    netns_path: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverVolume:
    """A volume that a driver of the runtime mounts for a container, and lets go with it."""

    driver: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Storage in a container: a file or folder of the host (`source` is there, and absolute), or a driver's volume."""

    source: str = ""
    target: str
    read_only: bool = False
    volume: DriverVolume | None = None


CPU_PERIOD = 100_000
"""Microseconds of one CFS period, Kubernetes' own."""
_MIN_CPU_SHARES, _MIN_CPU_QUOTA = 2, 1_000
_MIN_RESERVATION = 6 << 20
"""Docker refuses a memory reservation below this; such a small request is simply not reserved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """A container's share of CPU and memory as its control group has it; 0 is no limit. Quota per `CPU_PERIOD`."""

    cpu_shares: int = _MIN_CPU_SHARES
    cpu_quota: int = 0
    memory_limit: int = 0
    memory_reservation: int = 0

    @classmethod
    def of(cls, *, cpu_request: float, cpu_limit: float, memory_request: int, memory_limit: int) -> Allowance:
        """From cores and bytes, 0 for what is not set."""
        return cls(
            cpu_shares=max(int(cpu_request * 1024), _MIN_CPU_SHARES),
            cpu_quota=max(int(cpu_limit * CPU_PERIOD), _MIN_CPU_QUOTA) if cpu_limit > 0 else 0,
            memory_limit=memory_limit,
            memory_reservation=memory_request if memory_request >= _MIN_RESERVATION else 0,
        )

    @property
    def cpu(self) -> tuple[int, int]:
        return self.cpu_shares, self.cpu_quota

    @property
    def memory(self) -> tuple[int, int]:
        return self.memory_limit, self.memory_reservation


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """Everything a container is made of. CPU in cores, memory in bytes; 0 means no limit.

    `config_hash` identifies the container's part of the pod template: a change means a new container.
    With `share_processes` it is in the sandbox's process namespace, with `process_target` in that of this container.
    `seccomp` is empty for the runtime's own profile, `unconfined`, or a profile as JSON. What it leaves in the file
    `message_path` is its record's message once it has ended; after a failure without one, and with `message_from_log`,
    the end of its log.
    """

    pod: PodIdentity
    name: str
    attempt: int
    image: str
    config_hash: str
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    working_dir: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    mounts: Sequence[Mount] = ()
    cpu_request: float = 0
    cpu_limit: float = 0
    memory_request: int = 0
    memory_limit: int = 0
    oom_score_adj: int = 0
    privileged: bool = False
    read_only_root: bool = False
    no_new_privileges: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool = False
    supplemental_groups: Sequence[int] = ()
    capabilities_add: Sequence[str] = ()
    capabilities_drop: Sequence[str] = ()
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    host_network: bool = False
    share_processes: bool = False
    process_target: str = ""
    seccomp: str = ""
    message_path: str = ""
    message_from_log: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def allowance(self) -> Allowance:
        """Its share of the host."""
        return Allowance.of(
            cpu_request=self.cpu_request, cpu_limit=self.cpu_limit,
            memory_request=self.memory_request, memory_limit=self.memory_limit,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord:
    """An existing container, as the runtime reports it.

    `message` is what it left when it ended. `allowance` is its share of the host now, where the runtime can tell.
    """

    id: str
    pod: PodIdentity
    name: str
    attempt: int
    state: State
    image: str
    image_id: str
    config_hash: str
    created_at: datetime.datetime
    started_at: datetime.datetime | None = None
    finished_at: datetime.datetime | None = None
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    message: str = ""
    allowance: Allowance | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Everything of ours that the runtime holds, at one moment."""

    sandboxes: Sequence[Sandbox]
    containers: Sequence[ContainerRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeEvent:
    """Something happened to a pod's sandbox or container: look at that pod again."""

    pod_uid: str
    container_id: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """An image on this host."""

    id: str
    names: Sequence[str]
    size_bytes: int
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAuth:
    """Credentials for one registry."""

    server: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeInfo:
    """Facts about the runtime: `version` as shown in Node status (`docker://20.10.24`)."""

    version: str
    cgroup_version: int
    root_dir: str


@runtime_checkable
class Runtime(Protocol):
    """See the module."""

    async def info(self) -> RuntimeInfo: ...

    async def listing(self) -> Listing:
        """All sandboxes and containers of ours, running or not. One consistent enough cut; never partial."""
        ...

    async def pod_listing(self, uid: str) -> Listing:
        """The same, of one pod."""
        ...

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """What happens from now on. Ends or raises RuntimeDown when the runtime goes; list again afterwards."""
        ...

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """Create and start a sandbox. Safe to repeat: one of this pod and attempt is returned as it is, started."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Kill and remove. Safe to repeat."""
        ...

    async def create_container(self, spec: ContainerSpec, sandbox: Sandbox) -> str:
        """Create, not start. Safe to repeat: one of this pod, name and attempt is returned as it is. Returns its id."""
        ...

    async def start_container(self, container_id: str) -> None:
        """Start. Safe to repeat."""
        ...

    async def resize_container(self, container_id: str, allowance: Allowance) -> None:
        """Change a running container's share of the host under its feet. Safe to repeat; one that has ended is left.

        Raises: RuntimeFault with reason ResizeError, also where it uses more memory than it would be left.
        """
        ...

    async def signal_container(self, container_id: str, signal: str) -> None:
        """Send a signal (`SIGTERM`, or the image's stop signal when empty). A container that has ended is no error."""
        ...

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        """Stop signal, then SIGKILL after the grace; returns when it has ended."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Kill if needed, and remove. Safe to repeat."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Images(Protocol):
    """Image store of the host."""

    async def find_image(self, name: str) -> ImageRecord | None: ...
    async def pull_image(self, name: str, auths: Sequence[RegistryAuth]) -> ImageRecord:
        """Raises: RuntimeFault with reason ErrImagePull, or InvalidImageName, and the registry's own message."""
        ...

    async def own_logins(self) -> str:
        """Identity of the credentials that the runtime itself has for registries: another one when they change."""
        ...

    async def list_images(self) -> list[ImageRecord]: ...
    async def remove_image(self, image_id: str) -> None: ...


class ExecStream(Protocol):
    """A running process with its streams. Output items are (stream, bytes), stream 1 = stdout, 2 = stderr."""

    def output(self) -> AsyncIterator[tuple[int, bytes]]: ...
    async def write(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...
    async def resize(self, width: int, height: int) -> None: ...
    async def exit_code(self) -> int:
        """Available after output has ended."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Exec(Protocol):
    """Processes in running containers."""

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> ExecStream: ...
    async def attach(self, container_id: str, *, stdin: bool) -> ExecStream:
        """Join the container's own process; whether that has a terminal was settled when the container was made."""
        ...


@runtime_checkable
class Logs(Protocol):
    """Container output, kept by the runtime."""

    def logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: datetime.datetime | None, timestamps: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Pieces of output as (stream, bytes), oldest first. With `follow`, until the container ends."""
        ...  # fmt: skip


@runtime_checkable
class Archives(Protocol):
    """Files in containers, as tar streams."""

    def read_archive(self, container_id: str, path: str) -> AsyncIterator[bytes]: ...
    async def write_archive(self, container_id: str, path: str, data: AsyncIterator[bytes]) -> None: ...
