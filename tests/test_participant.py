"""A client checks a round before it trains, and the closed list before it shows what it committed to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federations import BITS, POLICY, SPAM, VALUES, HonestAttempt, SmallFederation, small_federation
from refusals import refused_with

from client.participant import Participant, Submission
from core.clock import SYSTEM_CLOCK
from core.errors import Reason, Refused
from core.federated import client_rng, client_update
from core.identity import signing
from core.policy import Policy
from core.protocol import ClosedList, Signed, digest
from core.secagg.factory import payload_bytes
from core.secagg.opening import combine
from core.secagg.scheme import PublicKey
from core.tasks import get_task
from core.wire.holder_messages import list_statement
from core.wire.messages import certificate_to_bytes, commitment_from_bytes
from keyholder.shares import Shares

federation = small_federation()


@pytest.fixture(scope="module")
def attempt(federation: SmallFederation) -> HonestAttempt:
    return HonestAttempt(federation, federation.deal()[0])


@pytest.fixture
def client(federation: SmallFederation) -> Participant:
    return federation.participant(1)


def described(attempt: HonestAttempt, **changes: Any) -> Signed:
    """What the aggregator signs if these parts of the description are different."""
    return attempt.federation.sign_round(replace(attempt.description, **changes))


# ------------------------------------------------------------------------------------------------ before training


def test_an_honest_round_is_accepted(client: Participant, attempt: HonestAttempt) -> None:
    description = client.verify(attempt.signed)
    assert description == attempt.description
    client.verify_model(description, attempt.model, ())


def test_a_description_that_the_aggregator_did_not_sign_is_refused(
    client: Participant, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    body = attempt.signed.body
    for signature in (bytes(64), federation["keyholder-1"].signing.sign(signing.ROUND, body)):
        with refused_with(Reason.DESCRIPTION_SIGNATURE):
            client.verify(Signed(body, signature))


def test_a_key_of_the_aggregators_own_is_refused(client: Participant, attempt: HonestAttempt) -> None:
    body = certificate_to_bytes(attempt.description.certificate)
    own = Signed(body, attempt.federation.server.signing.sign(signing.KEY, body))
    with refused_with(Reason.KEY_CERTIFICATE):
        client.verify(described(attempt, signed_certificate=own))


def key(**changes: Any) -> Callable[[HonestAttempt], Signed]:
    """A round with another key, certified by the registrar."""

    def change(attempt: HonestAttempt) -> Signed:
        certificate = replace(attempt.description.certificate, **changes)
        body = certificate_to_bytes(certificate)
        signed = Signed(body, attempt.federation.registrar.signing.sign(signing.KEY, body))
        return described(attempt, certificate=certificate, signed_certificate=signed)

    return change


def encoding(**changes: Any) -> Callable[[HonestAttempt], Signed]:
    return lambda attempt: described(attempt, encoding=replace(attempt.description.encoding, **changes))


REFUSED = {
    "another federation's round": (lambda a: described(a, federation="f" * 16), Reason.WRONG_FEDERATION),
    "another run's round": (lambda a: described(a, id=replace(a.id, run="f" * 16)), Reason.WRONG_DESCRIPTION),
    "another task": (lambda a: described(a, task="babi"), Reason.WRONG_TASK),
    "a key of fewer shares": (key(threshold=1), Reason.KEY_CERTIFICATE),
    "a key of another federation": (key(federation="f" * 16), Reason.KEY_CERTIFICATE),
    "an even key": (key(key=PublicKey("paillier", BITS, 1 << 255)), Reason.BAD_KEY),
    "a prime key": (key(key=PublicKey("paillier", BITS, (1 << 255) + 95)), Reason.BAD_KEY),
    "a key one bit short": (key(key=PublicKey("paillier", BITS, (1 << 255) - 1)), Reason.BAD_KEY),
    "more fraction bits": (encoding(fraction_bits=15), Reason.WRONG_DESCRIPTION),
    "fewer weights": (encoding(values=100), Reason.WRONG_DESCRIPTION),
    "no headroom": (encoding(plaintext_bits=BITS), Reason.WRONG_DESCRIPTION),
    "sums of one client": (lambda a: described(a, min_cohort=1), Reason.COHORT_TOO_SMALL),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_client_does_not_train_for(client: Participant, attempt: HonestAttempt, name: str) -> None:
    change, refused = REFUSED[name]
    with refused_with(refused):
        client.verify(change(attempt))


def test_a_key_is_good_until_the_end_of_its_last_day(federation: SmallFederation, attempt: HonestAttempt) -> None:
    last = attempt.description.certificate.expires_day
    federation.participant(1, day=last).verify(attempt.signed)
    with refused_with(Reason.KEY_EXPIRED):
        federation.participant(1, day=last + 1).verify(attempt.signed)


@pytest.mark.parametrize(
    ("policy", "scheme", "sentence"),
    [
        (Policy(), "paillier", "256 bits can be broken"),
        (Policy(insecure_demo_keys=True), "plain", "encrypts nothing"),
    ],
)
def test_keys_that_protect_nothing_need_this_clients_own_consent(
    federation: SmallFederation, policy: Policy, scheme: str, sentence: str
) -> None:
    attempt = HonestAttempt(federation, federation.deal(scheme=scheme)[0])
    with pytest.raises(Refused, match=sentence):
        federation.participant(1, policy=policy).verify(attempt.signed)
    federation.participant(1).verify(attempt.signed)


def test_the_clients_own_minimum_stands_above_the_aggregators(
    federation: SmallFederation, attempt: HonestAttempt
) -> None:
    for own, accepted in ((2, True), (3, False)):
        client = federation.participant(1, policy=replace(POLICY, min_cohort=own))
        if accepted:
            client.verify(attempt.signed)
        else:
            with refused_with(Reason.COHORT_TOO_SMALL):
                client.verify(attempt.signed)


@pytest.mark.parametrize("wish", [{"min_noise": 0.5}, {"max_delta": 1e-5}])
def test_a_round_without_privacy_is_refused_by_a_client_that_requires_it(
    federation: SmallFederation, attempt: HonestAttempt, wish: dict[str, float]
) -> None:
    with refused_with(Reason.WEAK_PRIVACY):
        federation.participant(1, policy=replace(POLICY, **wish)).verify(attempt.signed)


def test_a_client_that_joined_no_run_answers_none(federation: SmallFederation, attempt: HonestAttempt) -> None:
    honest = federation.participant(1)
    stranger = Participant(honest.identity, SPAM, POLICY, lambda *_: SPAM.prepare([]), SYSTEM_CLOCK)
    with refused_with(Reason.WRONG_DESCRIPTION):
        stranger.verify(attempt.signed)


def test_only_the_model_that_the_description_names_is_trained(client: Participant, attempt: HonestAttempt) -> None:
    """A crafted model would make the update say more than it should."""
    crafted = attempt.model.copy()
    crafted[7] = 1e-9
    with refused_with(Reason.WRONG_DIGEST):
        client.verify_model(attempt.description, crafted, ())
    named = client.verify(described(attempt, model_digest=digest(crafted.tobytes())))
    with refused_with(Reason.MODEL_LINEAGE):
        client.verify_model(named, crafted, ())


def test_a_later_model_needs_the_signatures_of_enough_holders(client: Participant, federation: SmallFederation) -> None:
    model = np.full(VALUES, 0.5)
    later = HonestAttempt(federation, federation.deal()[0], round_number=2, model=model)
    description = client.verify(later.signed)
    client.verify_model(description, model, federation.endorsements(1, model))
    for endorsements in ((), federation.endorsements(1, model, holders=1), federation.endorsements(2, model)):
        with refused_with(Reason.MODEL_LINEAGE):
            client.verify_model(description, model, endorsements)


def test_a_new_roster_is_followed_while_the_client_runs(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation")
    model = np.full(VALUES, 0.5)
    later = HonestAttempt(federation, federation.deal()[0], round_number=2, model=model)
    client, endorsements = federation.participant(1), federation.endorsements(1, model)
    client.verify_model(later.description, model, endorsements)
    federation.revoke("keyholder-2")
    with refused_with(Reason.MODEL_LINEAGE):
        client.verify_model(later.description, model, endorsements)


# ------------------------------------------------------------------------------------------------ training


@pytest.fixture
def submission(client: Participant, attempt: HonestAttempt) -> Submission:
    return client.answer(attempt.description, attempt.signed, attempt.model)


def test_an_answer_is_signed_and_says_what_it_answers(
    submission: Submission, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    commitment = federation.verifier().verify_commitment(submission.commitment, attempt.description, attempt.digest)
    assert (commitment.id, commitment.client) == (attempt.id, "client-1")
    assert commitment.digest == submission.header.digest == digest(submission.payload)
    assert submission.header.length == len(submission.payload)
    key, plaintexts = attempt.description.key, attempt.description.encoding.plaintexts
    assert len(submission.payload) == payload_bytes(key, plaintexts)


def test_asked_again_for_the_same_round_a_client_gives_the_same_bytes(
    client: Participant, attempt: HonestAttempt, submission: Submission
) -> None:
    assert client.last is submission
    assert client.answer(attempt.description, attempt.signed, attempt.model) is submission


def test_each_description_is_answered_afresh(
    client: Participant, attempt: HonestAttempt, federation: SmallFederation, submission: Submission
) -> None:
    second = HonestAttempt(federation, federation.deal()[0], attempt=2)
    other = client.answer(second.description, second.signed, second.model)
    assert other.payload != submission.payload
    numbers = [commitment_from_bytes(each.commitment.body).submission for each in (submission, other)]
    assert numbers[0] != numbers[1], "no two submissions are the same"


def test_what_is_encrypted_is_exactly_the_clipped_update_of_its_own_data(
    federation: SmallFederation, attempt: HonestAttempt, submission: Submission
) -> None:
    """Opened with two holders' shares, which an honest holder would never lend for a single update."""
    description = attempt.description
    shares = {n: Shares(federation[f"keyholder-{n}"]).open(description.certificate) for n in (1, 2)}
    partials = {n: share.partial(submission.payload) for n, share in shares.items()}
    opened = combine(description.key, 2, 3, submission.payload, partials)
    update = client_update(SPAM, attempt.model, SPAM.prepare(SPAM.generate(0, 1)), client_rng(0, 1, 1))
    assert list(opened.plaintexts) == description.encoding.encode(update)
    found = description.encoding.decode(opened.plaintexts, 1)
    quantised = description.encoding.quantise(update.delta) / 2.0**description.encoding.fraction_bits
    assert np.array_equal(found.delta_sum, quantised)
    assert found.examples == 300


