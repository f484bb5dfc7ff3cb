"""The hosts that this process is setting up or letting go: at most one of it a host, and how it ended.

Nothing of this is stored. What is begun is begun because a pool's status says so, so another process begins it again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from typing import Any, NamedTuple

from prometheus_client import Counter

from master.autoscaler.nodepool_facts import Played
from master.autoscaler.provision import ProvisionFailed
from podium.aio.tasks import TaskScope
from podium.errors import PodiumError
from podium.telemetry.log import get_logger

PLAYS = Counter(
    "podium_master_nodepool_plays_total", "Hosts set up (join) and let go (release), by result.", ["action", "result"]
)

log = get_logger(__name__)


class PlayKey(NamedTuple):
    """A host of a pool."""

    pool_uid: str
    host: str


class Plays:
    """See the module. Nothing is begun before `open`."""

    def __init__(self) -> None:
        self._scope: TaskScope | None = None
        self._cancel: dict[PlayKey, Callable[[], object]] = {}
        self._ended: dict[PlayKey, Played] = {}
        self._wake: Callable[[], None] = lambda: None

    def open(self, scope: TaskScope, wake: Callable[[], None]) -> None:
        """What is begun from now on is owned by `scope`; `wake` is called whenever one ends."""
        self._scope, self._wake = scope, wake

    def is_running(self, key: PlayKey) -> bool:
        """Whether something is being done with the host."""
        return key in self._cancel

    def outcome(self, key: PlayKey) -> Played | None:
        """How it ended, until that is forgotten."""
        return self._ended.get(key)

    def forget(self, key: PlayKey) -> None:
        """The outcome is noted elsewhere."""
        self._ended.pop(key, None)

    def begin(self, key: PlayKey, action: str, body: Coroutine[Any, Any, None]) -> None:
        """Do something with a host, unless something is being done with it, or was and is not noted yet."""
        if self._scope is None or key in self._cancel or key in self._ended:
            body.close()
            return
        task = self._scope.start(self._play(key, action, body), name=f"{action} {key.host}")
        self._cancel[key] = task.cancel
        task.add_done_callback(lambda _: self._gone(key))

    def keep_only(self, keys: Collection[PlayKey]) -> None:
        """Stop what is being done with hosts that are no pool's any more."""
        for key in [key for key in self._cancel if key not in keys]:
            log.warning("a host is no pool's any more: what was being done with it is stopped", host=key.host)
            _ = self._cancel[key]()
        self._ended = {key: ended for key, ended in self._ended.items() if key in keys}

    def _gone(self, key: PlayKey) -> None:
        self._cancel.pop(key, None)
        self._wake()

    async def _play(self, key: PlayKey, action: str, body: Coroutine[Any, Any, None]) -> None:
        try:
            await body
        except (ProvisionFailed, PodiumError, TimeoutError) as error:
            failure = " ".join(str(error).split()) or "it took too long"
            log.warning("a host could not be set up or let go", action=action, host=key.host, why=failure)
            PLAYS.labels(action, "failed").inc()
            self._ended[key] = Played(failure)
        except Exception as error:  # noqa: BLE001 - a bug in one play must not look like a play that never ends
            log.error("setting up or letting go of a host failed", action=action, host=key.host, error=error)
            PLAYS.labels(action, "error").inc()
            self._ended[key] = Played(f"internal error: {type(error).__name__}; see the master's log")
        else:
            PLAYS.labels(action, "ok").inc()
            self._ended[key] = Played()
