"""`Client`: one cluster, seen from a program."""

# Generated from podium/client/_async by `make sync-client`; do not edit.

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import Message

from podium.client._sync.connection import DEFAULT_TIMEOUT, Connection
from podium.client._sync.objects import Objects
from podium.client._sync.pods import Pods
from podium.client.config import Context, load
from podium.client.types import unpack
from podium.objects.kinds import kind_of
from podium.v1 import cluster_service_pb2 as cluster_wire
from podium.v1 import rollouts_service_pb2 as rollouts_wire
from podium.v1.objects_service_pb2 import ObjectKey


class Client(Objects):
    """A typed client of one cluster. Use it as a context manager, or `close` it.

        with Client.from_config() as client:
            for pod in client.list(Pod, selector="app=web"):
                print(pod.metadata.name, pod.status.phase)

    Attributes:
        pods: Logs, exec, attach, port-forward, copy.
        rollouts: Status, history, undo, pause, resume, restart.
        cluster: Join tokens, certificates, explanations, usage.
    """

    def __init__(self, context: Context, *, timeout: float = DEFAULT_TIMEOUT, manager: str = "podium-client") -> None:
        self.connection = Connection(context, timeout=timeout)
        super().__init__(self.connection, manager=manager)
        self.pods = Pods(self.connection)
        self.rollouts = Rollouts(self.connection)
        self.cluster = Cluster(self.connection)

    @classmethod
    def from_config(
        cls, path: Path | None = None, *, context: str = "", timeout: float = DEFAULT_TIMEOUT,
        manager: str = "podium-client",
    ) -> Client:  # fmt: skip
        """A client for a context of the configuration file (`$PODIUM_CONFIG`, else `~/.podium/config`).

        Raises: NotFound (no file, no such context), BadRequest (not a configuration).
        """
        return cls(load(path).context(context), timeout=timeout, manager=manager)

    @property
    def namespace(self) -> str:
        """The namespace used where none is given."""
        return self.connection.context.namespace

    def close(self) -> None:
        """Close the connections."""
        self.connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Rollouts:
    """The life of a workload's revisions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _key(self, kind: type[Message], name: str, namespace: str | None) -> ObjectKey:
        return ObjectKey(kind=kind_of(kind).name, namespace=namespace or self._connection.context.namespace, name=name)

    def status(
        self, kind: type[Message], name: str, *, namespace: str | None = None, watch: bool = False
    ) -> Iterator[rollouts_wire.RolloutStatus]:
        """One status; with `watch` one at each change until the rollout is complete or has failed."""
        request = rollouts_wire.RolloutStatusRequest(key=self._key(kind, name, namespace), watch=watch)
        return self._connection.stream(lambda s: s.rollouts.Status(request), repeatable=True)

    def history(
        self, kind: type[Message], name: str, *, namespace: str | None = None, revision: int = 0
    ) -> list[rollouts_wire.RolloutRevision]:
        """Revisions, oldest first; only one when `revision` is given."""
        request = rollouts_wire.RolloutHistoryRequest(key=self._key(kind, name, namespace), revision=revision)
        response = self._connection.call(lambda s, t: s.rollouts.History(request, timeout=t), repeatable=True)
        return list(response.revisions)

    def undo(
        self, kind: type[Message], name: str, *, namespace: str | None = None, to_revision: int = 0,
        dry_run: bool = False,
    ) -> Message:  # fmt: skip
        """Go back to a revision; 0 is the one before the current."""
        request = rollouts_wire.RolloutUndoRequest(
            key=self._key(kind, name, namespace), to_revision=to_revision, dry_run=dry_run
        )
        response = self._connection.call(lambda s, t: s.rollouts.Undo(request, timeout=t), repeatable=False)
        return unpack(response.object, None)

    def pause(self, kind: type[Message], name: str, *, namespace: str | None = None) -> Message:
        """Stop rolling out further changes."""
        request = rollouts_wire.RolloutRequest(key=self._key(kind, name, namespace))
        response = self._connection.call(lambda s, t: s.rollouts.Pause(request, timeout=t), repeatable=True)
        return unpack(response.object, None)

    def resume(self, kind: type[Message], name: str, *, namespace: str | None = None) -> Message:
        """Go on after a pause."""
        request = rollouts_wire.RolloutRequest(key=self._key(kind, name, namespace))
        response = self._connection.call(lambda s, t: s.rollouts.Resume(request, timeout=t), repeatable=True)
        return unpack(response.object, None)

    def promote(self, kind: type[Message], name: str, *, namespace: str | None = None, full: bool = False) -> Message:
        """Let a rollout that waits go on; `full` past all further steps."""
        request = rollouts_wire.RolloutPromoteRequest(key=self._key(kind, name, namespace), full=full)
        response = self._connection.call(lambda s, t: s.rollouts.Promote(request, timeout=t), repeatable=False)
        return unpack(response.object, None)

    def abort(self, kind: type[Message], name: str, *, namespace: str | None = None) -> Message:
        """Return from a rollout under way to the last revision that worked."""
        request = rollouts_wire.RolloutRequest(key=self._key(kind, name, namespace))
        response = self._connection.call(lambda s, t: s.rollouts.Abort(request, timeout=t), repeatable=True)
        return unpack(response.object, None)

    def retry(self, kind: type[Message], name: str, *, namespace: str | None = None) -> Message:
        """Try a revision again that was given up."""
        request = rollouts_wire.RolloutRequest(key=self._key(kind, name, namespace))
        response = self._connection.call(lambda s, t: s.rollouts.Retry(request, timeout=t), repeatable=False)
        return unpack(response.object, None)

    def restart(self, kind: type[Message], name: str, *, namespace: str | None = None) -> Message:
        """Replace every pod, by the workload's own strategy."""
        request = rollouts_wire.RolloutRequest(key=self._key(kind, name, namespace))
        response = self._connection.call(lambda s, t: s.rollouts.Restart(request, timeout=t), repeatable=False)
        return unpack(response.object, None)


