"""A round with privacy, as its parties see it: what they agree to, what they send, what the aggregator reports."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from parties import Parties

from client.participant import Participant
from core.checks import Verifier, VerifierFactory
from core.clock import SYSTEM_CLOCK, today
from core.errors import Reason, Refused, SettingsError
from core.federated import client_rng, client_update, encoding_for, initial_model
from core.identity import signing
from core.identity.party import PartyIdentity, load_identity
from core.policy import Policy
from core.privacy.mechanism import Privacy, mechanism_for
from core.privacy.options import privacy_of
from core.protocol import AttemptId, ClosedList, RoundDescription, RoundResult, Signed, digest
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
from server.accountant import spent
from server.budget import _event, with_epsilon, within_budget
from server.report import report
from server.results import PRIVATE_COLUMNS, row, table
from server.rounds.waiting import select
from server.rules import RoundRules
from server.settings import RunSettings
from server.store import Store

SPAM = get_task("spam")
VALUES = len(initial_model(SPAM, 0))
RUN = "0123456789abcdef"
PRIVACY = Privacy(clip_norm=1.0, noise_multiplier=1.0, delta=1e-5)
POLICY = Policy(min_cohort=2, insecure_demo_keys=True, allow_plain=True)


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
    made = make_federation(folder / "federation", clients=2, holders=2, now=datetime.now(UTC))
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
        with pytest.raises(Refused, match=sentence) as caught:
            look(small.description(privacy), policy)
        assert caught.value.reason is Reason.WEAK_PRIVACY
    small.verify(small.description(privacy), policy, verifier_without(frozenset({Reason.WEAK_PRIVACY})))


@pytest.mark.parametrize("change", [{"fraction_bits": 13}, {"count_cap": 100}])
def test_another_scale_than_the_one_that_the_noise_fits_is_refused(small: Small, change: dict[str, int]) -> None:
    description = small.description()
    changed = replace(description, encoding=replace(description.encoding, **change))
    for look in (small.verify, small.sign_list):
        with pytest.raises(Refused) as caught:
            look(changed)
        assert caught.value.reason is Reason.WRONG_DESCRIPTION


def test_a_round_whose_colluders_leave_nobodys_noise_is_refused(small: Small) -> None:
    changed = replace(small.description(), privacy=replace(PRIVACY, max_colluders=2))
    with pytest.raises(Refused, match="counted on") as caught:
        small.verify(changed)
    assert caught.value.reason is Reason.WRONG_DESCRIPTION


def test_a_holder_goes_on_to_the_list_where_privacy_is_as_it_wants(small: Small) -> None:
    with pytest.raises(Refused) as caught:
        small.sign_list(small.description(), replace(POLICY, min_noise=1.0))
    assert caught.value.reason is Reason.COHORT_TOO_SMALL, "there is nobody on this list"


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
    with pytest.raises(Refused, match="2 clients are on the closed list; this client wants at least 3") as caught:
        participant.verify_list(replace(closed, commitment_digests=tuple(listed[:2])), submission)
    assert caught.value.reason is Reason.COHORT_TOO_SMALL


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


# ------------------------------------------------------------------------------------------------ what it costs

RULES = RoundRules(rounds=20, min_cohort=4, max_cohort=10)
SETTINGS = RunSettings(rules=RULES, privacy=PRIVACY)


def result(number: int, contributors: int = 4) -> RoundResult:
    return RoundResult(number, contributors, 0.9, 0.3, 1e4, 0.1, 0.1, 0.1, 0.1, 0.0, 0.0)


def test_each_round_says_what_all_rounds_so_far_have_cost() -> None:
    results: list[RoundResult] = []
    for number in (1, 2, 3):
        results.append(with_epsilon(result(number), SETTINGS, VALUES, results, (4, 4)))
    costs = [each.epsilon for each in results]
    assert costs == sorted(costs)
    assert costs[0] == pytest.approx(4.73, abs=0.01)
    made = SETTINGS.mechanism
    assert made is not None
    events = [_event(number, 4, PRIVACY, made, VALUES, (4, 4)) for number in (1, 2, 3)]
    assert costs[2] == spent(events, PRIVACY.delta).epsilon
    assert results[2].epsilon_models == results[2].epsilon


def test_more_contributors_than_the_minimum_add_more_noise_than_was_promised() -> None:
    assert with_epsilon(result(1, 9), SETTINGS, VALUES, [], (9, 9)).epsilon < 3


def test_without_privacy_nothing_is_said_of_epsilon() -> None:
    assert with_epsilon(result(1), RunSettings(rules=RULES), VALUES, [], (4, 4)) == result(1)


def test_a_budget_ends_the_run_before_it_is_exceeded_and_the_ending_says_so() -> None:
    limited = within_budget(replace(SETTINGS, privacy=replace(PRIVACY, epsilon_budget=12.0)), VALUES)
    rounds = limited.rules.rounds
    assert 1 < rounds < 20
    made = SETTINGS.mechanism
    assert made is not None
    worst = [_event(number, 4, PRIVACY, made, VALUES, (1, 1)) for number in range(1, 30)]
    assert spent(worst[:rounds], 1e-5).epsilon <= 12.0 < spent(worst[: rounds + 1], 1e-5).epsilon
    assert limited.rules.ending == (
        f"the privacy budget allows {rounds} of the 20 rounds asked for, and they are completed"
    )


def test_a_budget_with_room_for_all_rounds_changes_nothing() -> None:
    for settings in (
        SETTINGS,
        RunSettings(rules=RULES),
        replace(SETTINGS, privacy=replace(PRIVACY, epsilon_budget=500.0)),
    ):
        assert within_budget(settings, VALUES) is settings
    assert RULES.ending == "all rounds are completed"


def test_a_budget_without_room_for_one_round_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"one round costs an epsilon of 4\.73, more than the budget of 4"):
        within_budget(replace(SETTINGS, privacy=replace(PRIVACY, epsilon_budget=4.0)), VALUES)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"count_cap": 100}, "count_cap is 100; with privacy"),
        ({"privacy": replace(PRIVACY, max_colluders=4)}, "nobody's noise"),
        ({"privacy": replace(PRIVACY, clip_norm=32000.0)}, "does not fit the slots"),
    ],
)
def test_runs_that_could_not_be_private_cannot_be_set_up(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        replace(SETTINGS, **changes)  # type: ignore[arg-type]


def test_a_run_is_not_gone_on_with_under_another_promise() -> None:
    stored = SETTINGS.to_json()
    SETTINGS.check_same(stored, "here")
    with pytest.raises(SettingsError, match="privacy"):
        replace(SETTINGS, privacy=replace(PRIVACY, noise_multiplier=0.5)).check_same(stored, "here")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((1.0, None, 1e-5, 0, None), "--noise-multiplier is missing"),
        ((None, 1.0, 1e-5, 0, None), "--clip-norm is missing"),
        ((None, None, 1e-5, 0, 8.0), "need --clip-norm and --noise-multiplier"),
        ((None, None, 1e-5, 2, None), "need --clip-norm and --noise-multiplier"),
    ],
)
def test_half_of_the_options_are_refused(options: tuple, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        privacy_of(*options)


def test_options_make_the_settings_they_name() -> None:
    assert privacy_of(None, None, 1e-5, 0, None) is None
    assert privacy_of(1.0, 2.0, 1e-6, 1, 8.0) == Privacy(1.0, 2.0, 1e-6, 1, 8.0)


# ------------------------------------------------------------------------------------------------ who is chosen


def test_a_secret_decides_who_is_chosen_and_nobody_else_can_repeat_it() -> None:
    names = frozenset(f"client-{number}" for number in range(100))
    open_choice = select(names, 1, 1, 10)
    assert open_choice == select(names, 1, 1, 10)
    hidden = select(names, 1, 1, 10, "secret")
    assert hidden == select(names, 1, 1, 10, "secret")
    assert len({open_choice, hidden, select(names, 1, 1, 10, "other"), select(names, 2, 1, 10, "secret")}) == 4
    assert all(len(choice) == 10 for choice in (open_choice, hidden))


def test_the_secret_of_a_run_lasts_and_is_nobody_elses(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin_run(RUN, {}, np.zeros(1))
    store.begin_run("f" * 16, {}, np.zeros(1))
    secret = store.selection_secret(RUN)
    store.close()
    again = Store(tmp_path)
    assert again.selection_secret(RUN) == secret
    assert again.selection_secret("f" * 16) != secret
    assert len(secret) == 32
    again.close()
    assert secret not in repr(replace(RULES, selection_secret=secret))


def test_the_store_knows_from_how_many_an_attempts_clients_were_chosen(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin_run(RUN, {}, np.zeros(1))
    id, signed = AttemptId(RUN, 1, 1), Signed(b"body", b"s" * 64)
    store.open_attempt(id, 1, signed, frozenset({"a", "b"}), 5)
    assert store.sampling(id) == (2, 5)
    store.open_attempt(replace(id, attempt=2), 2, signed, frozenset({"a", "b"}), 2)
    store.widen_attempt(replace(id, attempt=2), frozenset({"a", "b", "late"}))
    assert store.sampling(replace(id, attempt=2)) == (3, 3)
    store.close()


# ------------------------------------------------------------------------------------------------ what is shown


def test_history_and_table_show_epsilon_only_with_privacy() -> None:
    private = with_epsilon(result(1), SETTINGS, VALUES, [], (4, 4))
    assert tuple(row(private, SETTINGS)) == PRIVATE_COLUMNS
    assert row(private, SETTINGS)["epsilon"] == pytest.approx(4.73, abs=0.01)
    assert "epsilon" not in row(result(1), RunSettings(rules=RULES))
    assert [column.header for column in table([private], "", PRIVACY).columns][-1] == "ε"
    assert "ε" not in [column.header for column in table([result(1)], "").columns]


def test_the_report_says_what_was_promised_and_what_it_cost(small: Small) -> None:
    private = with_epsilon(result(1), SETTINGS, VALUES, [], (4, 9))
    words = report(RUN, SETTINGS, small.server.roster.current(), [private], {})
    for part in (
        "epsilon spent against parties that see who takes part: 4.7",
        "against those that see models only: 4.7",
        "delta 1e-05",
        "clip norm 1, noise multiplier 1 for the smallest cohort, 4, of whom 0 may collude",
        "4 of 9",
        "as far as the noise lets it",
    ):
        assert part in words
    assert "epsilon" not in report(RUN, RunSettings(rules=RULES), small.server.roster.current(), [result(1)], {})


# ------------------------------------------------------------------------------------------------ all of it


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
    make_federation(tmp_path / "federation", clients=2, holders=2, now=datetime.now(UTC))
    server = parties.start(
        *("server", "--identity", tmp_path / "federation" / "server", "--state", tmp_path / "state"),
        *("--clip-norm", "1", "--noise-multiplier", "1"),
    )
    code, said = server.end()
    assert code == 1
    assert "give --test" in said
