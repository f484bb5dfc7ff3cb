"""The master's own serving certificate, renewed by itself.

gRPC asks for it on every new connection, from threads of its own; past two thirds of its life a new one is issued then
and there. Connections that are open keep theirs, which was good when they were made.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Sequence

import grpc

from master.auth.ca import CertificateAuthority
from podium import pki
from podium.aio.clock import Clock
from podium.telemetry.log import get_logger

log = get_logger(__name__)


class ServingCertificate:
    """Makes server credentials that stay valid.

    Args:
        names: Host names and addresses under which the master is reached, besides `master.podium.internal`.
    """

    def __init__(self, ca: CertificateAuthority, clock: Clock, names: Sequence[str] = ()) -> None:
        self._ca = ca
        self._clock = clock
        self._names = names
        self._lock = threading.Lock()
        self._issue()

    @property
    def not_after(self) -> datetime.datetime:
        """When the current certificate ends."""
        return self._info.not_after

    @property
    def chain(self) -> bytes:
        """The current chain, PEM, leaf first."""
        return self._chain

    def credentials(self, *, client_certificates: bool) -> grpc.ServerCredentials:
        """Credentials for a server port, with client certificates required, or not asked for."""
        seen = self._info

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal seen
            self.renew_if_due()
            if seen is self._info:
                return None  # unchanged
            seen = self._info
            return self._configuration()

        # The stubs do not know that None is an answer: it saves parsing the certificate again for every connection.
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            fetch,  # type: ignore[arg-type]
            client_certificates,
        )

    def renew_if_due(self) -> bool:
        """Issue a new certificate when two thirds of the current one's life have passed; whether it did."""
        with self._lock:
            if self._clock.now() < self._info.renew_at():
                return False
            self._issue()
            log.info("renewed the serving certificate", not_after=self._info.not_after.isoformat())
            return True

    def _issue(self) -> None:
        self._key, self._chain = self._ca.issue_server(self._names)
        self._info = pki.read_certificate(self._chain)

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        with self._lock:
            return grpc.ssl_server_certificate_configuration([(self._key, self._chain)], self._ca.bundle)
