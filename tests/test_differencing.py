"""Sums subtracted: by hand, with the key holders' own rule, and on a few clients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from book.run import Run
from core.errors import SettingsError
from experiments.attacks.differences import isolated, log_odds_from_difference
from experiments.studies import _four_sums, _mailroom, differencing
from experiments.studies._columns import means
from experiments.studies._dropout import Dropout, measure, opened
from experiments.studies.sum_leakage import TRAININGS

pytestmark = pytest.mark.slow


def sums(*rows: str) -> np.ndarray:
    return np.array([[mark == "x" for mark in row] for row in rows])


@pytest.mark.parametrize(
    ("rows", "alone"),
    [
        (("xxx",), [False, False, False]),
        (("xxx", "xx."), [False, False, True]),
        (("xx.", "x.x", ".xx"), [True, True, True]),  # half of the first two less the third
        (("xx..", "..xx"), [False, False, False, False]),
        (("xxxx", "x.xx", "xx.."), [True, True, False, False]),
    ],
)
def test_a_client_is_alone_if_some_combination_of_sums_leaves_only_it(rows: tuple[str, ...], alone: list[bool]) -> None:
    assert isolated(sums(*rows)).tolist() == alone


def test_a_large_difference_speaks_for_a_word_and_none_against_it() -> None:
    rates = np.full(2, 0.5)  # even odds beforehand
    for drift in (0, 10):
        large, none = log_odds_from_difference(np.array([400, 0]), rates, 9, size=400, drift=drift)
        assert large > 1 > 0 > none


def test_a_difference_within_what_others_drift_says_little() -> None:
    rates = np.full(1, 0.5)
    (calm,), (noisy,) = (
        log_odds_from_difference(np.array([400]), rates, others, size=400, drift=40) for others in (2, 2000)
    )
    assert calm > noisy
    assert noisy == pytest.approx(0, abs=0.1)


# --- The rule ---


def test_without_a_rule_every_cohort_that_is_large_enough_is_opened() -> None:
    present = sums("xxxx", "xxx.", "x...", "xxxx")
    assert opened(Dropout(4, 2, 0.1, 4), present, rule=False) == [0, 1, 3]


def test_the_rule_refuses_small_differences_to_what_was_opened_and_allows_none() -> None:
    present = sums("xxxx", "xxx.", "xx..", "xxx.", "xxxx")
    # xxx. differs by one from the first; xx.. by two; then xxx. by one from both; xxxx is the very first again.
    assert opened(Dropout(4, 2, 0.1, 5), present, rule=True) == [0, 2, 4]


def test_without_drop_outs_nothing_is_refused() -> None:
    found = measure(Dropout(20, 5, 0.0, 30), np.random.default_rng(1))
    assert found == {"refused": 0, "alone, off": 0, "alone, on": 0}


def test_with_drop_outs_the_rule_costs_rounds_and_without_it_every_client_can_be_singled_out() -> None:
    found = measure(Dropout(20, 5, 0.1, 100), np.random.default_rng(1))
    assert found["alone, off"] == 1
    assert found["refused"] > 0.8
    assert found["alone, on"] < 0.2


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ((4, 5, 0.1, 3), "the minimum cohort is 5; it must be 1 to 4 clients"),
        ((4, 2, 1.0, 3), "the chance of a drop-out is 1.0"),
        ((4, 2, 0.1, 0), "the number of rounds is 0"),
    ],
)
def test_impossible_federations_are_refused(settings: tuple[int, int, float, int], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        Dropout(*settings)


# --- The study ---


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> _mailroom.Mailroom:
    quiet = Run(tmp_path_factory.mktemp("room"), quick=True, say=lambda _line: None)
    return _mailroom.open_mailroom(quiet, owners=10, mails_each=60)


def test_the_attackers_own_clients_need_public_mail(room: _mailroom.Mailroom) -> None:
    with pytest.raises(SettingsError, match="there are 300 public mails"):
        room.shadows(31, 10, np.random.default_rng(1))


def test_four_allowed_sums_of_one_model_give_the_victim_exactly_and_of_four_models_they_do_not(
    room: _mailroom.Mailroom, tmp_path: Path
) -> None:
    cohorts = _four_sums.four_cohorts(5)
    assert [len(cohort) for cohort in cohorts] == [7, 6, 6, 6]
    signed = sum(sign * np.isin(range(13), cohort) for sign, cohort in zip((1, -1, 1, -1), cohorts, strict=True))
    assert signed.tolist() == [1] + [0] * 12
    row = _four_sums.row_of(Run(tmp_path, quick=True), room, TRAININGS[1], 5, 0)
    assert str(row["what"]).startswith("four sums of one model, allowed as pairs")
    assert means([row], "exact, off") == [1.0]
    assert means([row], "exact, on")[0] < 0.5


def test_the_difference_gives_the_victim_and_the_rule_leaves_one_sum(room: _mailroom.Mailroom, tmp_path: Path) -> None:
    run, training = Run(tmp_path, quick=True), TRAININGS[0]
    found = [differencing.repeat(run, room, training, 8, (0, number)) for number in range(2)]
    same, across, _, five = (
        differencing.row_of(pair, training, 8, [each[pair.name] for each in found]) for pair in differencing.PAIRS
    )
    assert (means([same], "recall"), means([same], "precision")) == ([1.0], [1.0])
    assert means([same, across], "AUC, off") == [1.0, 1.0]
    assert same["rule"] == across["rule"] == "refuses"
    assert means([same], "AUC, on")[0] < 1
    assert five["rule"] == "allows"
    assert five["AUC, on"] == five["AUC, off"]
    assert found[0] == differencing.repeat(run, room, training, 8, (0, 0))
