"""A key holder signs no list that it has not checked from the raw bytes, and one list an attempt."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import Change, described, endorse_model, no_fetch, open_sum, restarted, share_file
from federations import POLICY, VALUES, HonestAttempt, SmallFederation
from refusals import refused_with

from core.errors import Reason
from core.identity import signing
from core.policy import Policy
from core.protocol import Commitment, Signed, digest
from core.wire.holder_messages import list_statement
from core.wire.messages import certificate_to_bytes, commitment_to_bytes
from keyholder.holder import KeyHolder
from keyholder.orders import ListOrder, ReleaseOrder


@pytest.fixture
def unopened(kept: HonestAttempt) -> HonestAttempt:
    """The same attempt for many tests, which may change it and open no sum of it."""
    mine = copy(kept)
    mine.payloads, mine.commitments = dict(kept.payloads), dict(kept.commitments)
    return mine


def test_an_honest_list_is_signed_over_every_commitment(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    signature = holder.sign_list(attempt.list_order())
    statement = list_statement(attempt.digest, attempt.commitment_digests())
    assert federation.verifier().signers(signing.LIST, statement, [signature]) == (signature,)
    assert [kind for _, kind, _ in holder.ledger.entries()] == ["list"]


def test_the_same_list_gets_the_same_signature_even_after_a_restart(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation, tmp_path: Path
) -> None:
    signature = holder.sign_list(attempt.list_order())
    assert holder.sign_list(attempt.list_order()) == signature
    holder = restarted(federation, holder, tmp_path / "holder")
    assert holder.sign_list(attempt.list_order()) == signature
    assert len(holder.ledger.entries()) == 1


def test_no_second_list_of_an_attempt_is_signed(holder: KeyHolder, attempt: HonestAttempt) -> None:
    holder.sign_list(attempt.list_order())
    order = attempt.list_order()
    with refused_with(Reason.LIST_CHANGED):
        holder.sign_list(replace(order, commitments=order.commitments[:3]))
    attempt.commit_to("client-1", attempt.encrypt(1))
    with refused_with(Reason.LIST_CHANGED):
        holder.sign_list(attempt.list_order())


def test_a_key_is_bound_to_one_attempt(holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation) -> None:
    """Replaying a round with the same key would let an old ciphertext come back scaled."""
    holder.sign_list(attempt.list_order())
    for id in ({"attempt": 2}, {"round": 2}, {"run": "f" * 16}):
        again = HonestAttempt(federation, attempt.description.signed_certificate, id=replace(attempt.id, **id))
        order = again.list_order()
        if again.id.round == 2:
            order = replace(order, lineage=federation.endorsements(1, again.model))
        with refused_with(Reason.KEY_USED):
            holder.sign_list(order)


def test_without_its_share_a_holder_signs_nothing(holder: KeyHolder, attempt: HonestAttempt) -> None:
    share_file(attempt, holder).unlink()
    with refused_with(Reason.UNKNOWN_KEY):
        holder.sign_list(attempt.list_order())


def forged_description(attempt: HonestAttempt) -> ListOrder:
    return replace(attempt.list_order(), round=replace(attempt.signed, signature=bytes(64)))


def own_key(attempt: HonestAttempt) -> ListOrder:
    """The aggregator hands out a key that it certified itself."""
    body = certificate_to_bytes(attempt.description.certificate)
    signed = Signed(body, attempt.federation.server.signing.sign(signing.KEY, body))
    return HonestAttempt(attempt.federation, signed).list_order()


def committed(**changes: Any) -> Change:
    """The first client's commitment is another one, signed by that client."""

    def change(attempt: HonestAttempt) -> ListOrder:
        made: Commitment = replace(attempt.commitment("client-1"), **changes)
        signed = attempt.federation.sign_commitment(made, by="client-1")
        return replace(attempt.list_order(), commitments=(signed, *attempt.list_order().commitments[1:]))

    return change


def forged_commitment(attempt: HonestAttempt) -> ListOrder:
    body = commitment_to_bytes(attempt.commitment("client-1"))
    by_server = Signed(body, attempt.federation.server.signing.sign(signing.COMMITMENT, body))
    return replace(attempt.list_order(), commitments=(by_server, *attempt.list_order().commitments[1:]))


def copied(attempt: HonestAttempt) -> ListOrder:
    attempt.commit_to("client-2", attempt.payloads["client-1"])
    return attempt.list_order()


def twice(attempt: HonestAttempt) -> ListOrder:
    again = attempt.federation.sign_commitment(replace(attempt.commitment("client-1"), digest=digest(b"more")))
    return replace(attempt.list_order(), commitments=(*attempt.list_order().commitments, again))


def short(attempt: HonestAttempt) -> ListOrder:
    return replace(attempt.list_order(), commitments=attempt.list_order().commitments[:1])


def next_round(holders: int) -> Change:
    def change(attempt: HonestAttempt) -> ListOrder:
        key, model = attempt.description.signed_certificate, np.ones(VALUES)
        later = HonestAttempt(attempt.federation, key, round_number=2, model=model)
        return replace(later.list_order(), lineage=attempt.federation.endorsements(1, model, holders))

    return change


