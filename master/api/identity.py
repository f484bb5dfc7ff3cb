"""From a connection to a principal: TLS has checked the client's certificate; its CN is the user, each O a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from master.auth.principal import Principal
from podium import pki
from podium.errors import Unauthenticated


class CallContext(Protocol):
    """The part of grpc.aio.ServicerContext that tells who calls."""

    def auth_context(self) -> Mapping[str, Sequence[bytes]]: ...


def caller(context: CallContext) -> Principal:
    """Who makes this call.

    Raises:
        Unauthenticated: There is no client certificate, or it names nobody.
    """
    certificate = context.auth_context().get("x509_pem_cert")
    if not certificate:
        raise Unauthenticated("this call needs a client certificate of this cluster: see `podium config`")
    return _principal(certificate[0])


@lru_cache(maxsize=4096)
def _principal(certificate: bytes) -> Principal:
    info = pki.read_certificate(certificate)
    if not info.user:
        raise Unauthenticated("the client certificate has no common name (CN), so it names no user")
    return Principal(info.user, info.groups)
