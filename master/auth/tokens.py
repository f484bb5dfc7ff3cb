"""Join tokens: what a new host shows to become a node.

A token is `ID.SECRET.PIN`. The id names it in lists; the secret proves it; the pin (SHA-256 of the CA's public key)
lets the host prove the master *before* it shows the secret. Each is a Secret of type `bootstrap.podium.dev/token` in
namespace `podium-system`, holding the secret's hash only: 160 random bits need no slow hash. The whole token is
shown once, when it is made.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from master.auth.principal import Principal, component
from podium.aio.clock import Clock
from podium.errors import BadRequest, NotFound, Unauthenticated
from podium.objects.kinds import Key
from podium.v1.core_pb2 import Secret

NAMESPACE = "podium-system"
SECRET_TYPE = "bootstrap.podium.dev/token"  # noqa: S105 (a type's name)
NAME_PREFIX = "bootstrap-token-"
DEFAULT_LIFETIME = datetime.timedelta(hours=24)
MAX_LIFETIME = datetime.timedelta(days=365)

_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LENGTH = 6
_FORM = re.compile(r"([a-z0-9]{6})\.([a-z2-7]{32})\.([0-9a-f]{64})")


class SecretReader(Protocol):
    """What a token book asks of `master.access.protocol.Reader`."""

    def get(self, kind: type[Secret], namespace: str, name: str) -> Secret | None: ...
    def list(self, kind: type[Secret], namespace: str = "") -> list[Secret]: ...


class SecretWriter(Protocol):
    """What a token book asks of `master.access.protocol.Writer`."""

    async def create(self, obj: Secret, *, by: Principal) -> Secret: ...
    async def delete(self, key: Key, *, by: Principal) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """A token as it is listed. `expires` is UTC."""

    id: str
    expires: datetime.datetime
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken(TokenInfo):
    """A token just made; `text` is the whole of it, shown this once."""

    text: str = field(repr=False)


class TokenBook:
    """Makes, checks, lists and revokes join tokens."""

    def __init__(self, *, reader: SecretReader, writer: SecretWriter, clock: Clock, pin: str) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._pin = pin

    async def create(
        self, *, by: Principal, lifetime: datetime.timedelta | None = None, description: str = ""
    ) -> NewToken:
        """Make a token (24 hours, unless said otherwise).

        Raises:
            BadRequest: The lifetime is not positive, or over a year.
            Forbidden: `by` may not write Secrets.
        """
        lifetime = lifetime or DEFAULT_LIFETIME
        if not datetime.timedelta(0) < lifetime <= MAX_LIFETIME:
            raise BadRequest("a join token's lifetime must be positive and at most a year")
        token_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
        secret = base64.b32encode(secrets.token_bytes(20)).decode().lower()
        expires = (self._clock.now() + lifetime).replace(microsecond=0)
        await self._writer.create(_to_secret(token_id, secret, expires, description), by=by)
        return NewToken(id=token_id, expires=expires, description=description, text=f"{token_id}.{secret}.{self._pin}")

    def verify(self, text: str) -> TokenInfo:
        """The token that `text` proves.

        Raises:
            Unauthenticated: Malformed, of another cluster, unknown, wrong, or expired; says which, except that an
                unknown id and a wrong secret are told apart by nobody.
        """
        form = _FORM.fullmatch(text.strip())
        if form is None:
            raise Unauthenticated(
                "the join token is malformed: expected ID.SECRET.PIN, as `podium token create` prints it"
            )
        token_id, secret, pin = form.groups()
        if not hmac.compare_digest(pin, self._pin):
            raise Unauthenticated("the join token was made by another cluster (its CA pin is not this cluster's)")
        stored = self._reader.get(Secret, NAMESPACE, NAME_PREFIX + token_id)
        expected = stored.data.get("token-secret-sha256", b"") if stored is not None else b""
        if not hmac.compare_digest(expected, _hash(secret)) or stored is None:
            raise Unauthenticated("the join token is not known here: it was revoked, has expired, or is mistyped")
        info = _from_secret(stored)
        if info.expires <= self._clock.now():
            raise Unauthenticated(f"join token {token_id} expired at {info.expires:%Y-%m-%dT%H:%M:%SZ}: make a new one")
        return info

    def list(self) -> Sequence[TokenInfo]:
        """All tokens, expired ones included, soonest to expire first."""
        stored = self._reader.list(Secret, NAMESPACE)
        return sorted((_from_secret(s) for s in stored if s.type == SECRET_TYPE), key=lambda t: (t.expires, t.id))

    async def revoke(self, token_id: str, *, by: Principal) -> None:
        """Delete a token; nodes that joined with it stay.

        Raises:
            NotFound: No such token.
        """
        if self._reader.get(Secret, NAMESPACE, NAME_PREFIX + token_id) is None:
            raise NotFound(f'join token "{token_id}" does not exist')
        await self._writer.delete(Key("Secret", NAMESPACE, NAME_PREFIX + token_id), by=by)

    async def remove_expired(self) -> int:
        """Delete expired tokens; returns how many."""
        now = self._clock.now()
        expired = [token for token in self.list() if token.expires <= now]
        for token in expired:
            await self.revoke(token.id, by=component("token-cleaner"))
        return len(expired)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).hexdigest().encode()


def _to_secret(token_id: str, secret: str, expires: datetime.datetime, description: str) -> Secret:
    made = Secret(type=SECRET_TYPE)
    made.metadata.name = NAME_PREFIX + token_id
    made.metadata.namespace = NAMESPACE
    made.data["token-id"] = token_id.encode()
    made.data["token-secret-sha256"] = _hash(secret)
    made.data["expiration"] = expires.isoformat().encode()
    made.data["description"] = description.encode()
    return made


def _from_secret(stored: Secret) -> TokenInfo:
    try:
        expires = datetime.datetime.fromisoformat(stored.data["expiration"].decode())
    except ValueError:
        expires = datetime.datetime.min.replace(tzinfo=datetime.UTC)  # unreadable: holds for expired
    return TokenInfo(
        id=stored.metadata.name.removeprefix(NAME_PREFIX),
        expires=expires if expires.tzinfo else expires.replace(tzinfo=datetime.UTC),
        description=stored.data["description"].decode(errors="replace"),
    )
