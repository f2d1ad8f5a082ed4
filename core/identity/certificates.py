"""TLS certificates of a federation: X.509 v3 (RFC 5280), ECDSA P-256 with SHA-256, from its own authority.

A certificate names its party in a URI of the subject's alternative names, grokfed://FEDERATION/ROLE/NAME. The server's
can be used to be a server only and the others' to be a client only, so no party can play the other side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.errors import DataError, Reason, Refused, SettingsError
from core.identity.members import Role, check_federation, check_name

SCHEME = "grokfed://"
CLOCK_SKEW = timedelta(days=1)
"""Certificates are good from this long before they were made: the parties' clocks differ."""
YEARS = 2

_DAMAGED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for a certificate or a key that it cannot read, now or when a part of it is looked at."""


class Authority(NamedTuple):
    """The registrar's certificate authority: its private key and its own certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


@dataclass(frozen=True)
class PeerName:
    """The identity named in a certificate. Whether that party may act, the roster decides."""

    federation: str
    role: Role
    name: str

    def __post_init__(self) -> None:
        check_federation(self.federation)
        check_name(self.name)

    @property
    def uri(self) -> str:
        """The name as the URI that the certificate carries."""
        return f"{SCHEME}{self.federation}/{self.role}/{self.name}"


def server_name(federation: str) -> str:
    """Return the name in the server's certificate, whatever host it runs on.

    Clients expect this name instead of the host's (grpc.ssl_target_name_override). So the server can move to any host
    or address without a new certificate, and no certificate that is issued for a host can take its place.
    """
    return f"server.{federation}.grokfed"


def make_authority(federation: str, years: int = YEARS, *, now: datetime) -> Authority:
    """Return a new certificate authority, good for `years` from `now`.

    It can issue for parties, not for other authorities.
    """
    check_federation(federation)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _distinguished(f"registrar of {federation}")
    certificate = (
        _builder(name, name, key.public_key(), now, _end(now, years))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate)


def registration_name(federation: str) -> str:
    """Return the name in the certificate of the registrar's service, while it runs."""
    return f"registrar.{federation}.grokfed"


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new private key for TLS, from the operating system's randomness."""
    return ec.generate_private_key(ec.SECP256R1())


def issue(
    authority: Authority, peer: PeerName, key: ec.EllipticCurvePublicKey, *, now: datetime, years: int = YEARS
) -> bytes:
    """Return the certificate (PEM) that says whose a public key is.

    It is good for `years` from `now`, but not longer than the authority's.
    """
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(peer.uri)]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if peer.role is Role.SERVER:
        names.append(x509.DNSName(server_name(peer.federation)))
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)  # and it may look at itself, for displays and health checks
    return _issue(authority, peer.name, key, names, usages, _end(now, years), now)


def issue_for_registration(
    authority: Authority, federation: str, key: ec.EllipticCurvePublicKey, *, now: datetime, days: int
) -> bytes:
    """Return a certificate (PEM) for the registrar's service. It names no party, so no party believes it anything."""
    names = [x509.DNSName(registration_name(federation))]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH]
    return _issue(authority, "registration", key, names, usages, now.astimezone(UTC) + timedelta(days=days), now)


