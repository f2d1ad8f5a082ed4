"""Keys are made where they are used: a whole enrolment, and what a request has to prove."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from invited import NOW, Invited, Newcomer, installed
from refusals import refused_with

from core.errors import DataError, Reason
from core.identity import certificates
from core.identity.enrolment import pending_in
from core.identity.members import Role
from core.identity.request import LARGEST_REQUEST
from core.identity.sealing import SealingKey
from core.identity.signing import SigningKey
from core.secagg.key_share import KeyShare
from core.share_files import read_share, share_paths
from registrar.dealer import Dealer

HOLDERS = ("keyholder-1", "keyholder-2", "keyholder-3")


# ------------------------------------------------------------------------------------------------ a whole enrolment


def test_a_client_makes_its_keys_and_is_a_member(made: Invited) -> None:
    newcomer = made.begin("client-1")
    identity = installed(made, newcomer)
    assert (identity.name, identity.number, identity.role) == ("client-1", 1, Role.CLIENT)
    assert identity.roster.current().version == 2
    assert identity.signing.public == newcomer.keys.signing.public
    assert pending_in(newcomer.folder) is None
    assert sorted(path.name for path in newcomer.folder.iterdir()) == [
        "READ-ME.txt", "authority.pem", "certificate.pem", "keys.enc", "party.json", "roster.json",
    ]  # fmt: skip


def test_a_key_holder_that_made_its_own_keys_opens_what_is_dealt_to_it(waiting: Invited) -> None:
    newcomers = {name: waiting.begin(name) for name in ("server", *HOLDERS)}
    for newcomer in newcomers.values():
        waiting.admit(newcomer.pending.request)
    holder = installed(waiting, newcomers["keyholder-2"])
    registrar = waiting.registrar
    for name in HOLDERS:
        (waiting.machines / name / "shares").mkdir(exist_ok=True)
    list(Dealer(registrar.roster, registrar.signing, waiting.machines.joinpath, 1).deal(1, 1, "plain", 128))
    [path] = share_paths(holder.folder / "shares")
    share = KeyShare.from_bytes(holder.sealing.open(read_share(path).sealed, read_share(path).signed.body))
    assert (share.holder, share.holders, share.threshold) == (2, 3, 2)


def test_no_private_key_and_no_token_is_in_what_travels_or_at_the_registrar(made: Invited) -> None:
    newcomer = made.begin("client-1")
    identity = installed(made, newcomer)
    keys = newcomer.keys
    secrets = [keys.signing.private_bytes(), newcomer.invitation.token]
    (made.folder / "invitations" / "client-1.invitation").unlink()
    travelled = [newcomer.pending.request, made.admit(newcomer.pending.request).answer or b""]
    kept = [path.read_bytes() for path in [*made.folder.rglob("*"), *identity.folder.rglob("*")] if path.is_file()]
    for raw in [*travelled, *kept]:
        assert b"PRIVATE" not in raw
        assert not any(secret in raw or secret.hex().encode() in raw for secret in secrets)


def test_the_first_roster_waits_for_the_server_and_all_key_holders(waiting: Invited) -> None:
    client = waiting.begin("client-2")
    assert waiting.admit(client.pending.request).missing == ("server", *HOLDERS)
    server = waiting.begin("server")
    for name in HOLDERS:
        waiting.admit(waiting.begin(name).pending.request)
    with pytest.raises(DataError, match="is not complete: its server and all key holders have to enrol first"):
        _ = waiting.registrar.roster
    outcome = waiting.admit(server.pending.request)
    assert (outcome.missing, outcome.first_roster) == ((), True)
    roster = waiting.registrar.roster
    assert [member.name for member in roster.members] == ["server", *HOLDERS, "client-2"]
    assert (roster.version, roster.threshold) == (1, 2)
    assert installed(waiting, client).number == 2, "as the invitation says, though it was the first client to come"


def test_the_same_request_gets_the_same_certificate_again_and_no_second_member(made: Invited) -> None:
    newcomer = made.begin("client-1")
    first, again = made.admit(newcomer.pending.request), made.admit(newcomer.pending.request, NOW + timedelta(days=99))
    assert (first.new, again.new) == (True, False)
    assert json.loads(first.answer or b"") == json.loads(again.answer or b"")
    assert made.registrar.roster.version == 2


def test_a_registrar_that_was_cut_off_before_it_signed_the_roster_finishes_it(
    made: Invited, monkeypatch: pytest.MonkeyPatch
) -> None:
    newcomer = made.begin("client-1")
    with monkeypatch.context() as patch:
        patch.setattr("registrar.enrolment.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made.admit(newcomer.pending.request)
    assert made.registrar.roster.version == 1
    assert installed(made, newcomer).roster.current().version == 2


# ------------------------------------------------------------------------------------------------ requests refused


def other_curve(purpose: str) -> str:
    key = ec.generate_private_key(ec.SECP384R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(purpose)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def replaced_request(make: Callable[[str], str]) -> Callable[[Newcomer], bytes]:
    """A request with another certificate request, made for the invitation's purpose."""

    def change(newcomer: Newcomer) -> bytes:
        purpose = f"grokfed-invitation:{newcomer.invitation.id.hex()}"
        return newcomer.request_with(lambda content: content.update(certificate_request=make(purpose)))

    return change


def off_the_curve(purpose: str) -> str:
    """A certificate request whose point has another y."""
    key = certificates.new_key()
    raw = certificates.make_request(key, purpose)
    der = bytearray(x509.load_pem_x509_csr(raw).public_bytes(serialization.Encoding.DER))
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    der[der.index(point) + 64] ^= 1
    return _pem(bytes(der))


