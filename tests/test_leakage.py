"""What updates tell, on known numbers; and the mail of chapter 15 and its goals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from book.chapters import chapter_15, leakage
from book.finding import Finding, Kind, Verdict
from book.run import Run
from core.data.mail import Mail, write_tsv
from core.data.text import stem
from core.errors import DataError
from core.secagg.encoding import Encoding, Update
from core.tasks.spam import VOCABULARY

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, quick=True, say=lambda _line: None)


def by_name(findings: list[Finding]) -> dict[str, float | str]:
    return {finding.what: finding.value for finding in findings}


# --- What one update tells ---


@pytest.mark.parametrize(("spam", "label"), [(True, "spam"), (False, "ham")])
def test_the_sign_of_a_word_tells_the_label(run: Run, spam: bool, label: str) -> None:
    update = leakage.update_of(run, [Mail("cheap pizza", spam)])
    assert leakage.label_of(update, "pizza") == label


def test_the_experiment_reads_ham_off_its_secret_mail(run: Run) -> None:
    assert by_name(list(leakage.one_mail(run)))["the mail's label, read off the sign"] == "ham"


def test_words_whose_weight_did_not_move_were_not_used(run: Run) -> None:
    update = leakage.update_of(run, [Mail("cheap pizza", True)])
    assert leakage.guessed(update, ["cheap", "pizza", "lunch"]) == {"cheap", "pizza"}


@pytest.mark.parametrize("spam", [True, False])
def test_counts_of_words_are_read_off_one_step(spam: bool) -> None:
    mail = Mail("red blue blue, green green green", spam)
    counts = leakage.counts_read_off(leakage.step_on_counts(mail, np.random.default_rng(1)))
    assert {word: counts[VOCABULARY.index(word)] for word in ("red", "blue", "green", ",", "yellow")} == {
        "red": 1,
        "blue": 2,
        "green": 3,
        ",": 1,
        "yellow": 0,
    }
    assert counts.sum() == 7


def test_the_experiment_finds_every_count(run: Run) -> None:
    counts, right = leakage.counts_of_one_mail(run)
    assert str(counts.value).startswith("pizza 4 call 2 ")
    assert right.verdict(comparable=False) is Verdict.REACHED


# --- What sums and noise hide ---


def test_of_two_clients_each_can_read_the_other(run: Run) -> None:
    shows, other, precise = leakage.two_clients(run)
    assert [found.verdict(comparable=False) for found in (shows, other)] == [Verdict.REACHED] * 2
    assert float(precise.value) > 0.8
    assert float(shows.value) < 1  # some words cancel each other


def test_the_share_of_a_part_is_counted_in_the_part() -> None:
    assert leakage.share({"a", "b"}, {"b", "c", "d"}) == 0.5


def test_an_update_is_shortened_to_the_clip_and_a_short_one_left_as_it_is() -> None:
    rng = np.random.default_rng(1)
    assert leakage.clip_and_blur(np.array([3.0, 4.0]), 1, 0, rng) == pytest.approx([0.6, 0.8])
    assert leakage.clip_and_blur(np.array([0.3, 0.4]), 1, 0, rng) == pytest.approx([0.3, 0.4])


def test_noise_is_measured_by_the_clip() -> None:
    noisy = leakage.clip_and_blur(np.full(10_000, 1e-9), 0.5, 3.0, np.random.default_rng(1))
    assert noisy.std() == pytest.approx(1.5, rel=0.03)


def test_randomised_response_finds_the_seventy_percent(run: Run) -> None:
    assert leakage.randomised_response(run).value == pytest.approx(0.7, abs=0.03)


# --- The mail of chapter 15 ---


def numbered(name: str, count: int) -> str:
    return "".join(f"{name} {number}\n" for number in range(count))


def write_book(folder: Path, spam: int, ham: int) -> Path:
    (folder / "spam.txt").write_text(numbered("spam", spam))
    (folder / "ham.txt").write_text(numbered("ham", ham))
    return folder


def test_the_last_thousand_of_each_class_are_the_book_s_test(tmp_path: Path) -> None:
    found = chapter_15.collect(Run(tmp_path, write_book(tmp_path, 1_001, 1_003), say=lambda _line: None))
    assert [mail.text for mail in found.training] == ["spam 0", "ham 0", "spam 0", "ham 1", "spam 0", "ham 2"]
    assert [mail.spam for mail in found.test] == [True] * 1_000 + [False] * 1_000
    assert {found.test[0].text, found.test[-1].text} == {"spam 1", "ham 1002"}
    assert found.goals is chapter_15.BOOK


def test_too_few_mails_of_a_class_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 1000 mails of ham; it must be more than the 1000 of the test"):
        chapter_15.collect(Run(tmp_path, write_book(tmp_path, 1_001, 1_000), say=lambda _line: None))


def test_other_mail_has_goals_of_our_own_and_made_up_mail_none(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds none of enron1.*, and not both of spam\.txt and ham\.txt"):
        chapter_15.collect(Run(tmp_path, tmp_path, say=lambda _line: None))
    (tmp_path / "spam.txt").write_text("no ham\n")
    write_tsv(tmp_path / "enron1.tsv.gz", [Mail(f"mail {number}", number % 2 == 0) for number in range(100)])
    found = chapter_15.collect(Run(tmp_path, tmp_path, say=lambda _line: None))
    assert "ours" in found.goals.named
    assert len(found.training) + len(found.test) == 100
    assert chapter_15.collect(run).goals is chapter_15.NO_GOALS


def test_the_book_s_accuracies_are_its_goals() -> None:
    held = chapter_15.accuracy("pass 3", 0.99, chapter_15.BOOK.central[2], chapter_15.BOOK_CENTRAL[2])
    assert (held.kind, held.goal, held.book) == (Kind.AT_LEAST, 0.9945, "99.45%")
    assert held.verdict(comparable=True) is Verdict.MISSED
    assert chapter_15.accuracy("pass 3", 0.99, None, 0.9945).kind is None


@pytest.fixture
def encoding() -> Encoding:
    return Encoding(values=2, plaintext_bits=2047, max_cohort=3, value_bits=16, fraction_bits=13)


def update(*delta: float) -> Update:
    return Update(np.array(delta), examples=1, loss=0.5, correct=1)


def test_rounding_is_distinguished_from_cutting_off(encoding: Encoding) -> None:
    quantum = 2.0**-13
    assert chapter_15.rounding_error(encoding, [update(0.25 * quantum, 0), update(9.0, -9.0)]) == 0.25 * quantum


def test_stems_are_what_is_looked_up() -> None:
    assert stem("password") in leakage.said_by([leakage.SECRET])
