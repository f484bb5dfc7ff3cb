"""Which certificates a proxy can show."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from master.controllers.ingress.certificates import Certificate, certificate_in
from podium.v1.core_pb2 import Secret
from tests.support.certificates import pem_of, self_signed, tls_secret

RSA = rsa.generate_private_key(65537, 2048)


def _found(certificate: bytes, key: bytes) -> Certificate:
    found = certificate_in(tls_secret("x", certificate, key))
    assert isinstance(found, Certificate), found
    return found


def _problem(certificate: bytes, key: bytes) -> str:
    found = certificate_in(tls_secret("x", certificate, key))
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("key", [RSA, ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_what_is_shown_is_the_chain_and_then_the_key(key: object) -> None:
    leaf, pem = self_signed("Foo.com", "*.bar.com", key=key)
    signer, _ = self_signed("signer.org")
    found = _found(b"some words\n" + leaf + b"more\n" + signer, b"and here\n" + pem)
    assert found.names == ("foo.com", "*.bar.com")
    assert len(x509.load_pem_x509_certificates(found.pem)) == 2
    assert pem_of(load_pem_private_key(found.pem, None)) == pem_of(key)
    assert b"words" not in found.pem, "nothing but what was understood is passed on"
    assert found.file.startswith("certificate-")


def test_the_common_name_counts_when_there_are_no_others() -> None:
    assert _found(*self_signed(common_name="foo.com")).names == ("foo.com",)
    assert _found(*self_signed("bar.com", common_name="foo.com")).names == ("bar.com",)
    assert _found(*self_signed()).names == ()


def test_what_cannot_be_shown_says_why() -> None:
    certificate, key = self_signed("foo.com")
    _, other = self_signed("foo.com")
    sealed = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    assert _problem(b"x", key) == "tls.crt is not a PEM certificate"
    assert _problem(certificate, b"x") == "tls.key is not a PEM private key without a password"
    assert _problem(certificate, sealed) == "tls.key is not a PEM private key without a password"
    assert _problem(certificate, other) == "tls.key is not the key of the certificate in tls.crt"
    assert certificate_in(Secret(type="Opaque")) == "is of type Opaque, not kubernetes.io/tls"
    assert certificate_in(Secret()) == "is of type Opaque, not kubernetes.io/tls"


@pytest.mark.parametrize(
    ("key", "words"),
    [(rsa.generate_private_key(65537, 1024), "RSA key of 1024 bits"), (ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
     (dsa.generate_private_key(2048), "neither RSA nor ECDSA")],
)  # fmt: skip
def test_what_the_proxy_would_refuse_is_refused_here(key: object, words: str) -> None:
    assert words in _problem(*self_signed("foo.com", key=key))
    signed, own = self_signed("foo.com")
    weak, _ = self_signed("signer.org", key=key)
    assert words in _problem(signed + weak, own), "anywhere in the chain"
    assert pem_of(key)