LISTS: dict[str, tuple[Change, Reason]] = {
    "a description that the aggregator did not sign": (forged_description, Reason.DESCRIPTION_SIGNATURE),
    "a round of another federation": (described(federation="f" * 16), Reason.WRONG_FEDERATION),
    "a key that the aggregator made itself": (own_key, Reason.KEY_CERTIFICATE),
    "an unknown task": (described(task="spma"), Reason.WRONG_TASK),
    "another task": (described(task="babi"), Reason.WRONG_DESCRIPTION),
    "another encoding": (
        described(encoding=lambda a: replace(a.description.encoding, fraction_bits=12)), Reason.WRONG_DESCRIPTION,
    ),
    "other headroom": (
        described(encoding=lambda a: replace(a.description.encoding, plaintext_bits=200)), Reason.WRONG_DESCRIPTION,
    ),
    "a crafted model to begin with": (described(model_digest=digest(b"crafted")), Reason.MODEL_LINEAGE),
    "a later model that one holder signed": (next_round(holders=1), Reason.MODEL_LINEAGE),
    "a later model without signatures": (next_round(holders=0), Reason.MODEL_LINEAGE),
    "a commitment that the aggregator signed": (forged_commitment, Reason.COMMITMENT_SIGNATURE),
    "a commitment to another description": (committed(description_digest=bytes(32)), Reason.WRONG_DESCRIPTION),
    "a commitment of a stranger": (committed(client="stranger"), Reason.NOT_IN_ROSTER),
    "a commitment of a key holder": (committed(client="keyholder-2"), Reason.WRONG_ROLE),
    "a commitment in another's name": (committed(client="client-2"), Reason.COMMITMENT_SIGNATURE),
    "a client twice": (twice, Reason.DUPLICATE),
    "the same ciphertexts twice": (copied, Reason.COPIED),
    "a single client": (short, Reason.COHORT_TOO_SMALL),
    "fewer than the description says": (described(min_cohort=5), Reason.COHORT_TOO_SMALL),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_not_signed_with(holder: KeyHolder, unopened: HonestAttempt, name: str) -> None:
    change, refused = LISTS[name]
    honest = unopened.list_order()
    with refused_with(refused):
        holder.sign_list(change(unopened))
    assert holder.ledger.entries() == [], "what was declined leaves no trace, and stops nothing honest"
    holder.sign_list(honest)


@pytest.mark.parametrize("name", LISTS)
def test_nor_is_the_sum_of_such_a_list_opened_or_its_model_endorsed(
    holder: KeyHolder, unopened: HonestAttempt, federation: SmallFederation, name: str
) -> None:
    change, refused = LISTS[name]
    listed = change(unopened)
    statement = list_statement(digest(listed.round.body), [digest(each.body) for each in listed.commitments])
    signatures = federation.signatures(signing.LIST, statement, federation.holders)
    order = ReleaseOrder(listed, signatures, ("client-1", "client-2"), bytes(32))
    with refused_with(refused):
        open_sum(holder, order, no_fetch)
    with refused_with(refused):
        endorse_model(holder, order, bytes(32), no_fetch, no_fetch, no_fetch)
    assert share_file(unopened, holder).exists()


def test_a_later_round_needs_a_model_that_enough_holders_signed(holder: KeyHolder, attempt: HonestAttempt) -> None:
    assert holder.sign_list(next_round(holders=2)(attempt))


def test_the_holders_own_policy_stands_above_the_aggregators(
    federation: SmallFederation, attempt: HonestAttempt, tmp_path: Path
) -> None:
    strict = {
        Reason.COHORT_TOO_SMALL: replace(POLICY, min_cohort=5),
        Reason.BAD_KEY: Policy(min_cohort=2),
    }
    for refused, policy in strict.items():
        holder = federation.key_holder(1, tmp_path / refused, policy=policy)
        with refused_with(refused):
            holder.sign_list(attempt.list_order())
        with refused_with(refused):
            open_sum(holder, attempt.release_order(), no_fetch)
    plain = HonestAttempt(federation, federation.deal(scheme="plain")[0])
    holder = federation.key_holder(1, tmp_path / "plain", policy=replace(POLICY, allow_plain=False))
    with refused_with(Reason.BAD_KEY):
        holder.sign_list(plain.list_order())


def test_a_key_is_good_until_the_end_of_its_last_day(
    federation: SmallFederation, attempt: HonestAttempt, tmp_path: Path
) -> None:
    last = attempt.description.certificate.expires_day
    late = federation.key_holder(1, tmp_path / "late", day=last + 1)
    with refused_with(Reason.KEY_EXPIRED):
        late.sign_list(attempt.list_order())
    assert federation.key_holder(1, tmp_path / "in time", day=last).sign_list(attempt.list_order())


def test_a_client_that_is_revoked_while_the_round_runs_is_in_no_list_and_no_sum(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=3)
    attempt = HonestAttempt(federation, federation.deal()[0])
    holder = federation.key_holder(1, tmp_path / "holder")
    holder.sign_list(attempt.list_order())
    federation.revoke("client-2")
    with refused_with(Reason.REVOKED):
        holder.sign_list(attempt.list_order())
    with refused_with(Reason.REVOKED):
        open_sum(holder, attempt.release_order(), attempt.fetch)
    federation.close()
