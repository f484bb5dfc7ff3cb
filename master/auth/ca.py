"""The cluster's certificate authority: made at first start, kept in `<data-dir>/pki`, never leaves it.

    pki/ca.crt, ca.key     what signs: ECDSA P-256, ten years; the key is readable by its owner only
    pki/trusted.crt        optional: further CAs to trust, for the overlap while one CA replaces another
                           (`master.auth.rotation`)

Three sorts of certificate come from it, each for one use: the master's own (server), people's and programs'
(client, CN = user, O = groups) and nodes' (client, CN `system:node:NAME`, O `system:nodes`). The subject is always
ours to set; of a request only the public key is taken. The CA's own O is the cluster's id.
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from master.auth.principal import NODE_USER_PREFIX, NODES
from podium import pki
from podium.aio.clock import Clock
from podium.errors import BadRequest
from podium.files import make_private_directory, write_atomic
from podium.tls import SERVER_NAME, trust_digest

CA_LIFETIME = datetime.timedelta(days=3650)
BACKDATED = datetime.timedelta(minutes=5)  # clocks of a fleet differ
MAX_CLIENT_LIFETIME = datetime.timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long certificates last."""

    server: datetime.timedelta = datetime.timedelta(days=90)
    node: datetime.timedelta = datetime.timedelta(days=30)
    client: datetime.timedelta = datetime.timedelta(days=365)


class CertificateAuthority:
    """Signs. Everything here is computation of some 0.2 ms; only `open` touches the disk."""

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        clock: Clock,
        lifetimes: Lifetimes | None = None,
        also_trusted: bytes = b"",
    ) -> None:
        self._key = key
        self._certificate = certificate
        self._clock = clock
        self.lifetimes = lifetimes or Lifetimes()
        self.certificate_pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.bundle = self.certificate_pem + also_trusted
        self.digest = trust_digest(self.bundle)
        self.pin = pki.pin_of(certificate)
        self.cluster_id = next(iter(pki.read_certificate(self.certificate_pem).groups), "")

    @classmethod
    def open(cls, directory: Path, clock: Clock, lifetimes: Lifetimes | None = None) -> CertificateAuthority:
        """The CA kept in a directory, made there when there is none. Blocks; call it at start.

        Raises:
            BadRequest: The files do not belong together, or only one of them is there.
        """
        make_private_directory(directory)
        key_file, certificate_file = directory / "ca.key", directory / "ca.crt"
        if key_file.exists() != certificate_file.exists():
            raise BadRequest(f"{directory} holds only one of ca.key and ca.crt: restore the other from a backup")
        if not key_file.exists():
            key, certificate = new_ca(clock.now(), str(uuid.uuid4()))
            # The certificate is written last: a start that is cut short in between is reported, never half a CA used.
            write_atomic(key_file, pki.key_pem(key))
            write_atomic(certificate_file, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
        key = pki.load_key(key_file.read_bytes())
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        if certificate.public_key() != key.public_key():
            raise BadRequest(f"{certificate_file} does not belong to {key_file}")
        trusted = directory / "trusted.crt"
        return cls(key, certificate, clock, lifetimes, trusted.read_bytes() if trusted.exists() else b"")

    @property
    def not_after(self) -> datetime.datetime:
        """When the CA itself ends."""
        return self._certificate.not_valid_after_utc

    def issue_server(self, names: Sequence[str] = ()) -> tuple[bytes, bytes]:
        """A serving certificate of the master for these host names and addresses: (key PEM, chain PEM, leaf first)."""
        key = pki.new_key()
        alternatives = x509.SubjectAlternativeName(
            [_general_name(name) for name in dict.fromkeys([SERVER_NAME, "localhost", *names])]
        )
        certificate = self._sign(
            pki.subject(SERVER_NAME),
            key.public_key(),
            self.lifetimes.server,
            ExtendedKeyUsageOID.SERVER_AUTH,
            alternatives,
        )
        return pki.key_pem(key), certificate + self.certificate_pem

    def issue_client(self, user: str, groups: Sequence[str]) -> tuple[bytes, bytes]:
        """A new key and client certificate: (key PEM, certificate PEM)."""
        key, request = pki.new_request(user, groups)
        return key, self.sign_client(request, user, groups)

    def sign_client(
        self, request: bytes, user: str, groups: Sequence[str], lifetime: datetime.timedelta | None = None
    ) -> bytes:
        """Sign a client certificate for a user; the request's own subject is not looked at.

        Raises:
            BadRequest: The request is malformed, the user empty, or the lifetime not within ten years.
        """
        lifetime = lifetime or self.lifetimes.client
        if not user:
            raise BadRequest("a client certificate needs a user")
        if not datetime.timedelta(0) < lifetime <= MAX_CLIENT_LIFETIME:
            raise BadRequest("a client certificate's lifetime must be positive and at most ten years")
        key = _requested_key(request)
        return self._sign(pki.subject(user, groups), key, lifetime, ExtendedKeyUsageOID.CLIENT_AUTH)

    def sign_node(self, request: bytes, name: str) -> bytes:
        """Sign the certificate of a node.

        Raises:
            BadRequest: The request is malformed.
        """
        return self.sign_client(request, NODE_USER_PREFIX + name, [NODES], self.lifetimes.node)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        lifetime: datetime.timedelta,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> bytes:
        now = self._clock.now()
        builder = _builder(subject, self._certificate.subject, key, now, min(now + lifetime, self.not_after))
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(_authority_of(self._key), critical=False)
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def new_ca(now: datetime.datetime, cluster_id: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A CA's key and certificate. Each has a name of its own, so that none is taken for the one that it replaces."""
    key = pki.new_key()
    name = pki.subject(f"podium-ca-{now:%Y%m%d}-{secrets.token_hex(4)}", [cluster_id])
    builder = _builder(name, name, key.public_key(), now, now + CA_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return key, builder.sign(key, hashes.SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(until)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_of(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = pki.load_request(request).public_key()
    except ValueError as error:
        raise BadRequest(f"not a usable certificate request (PEM PKCS #10, ECDSA P-256): {error}") from error
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key
