"""Who a certificate names, what it can be used for, and that gRPC lets in exactly whom it should."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused_with

from core.errors import DataError, Reason, Refused, SettingsError
from core.identity import certificates
from core.identity.certificates import (
    PeerName,
    check_issued,
    key_fits,
    make_authority,
    peer_from_certificate,
    peer_from_uris,
    server_name,
)
from core.identity.roster import Role

FEDERATION, OTHER = "0123456789abcdef", "f" * 16
NOW = datetime.now(UTC)
THEN = datetime(2020, 1, 1, tzinfo=UTC)
AUTHORITY = make_authority(FEDERATION, 3, now=NOW)
AUTHORITY_PEM = certificates.to_pem(AUTHORITY.certificate)


def issue(
    authority: certificates.Authority, federation: str, role: Role, name: str, *, now: datetime, years: int = 2
) -> tuple[bytes, bytes]:
    """A new key and its certificate, both PEM."""
    key = certificates.new_key()
    peer = PeerName(federation, role, name)
    return certificates.key_to_pem(key), certificates.issue(authority, peer, key.public_key(), now=now, years=years)


SERVER = issue(AUTHORITY, FEDERATION, Role.SERVER, "server", now=NOW)
ANNA = issue(AUTHORITY, FEDERATION, Role.CLIENT, "anna", now=NOW)
OLD_AUTHORITY = make_authority(FEDERATION, 100, now=THEN)
STRANGER = make_authority(FEDERATION, now=NOW)


def extensions(pem: bytes) -> dict[str, tuple[bool, Any]]:
    found = x509.load_pem_x509_certificate(pem).extensions
    return {type(one.value).__name__: (one.critical, one.value) for one in found}


def test_the_authority_signs_certificates_of_parties_and_nothing_else() -> None:
    found = extensions(AUTHORITY_PEM)
    assert set(found) == {"SubjectKeyIdentifier", "BasicConstraints", "KeyUsage"}
    assert found["BasicConstraints"] == (True, x509.BasicConstraints(ca=True, path_length=0))
    critical, usage = found["KeyUsage"]
    assert critical
    assert usage.key_cert_sign
    assert not usage.digital_signature


@pytest.mark.parametrize(
    ("pem", "usages", "names"),
    [
        (
            SERVER[1],
            [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH],
            [
                x509.UniformResourceIdentifier(f"grokfed://{FEDERATION}/server/server"),
                x509.DNSName(f"server.{FEDERATION}.grokfed"),
            ],
        ),
        (
            ANNA[1],
            [ExtendedKeyUsageOID.CLIENT_AUTH],
            [x509.UniformResourceIdentifier(f"grokfed://{FEDERATION}/client/anna")],
        ),
    ],
    ids=["server", "client"],
)
def test_only_the_servers_certificate_serves(pem: bytes, usages: list[Any], names: list[Any]) -> None:
    found = extensions(pem)
    assert found["BasicConstraints"] == (True, x509.BasicConstraints(ca=False, path_length=None))
    assert found["ExtendedKeyUsage"] == (True, x509.ExtendedKeyUsage(usages))
    assert found["SubjectAlternativeName"] == (False, x509.SubjectAlternativeName(names))
    critical, key_usage = found["KeyUsage"]
    assert critical
    assert key_usage.digital_signature
    assert not key_usage.key_cert_sign
    issuer = extensions(AUTHORITY_PEM)["SubjectKeyIdentifier"][1]
    assert found["AuthorityKeyIdentifier"][1].key_identifier == issuer.digest != found["SubjectKeyIdentifier"][1].digest


def test_keys_are_p_256_and_signatures_sha_256() -> None:
    for pem in (AUTHORITY_PEM, SERVER[1], ANNA[1]):
        certificate = x509.load_pem_x509_certificate(pem)
        assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
        public = certificate.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert public.curve.name == "secp256r1"


def test_a_certificate_is_good_from_a_day_ago_for_two_years_but_not_longer_than_its_authority() -> None:
    certificate = x509.load_pem_x509_certificate(ANNA[1])
    second = timedelta(seconds=1)
    assert abs(certificate.not_valid_before_utc - (NOW - timedelta(days=1))) < second
    assert abs(certificate.not_valid_after_utc - (NOW + timedelta(days=730))) < second
    long = x509.load_pem_x509_certificate(issue(AUTHORITY, FEDERATION, Role.CLIENT, "b", now=NOW, years=9)[1])
    assert long.not_valid_after_utc == AUTHORITY.certificate.not_valid_after_utc


@pytest.mark.parametrize("years", [0, 101])
def test_years_that_cannot_be_meant_are_refused(years: int) -> None:
    with pytest.raises(SettingsError, match=f"{years} years; expected 1 to 100"):
        make_authority(FEDERATION, years, now=NOW)


def test_two_certificates_have_different_keys_and_serial_numbers() -> None:
    again = issue(AUTHORITY, FEDERATION, Role.CLIENT, "anna", now=NOW)
    first, second = (x509.load_pem_x509_certificate(pem) for pem in (ANNA[1], again[1]))
    assert first.serial_number != second.serial_number
    assert not key_fits(again[0], ANNA[1])
    assert key_fits(*ANNA)


def test_a_certificate_is_checked_against_its_authority_and_the_day() -> None:
    assert check_issued(ANNA[1], AUTHORITY_PEM, NOW) == PeerName(FEDERATION, Role.CLIENT, "anna")
    assert check_issued(ANNA[1], AUTHORITY_PEM, NOW - timedelta(hours=23)).name == "anna", "a clock that goes wrong"
    with pytest.raises(DataError, match="not issued by the federation's authority"):
        check_issued(ANNA[1], certificates.to_pem(STRANGER.certificate), NOW)
    for day in (NOW - timedelta(days=2), NOW + timedelta(days=731)):
        with pytest.raises(DataError, match=f"the certificate is good from .* today is {day:%Y-%m-%d}"):
            check_issued(ANNA[1], AUTHORITY_PEM, day)
    with pytest.raises(DataError, match="the authority's certificate is not a certificate in PEM"):
        check_issued(ANNA[1], b"", NOW)


def test_a_certificate_names_its_party() -> None:
    assert peer_from_certificate(ANNA[1]) == PeerName(FEDERATION, Role.CLIENT, "anna")
    assert peer_from_certificate(SERVER[1]) == PeerName(FEDERATION, Role.SERVER, "server")


@given(st.sampled_from(Role), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_a_name_survives_its_uri(role: Role, name: str) -> None:
    peer = PeerName(FEDERATION, role, name)
    assert peer_from_uris([peer.uri]) == peer_from_uris([b"dns", peer.uri.encode()]) == peer


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["https://example.org/anna"],
        [f"grokfed://{FEDERATION}/client/anna", f"grokfed://{FEDERATION}/client/bela"],
        [f"grokfed://{FEDERATION}/client/anna", f"GROKFED://{FEDERATION}/client/bela"],
        [f"GROKFED://{FEDERATION}/client/anna"],
        [f"grokfed://{FEDERATION}/client"],
        [f"grokfed://{FEDERATION}/client/anna/"],
        [f"grokfed://{FEDERATION}/client/anna/bela"],
        [f"grokfed://{FEDERATION}/Client/anna"],
        [f"grokfed://{FEDERATION}/boss/anna"],
        [f"grokfed://{FEDERATION.upper()}/client/anna"],
        [f"grokfed://{FEDERATION}0/client/anna"],
        [f"grokfed://{FEDERATION}/client/"],
        [f"grokfed://{FEDERATION}/client/..%2Fanna"],
        [f"grokfed://{FEDERATION}/client/anna\n"],
        [f" grokfed://{FEDERATION}/client/anna"],
        [f"grokfed://{FEDERATION}/client/anna?x=1"],
        [b"grokfed://\xff/client/anna"],
        [b"\xff"],
    ],
)
def test_alternative_names_that_are_not_exactly_one_party_are_refused(uris: list[str | bytes]) -> None:
    with refused_with(Reason.NOT_IN_ROSTER):
        peer_from_uris(uris)


def test_a_certificate_without_a_party_and_no_certificate_are_refused() -> None:
    with pytest.raises(Refused, match="names 0 parties"):
        peer_from_certificate(AUTHORITY_PEM)
    with refused_with(Reason.MALFORMED, "not a certificate in PEM"):
        peer_from_certificate(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def damaged(pem: bytes, part: bytes, by: bytes) -> bytes:
    """The certificate with a part of its DER form in the place of another of the same length."""
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    assert der.count(part) == 1
    return ssl.DER_cert_to_PEM_cert(der.replace(part, by)).encode()


VERSION_3, VERSION_18 = bytes.fromhex("a003020102"), bytes.fromhex("a003020112")
P256, UNKNOWN_CURVE = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
ALTERNATIVE_NAME, KEY_USAGE = bytes.fromhex("0603551d11"), bytes.fromhex("0603551d13")
"""The second is the number of another extension, which then is there twice."""


def test_a_damaged_certificate_is_refused_in_a_sentence_wherever_the_damage_is() -> None:
    with pytest.raises(DataError, match="not a certificate in PEM"):
        check_issued(damaged(ANNA[1], VERSION_3, VERSION_18), AUTHORITY_PEM, NOW)
    with pytest.raises(Refused, match="names 0 parties"):
        peer_from_certificate(damaged(ANNA[1], ALTERNATIVE_NAME, KEY_USAGE))
    with pytest.raises(DataError, match="has no public key that can be used"):
        key_fits(ANNA[0], damaged(ANNA[1], P256, UNKNOWN_CURVE))


def test_what_is_no_key_is_one_sentence() -> None:
    with pytest.raises(DataError, match="not a private key in PEM"):
        key_fits(b"", ANNA[1])


# The handshake, with real gRPC on loopback.


@dataclass
class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """gRPC's health service, which writes down who reached it."""

    reached: list[PeerName] = field(default_factory=list)

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.reached.append(peer_from_uris(context.auth_context()["x509_subject_alternative_name"]))
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


