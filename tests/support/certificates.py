"""Certificates for tests, signed by themselves."""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from podium.v1.core_pb2 import Secret

BEGAN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def self_signed(*names: str, common_name: str = "", key: Any = None) -> tuple[bytes, bytes]:
    """A certificate for DNS names, and its key; both PEM."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGAN)
        .not_valid_after(BEGAN + datetime.timedelta(days=36500))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    certificate = builder.sign(key, hashes.SHA256() if hasattr(key, "key_size") else None)
    return certificate.public_bytes(Encoding.PEM), pem_of(key)


def pem_of(key: Any) -> bytes:
    """A private key, PEM, without a password."""
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def tls_secret(name: str, certificate: bytes, key: bytes, namespace: str = "default") -> Secret:
    """A Secret of type kubernetes.io/tls."""
    made = Secret(type="kubernetes.io/tls", data={"tls.crt": certificate, "tls.key": key})
    made.metadata.name, made.metadata.namespace = name, namespace
    return made
