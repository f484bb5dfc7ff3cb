"""Who this nodelet is to the cluster: what it keeps of its join, and shows when it dials."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from podium.tls import TlsFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A node's certificate with all that goes with it (PEM).

    Attributes:
        node_name: The name that the certificate carries.
        key: The private key; it never leaves the host.
        certificate: The chain, leaf first.
        ca: CAs to trust.
        endpoints: Addresses (host:port) of the API, as the master last gave them.
        validity: When the certificate begins and ends, where that is known without reading it.
    """

    node_name: str
    key: bytes = field(repr=False)
    certificate: bytes
    ca: bytes
    endpoints: Sequence[str] = ()
    validity: tuple[datetime.datetime, datetime.datetime] | None = field(default=None, compare=False)

    @property
    def tls(self) -> TlsFiles:
        """The same, as TLS wants it."""
        return TlsFiles(ca=self.ca, certificate=self.certificate, key=self.key)

    @property
    def renew_at(self) -> datetime.datetime:
        """When to ask for the next certificate: after two thirds of this one's life."""
        begin, end = self.life()
        return begin + (end - begin) * 2 / 3

    @property
    def not_after(self) -> datetime.datetime:
        """When the certificate ends."""
        return self.life()[1]

    def life(self) -> tuple[datetime.datetime, datetime.datetime]:
        """When the certificate begins and ends.

        Raises:
            ValueError: It is none.
        """
        if self.validity is not None:
            return self.validity
        from podium import pki  # eight megabytes, which a node that has joined does without

        info = pki.read_certificate(self.certificate)
        return info.not_before, info.not_after


def user_of(node_name: str) -> str:
    """The certificate's common name."""
    return f"system:node:{node_name}"


GROUP = "system:nodes"
