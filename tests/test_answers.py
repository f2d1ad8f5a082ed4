"""The aggregator takes a key holder's share of an opening only with the proof that it is right, and for one request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from attempts import listed, opened, submit
from federations import RUN, SPAM, HonestAttempt, SmallFederation, small_federation
from refusals import refused_with
from structlog.testing import capture_logs

from core.answers import statement_of
from core.errors import Reason
from core.federated import initial_model
from core.identity import signing
from core.protocol import KeyCertificate, Signed
from core.share_files import read_share, share_name, write_share
from core.wire.messages import certificate_from_bytes, certificate_to_bytes
from registrar.dealer import dealt_to_all
from server.attempt import Attempt
from server.store import Store

federation = small_federation()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    store.begin_run(RUN, {}, initial_model(SPAM, 0))
    yield store
    store.close()


@pytest.fixture(params=["paillier", "damgard-jurik"])
def honest(federation: SmallFederation, request: pytest.FixtureRequest) -> HonestAttempt:
    return HonestAttempt(federation, federation.deal(scheme=request.param)[0])


def with_updates(honest: HonestAttempt, store: Store) -> Attempt:
    """All three updates are there."""
    attempt = opened(honest, store)
    listed(attempt, honest, store)
    for name in honest.payloads:
        submit(attempt, honest, name)
    return attempt


@pytest.fixture
def attempt(honest: HonestAttempt, store: Store) -> Attempt:
    return with_updates(honest, store)


def test_right_answers_open_the_sum(attempt: Attempt, honest: HonestAttempt) -> None:
    for number in (1, 3):
        partial = attempt.checked_partial(number, honest.answer(number))
        assert partial == honest.partial(number)
        attempt.take_partial(number, partial, threshold=2, holders=3)
    assert attempt.opened is not None
    assert attempt.opened.plaintexts == honest.opened().plaintexts


def test_a_wrong_answer_is_refused_before_it_counts(attempt: Attempt, honest: HonestAttempt, store: Store) -> None:
    right, fewer = honest.answer(2), honest.release_order(["client-1"])
    wrong = {
        "for another sum": honest.answer(2, fewer),
        "another holder's": honest.answer(3),
        "another proof's last byte": right[:-1] + bytes([right[-1] ^ 1]),
        "another first number": right[:31] + bytes([right[31] ^ 1]) + right[32:],
    }
    for answer in wrong.values():
        with refused_with(Reason.WRONG_SHARE, "holder 2"):
            attempt.checked_partial(2, answer)
    for answer in (right[:-1], right + b"\0", honest.partial(2), b""):
        with refused_with(Reason.WRONG_LENGTH, "holder 2"):
            attempt.checked_partial(2, answer)
    assert store.last_attempt(RUN).state == "uploading"  # type: ignore[union-attr]
    assert attempt.checked_partial(2, right) == honest.partial(2)


def test_an_answer_to_another_request_for_the_same_ciphertexts_is_refused(
    attempt: Attempt, honest: HonestAttempt
) -> None:
    """Request, attempt and certificate are in what is proven, so no answer can be carried over."""
    description, order = honest.description, honest.release_order()
    claims = [statement_of(description, 1, order.digest, honest.total())]
    claims.append(statement_of(description, 1, bytes(32), honest.total()))
    for id in (replace(honest.id, attempt=2), replace(honest.id, round=2), replace(honest.id, run="f" * 16)):
        claims.append(statement_of(replace(description, id=id), 1, order.digest, honest.total()))
    renewed = replace(description.certificate, expires_day=description.certificate.expires_day + 1)
    signed = Signed(certificate_to_bytes(renewed), bytes(64))
    claims.append(
        statement_of(
            replace(description, certificate=renewed, signed_certificate=signed), 1, order.digest, honest.total()
        )
    )
    assert len({claim.context for claim in claims}) == len(claims)
    right, *others = [honest._shares[1].answer(claim) for claim in claims]
    attempt.checked_partial(1, right)
    for answer in others:
        with refused_with(Reason.WRONG_SHARE):
            attempt.checked_partial(1, answer)


def test_the_length_of_an_answer_is_known_before_it_comes(federation: SmallFederation, store: Store) -> None:
    """At 256 bits and 2 of 3: 16 bytes of challenge, and 653 bits of response."""
    honest = HonestAttempt(federation, federation.deal()[0])
    attempt = opened(honest, store)
    assert attempt.answer_bytes == len(honest.answer(1)) == len(honest.partial(1)) + 16 + 82


def test_a_plain_answer_is_the_sum_and_needs_no_proof(federation: SmallFederation, store: Store) -> None:
    honest = HonestAttempt(federation, federation.deal(scheme="plain")[0])
    attempt = with_updates(honest, store)
    assert attempt.checked_partial(1, honest.answer(1)) == honest.total()
    with refused_with(Reason.WRONG_SHARE, "holder 1's answer is not the sum"):
        attempt.checked_partial(1, honest.total(["client-1", "client-2"]))


# ------------------------------------------------------------------------------------------------ keys from before


def old_key(federation: SmallFederation) -> tuple[Signed, KeyCertificate]:
    """A key as it was dealt before there were proofs, in every holder's folder."""
    new = certificate_from_bytes(federation.deal()[0].body)
    old = replace(new, values=())
    body = certificate_to_bytes(old)
    signed = Signed(body, federation.registrar.signing.sign(signing.KEY, body))
    for name in federation.holders:
        folder = federation[name].folder / "shares"
        sealed = read_share(folder / share_name(new.serial)).sealed
        write_share(folder, new.serial, signed, sealed)
    return signed, old