def _issue(
    authority: Authority,
    subject: str,
    key: ec.EllipticCurvePublicKey,
    names: Iterable[x509.GeneralName],
    usages: Iterable[x509.ObjectIdentifier],
    end: datetime,
    now: datetime,
) -> bytes:
    issuer = authority.certificate
    end = min(end, issuer.not_valid_after_utc)
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(_distinguished(subject), issuer.subject, key, now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return to_pem(certificate)


def make_request(key: ec.EllipticCurvePrivateKey, purpose: str) -> bytes:
    """Return a certificate request (PKCS #10, RFC 2986, PEM) for a key, signed with it and made for one purpose, a URI.

    It asks for no name: which one the certificate gets, the registrar decides.
    """
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(purpose)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(serialization.Encoding.PEM)


def requested_key(pem: bytes, purpose: str) -> ec.EllipticCurvePublicKey:
    """Return the public key of a certificate request that its holder signed for this purpose.

    Raises DataError if it is none, has a key that is not a point of P-256, is not signed with it, or is for another
    purpose.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        key, signed = request.public_key(), request.is_signature_valid
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        purposes = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, *_DAMAGED):
        raise DataError("the certificate request cannot be read, or its key is not a point of the curve") from None
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        raise DataError("the key in the certificate request is not one of the curve P-256")
    if not signed:
        raise DataError("the certificate request is not signed with the key that it is for")
    if purposes != [purpose]:
        raise DataError("the certificate request was made for another invitation")
    return key


def certified_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key in a certificate. Raises DataError unless it is one of P-256."""
    try:
        key = from_pem(pem, "the certificate").public_key()
    except _DAMAGED:
        raise DataError("the certificate has no public key that can be used") from None
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        raise DataError("the certificate's key is not one of the curve P-256")
    return key


def peer_from_certificate(pem: bytes) -> PeerName:
    """Return the party that a certificate names. Who issued it is not checked.

    Raises Refused(MALFORMED) for no certificate, Refused(NOT_IN_ROSTER) unless it names exactly one party.
    """
    try:
        certificate = from_pem(pem, "the certificate")
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except DataError as error:
        raise Refused(Reason.MALFORMED, str(error)) from None
    except (x509.ExtensionNotFound, *_DAMAGED):
        return peer_from_uris(())
    return peer_from_uris(names.get_values_for_type(x509.UniformResourceIdentifier))


def peer_from_uris(uris: Iterable[str | bytes]) -> PeerName:
    """Return the party named by a certificate's alternative names, as gRPC's auth_context gives them.

    Names that do not begin with grokfed:// are left alone. Raises Refused(NOT_IN_ROSTER) unless exactly one does and
    has the form grokfed://FEDERATION/ROLE/NAME.
    """
    texts = [uri.decode(errors="replace") if isinstance(uri, bytes) else uri for uri in uris]
    ours = [text for text in texts if text.lower().startswith(SCHEME)]
    if len(ours) != 1:
        raise Refused(Reason.NOT_IN_ROSTER, f"the certificate names {len(ours)} parties of a federation; expected 1")
    parts = ours[0].removeprefix(SCHEME).split("/")
    try:
        federation, role, name = parts
        return PeerName(federation, Role(role), name)
    except (ValueError, SettingsError):
        raise Refused(
            Reason.NOT_IN_ROSTER, f"the certificate names {ours[0][:120]!r}; expected {SCHEME}FEDERATION/ROLE/NAME"
        ) from None


def check_issued(pem: bytes, authority_pem: bytes, now: datetime) -> PeerName:
    """Return the party a certificate names, if the authority issued it and it is good now.

    Raises DataError or Refused.
    """
    certificate, authority = from_pem(pem, "the certificate"), from_pem(authority_pem, "the authority's certificate")
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, *_DAMAGED):
        raise DataError("the certificate was not issued by the federation's authority") from None
    for what, checked in (("certificate", certificate), ("authority's certificate", authority)):
        if not checked.not_valid_before_utc <= now <= checked.not_valid_after_utc:
            raise DataError(
                f"the {what} is good from {checked.not_valid_before_utc:%Y-%m-%d} to "
                f"{checked.not_valid_after_utc:%Y-%m-%d}; today is {now:%Y-%m-%d}"
            )
    return peer_from_certificate(pem)


def key_fits(key_pem: bytes, certificate_pem: bytes) -> bool:
    """Return whether the private key is the one whose public key the certificate has.

    Raises DataError if either cannot be read.
    """
    certificate = from_pem(certificate_pem, "the certificate")
    try:
        return key_from_pem(key_pem).public_key() == certificate.public_key()
    except _DAMAGED:
        raise DataError("the certificate has no public key that can be used") from None


def to_pem(certificate: x509.Certificate) -> bytes:
    """Return the certificate in PEM form."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def from_pem(pem: bytes, what: str) -> x509.Certificate:
    """Return one certificate. Raises DataError."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except _DAMAGED:
        raise DataError(f"{what} is not a certificate in PEM form") from None


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the private key, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_from_pem(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Return a private ECDSA key. Raises DataError."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except _DAMAGED:
        raise DataError("the TLS key is not a private key in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DataError("the TLS key is not one of an elliptic curve")
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - CLOCK_SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _end(now: datetime, years: int) -> datetime:
    if not 1 <= years <= 100:
        raise SettingsError(f"certificates are to be good for {years} years; expected 1 to 100")
    return now.astimezone(UTC) + timedelta(days=365 * years)


def _distinguished(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
