"""Words read off one update: the attack by hand, and the study on a handful of clients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from word_list import WordList

from book.run import Run
from core.errors import DataError, SettingsError
from core.federated import client_update, initial_model
from core.tasks.spam import SPAM
from experiments.attacks import scores, words
from experiments.studies import _mailroom, word_leakage
from experiments.studies._columns import cell, halves, means
from experiments.studies._received import PlainAggregator, word_part
from experiments.study import write_files

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, quick=True, say=lambda _line: None)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> _mailroom.Mailroom:
    quiet = Run(tmp_path_factory.mktemp("room"), quick=True, say=lambda _line: None)
    return _mailroom.open_mailroom(quiet, owners=4, mails_each=60)


# --- How good a guess is ---


def test_precision_counts_in_the_guess_and_recall_in_the_truth() -> None:
    assert scores.precision_recall({1, 2, 3, 4}, {3, 4, 5}) == (0.5, 2 / 3)
    assert scores.precision_recall(set(), {1}) == (0.0, 0.0)
    assert scores.precision_recall({1}, set()) == (0.0, 0.0)


def test_ranks_share_places_and_correlate_by_order_only() -> None:
    assert scores.ranks([10, 30, 20, 30]).tolist() == [1, 3.5, 2, 3.5]
    assert scores.rank_correlation([1, 2, 3], [1, 10, 1000]) == pytest.approx(1)
    assert scores.rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert scores.rank_correlation([1, 2, 3], [7, 7, 7]) == 0


# --- The attack ---

VOCABULARY = WordList(("red", "blue", "green"))  # others share number 3


def test_public_words_are_counted_once_a_mail_and_named_by_the_most_frequent() -> None:
    public = words.public_words([["red", "tea"], ["red", "milk"], ["blue", "tea", "milk", "tea2"], ["tea"]], VOCABULARY)
    assert public.frequency.tolist() == [0.5, 0.25, 0, 1]
    assert public.named == {0: "red", 1: "blue", 3: "tea"}
    assert public.ranking[:2] == ("tea", "milk")


def test_words_are_those_whose_weight_moved_either_way() -> None:
    public = words.public_words([["red", "blue", "tea"]], VOCABULARY)
    seen = words.moved(np.array([-0.05, 0.0, 0.05, 0.0]))
    assert seen == {0, 2}
    assert words.words_of(seen, public) == {"red"}  # the word of number 2 is unknown


def test_without_an_update_the_most_frequent_words_are_named() -> None:
    public = words.public_words([["a", "b"], ["b", "c"], ["b", "c"]], VOCABULARY)
    assert words.guess_blindly(public, 2) == {"b", "c"}


def test_public_mail_must_be_there() -> None:
    with pytest.raises(ValueError, match="no public mails"):
        words.public_words([], VOCABULARY)


# --- The mail room ---


def test_clients_have_mails_of_one_owner_and_share_none(room: _mailroom.Mailroom) -> None:
    dealt = room.deal(12, 20, np.random.default_rng(1))
    assert len(set(np.concatenate(dealt).tolist())) == 240
    assert {len(set(room.owners[rows].tolist())) for rows in dealt} == {1}


def test_more_clients_than_there_is_mail_for_are_refused(room: _mailroom.Mailroom) -> None:
    assert room.most_clients(25) == 8
    with pytest.raises(SettingsError, match="9 clients of 25 mails are asked for; there is mail for 8"):
        room.deal(9, 25, np.random.default_rng(1))
    with pytest.raises(SettingsError, match="both must be at least 1"):
        room.deal(0, 25, np.random.default_rng(1))


def test_the_attackers_mail_is_not_the_clients(room: _mailroom.Mailroom) -> None:
    assert not {mail.text for mail in room.mails} & {mail.text for mail in room.public}


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds none of enron1.tsv.gz"):
        _mailroom.open_mailroom(Run(tmp_path, data=tmp_path, say=lambda _line: None))


# --- The study ---


def test_the_aggregator_of_a_plain_run_reads_what_the_client_computed(room: _mailroom.Mailroom) -> None:
    model = initial_model(SPAM, 1)
    update = client_update(SPAM, model, room.data_of(np.arange(5)), np.random.default_rng(1))
    received = PlainAggregator(SPAM, len(model), 1).read(update)
    assert np.abs(received.delta_sum - update.delta).max() <= 2.0**-14
    assert (received.examples, received.correct) == (5, update.correct)
    assert words.moved(word_part(received)) == room.numbers_of(np.arange(5))


def test_a_mean_and_its_interval_are_read_back() -> None:
    rows = [{"a": cell([0.1, 0.3])}, {"a": "1.00"}]
    assert means(rows, "a") == [0.2, 1.0]
    assert halves(rows[:1], "a") == [1.27]


def test_the_secret_is_read(run: Run) -> None:
    row = word_leakage.secret_mail(initial_model(SPAM, 1))
    assert "my comput passwo is pizza" in str(row["client"])
    assert (row["weights recall"], row["weights precision"], row["label"]) == ("1.00", "1.00", "1.00")


def test_an_update_gives_all_words_away_and_a_blind_guess_does_not(run: Run, room: _mailroom.Mailroom) -> None:
    model = initial_model(SPAM, 1)
    row = word_leakage.attack(run, room, word_leakage.Setting("mails", mails=3), model, 1)
    assert row["weights recall"] == row["weights precision"] == "1.00 ±0.00"
    assert means([row], "words recall")[0] > means([row], "words blind")[0] + 0.1
    assert row["label"] == "1.00 ±0.00"


def test_the_study_is_the_same_for_the_same_seed(
    run: Run, room: _mailroom.Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_leakage, "open_mailroom", lambda *_: room)
    monkeypatch.setattr(word_leakage, "SETTINGS", word_leakage.SETTINGS[:1])
    monkeypatch.setattr(word_leakage, "draw", lambda *_: None)
    pages = []
    for _ in range(2):
        write_files(word_leakage.STUDY, list(word_leakage.study(run)), run)
        pages.append((run.out / "page.md").read_bytes() + (run.out / "table.csv").read_bytes())
    assert pages[0] == pages[1]