def test_data_is_loaded_once_with_the_runs_seed_and_the_clients_number(federation: SmallFederation) -> None:
    loaded = []
    client = Participant(
        federation["client-2"],
        SPAM,
        POLICY,
        lambda seed, number: loaded.append((seed, number)) or SPAM.prepare(SPAM.generate(seed, number)),  # type: ignore[func-returns-value]
        SYSTEM_CLOCK,
    )
    for number in (1, 2):
        attempt = HonestAttempt(federation, federation.deal(scheme="plain")[0], attempt=number, seed=7)
        client.answer(attempt.description, attempt.signed, attempt.model)
    assert loaded == [(7, 2)]


# ------------------------------------------------------------------------------------------------ before uploading


def closed(attempt: HonestAttempt, mine: Signed | None = None, **changes: Any) -> ClosedList:
    """The list of client-2, client-3 and (if given) this client, signed by the quorum."""
    bodies = [attempt.commitments["client-2"].body, attempt.commitments["client-3"].body]
    digests = tuple(digest(body) for body in ([mine.body] if mine else []) + bodies)
    digests = changes.get("commitment_digests", digests)
    statement = list_statement(changes.get("description_digest", attempt.digest), digests)
    holders = attempt.federation.holders[:2]
    signatures = attempt.federation.signatures(signing.LIST, statement, holders)
    made = ClosedList(1, 1, attempt.digest, digests, signatures)
    return replace(made, **changes)


