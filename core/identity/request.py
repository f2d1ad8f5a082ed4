"""A newcomer's request to be enrolled: the public keys it has made, and a proof for each that it has the private one.

    {"request": {"federation", "invitation", "role", "name",
                 "certificate_request",         PKCS #10, signed with the TLS key, made for this invitation
                 "signing_key", "sealing_key"},
     "proofs":  {"invitation", "signing",       Ed25519 signatures on the canonical form of "request"
                 "sealing"}}                    an HMAC that only the sealing key's holder and the registrar can make

Nothing in it is secret; changed by one byte, it proves nothing any more.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from core.errors import DataError, GrokfedError, Reason, Refused
from core.identity import certificates, signing, strict_json
from core.identity.invitation import Invitation
from core.identity.key_pairs import PrivateKeys
from core.identity.members import Role
from core.identity.sealing import SealingKey

LARGEST_REQUEST = 1 << 13
_FIELDS = {
    "federation": str, "invitation": str, "role": str, "name": str, "certificate_request": str, "signing_key": str,
    "sealing_key": str,
}  # fmt: skip
_PROOFS = {"invitation": str, "signing": str, "sealing": str}


@dataclass(frozen=True)
class EnrolmentRequest:
    """A request whose proofs hold. That its invitation exists, and is for such a party, only the registrar can say.

    Attributes:
        digest: SHA-256 of what was signed; the answer names it.
        name: empty if the registrar is to choose it.
        tls_key: a point of P-256.
        sealing_key: of a key holder; others have none.
    """

    digest: bytes
    federation: str
    invitation: bytes
    role: Role
    name: str
    tls_key: EllipticCurvePublicKey = field(repr=False)
    signing_key: bytes = field(repr=False)
    sealing_key: bytes = field(repr=False)


def make_request(invitation: Invitation, keys: PrivateKeys) -> bytes:
    """Return the request of the party that has these keys and was given this invitation."""
    tls = certificates.make_request(certificates.key_from_pem(keys.tls_pem), _purpose(invitation.id))
    content = {
        "federation": invitation.federation,
        "invitation": invitation.id.hex(),
        "role": invitation.role.value,
        "name": invitation.name,
        "certificate_request": tls.decode(),
        "signing_key": keys.signing.public.hex(),
        "sealing_key": keys.sealing.public.hex() if keys.sealing else "",
    }
    body = strict_json.canonical(content)
    proofs = {
        "invitation": invitation.key.sign(signing.ENROLMENT, body).hex(),
        "signing": keys.signing.sign(signing.ENROLMENT, body).hex(),
        "sealing": keys.sealing.prove(invitation.proof_key, body).hex() if keys.sealing else "",
    }
    return json.dumps({"request": content, "proofs": proofs}, indent=2, allow_nan=False).encode() + b"\n"


def read_request(raw: bytes, proof_key: SealingKey) -> EnrolmentRequest:
    """Return the request, if it proves that its sender has every private key and the invitation's token.

    `proof_key` is the registrar's, for which a sealing key is proved. Raises Refused(MALFORMED) for what is too long or
    not of exactly this form, BAD_KEY for what cannot be a key, BAD_SIGNATURE for a proof that does not hold.
    """
    content, proofs = _parts(raw)
    try:
        role, tls_key = Role(content["role"]), _tls_key(content)
        hexadecimal = {name: strict_json.from_hex(content[name], name) for name in _FIELDS if name.endswith("_key")}
        invitation = strict_json.from_hex(content["invitation"], "the invitation's number")
        proved = {name: strict_json.from_hex(proofs[name], f"the proof of {name}") for name in _PROOFS}
    except (ValueError, DataError) as error:
        raise Refused(Reason.MALFORMED, f"the enrolment request cannot be used: {error}") from None
    body = strict_json.canonical(content)
    request = EnrolmentRequest(
        hashlib.sha256(body).digest(), content["federation"], invitation, role, content["name"], tls_key, **hexadecimal
    )
    _check_proofs(request, body, proved, proof_key)
    return request


def digest_of(raw: bytes) -> bytes:
    """Return the digest of this party's request. Raises DataError."""
    return hashlib.sha256(strict_json.canonical(_outer(raw)["request"])).digest()


def public_keys_of(raw: bytes) -> tuple[EllipticCurvePublicKey, bytes, bytes]:
    """Return the TLS, signing and sealing keys of this party's request. Raises DataError."""
    content = strict_json.fields(_outer(raw)["request"], "the enrolment request", _FIELDS)
    signing_key, sealing_key = (strict_json.from_hex(content[name], name) for name in ("signing_key", "sealing_key"))
    return _tls_key(content), signing_key, sealing_key


def _tls_key(content: dict[str, Any]) -> EllipticCurvePublicKey:
    invitation = strict_json.from_hex(content["invitation"], "the invitation's number")
    return certificates.requested_key(content["certificate_request"].encode(), _purpose(invitation))


def _purpose(invitation: bytes) -> str:
    return f"grokfed-invitation:{invitation.hex()}"


def _outer(raw: bytes) -> dict[str, Any]:
    if len(raw) > LARGEST_REQUEST:
        raise DataError(f"the enrolment request has {len(raw)} bytes; at most {LARGEST_REQUEST} are read")
    outer = strict_json.parse(raw, "the enrolment request")
    return strict_json.fields(outer, "the enrolment request", {"request": dict, "proofs": dict})


def _parts(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        outer = _outer(raw)
        content = strict_json.fields(outer["request"], "the enrolment request", _FIELDS)
        return content, strict_json.fields(outer["proofs"], "the proofs of the enrolment request", _PROOFS)
    except GrokfedError as error:
        raise Refused(Reason.MALFORMED, str(error)) from None


def _check_proofs(request: EnrolmentRequest, body: bytes, proofs: dict[str, bytes], proof_key: SealingKey) -> None:
    for name, key in (("invitation", request.invitation), ("signing", request.signing_key)):
        if not signing.is_public_key(key):
            raise Refused(Reason.BAD_KEY, f"the {name} key in the enrolment request cannot be an Ed25519 public key")
        if not signing.verify(key, signing.ENROLMENT, body, proofs[name]):
            whose = "the invitation's token" if name == "invitation" else "its signing key"
            raise Refused(
                Reason.BAD_SIGNATURE, f"the enrolment request is not signed with {whose}, or was changed on its way"
            )
    if bool(request.sealing_key) != (request.role is Role.KEYHOLDER):
        raise Refused(Reason.BAD_KEY, "the enrolment request of a key holder has a sealing key, and no other has one")
    if request.sealing_key and not proof_key.verifies(request.sealing_key, body, proofs["sealing"]):
        raise Refused(Reason.BAD_SIGNATURE, "the enrolment request does not prove that its sender has the sealing key")
