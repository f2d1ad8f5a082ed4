"""A round with privacy, as its parties see it: what they agree to, and what they send."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from parties import Parties
from refusals import refused_with

from client.participant import Participant
from core.checks import Verifier, VerifierFactory
from core.clock import SYSTEM_CLOCK, today
from core.errors import Reason, SettingsError
from core.federated import client_rng, client_update, encoding_for, initial_model
from core.identity import signing
from core.identity.party import PartyIdentity, load_identity
from core.policy import Policy
from core.privacy.mechanism import Privacy, mechanism_for
from core.protocol import AttemptId, ClosedList, RoundDescription, Signed, digest
from core.secagg.encoding import METRIC_SLOTS
from core.secagg.scheme import split_payload
from core.tasks import get_task
from core.wire.messages import certificate_from_bytes, description_from_bytes, description_to_bytes
from core.wire.streams import model_bytes
from experiments.cheating_server.lenient import verifier_without
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.orders import ListOrder
from keyholder.shares import Shares
from registrar.dealer import Dealer
from registrar.federation import load_registrar, make_federation

SPAM = get_task("spam")

VALUES = len(initial_model(SPAM, 0))

RUN = "0123456789abcdef"

PRIVACY = Privacy(clip_norm=1.0, noise_multiplier=1.0, delta=1e-5)

POLICY = Policy(min_cohort=2, max_colluders=0, insecure_demo_keys=True, insecure_unbounded=True, allow_plain=True)


@dataclass
class Small:
    """One client, one key holder and an aggregator of a federation, and a key that encrypts nothing."""

    client: PartyIdentity
    holder: PartyIdentity
    server: PartyIdentity
    key: Signed
    state: Path

    def description(self, privacy: Privacy | None = PRIVACY, min_cohort: int = 2) -> RoundDescription:
        certificate = certificate_from_bytes(self.key.body)
        made = None if privacy is None else mechanism_for(privacy, min_cohort, 16)
        return RoundDescription(
            federation=self.client.federation,
            id=AttemptId(RUN, 1, 1),
            task="spam",
            seed=0,
            model_digest=digest(model_bytes(initial_model(SPAM, 0))),
            certificate=certificate,
            signed_certificate=self.key,
            encoding=encoding_for(SPAM, VALUES, certificate.key.plaintext_bits, 8, 0, made),
            min_cohort=min_cohort,
            deadline_seconds=60.0,
            privacy=privacy,
        )

    def sign(self, description: RoundDescription) -> Signed:
        body = description_to_bytes(description)
        return Signed(body, self.server.signing.sign(signing.ROUND, body))

    def participant(self, policy: Policy = POLICY, verifier: VerifierFactory = Verifier) -> Participant:
        mails = SPAM.prepare(SPAM.generate(0, 1)[:60])
        made = Participant(self.client, SPAM, policy, lambda _seed, _number: mails, SYSTEM_CLOCK, verifier=verifier)
        made.enrolled(RUN)
        return made

    def verify(
        self, description: RoundDescription, policy: Policy = POLICY, verifier: VerifierFactory = Verifier
    ) -> None:
        """Let the client look at it."""
        self.participant(policy, verifier).verify(self.sign(description))

    def sign_list(self, description: RoundDescription, policy: Policy = POLICY) -> None:
        """Let the key holder look at it; the list is empty, so a holder that accepts the round says that."""
        ledger = Ledger(self.state)
        try:
            holder = KeyHolder(self.holder, policy, ledger, DifferenceRule.OFF, SYSTEM_CLOCK)
            holder.sign_list(ListOrder(self.sign(description), (), ()))
        finally:
            ledger.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("small")
    made = make_federation(folder / "federation", clients=2, holders=2, threshold=2, now=datetime.now(UTC))
    registrar = load_registrar(made.folder)
    dealer = Dealer(made.roster, registrar.signing, made.party, today())
    list(dealer.deal(1, 1, "plain", 256))
    parties = [load_identity(made.party(name)) for name in ("client-1", "keyholder-1", "server")]
    return Small(*parties, Shares(parties[1]).dealt()[0].signed, folder / "ledger")


# ------------------------------------------------------------------------------------------------ what is agreed to


def test_a_round_with_the_noise_that_a_client_wants_is_accepted(small: Small) -> None:
    small.verify(small.description(), replace(POLICY, min_noise=1.0, max_delta=1e-5))
    small.verify(small.description(None), POLICY)


@pytest.mark.parametrize(
    ("privacy", "wanted", "sentence"),
    [
        (None, {"min_noise": 0.1}, "noise multiplier of 0; this party wants at least 0.1"),
        (PRIVACY, {"min_noise": 1.01}, "noise multiplier of 1; this party wants at least 1.01"),
        (PRIVACY, {"max_delta": 1e-6}, "delta of 1e-05; this party wants at most 1e-06"),
        (None, {"max_delta": 1e-6}, "no delta"),
    ],
)
def test_a_round_with_less_than_a_party_wants_is_refused_by_client_and_holder(
    small: Small, privacy: Privacy | None, wanted: dict[str, float], sentence: str
) -> None:
    policy = replace(POLICY, **wanted)
    for look in (small.verify, small.sign_list):
        with refused_with(Reason.WEAK_PRIVACY, sentence):
            look(small.description(privacy), policy)
    small.verify(small.description(privacy), policy, verifier_without(frozenset({Reason.WEAK_PRIVACY})))


@pytest.mark.parametrize("change", [{"fraction_bits": 13}, {"count_cap": 100}])
def test_another_scale_than_the_one_that_the_noise_fits_is_refused(small: Small, change: dict[str, int]) -> None:
    description = small.description()
    changed = replace(description, encoding=replace(description.encoding, **change))
    for look in (small.verify, small.sign_list):
        with refused_with(Reason.WRONG_DESCRIPTION):
            look(changed)


def test_a_round_whose_colluders_leave_no_noise_is_refused(small: Small) -> None:
    changed = replace(small.description(), privacy=replace(PRIVACY, max_colluders=2))
    with refused_with(Reason.WRONG_DESCRIPTION, "counted on"):
        small.verify(changed)


def test_a_holder_goes_on_to_the_list_where_privacy_is_as_it_wants(small: Small) -> None:
    with refused_with(Reason.COHORT_TOO_SMALL):  # this list is empty
        small.sign_list(small.description(), replace(POLICY, min_noise=1.0))


@pytest.mark.parametrize("privacy", [None, PRIVACY, Privacy(0.5, 2.0, 1e-6, 1, 8.0)])
def test_a_description_with_privacy_survives_the_wire(small: Small, privacy: Privacy | None) -> None:
    description = small.description(privacy)
    assert description_from_bytes(description_to_bytes(description)) == description


@pytest.mark.parametrize("wrong", [{"min_noise": -1.0}, {"min_noise": float("nan")}, {"max_delta": 0.0}])
def test_a_policy_that_cannot_work_cannot_be_made(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        replace(POLICY, **wrong)


def test_a_client_uploads_only_if_as_many_are_listed_as_the_noise_was_divided_among(small: Small) -> None:
    description = small.description(min_cohort=3)
    participant = small.participant(verifier=verifier_without(frozenset({Reason.LIST_SIGNATURES, Reason.NOT_IN_LIST})))
    submission = participant.answer(description, small.sign(description), initial_model(SPAM, 0))
    listed = [bytes([number]) * 32 for number in range(3)]
    closed = ClosedList(1, 1, submission.description_digest, tuple(listed), ())
    participant.verify_list(closed, submission)
    with refused_with(Reason.COHORT_TOO_SMALL, "2 clients are on the closed list; this client wants at least 3"):
        participant.verify_list(replace(closed, commitment_digests=tuple(listed[:2])), submission)


# ------------------------------------------------------------------------------------------------ what is sent


def sent(small: Small, description: RoundDescription) -> np.ndarray:
    """The integers in a client's upload; nothing is encrypted here. The first five are its sums over examples."""
    submission = small.participant().answer(description, small.sign(description), initial_model(SPAM, 0))
    encoding = description.encoding
    plaintexts = split_payload(submission.payload, encoding.plaintexts, description.key.bits // 8)
    slots = encoding.unpack(plaintexts, 1)
    return np.concatenate([slots[:METRIC_SLOTS], slots[METRIC_SLOTS:] - encoding.offset])


def test_what_a_client_sends_is_its_clipped_update_and_noise_and_no_count_of_its_mails(small: Small) -> None:
    description = small.description()
    made = description.mechanism
    assert made is not None
    integers = sent(small, description)
    assert integers[:METRIC_SLOTS].tolist() == [0, 0, 0, 0, 0]
    mails = SPAM.prepare(SPAM.generate(0, 1)[:60])
    update = client_update(SPAM, initial_model(SPAM, 0), mails, client_rng(0, 1, 1)).delta
    clipped = update * min(1.0, 1.0 / np.linalg.norm(update)) * 2.0**made.fraction_bits
    noise = integers[METRIC_SLOTS:] - clipped
    assert np.std(noise) == pytest.approx(made.share_sigma, rel=0.05)
    assert abs(noise.mean()) < 5 * made.share_sigma / np.sqrt(VALUES)


def test_with_privacy_a_client_does_not_say_how_long_it_trained(small: Small) -> None:
    description = small.description()
    answer = small.participant().answer
    timings = answer(description, small.sign(description), initial_model(SPAM, 0)).timings
    assert (timings.train_seconds, timings.encrypt_seconds) == (0.0, 0.0)
    open_round = small.description(None)
    assert answer(open_round, small.sign(open_round), initial_model(SPAM, 0)).timings.train_seconds > 0


def test_no_two_answers_have_the_same_noise(small: Small) -> None:
    assert not np.array_equal(sent(small, small.description()), sent(small, small.description()))


def test_without_privacy_the_counts_are_sent_and_the_answer_is_the_same_again(small: Small) -> None:
    first, again = sent(small, small.description(None)), sent(small, small.description(None))
    assert first[1:METRIC_SLOTS].sum() == 60
    assert np.array_equal(first, again)


# ------------------------------------------------------------------------------------------------ all of it


@pytest.mark.slow
def test_a_whole_federation_trains_privately_and_stops_at_its_budget(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start(
        *("simulation", "--clients", "4", "--rounds", "30", "--key-bits", "256", "--insecure-demo-keys"),
        *("--clip-norm", "1", "--noise-multiplier", "1", "--min-cohort", "3", "--epsilon-budget", "7.5"),
        *("--out", tmp_path),
    )
    code, said = simulation.end()
    assert code == 0, said
    assert "with privacy: updates clipped to a norm of 1, noise 1 times as wide on the sum of 3 or more" in said
    assert "the privacy budget allows 2 of the 30 rounds asked for, and they are completed" in said
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [each["contributors"] for each in rows] == ["4", "4"]
    assert 3.5 < float(rows[0]["epsilon"]) < float(rows[1]["epsilon"]) < 7.5
    assert "epsilon spent" in (tmp_path / "report.md").read_text()


def test_an_aggregator_without_test_data_cannot_promise_privacy(parties: Parties, tmp_path: Path) -> None:
    make_federation(tmp_path / "federation", clients=2, holders=2, threshold=2, now=datetime.now(UTC))
    server = parties.start(
        *("server", "--identity", tmp_path / "federation" / "server", "--state", tmp_path / "state"),
        *("--clip-norm", "1", "--noise-multiplier", "1", "--min-cohort", "2"),
    )
    code, said = server.end()
    assert code == 1
    assert "pass --test" in said