def test_a_client_uploads_once_it_sees_itself_on_a_signed_list(
    client: Participant, attempt: HonestAttempt, submission: Submission
) -> None:
    client.verify_list(closed(attempt, submission.commitment), submission)


def test_a_list_without_this_client_is_refused(
    client: Participant, attempt: HonestAttempt, submission: Submission
) -> None:
    with refused_with(Reason.NOT_IN_LIST):
        client.verify_list(closed(attempt), submission)
    again = attempt.federation.sign_commitment(
        replace(commitment_from_bytes(submission.commitment.body), submission=bytes(16))
    )
    with refused_with(Reason.NOT_IN_LIST):
        client.verify_list(closed(attempt, again), submission)


def test_a_list_that_the_quorum_did_not_sign_is_refused(
    client: Participant, attempt: HonestAttempt, submission: Submission
) -> None:
    honest = closed(attempt, submission.commitment)
    first, second = honest.signatures
    for signatures in ((), (first,), (first, first), (first, replace(second, signature=first.signature))):
        with refused_with(Reason.LIST_SIGNATURES):
            client.verify_list(replace(honest, signatures=signatures), submission)
    more = (*honest.commitment_digests, digest(b"one more"))
    with refused_with(Reason.LIST_SIGNATURES):
        client.verify_list(replace(honest, commitment_digests=more), submission)


