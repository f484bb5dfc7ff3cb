"""Certificates from Secrets: whether the proxy can show them, and for which names. Pure.

The proxy refuses a configuration as a whole when one certificate of it cannot be loaded. So what it would refuse is
found here, and is a problem of the Ingress that asks for it only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from podium.v1.core_pb2 import Secret

TLS_TYPE, CHAIN, KEY = "kubernetes.io/tls", "tls.crt", "tls.key"
SHORTEST_RSA = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_WEAK = (hashes.MD5, hashes.SHA1)


@dataclass(frozen=True)
class Certificate:
    """What a proxy shows.

    Attributes:
        pem: The certificate, those that sign it, and its key.
        names: DNS names that it is made for, wildcards included.
    """

    pem: bytes
    names: tuple[str, ...]

    @cached_property
    def file(self) -> str:
        """A file name that changes with the content."""
        return f"certificate-{hashlib.sha256(self.pem).hexdigest()[:24]}.pem"


def certificate_in(secret: Secret) -> Certificate | str:
    """The certificate of a Secret; or why it cannot be shown, in words."""
    if secret.type != TLS_TYPE:
        return f"is of type {secret.type or 'Opaque'}, not {TLS_TYPE}"
    try:
        chain = x509.load_pem_x509_certificates(secret.data[CHAIN])
    except ValueError:
        return f"{CHAIN} is not a PEM certificate"
    try:
        key = load_pem_private_key(secret.data[KEY], password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return f"{KEY} is not a PEM private key without a password"
    if _public(key) != _public_of(chain[0]):
        return f"{KEY} is not the key of the certificate in {CHAIN}"
    weakness = next(filter(None, map(_weakness, chain)), "")
    if weakness:
        return f"{CHAIN} {weakness}"
    parts = [certificate.public_bytes(Encoding.PEM) for certificate in chain]
    parts.append(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Certificate(b"".join(parts), _names(chain[0]))


def _public(key: object) -> bytes:
    public_key = getattr(key, "public_key", None)
    return public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) if public_key else b""


def _public_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _weakness(certificate: x509.Certificate) -> str:
    """Why OpenSSL, at the security level that distributions ask for, would not load it."""
    key = certificate.public_key()
    match key:
        case rsa.RSAPublicKey():
            if key.key_size < SHORTEST_RSA:
                return f"has an RSA key of {key.key_size} bits; at least {SHORTEST_RSA} are needed"
        case ec.EllipticCurvePublicKey():
            if not isinstance(key.curve, _CURVES):
                return f"has a key on curve {key.curve.name}; P-256, P-384 and P-521 are served"
        case ed25519.Ed25519PublicKey():
            pass
        case _:
            return "has a key that is neither RSA nor ECDSA nor Ed25519"
    signed_by_another = certificate.issuer != certificate.subject
    if signed_by_another and isinstance(certificate.signature_hash_algorithm, _WEAK):
        return "is signed with MD5 or SHA-1, which clients do not accept"
    return ""


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return _common_names(certificate)
    return tuple(name.lower() for name in found.get_values_for_type(x509.DNSName))


def _common_names(certificate: x509.Certificate) -> tuple[str, ...]:
    found = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return tuple(str(attribute.value).lower() for attribute in found)
