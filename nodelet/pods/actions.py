"""Everything a pod worker can do, as values. A *slot* is what an action occupies: never two in flight in one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from nodelet.runtime.protocol import Allowance

SANDBOX, NETWORK, VOLUMES = "sandbox", "network", "volumes"
CONTAINER_SLOTS = "container/"


def image_slot(name: str) -> str:
    """The slot of a container's image."""
    return f"image/{name}"


def container_slot(name: str) -> str:
    """The slot of a container's creation and start."""
    return CONTAINER_SLOTS + name


def stop_slot(container_id: str) -> str:
    """The slot of a container's preStop hook and stop signal."""
    return f"stop/{container_id}"


def resize_slot(container_id: str) -> str:
    """The slot of a change of a running container's resources."""
    return f"resize/{container_id}"


def hook_slot(container_id: str) -> str:
    """The slot of a postStart hook."""
    return f"hook/{container_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSandbox:
    """Create and start the sandbox of this attempt."""

    attempt: int

    @property
    def slot(self) -> str:
        return SANDBOX


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveSandbox:
    """Kill and remove a sandbox."""

    id: str

    @property
    def slot(self) -> str:
        return f"remove/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachNetwork:
    """Give the running sandbox its address and host ports."""

    sandbox_id: str

    @property
    def slot(self) -> str:
        return NETWORK


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachNetwork:
    """Give the pod's address and host ports back."""

    @property
    def slot(self) -> str:
        return NETWORK


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUpVolumes:
    """Bring the pod's volumes in line with what it wants now; what is mounted stays so."""

    @property
    def slot(self) -> str:
        return VOLUMES


@dataclass(frozen=True, slots=True, kw_only=True)
class TearDownVolumes:
    """Take the pod's volumes off this host; what outlives a pod is only let go."""

    @property
    def slot(self) -> str:
        return VOLUMES


@dataclass(frozen=True, slots=True, kw_only=True)
class PullImage:
    """Have a container's image here, by its pull policy."""

    name: str

    @property
    def slot(self) -> str:
        return image_slot(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartContainer:
    """Create and start a container in the sandbox of `generation`."""

    name: str
    attempt: int
    level: int
    generation: int

    @property
    def slot(self) -> str:
        return container_slot(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPostStart:
    """Run a started container's postStart hook; a failing hook ends the container."""

    name: str
    id: str

    @property
    def slot(self) -> str:
        return hook_slot(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeContainer:
    """Change a running container's share of the host."""

    name: str
    id: str
    allowance: Allowance

    @property
    def slot(self) -> str:
        return resize_slot(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopContainer:
    """preStop hook, then the stop signal; SIGKILL is planned at `deadline`, or sent at once when that has passed."""

    name: str
    id: str
    deadline: float
    cause: str

    @property
    def slot(self) -> str:
        return stop_slot(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class HastenStop:
    """Bring forward the SIGKILL of a container that is being stopped."""

    name: str
    id: str
    deadline: float

    @property
    def slot(self) -> str:
        return f"hasten/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KillContainer:
    """SIGKILL."""

    name: str
    id: str

    @property
    def slot(self) -> str:
        return f"kill/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveContainer:
    """Remove a container that has ended (or was never started)."""

    name: str
    id: str

    @property
    def slot(self) -> str:
        return f"remove/{self.id}"


PodAction = CreateSandbox | RemoveSandbox | AttachNetwork | DetachNetwork | SetUpVolumes | TearDownVolumes
"""What concerns a pod as a whole."""

Action = (
    PodAction
    | PullImage
    | StartContainer
    | RunPostStart
    | ResizeContainer
    | StopContainer
    | HastenStop
    | KillContainer
    | RemoveContainer
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condemnation:
    """Why the pod is to fail though its containers would go on."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now, when to look again if nothing happens, and why, in a sentence.

    `gone`: nothing of the pod is left on this host. `condemned`: the pod gets this verdict; then plan again.
    """

    actions: tuple[Action, ...] = ()
    recheck_at: float | None = None
    because: str = ""
    gone: bool = False
    condemned: Condemnation | None = None
