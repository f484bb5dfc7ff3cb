"""Replacing the CA while the cluster runs, in three steps with the master started anew after each.

    Stable ──add──► Added ──reissue──► Reissued ──drop──► Stable
             the next CA is trusted,   it signs; the old one   the old one is
             too; the old one signs    is trusted, too         trusted no more

    pki/next.key, next.crt   the next CA, from `add` until `reissue` has made it the one that signs
    pki/trusted.crt          what is trusted besides pki/ca.crt

Between the steps every node must have got what is trusted now; nodelets do that by themselves, as a session tells them
what is (`CertificateAuthority.digest`). Each step may be repeated, and goes on where one was cut short.
"""

from __future__ import annotations

import datetime
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from master.auth.ca import new_ca
from podium import pki
from podium.errors import Conflict, NotFound
from podium.files import sync_directory, write_atomic

_PUBLIC = 0o644


class Stage(Enum):
    """How far replacing the CA is."""

    STABLE = "Stable"
    ADDED = "Added"
    REISSUED = "Reissued"


def stage_of(directory: Path) -> Stage:
    """How far it is in a master's `pki` folder. Blocks, as all functions here do.

    Raises:
        NotFound: There is no CA.
    """
    if not (directory / "ca.crt").exists():
        raise NotFound(f"{directory} holds no CA: is it in the master's --data-dir?")
    if (directory / "next.crt").exists() and not _begun(directory):
        return Stage.ADDED if _next(directory) in _trusted(directory) else Stage.STABLE
    return Stage.REISSUED if (directory / "trusted.crt").exists() else Stage.STABLE


def add(directory: Path, now: datetime.datetime) -> None:
    """Make the next CA, and have it trusted.

    Raises:
        Conflict: The last replacement is not over.
    """
    complete(directory)
    if stage_of(directory) is Stage.REISSUED:
        raise Conflict("the CA before the present one is trusted still: `podium-master ca drop` ends that first")
    if not (directory / "next.crt").exists():
        key, certificate = new_ca(now, _cluster(directory))
        write_atomic(directory / "next.key", pki.key_pem(key))
        write_atomic(directory / "next.crt", _pem(certificate), mode=_PUBLIC)
    _trust(directory, [*_trusted(directory), _next(directory)])


def reissue(directory: Path) -> None:
    """Make the next CA the one that signs; the old one is trusted still.

    Raises:
        Conflict: None was added.
    """
    complete(directory)
    match stage_of(directory):
        case Stage.REISSUED:
            return
        case Stage.STABLE:
            raise Conflict("no CA was added: `podium-master ca add` comes first")
        case Stage.ADDED:
            _trust(directory, [*_trusted(directory), *_certificates(directory / "ca.crt")])
            write_atomic(directory / "ca.key", (directory / "next.key").read_bytes())
            complete(directory)


def drop(directory: Path) -> None:
    """Trust the CA that signs, and no other.

    Raises:
        Conflict: The one that was added does not sign yet.
    """
    complete(directory)
    if stage_of(directory) is Stage.ADDED:
        raise Conflict("the CA that was added does not sign yet: `podium-master ca reissue` comes first")
    (directory / "trusted.crt").unlink(missing_ok=True)
    sync_directory(directory)


def complete(directory: Path) -> None:
    """End an exchange that was cut short: the key is the next CA's, and the certificate may be the old one's."""
    if not _begun(directory):
        return
    write_atomic(directory / "ca.crt", (directory / "next.crt").read_bytes(), mode=_PUBLIC)
    _trust(directory, [pem for pem in _trusted(directory) if pem != _next(directory)])
    for name in ("next.key", "next.crt"):
        (directory / name).unlink(missing_ok=True)
    sync_directory(directory)


def _begun(directory: Path) -> bool:
    """Whether the key was exchanged, and not all that goes with it."""
    certificate, key = directory / "next.crt", directory / "ca.key"
    if not certificate.exists() or not key.exists():
        return False
    mine = pki.load_key(key.read_bytes()).public_key()
    return x509.load_pem_x509_certificate(certificate.read_bytes()).public_key() == mine


def _cluster(directory: Path) -> str:
    return next(iter(pki.read_certificate((directory / "ca.crt").read_bytes()).groups), "")


def _next(directory: Path) -> bytes:
    [pem] = _certificates(directory / "next.crt")
    return pem


def _trusted(directory: Path) -> list[bytes]:
    return _certificates(directory / "trusted.crt")


def _certificates(path: Path) -> list[bytes]:
    """The certificates of a file, in one form, so that they can be compared."""
    if not path.exists():
        return []
    return [_pem(certificate) for certificate in x509.load_pem_x509_certificates(path.read_bytes())]


def _trust(directory: Path, certificates: list[bytes]) -> None:
    write_atomic(directory / "trusted.crt", b"".join(dict.fromkeys(certificates)), mode=_PUBLIC)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