@dataclass
class Listening:
    """A server with some certificate, which takes clients of AUTHORITY."""

    port: int
    health: Health

    def ask(
        self, credentials: grpc.ChannelCredentials | None, name: str | None = server_name(FEDERATION)
    ) -> grpc.StatusCode:
        """The outcome of one call: OK, or what the client gets to know within three seconds."""
        options = [("grpc.ssl_target_name_override", name)] if name else []
        address = f"127.0.0.1:{self.port}"
        channel = grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address)
        with channel:
            try:
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=3)
            except grpc.RpcError as error:
                return error.code()  # type: ignore[attr-defined, no-any-return]
        return grpc.StatusCode.OK


@pytest.fixture
def listen() -> Iterator[Any]:
    servers = []

    def start(key: bytes, certificate: bytes) -> Listening:
        server = grpc.server(ThreadPoolExecutor(1))
        health = Health()
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        credentials = grpc.ssl_server_credentials([(key, certificate)], AUTHORITY_PEM, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        servers.append(server)
        return Listening(port, health)

    yield start
    for server in servers:
        server.stop(None).wait()


def trusting(pair: tuple[bytes, bytes] | None) -> grpc.ChannelCredentials:
    """A client's credentials: it trusts AUTHORITY and shows this certificate."""
    return grpc.ssl_channel_credentials(AUTHORITY_PEM, *(pair or (None, None)))


def test_the_right_certificates_pass_and_say_who_it_is(listen: Any) -> None:
    server = listen(*SERVER)
    assert server.ask(trusting(ANNA)) is grpc.StatusCode.OK
    assert server.health.reached == [PeerName(FEDERATION, Role.CLIENT, "anna")]


@pytest.mark.parametrize(
    "credentials",
    [
        None,
        trusting(None),
        trusting(issue(STRANGER, FEDERATION, Role.CLIENT, "anna", now=NOW)),
        trusting(issue(OLD_AUTHORITY, FEDERATION, Role.CLIENT, "anna", now=THEN)),
        trusting(issue(AUTHORITY, FEDERATION, Role.CLIENT, "anna", now=THEN)),
        trusting(issue(AUTHORITY, FEDERATION, Role.CLIENT, "anna", now=NOW + timedelta(days=9))),
    ],
    ids=["plaintext", "no certificate", "other authority", "old authority", "expired", "not yet good"],
)
def test_a_client_without_the_right_certificate_reaches_nothing(listen: Any, credentials: Any) -> None:
    server = listen(*SERVER)
    assert server.ask(credentials) is grpc.StatusCode.UNAVAILABLE
    assert server.health.reached == []


@pytest.mark.parametrize(
    ("pair", "name"),
    [
        (issue(AUTHORITY, OTHER, Role.SERVER, "server", now=NOW), server_name(FEDERATION)),
        (issue(STRANGER, FEDERATION, Role.SERVER, "server", now=NOW), server_name(FEDERATION)),
        (issue(AUTHORITY, FEDERATION, Role.SERVER, "server", now=THEN), server_name(FEDERATION)),
        (issue(AUTHORITY, FEDERATION, Role.KEYHOLDER, "server", now=NOW), server_name(FEDERATION)),
        (SERVER, server_name(OTHER)),
        (SERVER, None),
    ],
    ids=["other federation", "other authority", "expired", "a key holder's", "other name wanted", "host wanted"],
)
def test_a_client_turns_away_from_a_server_without_the_right_certificate(listen: Any, pair: Any, name: Any) -> None:
    server = listen(*pair)
    assert server.ask(trusting(ANNA), name) is grpc.StatusCode.UNAVAILABLE
    assert server.health.reached == []
