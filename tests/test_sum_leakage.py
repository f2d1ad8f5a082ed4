"""What a sum says of one client: Bayes' rule by hand, and the study on a few clients."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from book.run import Run
from core.federated import client_update, initial_model
from core.tasks.spam import SPAM
from experiments.attacks.sums import chance, odds_if_nothing_cancels, odds_of_equal_steps, rate_of_clients
from experiments.studies import _mailroom, sum_leakage
from experiments.studies._received import PlainAggregator, word_part
from experiments.studies.sum_leakage import TRAININGS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> _mailroom.Mailroom:
    quiet = Run(tmp_path_factory.mktemp("room"), quick=True, say=lambda _line: None)
    return _mailroom.open_mailroom(quiet, owners=6, mails_each=60)


@pytest.mark.parametrize("total", [0, 1, -1, 2, 4])
def test_the_chance_of_a_sum_is_that_of_counting_all_cases(total: int) -> None:
    p = 0.3
    weight = {-1: p / 2, 0: 1 - p, 1: p / 2}
    counted = sum(
        np.prod([weight[step] for step in steps]) for steps in product(weight, repeat=3) if sum(steps) == total
    )
    assert chance(total, np.array([p]), 3)[0] == pytest.approx(counted, abs=1e-11)


def test_what_shows_is_the_only_clients_if_it_is_alone() -> None:
    rates = np.array([0.5, 0.5])
    for odds in (odds_if_nothing_cancels, odds_of_equal_steps):
        shown, hidden = odds(np.array([True, False]), rates, 1)
        assert shown > 1e9
        assert hidden == 0


def test_odds_follow_bayes_rule() -> None:
    rates, both = np.array([0.5, 0.5]), np.array([True, False])
    # Two clients, p = 1/2: if nothing cancels, the word shows if the victim has it, or else with chance 1/2.
    assert odds_if_nothing_cancels(both, rates, 2) == pytest.approx([2, 0])
    # If steps cancel: with it the sum is 0 with chance 1/4, without it with chance 1/2.
    assert odds_of_equal_steps(both, rates, 2) == pytest.approx([1.5, 0.5])


def test_a_client_with_two_mails_has_two_chances_to_use_a_word() -> None:
    assert rate_of_clients(np.array([0.5]), 1, 1) == pytest.approx([0.5])
    assert rate_of_clients(np.array([0.5]), 1, 2) == pytest.approx([0.75])
    assert 0 < rate_of_clients(np.array([0.0]), 99, 1)[0] == pytest.approx(0.005)


def test_sums_are_those_that_an_aggregator_opens(room: _mailroom.Mailroom, tmp_path: Path) -> None:
    run, model = Run(tmp_path, quick=True), initial_model(SPAM, 1)
    clients = room.deal(3, 10, np.random.default_rng(1))
    sums = sum_leakage.sums_of_first(run, room, TRAININGS[0], model, clients, (0, 0))
    updates = [
        client_update(TRAININGS[0].task, model, room.data_of(rows), run.rng(2, 0, 0, number))
        for number, rows in enumerate(clients)
    ]
    opened = word_part(PlainAggregator(SPAM, len(model), 3).read_sum(updates))
    assert (sums[2] * 2.0**-13 == opened).all()


def test_alone_a_client_is_an_open_book_and_in_a_crowd_it_fades(room: _mailroom.Mailroom, tmp_path: Path) -> None:
    run = Run(tmp_path, quick=True)
    one, three, many = sum_leakage.repeat(run, room, TRAININGS[1], (1, 3, 30), (1, 0))
    assert one["group recall"] == one["attribution"] == one["AUC"] == 1
    assert 1 > three["attribution"] > many["attribution"]
    assert 1 > three["AUC"] > three["AUC blind"]
    assert many["AUC"] > many["AUC blind"] - 0.05
    assert many["group recall"] > 0.97
    assert [one, three, many] == list(sum_leakage.repeat(run, room, TRAININGS[1], (1, 3, 30), (1, 0)))


def test_equal_steps_cancel_now_and_then(room: _mailroom.Mailroom, tmp_path: Path) -> None:
    run = Run(tmp_path, quick=True)
    (cancelling,) = sum_leakage.repeat(run, room, TRAININGS[0], (4,), (0, 0))
    assert 0.5 < cancelling["group recall"] < 0.99


def test_a_sum_tells_nothing_from_the_cohort_on_after_which_none_does() -> None:
    def row(clients: int, auc: str) -> dict[str, str | int]:
        return {"clients": clients, "AUC": auc, "AUC blind": "0.80 ±0.02"}

    small, noisy, large, vast = row(1, "1.00 ±0.00"), row(3, "0.82 ±0.02"), row(10, "0.90 ±0.01"), row(30, "0.83 ±0.02")
    assert sum_leakage._alike_from([small, noisy, large, vast]) == "from 30 clients on"
    assert sum_leakage._alike_from([small, large]) == "at none of these sizes"
    assert sum_leakage._alike_from([noisy, vast]) == "from 3 clients on"