def test_a_list_of_too_few_is_refused_and_the_same_client_twice_is_one(
    federation: SmallFederation, client: Participant, attempt: HonestAttempt, submission: Submission
) -> None:
    mine = digest(submission.commitment.body)
    for digests in ((mine,), (mine, mine)):
        short = closed(attempt, commitment_digests=digests)
        with refused_with(Reason.COHORT_TOO_SMALL):
            client.verify_list(short, submission)
    careful = federation.participant(1, policy=replace(POLICY, min_cohort=4))
    whole = closed(attempt, submission.commitment)
    with refused_with(Reason.COHORT_TOO_SMALL):
        careful.verify_list(whole, submission)


def test_a_list_of_another_description_is_refused(
    client: Participant, attempt: HonestAttempt, submission: Submission
) -> None:
    other = closed(attempt, submission.commitment, description_digest=digest(b"another"))
    with refused_with(Reason.WRONG_DESCRIPTION):
        client.verify_list(other, submission)


# ------------------------------------------------------------------------------------------------ switched off

ATTACKS: dict[Reason, Callable[[Participant, HonestAttempt, Submission], object]] = {
    Reason.DESCRIPTION_SIGNATURE: lambda c, a, s: c.verify(replace(a.signed, signature=bytes(64))),
    Reason.COHORT_TOO_SMALL: lambda c, a, s: c.verify(described(a, min_cohort=1)),
    Reason.KEY_CERTIFICATE: lambda c, a, s: c.verify(key(threshold=1)(a)),
    Reason.WRONG_DIGEST: lambda c, a, s: c.verify_model(a.description, np.ones(VALUES), ()),
    Reason.NOT_IN_LIST: lambda c, a, s: c.verify_list(closed(a), s),
    Reason.LIST_SIGNATURES: lambda c, a, s: c.verify_list(replace(closed(a, s.commitment), signatures=()), s),
}


@pytest.mark.parametrize("check", ATTACKS, ids=str)
def test_each_check_is_the_one_that_stops_what_it_is_named_for(
    federation: SmallFederation, attempt: HonestAttempt, submission: Submission, check: Reason
) -> None:
    """Refused while it is on, done when it alone is off."""
    attack = ATTACKS[check]
    with refused_with(check):
        attack(federation.participant(1), attempt, submission)
    attack(federation.participant(1, passes={check}), attempt, submission)


def test_a_participant_knows_its_task_and_name(client: Participant) -> None:
    assert (client.name, client.task, client.last) == ("client-1", get_task("spam"), None)
