"""A dishonest aggregator against real parties: each attack is refused by its check, and works without it.

Real clients and key holders over mutual TLS; the aggregator is the attacker's own. Nothing is mocked but what a
control says it switches off.
"""

from __future__ import annotations

import csv
import logging
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from gmpy2 import is_prime
from typer.testing import CliRunner

from core.console import quiet_log
from core.errors import Reason, Refused, SettingsError
from core.identity.members import Role, check_threshold
from core.secagg.encoding import METRIC_SLOTS, Encoding
from core.secagg.factory import encryptor_for
from core.secagg.opening import combine
from core.secagg.scheme import PublicKey
from experiments.__main__ import app
from experiments.cheating_server import command
from experiments.cheating_server.attack import Attack
from experiments.cheating_server.attacks import ATTACKS, CONSPIRACIES
from experiments.cheating_server.ciphertexts import blend, decrypt, slots, unmixed
from experiments.cheating_server.factoring import factor, small_factors
from experiments.cheating_server.lenient import verifier_without
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.page import write_page
from experiments.cheating_server.report import Report, needs, write_csv
from experiments.cheating_server.stage import REVOKED, SINGLE, THREE_OF_FOUR, THRESHOLD
from experiments.cheating_server.suite import Experience, Outcome, Suite, Trial
from registrar.dealing import deal
from registrar.key_generation import generate_private_key

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """One federation for each way of sharing keys, for all tests."""
    with quiet_log(logging.CRITICAL):
        yield Suite(tmp_path_factory.mktemp("cheating"), seed=1)


def named(number: str) -> Attack:
    return next(attack for attack in ATTACKS if attack.number == number)


# --- Every attack ---


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.number)
def test_each_attack_is_refused_by_the_named_check_and_works_without_it(suite, attack):
    trial = suite.trial(attack, THRESHOLD)
    assert trial.refused_as_named, trial.defended
    assert trial.control_works, trial.control


SINGLE_ATTACKS = [attack for attack in ATTACKS if attack.means_something_in(SINGLE)]


@pytest.mark.parametrize("attack", SINGLE_ATTACKS, ids=lambda attack: attack.number)
def test_a_single_holder_and_its_clients_refuse_each_attack_too(suite, attack):
    found = suite.defended(attack, SINGLE)
    assert (found.reason, attack.by.is_role_of(found.party)) == (attack.check, True), found


@pytest.mark.parametrize("number", ["1a", "2d", "8", "11", "14a"])
def test_with_a_single_holder_the_controls_work_too(suite, number):
    outcome = suite.control(named(number), SINGLE)
    assert outcome.loot == Loot(right=8193, weights=8193, moved_right=outcome.loot.moved, moved=outcome.loot.moved)


def test_every_row_of_the_threat_model_has_its_attack():
    names = [one.number for one in (*ATTACKS, *CONSPIRACIES)]
    assert len(names) == len(set(names))
    assert {int(name.rstrip("abcdef")) for name in names} == set(range(1, 40)), "as they are numbered in the page"


def test_an_attack_with_a_dishonest_holder_means_nothing_where_there_is_one_holder():
    assert [attack.number for attack in ATTACKS if not attack.means_something_in(SINGLE)] == [
        "9d", "13b", "26", "35", "36", "37",
    ]  # fmt: skip


# --- With a key holder on the aggregator's side ---


@pytest.mark.parametrize("conspiracy", CONSPIRACIES, ids=lambda one: one.title)
@pytest.mark.parametrize("profile", [THRESHOLD, THREE_OF_FOUR], ids=lambda one: one.name)
def test_what_one_dishonest_holder_makes_possible_depends_on_how_keys_are_shared(suite, conspiracy, profile):
    [found] = suite.conspire([conspiracy], [profile])
    assert found.as_expected, found.outcome


@pytest.mark.parametrize(("threshold", "holders"), [(1, 2), (2, 4), (2, 5), (5, 10)])
def test_a_threshold_of_half_with_which_the_aggregator_alone_opens_twice_is_refused(threshold, holders):
    with pytest.raises(SettingsError, match="more than half"):
        check_threshold(threshold, holders)


@pytest.mark.parametrize(("threshold", "holders"), [(1, 1), (2, 2), (2, 3), (3, 4), (3, 5)])
def test_a_threshold_of_more_than_half_passes(threshold, holders):
    check_threshold(threshold, holders)


# --- Switching checks off ---


def test_a_lenient_verifier_lets_only_the_named_check_pass(suite):
    lax = verifier_without(frozenset({Reason.REVOKED}))(
        suite.stage(THRESHOLD).identities["client-1"].roster.current(), b""
    )
    lax.require(False, Reason.REVOKED, "no")
    with pytest.raises(Refused, match="not on the list"):
        lax.require(False, Reason.NOT_IN_LIST, "not on the list")
    assert lax.roster.active(Role.CLIENT, REVOKED).name == REVOKED
    for name in ("stranger-1", "server"):
        with pytest.raises(Refused):
            lax.roster.active(Role.CLIENT, name)


# --- The attacker's arithmetic ---


def test_a_blend_of_powers_holds_what_its_parts_say_and_counts_once():
    key, encoding = deal("paillier", 256, 1, 1), Encoding(values=5, plaintext_bits=224, max_cohort=8)
    values = np.array([0] * METRIC_SLOTS + [7, 8, 9, 10, 11])
    update = encryptor_for(key.public_key, 1).encrypt(encoding.pack(values))
    scaled = blend(key.public_key, encoding, [(update, 4)], neutrals=-3)
    plaintexts = combine(key.public_key, 1, 1, scaled, {1: key.shares[0].partial(scaled)}).plaintexts
    # Four times the values, less three times the offset; Paillier's plaintexts are modulo n.
    expected = 4 * encoding.pack(values)[0] - 3 * encoding.pack(np.array([0] * METRIC_SLOTS + [encoding.offset] * 5))[0]
    assert plaintexts[0] == expected % key.public_key.modulus


