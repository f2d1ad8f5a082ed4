"""The checks that several parties make of a round: each refuses by its own name, and lets the honest through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federations import SPAM, VALUES, HonestAttempt, SmallFederation, forged, small_federation
from refusals import refused_with

from core.checks import Verifier
from core.clock import today
from core.errors import Reason
from core.federated import encoding_for, initial_model
from core.identity import signing
from core.protocol import KeyCertificate, Signed, digest
from core.secagg.scheme import PublicKey
from core.tasks import TASKS
from core.wire.holder_messages import list_statement, model_statement
from core.wire.messages import certificate_from_bytes, certificate_to_bytes
from core.wire.streams import model_bytes

TODAY = today()


federation = small_federation()


@pytest.fixture(scope="module")
def attempt(kept: HonestAttempt) -> HonestAttempt:
    return kept


# ------------------------------------------------------------------------------------------------ require


def test_a_check_that_holds_says_nothing(verifier: Verifier) -> None:
    verifier.require(True, Reason.COPIED, "two are the same")


def test_a_check_refuses_by_its_own_name(verifier: Verifier) -> None:
    with refused_with(Reason.COPIED, "two are the same"):
        verifier.require(False, Reason.COPIED, "two are the same")


# ------------------------------------------------------------------------------------------------ the description


def test_the_aggregators_description_is_believed(verifier: Verifier, attempt: HonestAttempt) -> None:
    assert verifier.verify_round(attempt.signed) == attempt.description


def test_a_description_is_refused_unless_the_aggregator_signed_exactly_it_as_one(
    verifier: Verifier, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    other = federation.sign_round(replace(attempt.description, seed=1))
    by_holder = federation["keyholder-1"].signing.sign(signing.ROUND, attempt.signed.body)
    as_model = federation.server.signing.sign(signing.MODEL, attempt.signed.body)
    for signature in (bytes(64), other.signature, by_holder, as_model):
        signed = Signed(attempt.signed.body, signature)
        with refused_with(Reason.DESCRIPTION_SIGNATURE):
            verifier.verify_round(signed)


def test_a_description_of_another_federation_is_refused(
    verifier: Verifier, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    signed = federation.sign_round(replace(attempt.description, federation="f" * 16))
    with refused_with(Reason.WRONG_FEDERATION):
        verifier.verify_round(signed)


def test_nothing_of_a_revoked_aggregator_is_believed(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=1, holders=1, threshold=1)
    signed = HonestAttempt(federation, federation.deal()[0]).signed
    federation.verifier().verify_round(signed)
    federation.revoke("server")
    with refused_with(Reason.REVOKED):
        federation.verifier().verify_round(signed)


# ------------------------------------------------------------------------------------------------ the key


def certified(federation: SmallFederation, certificate: KeyCertificate, by: signing.SigningKey | None = None) -> Signed:
    body = certificate_to_bytes(certificate)
    return Signed(body, (by or federation.registrar.signing).sign(signing.KEY, body))


def test_a_dealt_key_is_believed_until_the_end_of_its_last_day(verifier: Verifier, attempt: HonestAttempt) -> None:
    signed, certificate = attempt.description.signed_certificate, attempt.description.certificate
    assert verifier.verify_key(signed, TODAY) == certificate
    assert verifier.verify_key(signed, certificate.expires_day) == certificate
    with refused_with(Reason.KEY_EXPIRED):
        verifier.verify_key(signed, certificate.expires_day + 1)


@pytest.mark.parametrize(
    "change",
    [{"federation": "f" * 16}, {"threshold": 1}, {"holders": 4, "values": ()}, {"threshold": 3}],
    ids=["another federation", "a lower threshold", "more holders", "a higher threshold"],
)
def test_a_key_that_was_dealt_otherwise_is_refused_whatever_its_signatures(
    verifier: Verifier, attempt: HonestAttempt, federation: SmallFederation, change: dict[str, Any]
) -> None:
    signed = certified(federation, replace(attempt.description.certificate, **change))
    with refused_with(Reason.KEY_CERTIFICATE):
        verifier.verify_key(signed, TODAY)


def test_the_aggregators_own_key_is_refused(
    verifier: Verifier, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    """The attack: a party that hands out its own key can read every update."""
    for name in ("server", "keyholder-1", "client-1"):
        signed = certified(federation, attempt.description.certificate, by=federation[name].signing)
        with refused_with(Reason.KEY_CERTIFICATE):
            verifier.verify_key(signed, TODAY)
    with refused_with(Reason.KEY_CERTIFICATE):
        verifier.verify_key(forged(attempt.description.signed_certificate), TODAY)


def test_a_single_holder_cannot_deal_either(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "single", clients=1, holders=1, threshold=1)
    dealt = federation.deal()[0]
    certificate = certificate_from_bytes(dealt.body)
    assert federation.verifier().verify_key(dealt, TODAY) == certificate
    own = certified(federation, certificate, by=federation["keyholder-1"].signing)
    with refused_with(Reason.KEY_CERTIFICATE):
        federation.verifier().verify_key(own, TODAY)
    federation.close()


@pytest.mark.parametrize(
    ("modulus", "sentence"),
    [
        (lambda n: n >> 1, "255 bits; expected 256"),
        (lambda n: n + 1, "factor below 2.20"),
        (lambda n: (1 << 255) + 95, "prime number"),
    ],
    ids=["too short", "even", "prime"],
)
def test_a_key_that_no_honest_dealer_makes_is_refused_whatever_its_signatures(
    verifier: Verifier,
    attempt: HonestAttempt,
    federation: SmallFederation,
    modulus: Callable[[int], int],
    sentence: str,
) -> None:
    certificate = attempt.description.certificate
    signed = certified(
        federation, replace(certificate, key=PublicKey("paillier", 256, modulus(certificate.key.modulus)))
    )
    with refused_with(Reason.BAD_KEY, sentence):
        verifier.verify_key(signed, TODAY)


# ------------------------------------------------------------------------------------------------ the encoding


def test_the_tasks_own_encoding_is_accepted(verifier: Verifier, attempt: HonestAttempt) -> None:
    verifier.verify_encoding(attempt.description, SPAM, VALUES)


def test_the_encoding_for_other_cohorts_and_counts_is_the_aggregators_to_choose(
    verifier: Verifier, attempt: HonestAttempt
) -> None:
    for cohort, cap in ((2, 0), (100, 0), (8, 500)):
        encoding = encoding_for(SPAM, VALUES, 224, cohort, cap)
        verifier.verify_encoding(replace(attempt.description, encoding=encoding), SPAM, VALUES)


def test_a_round_of_another_task_is_refused(verifier: Verifier, attempt: HonestAttempt) -> None:
    description = replace(attempt.description, task="babi")
    with refused_with(Reason.WRONG_TASK):
        verifier.verify_encoding(description, SPAM, VALUES)


@pytest.mark.parametrize(
    "change",
    [{"values": VALUES - 1}, {"value_bits": 15}, {"fraction_bits": 12}, {"plaintext_bits": 223}],
)
def test_an_encoding_that_the_task_does_not_lay_down_is_refused(
    verifier: Verifier, attempt: HonestAttempt, change: dict[str, int]
) -> None:
    """More fraction bits, say, would show more of each weight; fewer plaintext bits take the headroom away."""
    encoding = replace(attempt.description.encoding, **change)
    description = replace(attempt.description, encoding=encoding)
    with refused_with(Reason.WRONG_DESCRIPTION):
        verifier.verify_encoding(description, SPAM, VALUES)


def test_an_encoding_that_cannot_work_with_this_key_is_refused(verifier: Verifier, attempt: HonestAttempt) -> None:
    short = replace(attempt.description.certificate, key=PublicKey("paillier", 64))
    description = replace(attempt.description, certificate=short)
    with refused_with(Reason.WRONG_DESCRIPTION, "encoding cannot work"):
        verifier.verify_encoding(description, SPAM, VALUES)


# ------------------------------------------------------------------------------------------------ the model


def test_round_1_starts_from_the_model_that_everyone_can_compute(verifier: Verifier, attempt: HonestAttempt) -> None:
    verifier.verify_lineage(attempt.description, SPAM, ())
    for change in ({"model_digest": digest(b"mine")}, {"model_digest": digest(model_bytes(np.ones(VALUES)))}):
        description = replace(attempt.description, **change)
        with refused_with(Reason.MODEL_LINEAGE):
            verifier.verify_lineage(description, SPAM, ())


def test_the_pinned_model_is_that_of_the_rounds_seed(verifier: Verifier, attempt: HonestAttempt) -> None:
    babi = TASKS["babi"]
    one = replace(attempt.description, seed=1, model_digest=digest(model_bytes(initial_model(babi, 1))))
    verifier.verify_lineage(one, babi, ())
    with refused_with(Reason.MODEL_LINEAGE):
        verifier.verify_lineage(replace(one, seed=2), babi, ())


def test_a_later_model_needs_the_signatures_of_as_many_holders_as_open_a_sum(
    verifier: Verifier, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    model = np.ones(VALUES)
    later = replace(attempt.description, id=replace(attempt.id, round=3), model_digest=digest(model_bytes(model)))
    enough = federation.endorsements(2, model)
    verifier.verify_lineage(later, SPAM, enough)
    verifier.verify_lineage(later, SPAM, federation.endorsements(2, model, holders=3))
    first, second = enough
    wrong = {
        "one": (first,),
        "one of them twice": (first, first),
        "none": (),
        "of the round before": federation.endorsements(1, model),
        "of another model": federation.endorsements(2, np.zeros(VALUES)),
        "under each other's names": (
            replace(second, signature=first.signature),
            replace(first, signature=second.signature),
        ),
        "a client's among them": (
            first,
            *federation.signatures(
                signing.MODEL, model_statement(federation.roster.federation, attempt.id.run, 2, digest(model_bytes(model))),
                ["client-1"],
            ),
        ),
        "signed as something else": (
            first,
            *federation.signatures(
                signing.LIST, model_statement(federation.roster.federation, attempt.id.run, 2, digest(model_bytes(model))),
                ["keyholder-2"],
            ),
        ),
    }  # fmt: skip
    for endorsements in wrong.values():
        with refused_with(Reason.MODEL_LINEAGE):
            verifier.verify_lineage(later, SPAM, endorsements)


def test_a_model_of_another_run_is_refused(verifier: Verifier, federation: SmallFederation) -> None:
    model = np.ones(VALUES)
    endorsements, sha256 = federation.endorsements(2, model), digest(model_bytes(model))
    verifier.verify_endorsements("0123456789abcdef", 2, sha256, endorsements)
    with refused_with(Reason.MODEL_LINEAGE):
        verifier.verify_endorsements("f" * 16, 2, sha256, endorsements)


def test_signatures_of_a_revoked_holder_do_not_count(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=1)
    model = np.ones(VALUES)
    endorsements, sha256 = federation.endorsements(1, model), digest(model_bytes(model))
    statement = list_statement(digest(b"description"), [digest(b"a")])
    signatures = federation.signatures(signing.LIST, statement, federation.holders[:2])
    federation.verifier().verify_endorsements("0123456789abcdef", 1, sha256, endorsements)
    federation.verifier().verify_list(digest(b"description"), [digest(b"a")], signatures)
    federation.revoke("keyholder-1")
    verifier = federation.verifier()
    with refused_with(Reason.MODEL_LINEAGE):
        verifier.verify_endorsements("0123456789abcdef", 1, sha256, endorsements)
    with refused_with(Reason.LIST_SIGNATURES):
        verifier.verify_list(digest(b"description"), [digest(b"a")], signatures)
