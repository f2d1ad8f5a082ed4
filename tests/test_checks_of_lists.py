"""The checks that several parties make of commitments and lists: each refuses by its own name, and lets the honest through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from federations import SPAM, VALUES, HonestAttempt, SmallFederation, forged, small_federation
from refusals import refused_with

from core.checks import Verifier
from core.clock import today
from core.errors import Reason
from core.federated import task_digest
from core.protocol import digest
from core.task_checks import check_same_task

TODAY = today()


federation = small_federation()


@pytest.fixture(scope="module")
def attempt(kept: HonestAttempt) -> HonestAttempt:
    return kept


# ------------------------------------------------------------------------------------------------ commitments


def test_an_enrolled_clients_commitment_is_accepted(verifier: Verifier, attempt: HonestAttempt) -> None:
    found = verifier.verify_commitment(attempt.commitments["client-1"], attempt.description, attempt.digest)
    assert found == attempt.commitment("client-1")


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"client": "stranger"}, Reason.NOT_IN_ROSTER),
        ({"client": "keyholder-1"}, Reason.WRONG_ROLE),
        ({"client": "client-2"}, Reason.COMMITMENT_SIGNATURE),
        ({"digest": digest(b"another update")}, Reason.COMMITMENT_SIGNATURE),
        ({"submission": bytes(16)}, Reason.COMMITMENT_SIGNATURE),
        ({"description_digest": digest(b"another description")}, Reason.WRONG_DESCRIPTION),
    ],
    ids=["a stranger", "a holder", "another client", "changed on the way", "renumbered", "another description"],
)
def test_a_commitment_that_was_changed_or_answers_something_else_is_refused(
    verifier: Verifier, attempt: HonestAttempt, federation: SmallFederation, change: dict[str, Any], refused: Reason
) -> None:
    honest = attempt.commitment("client-1")
    changed = federation.sign_commitment(replace(honest, **change), by="client-1")
    if refused is Reason.COMMITMENT_SIGNATURE:
        changed = replace(changed, signature=attempt.commitments["client-1"].signature)
    with refused_with(refused):
        verifier.verify_commitment(changed, attempt.description, attempt.digest)


@pytest.mark.parametrize("change", [{"round": 2}, {"attempt": 2}, {"run": "f" * 16}])
def test_a_commitment_of_another_round_is_refused(
    verifier: Verifier, attempt: HonestAttempt, federation: SmallFederation, change: dict[str, Any]
) -> None:
    signed = federation.sign_commitment(replace(attempt.commitment("client-1"), id=replace(attempt.id, **change)))
    with refused_with(Reason.WRONG_DESCRIPTION):
        verifier.verify_commitment(signed, attempt.description, attempt.digest)


def test_a_revoked_clients_commitment_is_refused(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=2, holders=1, threshold=1)
    attempt = HonestAttempt(federation, federation.deal()[0])
    federation.revoke("client-2")
    verifier = federation.verifier()
    verifier.verify_commitment(attempt.commitments["client-1"], attempt.description, attempt.digest)
    with refused_with(Reason.REVOKED):
        verifier.verify_commitment(attempt.commitments["client-2"], attempt.description, attempt.digest)


# ------------------------------------------------------------------------------------------------ lists


def test_a_list_of_distinct_clients_is_accepted(verifier: Verifier, attempt: HonestAttempt) -> None:
    signed = attempt.list_order().commitments
    found = verifier.verify_commitments(signed, attempt.description, attempt.digest, 3)
    assert [commitment.client for commitment in found] == ["client-1", "client-2", "client-3"]


def test_too_short_a_list_is_refused(verifier: Verifier, attempt: HonestAttempt) -> None:
    signed = attempt.list_order().commitments[:2]
    verifier.verify_commitments(signed, attempt.description, attempt.digest, 2)
    with refused_with(Reason.COHORT_TOO_SMALL):
        verifier.verify_commitments(signed, attempt.description, attempt.digest, 3)


@pytest.mark.parametrize(
    ("client", "of", "reason"),
    [("client-1", "client-3", Reason.DUPLICATE), ("client-2", "client-1", Reason.COPIED)],
)
def test_a_client_twice_and_a_copied_update_are_refused(
    verifier: Verifier, attempt: HonestAttempt, federation: SmallFederation, client: str, of: str, reason: Reason
) -> None:
    second = federation.sign_commitment(replace(attempt.commitment(client), digest=attempt.commitment(of).digest))
    with refused_with(reason):
        verifier.verify_commitments((attempt.commitments["client-1"], second), attempt.description, attempt.digest, 2)


def test_where_nothing_is_encrypted_two_clients_may_well_send_the_same(federation: SmallFederation) -> None:
    attempt = HonestAttempt(federation, federation.deal(scheme="plain")[0])
    copied = federation.sign_commitment(
        replace(attempt.commitment("client-2"), digest=attempt.commitment("client-1").digest)
    )
    signed = (attempt.commitments["client-1"], copied)
    assert len(federation.verifier().verify_commitments(signed, attempt.description, attempt.digest, 2)) == 2


def test_a_list_needs_the_signatures_of_the_quorum(
    verifier: Verifier, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    digests, enough = attempt.commitment_digests(), attempt.list_signatures()
    verifier.verify_list(attempt.digest, digests, enough)
    verifier.verify_list(attempt.digest, digests, attempt.list_signatures(holders=3))
    one = enough[0]
    for given in ((one,), (one, one), (), (one, replace(enough[1], signature=bytes(64)))):
        with refused_with(Reason.LIST_SIGNATURES):
            verifier.verify_list(attempt.digest, digests, given)
    for changed in (digests[:2], digests[::-1], (*digests, digest(b"one more")), ()):
        with refused_with(Reason.LIST_SIGNATURES):
            verifier.verify_list(attempt.digest, changed, enough)
    with refused_with(Reason.LIST_SIGNATURES):
        verifier.verify_list(digest(b"other"), digests, enough)


# ------------------------------------------------------------------------------------------------ joining


def test_a_client_of_the_same_task_is_let_in_and_one_of_another_is_not() -> None:
    check_same_task("spam", task_digest(SPAM), SPAM)
    with refused_with(Reason.WRONG_TASK):
        check_same_task("babi", task_digest(SPAM), SPAM)
    with refused_with(Reason.WRONG_TASK, "other weights or another encoding; use the same version"):
        check_same_task("spam", task_digest(replace(SPAM, clip=8.0)), SPAM)


# ------------------------------------------------------------------------------------------------ switched off

SWITCHED_OFF = {
    Reason.DESCRIPTION_SIGNATURE: lambda verifier, a: verifier.verify_round(forged(a.signed)),
    Reason.WRONG_FEDERATION: lambda verifier, a: verifier.verify_round(
        a.federation.sign_round(replace(a.description, federation="f" * 16))
    ),
    Reason.KEY_CERTIFICATE: lambda verifier, a: verifier.verify_key(forged(a.description.signed_certificate), TODAY),
    Reason.KEY_EXPIRED: lambda verifier, a: verifier.verify_key(a.description.signed_certificate, TODAY + 1000),
    Reason.WRONG_DESCRIPTION: lambda verifier, a: verifier.verify_encoding(
        replace(a.description, encoding=replace(a.description.encoding, fraction_bits=1)), SPAM, VALUES
    ),
    Reason.MODEL_LINEAGE: lambda verifier, a: verifier.verify_lineage(
        replace(a.description, model_digest=digest(b"mine")), SPAM, ()
    ),
    Reason.COMMITMENT_SIGNATURE: lambda verifier, a: verifier.verify_commitment(
        forged(a.commitments["client-1"]), a.description, a.digest
    ),
    Reason.DUPLICATE: lambda verifier, a: verifier.verify_commitments(
        (a.commitments["client-1"], a.federation.sign_commitment(replace(a.commitment("client-1"), digest=bytes(32)))),
        a.description, a.digest, 1,
    ),
    Reason.COPIED: lambda verifier, a: verifier.verify_commitments(
        (
            a.commitments["client-1"],
            a.federation.sign_commitment(replace(a.commitment("client-2"), digest=a.commitment("client-1").digest)),
        ),
        a.description, a.digest, 2,
    ),
    Reason.COHORT_TOO_SMALL: lambda verifier, a: verifier.verify_commitments((), a.description, a.digest, 2),
    Reason.LIST_SIGNATURES: lambda verifier, a: verifier.verify_list(a.digest, a.commitment_digests(), ()),
}  # fmt: skip
"""What each check is good for: refused while it is on, done when it alone is off."""


@pytest.mark.parametrize("check", SWITCHED_OFF, ids=str)
def test_each_check_is_the_one_that_stops_what_it_is_named_for(
    federation: SmallFederation, attempt: HonestAttempt, check: Reason
) -> None:
    attack = SWITCHED_OFF[check]
    with refused_with(check):
        attack(federation.verifier(), attempt)
    with refused_with(check):
        attack(federation.verifier(SWITCHED_OFF.keys() - {check}), attempt)
    attack(federation.verifier({check}), attempt)