def test_a_key_without_values_is_not_offered_counted_or_begun_with(federation: SmallFederation, tmp_path: Path) -> None:
    signed, old = old_key(federation)
    with capture_logs() as logs:
        holder = federation.key_holder(1, tmp_path / "h")
    warned = [line for line in logs if line["event"] == "keys not offered"]
    assert [(old.serial in line["serials"], "deal new keys" in line["why"]) for line in warned] == [(True, True)]
    assert old.serial not in [certificate_from_bytes(key.body).serial for key in holder.unused_keys("paillier", 256)]
    folders = [federation[name].folder for name in federation.holders]
    assert old.serial not in dealt_to_all(folders, "paillier", 256, today=0)
    assert certificate_from_bytes(signed.body) == old, "it can still be read, as records of earlier runs are"
    with refused_with(Reason.BAD_KEY, "has no values to prove answers by; ask the registrar to deal new keys"):
        federation.verifier().verify_key_in_use(old)
    federation.verifier().verify_key_in_use(replace(old, values=(2, 3, 5)))


def test_answers_under_a_key_without_values_are_not_taken(attempt: Attempt, honest: HonestAttempt) -> None:
    answer = honest.answer(1)
    attempt.description = replace(honest.description, certificate=replace(honest.description.certificate, values=()))
    with refused_with(Reason.BAD_KEY, "cannot be proven: it has no values"):
        attempt.checked_partial(1, answer)


def test_values_that_no_honest_dealer_makes_are_refused_whatever_their_signature(
    federation: SmallFederation, honest: HonestAttempt
) -> None:
    certificate, today = honest.description.certificate, honest.description.certificate.expires_day
    for value in (0, certificate.key.modulus, certificate.key.modulus + 1):
        body = certificate_to_bytes(replace(certificate, values=(2, value, 3)))
        signed = Signed(body, federation.registrar.signing.sign(signing.KEY, body))
        with refused_with(Reason.BAD_KEY, "verification value"):
            federation.verifier().verify_key(signed, today)
    for values in ((2,), (2, 3), (2, 3, 4, 5)):
        with refused_with(Reason.MALFORMED, "expected 3 times 32"):
            certificate_from_bytes(certificate_to_bytes(replace(certificate, values=values)))
