"""A property inferred from sums: the classifier on made-up updates, the clients, and the study's order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from book.run import Run
from core.data.generated import generate_mailbox
from core.errors import DataError, SettingsError
from experiments.attacks.property_inference import LinearScore, learn_to_tell
from experiments.studies import property_inference
from experiments.studies.property_inference import (
    CLIP_NORM,
    MAILS,
    PROPERTIES,
    STUDY,
    Size,
    Updates,
    populations,
    sums_scored,
    updates_of,
)
from experiments.study import write_files

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    few = [generate_mailbox(1, owner, 80) for owner in range(1, 5)]
    monkeypatch.setattr(property_inference, "mailboxes", lambda _run: few)
    return Run(tmp_path / "out", quick=True, say=lambda _line: None)


# --- The attack ---


def test_the_value_that_tells_is_found_among_those_that_do_not() -> None:
    rng = np.random.default_rng(1)
    has = np.arange(60) % 2 == 1
    updates = rng.normal(0, 1, (60, 50))
    updates[:, 7] += 4 * has
    updates[:, 9] = 3.0  # the same for all
    score = learn_to_tell(updates, has, features=5)
    assert np.abs(score.weights).argmax() == 7
    assert score.weights[7] > 0
    assert score.weights[9] == 0
    assert (score.weights != 0).sum() == 5
    assert ((score(updates) > score(updates).mean()) == has).mean() > 0.9


def test_one_kind_only_teaches_nothing() -> None:
    with pytest.raises(ValueError, match="3 updates of one kind only"):
        learn_to_tell(np.zeros((3, 2)), np.array([True, True, True]))


def test_a_victim_is_in_its_sum_and_in_no_other_place() -> None:
    updates = Updates(np.array([[0.0], [100.0], [0.0], [100.0]]), np.array([False, True, False, True]))
    with_it, without = sums_scored(LinearScore(np.ones(1)), updates, 1, 5, 0.0, np.random.default_rng(1))
    assert with_it.tolist() == [100.0] * 5
    assert without.tolist() == [0.0] * 5
    scores = sums_scored(LinearScore(np.ones(1)), updates, 4, 5, 0.0, np.random.default_rng(1))
    assert [group.tolist() for group in scores] == [[200.0] * 5] * 2


def test_noise_is_that_of_the_weighted_sum() -> None:
    updates = Updates(np.zeros((2, 2)), np.array([False, True]))
    scores, _ = sums_scored(LinearScore(np.array([3.0, 4.0])), updates, 1, 20_000, 0.2, np.random.default_rng(1))
    assert scores.std() == pytest.approx(1.0, rel=0.03)


def test_a_sum_of_more_clients_than_there_are_is_refused() -> None:
    updates = Updates(np.zeros((2, 1)), np.array([False, True]))
    with pytest.raises(SettingsError, match="a sum of 3 clients cannot be made of 2"):
        sums_scored(LinearScore(np.ones(1)), updates, 3, 1, 0.0, np.random.default_rng(1))


# --- The clients ---


def test_clients_differ_in_the_property_and_in_nothing_else(run: Run) -> None:
    people, _ = populations(run)
    rng = np.random.default_rng(1)
    balance = [people.client(PROPERTIES[1], has, rng).labels.mean() for has in (True, False)]
    assert balance == [0.7, 0.3]
    for has in (True, False):
        subject = people.client(PROPERTIES[0], has, rng)
        assert (len(subject), subject.labels.mean()) == (MAILS, 0.5)


def test_the_attacker_has_none_of_the_clients_mails(run: Run) -> None:
    mine, theirs = populations(run)
    assert len(mine.bags) + len(theirs.bags) == 320
    bags = [
        {tuple(population.bags.batch(np.array([row]))[0][0]) for row in range(len(population.bags))}
        for population in (mine, theirs)
    ]
    assert not bags[0] & bags[1]


def test_updates_are_sent_as_integers_and_clipped_where_asked(run: Run) -> None:
    people, _ = populations(run)
    sent = [updates_of(run, people, PROPERTIES[0], 4, (1,), norm) for norm in (0.0, CLIP_NORM)]
    assert (sent[0].sent * 2**13 % 1 == 0).all()
    lengths = [np.linalg.norm(each.sent, axis=1) for each in sent]
    assert (lengths[0] > CLIP_NORM).all()
    assert lengths[1] == pytest.approx(np.full(4, CLIP_NORM), rel=1e-2)


def test_missing_mail_says_what_and_how(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lacks enron1\.tsv\.gz.*fetched by hand"):
        property_inference.mailboxes(Run(tmp_path, data=tmp_path))


# --- The study ---


def test_a_single_update_tells_and_a_large_sum_hides_and_same_seed_same_bytes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(property_inference, "size_of", lambda _run: Size(2, 60, 60, (1, 5, 50), (0.1,)))
    written = []
    for folder in ("a", "b"):
        again = Run(run.out / folder, quick=True, say=run.say)
        rows = list(STUDY.run(again))
        write_files(STUDY, rows, again)
        written.append((again.out / "table.csv").read_bytes())
    assert written[0] == written[1]
    for name in PROPERTIES:
        own = [row for row in rows if row["property"] == name and row["defence"] == "none"]
        areas = [float(row["AUC"]) for row in own]
        assert areas[0] > 0.9 > areas[1] > areas[-1] - 0.1
        assert areas[-1] < 0.7
        assert next(row for row in rows if row["property"] == name)["AUC"] == 0.5