class Cluster:
    """The cluster as a whole."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def info(self) -> cluster_wire.InfoResponse:
        """The cluster's id, version and addresses."""
        request = cluster_wire.InfoRequest()
        return self._connection.call(lambda s, t: s.cluster.Info(request, timeout=t), repeatable=True)

    def who_am_i(self) -> cluster_wire.WhoAmIResponse:
        """Who the master takes this client for."""
        request = cluster_wire.WhoAmIRequest()
        return self._connection.call(lambda s, t: s.cluster.WhoAmI(request, timeout=t), repeatable=True)

    def create_token(self, *, ttl_seconds: int = 0, description: str = "") -> cluster_wire.JoinToken:
        """A token with which hosts can join; 0 seconds means the default of 24 hours."""
        request = cluster_wire.CreateTokenRequest(ttl_seconds=ttl_seconds, description=description)
        return self._connection.call(lambda s, t: s.cluster.CreateToken(request, timeout=t), repeatable=False)

    def list_tokens(self) -> list[cluster_wire.JoinToken]:
        """Join tokens, without their secrets."""
        request = cluster_wire.ListTokensRequest()
        response = self._connection.call(lambda s, t: s.cluster.ListTokens(request, timeout=t), repeatable=True)
        return list(response.tokens)

    def rotate_secret_key(self) -> Iterator[cluster_wire.RotateSecretKeyProgress]:
        """Make a new key that Secrets are sealed with in the store, and seal them all anew; tells how far it is."""
        request = cluster_wire.RotateSecretKeyRequest()
        steps = self._connection.stream(lambda s: s.cluster.RotateSecretKey(request), repeatable=False)
        for progress in steps:
            yield progress

    def list_secret_keys(self) -> list[cluster_wire.SecretKeyInfo]:
        """Ids and states of the keys that Secrets are sealed with, oldest first."""
        request = cluster_wire.ListSecretKeysRequest()
        response = self._connection.call(lambda s, t: s.cluster.ListSecretKeys(request, timeout=t), repeatable=True)
        return list(response.keys)

    def drop_secret_keys(self) -> list[str]:
        """Remove keys that nothing in the store is sealed with; returns their ids."""
        request = cluster_wire.DropSecretKeysRequest()
        response = self._connection.call(lambda s, t: s.cluster.DropSecretKeys(request, timeout=t), repeatable=False)
        return list(response.ids)

    def delete_token(self, token_id: str) -> None:
        """Revoke a join token."""
        request = cluster_wire.DeleteTokenRequest(id=token_id)
        self._connection.call(lambda s, t: s.cluster.DeleteToken(request, timeout=t), repeatable=True)

    def sign_client_certificate(
        self, csr: bytes, *, user: str, groups: tuple[str, ...] = (), ttl_seconds: int = 0
    ) -> cluster_wire.CertificateResponse:
        """A certificate for a user; administrators only."""
        request = cluster_wire.SignClientCertificateRequest(csr=csr, user=user, groups=groups, ttl_seconds=ttl_seconds)
        return self._connection.call(lambda s, t: s.cluster.SignClientCertificate(request, timeout=t), repeatable=False)

    def explain_pod(
        self, name: str, *, namespace: str | None = None, nodes: bool = False
    ) -> cluster_wire.ExplainPodResponse:
        """Why a pod is where it is, or is nowhere."""
        request = cluster_wire.ExplainPodRequest(
            namespace=namespace or self._connection.context.namespace, name=name, nodes=nodes
        )
        return self._connection.call(lambda s, t: s.cluster.ExplainPod(request, timeout=t), repeatable=True)

    def usage(self, *, namespace: str = "", selector: str = "", containers: bool = False) -> cluster_wire.UsageResponse:
        """Newest usage of nodes, and of a namespace's pods (`*`: of all)."""
        request = cluster_wire.UsageRequest(namespace=namespace, label_selector=selector, containers=containers)
        return self._connection.call(lambda s, t: s.cluster.Usage(request, timeout=t), repeatable=True)

    def backup(self) -> Iterator[bytes]:
        """A consistent copy of the master's store, in pieces."""
        request = cluster_wire.BackupRequest()
        for chunk in self._connection.stream(lambda s: s.cluster.Backup(request), repeatable=True):
            yield chunk.data