def with_another_signature(purpose: str) -> str:
    raw = certificates.make_request(certificates.new_key(), purpose)
    der = bytearray(x509.load_pem_x509_csr(raw).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    return _pem(bytes(der))


def _pem(der: bytes) -> str:
    import base64

    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


def edited(**fields: Any) -> Callable[[Newcomer], bytes]:
    return lambda newcomer: newcomer.request_with(lambda content: content.update(fields))


def changed_after_signing(field: str, value: str) -> Callable[[Newcomer], bytes]:
    def change(newcomer: Newcomer) -> bytes:
        outer = json.loads(newcomer.pending.request)
        outer["request"][field] = value
        return json.dumps(outer).encode()

    return change


def with_proof(name: str, proof: Callable[[Newcomer], bytes]) -> Callable[[Newcomer], bytes]:
    def change(newcomer: Newcomer) -> bytes:
        outer = json.loads(newcomer.pending.request)
        outer["proofs"][name] = proof(newcomer).hex()
        return json.dumps(outer).encode()

    return change


BAD_REQUESTS: dict[str, tuple[Callable[[Newcomer], bytes], Reason, str]] = {
    "too long": (lambda _: b" " * (LARGEST_REQUEST + 1), Reason.MALFORMED, "at most 8192 are read"),
    "not JSON": (lambda _: b"{", Reason.MALFORMED, "not JSON as expected"),
    "a field too many": (edited(more="x"), Reason.MALFORMED, "'more' does not fit"),
    "another type": (edited(name=1), Reason.MALFORMED, "name in the enrolment request is int"),
    "no role": (edited(role="boss"), Reason.MALFORMED, "'boss' is not a valid Role"),
    "other hexadecimal": (edited(signing_key="XY"), Reason.MALFORMED, "lower-case hexadecimal"),
    "no certificate request": (edited(certificate_request="x"), Reason.MALFORMED, "cannot be read"),
    "another curve": (replaced_request(other_curve), Reason.MALFORMED, "not one of the curve P-256"),
    "a point off the curve": (replaced_request(off_the_curve), Reason.MALFORMED, "not a point of the curve"),
    "not signed by the TLS key": (
        replaced_request(with_another_signature),
        Reason.MALFORMED,
        "not signed with the key",
    ),
    "made for another invitation": (
        replaced_request(lambda _: certificates.make_request(certificates.new_key(), "grokfed-invitation:00").decode()),
        Reason.MALFORMED,
        "made for another invitation",
    ),
    "a short signing key": (edited(signing_key="ab"), Reason.BAD_KEY, "cannot be an Ed25519 public key"),
    "a signing key of small order": (edited(signing_key="01" + "00" * 31), Reason.BAD_KEY, "cannot be an Ed25519"),
    "another's signing key": (
        edited(signing_key=SigningKey.generate().public.hex()),
        Reason.BAD_SIGNATURE,
        "not signed with its signing key",
    ),
    "changed on its way": (
        changed_after_signing("name", "anna"),
        Reason.BAD_SIGNATURE,
        "not signed with the invitation's token, or was changed on its way",
    ),
    "another token": (
        with_proof("invitation", lambda _: SigningKey.generate().sign("enrolment request v1", b"")),
        Reason.BAD_SIGNATURE,
        "not signed with the invitation's token",
    ),
}


@pytest.mark.parametrize(("change", "reason", "sentence"), BAD_REQUESTS.values(), ids=list(BAD_REQUESTS))
def test_a_request_that_does_not_prove_what_it_says_is_refused(
    made: Invited, change: Callable[[Newcomer], bytes], reason: Reason, sentence: str
) -> None:
    newcomer, before = made.begin("client-1"), made.registrar.roster
    with refused_with(reason, sentence):
        made.admit(change(newcomer))
    assert made.registrar.roster == before
    assert made.admit(newcomer.pending.request).new, "the invitation is still good"


BAD_SEALING: dict[str, tuple[Callable[[Newcomer], bytes], Reason]] = {
    "none": (edited(sealing_key=""), Reason.BAD_KEY),
    "another's": (edited(sealing_key=SealingKey.generate().public.hex()), Reason.BAD_SIGNATURE),
    "of small order": (edited(sealing_key="00" * 32), Reason.BAD_SIGNATURE),
    "too short": (edited(sealing_key="00" * 31), Reason.BAD_SIGNATURE),
    "proved for another": (
        with_proof("sealing", lambda newcomer: newcomer.keys.sealing.prove(SealingKey.generate().public, b"")),  # type: ignore[union-attr]
        Reason.BAD_SIGNATURE,
    ),
}


@pytest.mark.parametrize(("change", "reason"), BAD_SEALING.values(), ids=list(BAD_SEALING))
def test_a_key_holder_must_have_the_sealing_key_that_it_sends(
    waiting: Invited, change: Callable[[Newcomer], bytes], reason: Reason
) -> None:
    newcomer = waiting.begin("keyholder-1")
    with refused_with(reason, "sealing key"):
        waiting.admit(change(newcomer))
    assert waiting.admit(newcomer.pending.request).new


def test_a_client_has_no_sealing_key(made: Invited) -> None:
    newcomer = made.begin("client-1")
    with refused_with(Reason.BAD_KEY, "of a key holder has a sealing key, and no other has one"):
        made.admit(newcomer.request_with(lambda content: content.update(sealing_key="09" * 32)))
