"""The cluster's CA: kept, private, and signing only what it was asked to."""

from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from master.auth.ca import CertificateAuthority, Lifetimes, new_ca
from master.auth.serving import ServingCertificate
from podium import pki
from podium.aio.clock import SystemClock
from podium.errors import BadRequest
from podium.tls import SERVER_NAME

CLOCK = SystemClock()


class MovableClock(SystemClock):
    """The machine's clock, some days ahead."""

    days = 0.0

    def now(self) -> datetime.datetime:
        return super().now() + datetime.timedelta(days=self.days)


@pytest.fixture
def ca(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.open(tmp_path / "pki", CLOCK)


def test_files_are_private(ca: CertificateAuthority, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "pki" / "ca.key").stat().st_mode) == 0o600


def test_a_restart_keeps_the_ca(ca: CertificateAuthority, tmp_path: Path) -> None:
    again = CertificateAuthority.open(tmp_path / "pki", CLOCK)
    assert (again.pin, again.cluster_id, again.bundle) == (ca.pin, ca.cluster_id, ca.bundle)


def test_two_clusters_differ(ca: CertificateAuthority, tmp_path: Path) -> None:
    other = CertificateAuthority.open(tmp_path / "other", CLOCK)
    assert other.pin != ca.pin
    assert other.cluster_id != ca.cluster_id


def test_half_a_ca_is_refused(ca: CertificateAuthority, tmp_path: Path) -> None:
    (tmp_path / "pki" / "ca.key").unlink()
    with pytest.raises(BadRequest, match=r"only one of ca.key and ca.crt"):
        CertificateAuthority.open(tmp_path / "pki", CLOCK)


def test_a_ca_that_does_not_match_its_key_is_refused(ca: CertificateAuthority, tmp_path: Path) -> None:
    CertificateAuthority.open(tmp_path / "other", CLOCK)
    (tmp_path / "pki" / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(BadRequest, match="does not belong to"):
        CertificateAuthority.open(tmp_path / "pki", CLOCK)


def test_further_trusted_cas_join_the_bundle(ca: CertificateAuthority, tmp_path: Path) -> None:
    next_one = CertificateAuthority.open(tmp_path / "next", CLOCK)
    (tmp_path / "pki" / "trusted.crt").write_bytes(next_one.certificate_pem)
    bundle = CertificateAuthority.open(tmp_path / "pki", CLOCK).bundle
    assert bundle == ca.certificate_pem + next_one.certificate_pem


def test_a_server_certificate_verifies_for_its_names_only(ca: CertificateAuthority) -> None:
    key, chain = ca.issue_server(["master", "10.0.0.1"])
    leaf, issuer = x509.load_pem_x509_certificates(chain)
    assert pki.load_key(key).public_key() == leaf.public_key()
    builder = PolicyBuilder().store(Store([issuer])).time(CLOCK.now())
    for name in (SERVER_NAME, "master", "localhost"):
        builder.build_server_verifier(x509.DNSName(name)).verify(leaf, [])
    with pytest.raises(x509.verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("elsewhere")).verify(leaf, [])


def test_a_node_certificate_says_who_it_is_whatever_was_requested(ca: CertificateAuthority) -> None:
    _, request = pki.new_request("admin", ["system:masters"])
    info = pki.read_certificate(ca.sign_node(request, "n1"))
    assert (info.user, info.groups) == ("system:node:n1", frozenset({"system:nodes"}))
    usage = x509.load_pem_x509_certificate(ca.sign_node(request, "n1")).extensions.get_extension_for_class(
        x509.ExtendedKeyUsage
    )
    assert list(usage.value) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_certificate_never_outlives_the_ca(tmp_path: Path) -> None:
    clock = MovableClock()
    ca = CertificateAuthority.open(tmp_path / "pki", clock)
    clock.days = 3600
    _, certificate = ca.issue_client("late", [])
    assert pki.read_certificate(certificate).not_after == ca.not_after


@pytest.mark.parametrize("request_pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_a_malformed_request_is_refused(ca: CertificateAuthority, request_pem: bytes) -> None:
    with pytest.raises(BadRequest, match="not a usable certificate request"):
        ca.sign_node(request_pem, "n1")


def test_another_curve_is_refused(ca: CertificateAuthority) -> None:
    request = pki.request_for(ec.generate_private_key(ec.SECP384R1()), "x")
    with pytest.raises(BadRequest, match="P-256"):
        ca.sign_client(request, "x", [])


def test_a_client_needs_a_name_and_a_sane_lifetime(ca: CertificateAuthority) -> None:
    _, request = pki.new_request("x")
    with pytest.raises(BadRequest, match="needs a user"):
        ca.sign_client(request, "", [])
    with pytest.raises(BadRequest, match="at most ten years"):
        ca.sign_client(request, "x", [], datetime.timedelta(days=9999))


def test_the_serving_certificate_renews_itself_after_two_thirds_of_its_life(tmp_path: Path) -> None:
    clock = MovableClock()
    ca = CertificateAuthority.open(tmp_path / "pki", clock, Lifetimes(server=datetime.timedelta(days=30)))
    serving = ServingCertificate(ca, clock, ["master"])
    first = serving.chain
    clock.days = 19
    assert not serving.renew_if_due()
    clock.days = 21
    assert serving.renew_if_due()
    assert serving.chain != first
    assert serving.not_after > clock.now() + datetime.timedelta(days=29)


def test_two_authorities_of_one_moment_have_names_of_their_own() -> None:
    """A certificate names who signed it: by one name, the wrong one of two would be asked."""
    now = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    (_, one), (_, other) = new_ca(now, "c"), new_ca(now, "c")
    assert one.subject != other.subject
