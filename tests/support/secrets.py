"""Secrets in a dictionary: what a token book needs of a reader and a writer."""

from __future__ import annotations

import builtins

from master.auth.principal import Principal
from podium.objects.kinds import Key
from podium.v1.core_pb2 import Secret


class FakeSecrets:
    """Reader and writer of Secrets at once."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], Secret] = {}

    def get(self, kind: type[Secret], namespace: str, name: str) -> Secret | None:
        return self.stored.get((namespace, name))

    def list(self, kind: type[Secret], namespace: str = "") -> builtins.list[Secret]:
        return [s for (ns, _), s in self.stored.items() if namespace in ("", ns)]

    async def create(self, obj: Secret, *, by: Principal) -> Secret:
        self.stored[obj.metadata.namespace, obj.metadata.name] = obj
        return obj

    async def delete(self, key: Key, *, by: Principal) -> None:
        del self.stored[key.namespace, key.name]
