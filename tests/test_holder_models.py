"""A key holder endorses the model that follows from the sum, and no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from asking import FOUR, endorse, endorse_model, open_sum, restarted
from federations import BITS, SPAM, VALUES, HonestAttempt, SmallFederation
from refusals import refused_with

from core.errors import Reason
from core.federated import encoding_for
from core.identity import signing
from core.protocol import digest
from core.secagg.scheme import join_payload, split_payload
from core.wire.holder_messages import model_statement
from core.wire.streams import model_bytes
from keyholder.holder import KeyHolder


def test_holders_endorse_the_model_that_follows_whether_they_opened_the_sum_or_not(
    federation: SmallFederation, attempt: HonestAttempt, tmp_path: Path
) -> None:
    opened = attempt.opened(FOUR)
    model = attempt.next_model(opened, 4)
    assert model[:5].tolist() == [0.25, 0.25, 0.25, 0.25, 0.0]
    statement = model_statement(federation.roster.federation, attempt.id.run, 1, digest(model_bytes(model)))
    for number in (1, 2, 3):
        holder = federation.key_holder(number, tmp_path / str(number))
        if number < 3:
            open_sum(holder, attempt.release_order(), attempt.fetch)
        signature = endorse(holder, attempt)
        assert federation.verifier().signers(signing.MODEL, statement, [signature]) == (signature,)


def test_the_same_model_gets_the_same_endorsement_even_after_a_restart(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation, tmp_path: Path
) -> None:
    signature = endorse(holder, attempt)
    assert endorse(holder, attempt) == signature
    holder = restarted(federation, holder, tmp_path / "holder")
    assert endorse(holder, attempt) == signature
    assert [kind for _, kind, _ in holder.ledger.entries()] == ["model"]


def test_a_model_that_does_not_follow_is_not_endorsed(holder: KeyHolder, attempt: HonestAttempt) -> None:
    for model in (np.zeros(VALUES), np.ones(VALUES)):
        with refused_with(Reason.WRONG_MODEL):
            endorse(holder, attempt, model_digest=digest(model_bytes(model)))
    assert holder.ledger.entries() == []


def test_no_second_model_of_a_round_is_endorsed(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    endorse(holder, attempt)
    again = HonestAttempt(federation, federation.deal()[0], attempt=2)
    order = again.release_order(FOUR[:2])
    with refused_with(Reason.WRONG_MODEL, "another model of round 1 was endorsed before"):
        endorse(holder, again, order=order)


def test_a_model_of_another_request_than_was_opened_here_is_not_endorsed(
    holder: KeyHolder, attempt: HonestAttempt
) -> None:
    opened = attempt.opened(FOUR[:3])
    open_sum(holder, attempt.release_order(), attempt.fetch)
    model = attempt.next_model(opened, 3)
    order = attempt.release_order(FOUR[:3])
    with refused_with(Reason.ALREADY_RELEASED):
        endorse_model(
            holder,
            order,
            digest(model_bytes(model)),
            attempt.fetch,
            lambda *_: opened.to_bytes(attempt.description.key),
            lambda *_: attempt.model,
        )


def test_a_sum_that_was_opened_wrong_is_noticed_without_the_shares(holder: KeyHolder, attempt: HonestAttempt) -> None:
    honest = attempt.opened(FOUR).to_bytes(attempt.description.key)
    one_more = honest[:31] + bytes([honest[31] ^ 1]) + honest[32:]
    for opened in (one_more, honest[32:64] + honest[:32] + honest[64:], bytes(len(honest))):
        with refused_with(Reason.WRONG_OPENING):
            endorse(holder, attempt, opened=opened)
    for opened in (b"", honest[:-1], honest + b"\0"):
        with refused_with(Reason.WRONG_LENGTH):
            endorse(holder, attempt, opened=opened)


def test_the_model_before_must_be_the_one_that_the_description_names(holder: KeyHolder, attempt: HonestAttempt) -> None:
    with refused_with(Reason.WRONG_DIGEST):
        endorse(holder, attempt, model=np.ones(VALUES))


def test_a_scaled_update_shows_in_its_counters_and_no_model_of_it_is_endorsed(
    holder: KeyHolder, attempt: HonestAttempt
) -> None:
    """c^2 holds twice the update, and 2 where the counter of each plaintext should hold 1."""
    key = attempt.description.key
    size = 2 * BITS // 8
    numbers = split_payload(attempt.payloads["client-3"], attempt.description.encoding.plaintexts, size)
    attempt.commit_to("client-3", join_payload([pow(c, 2, key.modulus**2) for c in numbers], size))
    opened = attempt.opened(FOUR)
    call = lambda: endorse_model(  # noqa: E731
        holder,
        attempt.release_order(),
        bytes(32),
        attempt.fetch,
        lambda *_: opened.to_bytes(key),
        lambda *_: attempt.model,
    )
    with refused_with(Reason.BAD_SUM, "a counter says 5 updates were added; expected 4"):
        call()


# ------------------------------------------------------------------------------------------------ switched off


def attack_list_changed(holder: KeyHolder, attempt: HonestAttempt) -> object:
    holder.sign_list(attempt.list_order())
    attempt.commit_to("client-1", attempt.encrypt(1))
    return holder.sign_list(attempt.list_order())


def attack_already_released(holder: KeyHolder, attempt: HonestAttempt) -> object:
    open_sum(holder, attempt.release_order(), attempt.fetch)
    second = HonestAttempt(attempt.federation, attempt.federation.deal()[0], attempt=2)
    return open_sum(holder, second.release_order(), second.fetch)


def attack_cohort(holder: KeyHolder, attempt: HonestAttempt) -> object:
    return open_sum(holder, attempt.release_order(["client-1"]), attempt.fetch)


def attack_digest(holder: KeyHolder, attempt: HonestAttempt) -> object:
    attempt.payloads["client-1"] = attempt.encrypt(1)
    return open_sum(holder, attempt.release_order(), attempt.fetch)


def attack_duplicate(holder: KeyHolder, attempt: HonestAttempt) -> object:
    names = ("client-1", "client-1", "client-2")
    order = replace(attempt.release_order(), contributors=names, sum_digest=digest(attempt.total(names)))
    return open_sum(holder, order, attempt.fetch)


def attack_list_signatures(holder: KeyHolder, attempt: HonestAttempt) -> object:
    return open_sum(holder, replace(attempt.release_order(), signatures=()), attempt.fetch)


def attack_wrong_model(holder: KeyHolder, attempt: HonestAttempt) -> object:
    return endorse(holder, attempt, model_digest=bytes(32))


def attack_too_similar(holder: KeyHolder, attempt: HonestAttempt) -> object:
    open_sum(holder, attempt.release_order(FOUR), attempt.fetch)
    later = HonestAttempt(attempt.federation, attempt.federation.deal()[0], round_number=2, model=np.ones(VALUES))
    return open_sum(holder, later.release_order(FOUR[:3]), later.fetch)


ATTACKS = {
    Reason.LIST_CHANGED: attack_list_changed,
    Reason.ALREADY_RELEASED: attack_already_released,
    Reason.COHORT_TOO_SMALL: attack_cohort,
    Reason.WRONG_DIGEST: attack_digest,
    Reason.DUPLICATE: attack_duplicate,
    Reason.LIST_SIGNATURES: attack_list_signatures,
    Reason.WRONG_MODEL: attack_wrong_model,
    Reason.TOO_SIMILAR: attack_too_similar,
}


@pytest.mark.parametrize("check", ATTACKS, ids=str)
def test_each_check_is_the_one_that_stops_what_it_is_named_for(
    federation: SmallFederation, attempt: HonestAttempt, tmp_path: Path, check: Reason
) -> None:
    """Refused while it is on, done when it alone is off."""
    with refused_with(check):
        ATTACKS[check](federation.key_holder(1, tmp_path / "on"), attempt)
    fresh = HonestAttempt(federation, federation.deal()[0])
    off = federation.key_holder(1, tmp_path / "off", passes={check})
    assert ATTACKS[check](off, fresh)


def test_the_encoding_of_a_release_is_the_tasks(attempt: HonestAttempt) -> None:
    """What the tests above call honest is what every party would compute."""
    assert attempt.description.encoding == encoding_for(SPAM, VALUES, 224, 8)
