"""Making and reading keys, certificate requests and certificates (ECDSA P-256, PEM). No file and no network here.

A certificate names its bearer as Kubernetes does: CN is the user, each O a group.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateInfo:
    """What a certificate says. Times are UTC."""

    user: str
    groups: frozenset[str]
    issuer: str
    serial: int
    not_before: datetime.datetime
    not_after: datetime.datetime
    names: tuple[str, ...] = ()

    def renew_at(self) -> datetime.datetime:
        """When its bearer should renew it: after two thirds of its life."""
        return self.not_before + (self.not_after - self.not_before) * 2 / 3


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a key.

    Raises:
        ValueError: Not a PEM key, or not an elliptic-curve one.
    """
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not an elliptic-curve key")
    return key


def subject(user: str, groups: Sequence[str] = ()) -> x509.Name:
    """CN = user, and one O for each group."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in sorted(groups)]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def new_request(user: str, groups: Sequence[str] = ()) -> tuple[bytes, bytes]:
    """A new key and a certificate request made with it: (key PEM, PKCS #10 PEM)."""
    key = new_key()
    return key_pem(key), request_for(key, user, groups)


def request_for(key: ec.EllipticCurvePrivateKey, user: str, groups: Sequence[str] = ()) -> bytes:
    """A certificate request (PKCS #10 PEM) for an existing key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject(user, groups))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def load_request(pem: bytes) -> x509.CertificateSigningRequest:
    """Read a certificate request and check that its sender holds the key.

    Raises:
        ValueError: Not PEM PKCS #10, wrong signature, or a key that is not P-256.
    """
    request = x509.load_pem_x509_csr(pem)
    try:
        signed = request.is_signature_valid
    except InvalidSignature:
        signed = False
    if not signed:
        raise ValueError("the certificate request is not signed by its own key")
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the certificate request's key is not an ECDSA P-256 key")
    return request


def read_certificate(pem: bytes) -> CertificateInfo:
    """What the first certificate in `pem` says.

    Raises:
        ValueError: Not a PEM certificate.
    """
    cert = x509.load_pem_x509_certificate(pem)
    return CertificateInfo(
        user=_attribute(cert.subject, NameOID.COMMON_NAME)[0],
        groups=frozenset(_attribute(cert.subject, NameOID.ORGANIZATION_NAME)) - {""},
        issuer=_attribute(cert.issuer, NameOID.COMMON_NAME)[0],
        serial=cert.serial_number,
        not_before=cert.not_valid_before_utc,
        not_after=cert.not_valid_after_utc,
        names=_names(cert),
    )


def _attribute(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(a.value) for a in name.get_attributes_for_oid(oid)] or [""]


def _names(cert: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in extension.value)


def pin_of(certificate: x509.Certificate) -> str:
    """SHA-256 (hex) of the certificate's SubjectPublicKeyInfo: stays the same while the key does."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).hexdigest()


def pin_of_pem(pem: bytes) -> str:
    """As `pin_of`, for the first certificate in `pem`.

    Raises:
        ValueError: Not a PEM certificate.
    """
    return pin_of(x509.load_pem_x509_certificate(pem))
