"""Who this nodelet is to the cluster: what it keeps of its join, and shows when it dials."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from podium import pki
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
    """

    node_name: str
    key: bytes = field(repr=False)
    certificate: bytes
    ca: bytes
    endpoints: Sequence[str] = ()

    @property
    def tls(self) -> TlsFiles:
        """The same, as TLS wants it."""
        return TlsFiles(ca=self.ca, certificate=self.certificate, key=self.key)

    @property
    def renew_at(self) -> datetime.datetime:
        """When to ask for the next certificate."""
        return pki.read_certificate(self.certificate).renew_at()

    @property
    def not_after(self) -> datetime.datetime:
        """When the certificate ends."""
        return pki.read_certificate(self.certificate).not_after


def user_of(node_name: str) -> str:
    """The certificate's common name."""
    return f"system:node:{node_name}"


GROUP = "system:nodes"