def test_the_factors_are_enough_to_read_a_ciphertext():
    private = generate_private_key(256)
    key = PublicKey("paillier", 256, int(private.public_key.n))
    payload = encryptor_for(key, 2).encrypt([41, 42])
    assert decrypt(key, (int(private.p), int(private.q)), payload) == [41, 42]


def test_slots_are_read_whatever_the_counters_say():
    encoding = Encoding(values=2, plaintext_bits=224, max_cohort=8)
    packed = encoding.pack(np.array([1, 2, 3, 4, 5, 6, 7]))
    assert slots(encoding, [2 * plaintext for plaintext in packed]).tolist() == [2, 4, 6, 8, 10, 12, 14]


def test_five_of_one_stand_out_from_one_each_of_two_others():
    steps = np.array([[5 * v + a + b for a in (-1, 0, 1) for b in (-1, 0, 1)] for v in (-1, 0, 1)]) * 410
    assert (unmixed(steps, 5) == np.array([[-410], [0], [410]])).all()


def test_two_primes_of_128_bits_are_found():
    private = generate_private_key(128)
    found = factor(int(private.public_key.n))
    assert set(found) == {int(private.p), int(private.q)}


def test_small_factors_are_divided_out_and_what_is_left_must_be_prime():
    large = (1 << 89) - 1
    assert is_prime(large)
    assert small_factors(6 * 1009 * large) == [2, 3, 1009, large]
    with pytest.raises(ValueError, match="no small factors"):
        small_factors(large * ((1 << 107) - 1), limit=1000)


# --- What is shown ---


def loot(right: int = 10) -> Outcome:
    return Outcome(loot=Loot(right, 10, 3 if right == 10 else 0, 3))


def small_report(defended: Outcome) -> Report:
    trial = Trial(named("1a"), THRESHOLD, defended, loot())
    conspiracy = CONSPIRACIES[0]
    stopped = Outcome("keyholder-2", "list_changed", "no")
    experiences = (Experience(conspiracy, THRESHOLD, loot()), Experience(conspiracy, THREE_OF_FOUR, stopped))
    return Report(1, (trial,), experiences)


def test_an_attacker_who_guesses_that_nothing_moved_has_nothing():
    guess = Loot.of(np.zeros(10, int), np.array([0] * 7 + [410, -410, 410]))
    assert (guess.right, guess.moved_right) == (7, 0)
    assert not guess.at_least(0.5)
    assert loot().loot.at_least(1.0)


def test_an_attack_that_no_party_refuses_is_reported():
    report = small_report(loot())
    assert report.unexpected[0].startswith("1a a cohort of one, threshold: got 10 of 10")
    assert report.summary.startswith("0 of 1 attacks were refused")
    assert not small_report(Outcome("keyholder-1", "cohort_too_small")).unexpected


@pytest.mark.parametrize("found", [Outcome("client-1", "cohort_too_small"), Outcome("keyholder-1", "duplicate")])
def test_refusals_by_another_party_or_check_do_not_count(found):
    assert len(small_report(found).unexpected) == 1


def test_the_page_says_what_a_conspiracy_needs(tmp_path):
    report = small_report(Outcome("keyholder-1", "cohort_too_small"))
    line = "25 two lists of one attempt: needs a threshold of 3 of 4; SUCCEEDS with (2 of 3)"
    assert needs(report) == [line]
    write_page(tmp_path / "page.md", report, (SINGLE, THRESHOLD))
    page = (tmp_path / "page.md").read_text()
    assert f"* {line}\n" in page
    assert "| 1a | a cohort of one |  | key holder | `cohort_too_small` | - | refused |" in page


def test_which_of_several_parties_was_first_is_not_in_the_file(tmp_path):
    for name in ("keyholder-1", "keyholder-2"):
        write_csv(tmp_path / name, small_report(Outcome(name, "cohort_too_small")))
    assert (tmp_path / "keyholder-1").read_bytes() == (tmp_path / "keyholder-2").read_bytes()


def test_the_command_writes_table_page_and_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "ATTACKS", (named("1a"), named("1b")))
    monkeypatch.setattr(command, "CONSPIRACIES", CONSPIRACIES[:1])
    result = CliRunner().invoke(app, ["cheating-server", "--quick", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "a cohort of one" in result.output
    assert "1 succeed with 2 of 3 key holders" in result.output
    page = (tmp_path / "cheating-server.md").read_text()
    assert "25 two lists of one attempt: needs a threshold of 3 of 4; SUCCEEDS with (2 of 3)" in page
    rows = list(csv.DictReader((tmp_path / "cheating-server.csv").read_text().splitlines()))
    assert [(row["number"], row["with_all_checks"]) for row in rows] == [
        ("1a", "refused"), ("1a", "refused"), ("25", "succeeds"), ("25", "refused"),
    ]  # fmt: skip
    assert {row["as_expected"] for row in rows} == {"True"}
    for ending in ("png", "svg", "md"):
        assert (tmp_path / f"cheating-server.{ending}").stat().st_size > 1000


def test_the_dishonest_aggregator_loads_nothing_of_the_honest_one():
    say = "import sys, experiments.cheating_server.command; print([m for m in sys.modules if m.split('.')[0] == 'server'])"
    found = subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
