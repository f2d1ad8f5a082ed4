"""Held-out texts: each distinct one is judged once, repeats and texts without a word apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.confusion import Confusion
from core.data.message import Mail
from core.errors import DataError
from core.protocol import RoundResult
from core.tasks import TASKS
from core.tasks.held_out import divide_texts
from core.tasks.spam import SPAM
from server.results import judged_apart
from simulation.plan import make_plan


def text_of(mail: Mail) -> str:
    assert SPAM.text is not None
    return SPAM.text(mail)


BLANK = [Mail("Subject:", True), Mail("Subject: \n \n", True), Mail("", False)]
MAILS = [
    Mail("Subject: win  now", True),
    Mail("lunch", False),
    Mail("Subject: win\nnow", True),
    *BLANK,
    Mail("!", True),
]


def test_the_first_of_each_text_is_judged_and_spaces_do_not_make_another_text() -> None:
    texts = divide_texts(MAILS, text_of)
    assert texts.distinct == [MAILS[0], MAILS[1], MAILS[-1]]
    assert texts.repeats == [MAILS[2]]
    assert texts.wordless == BLANK
    assert texts.most_copies == 2


def test_what_would_decide_more_than_half_a_point_is_said() -> None:
    """Of 1,000 mails one text has 6 copies, which is more than half a point, and 5 have no word, which is not."""
    mails = [Mail(f"mail {number}", False) for number in range(989)]
    texts = divide_texts([*mails, *[Mail("win", True)] * 6, *[Mail("Subject:", True)] * 5], text_of)
    assert texts.sentence == (
        "990 distinct texts, each judged once; 5 repeats and 5 texts without a word are judged apart; "
        "one text with all its copies would decide 0.6% of the accuracy"
    )
    assert "would decide" not in divide_texts([*mails, *[Mail("win", True)] * 4], text_of).sentence
    assert "those without a word would decide" in divide_texts([*mails, *BLANK * 2], text_of).sentence


def test_one_text_of_few_decides_nothing_by_repeating() -> None:
    assert "would decide" not in divide_texts([Mail("win", True), Mail("lunch", False)], text_of).sentence


def test_a_test_source_is_judged_by_its_distinct_texts(tmp_path: Path) -> None:
    (tmp_path / "box.tsv").write_text("ham\thello\nspam\twin\nspam\twin\nspam\tSubject:\n")
    held_out = SPAM.load_test(str(tmp_path / "box.tsv"), 0, None)
    assert [len(part) for part in (held_out.data, held_out.repeats, held_out.wordless) if part is not None] == [2, 1, 1]


def test_a_source_without_a_word_cannot_judge(tmp_path: Path) -> None:
    (tmp_path / "box.tsv").write_text("spam\tSubject:\n")
    with pytest.raises(DataError, match="nothing to judge a model by: 0 distinct texts"):
        SPAM.load_test(str(tmp_path / "box.tsv"), 0, None)


@pytest.mark.parametrize("name", ["spam", "spam-pairs", "reviews", "analogies", "babi"])
def test_every_task_of_texts_judges_a_repeat_apart(name: str) -> None:
    task = TASKS[name]
    examples = list(task.generate(1, 1))[:20]
    once, twice = task.held_out(examples), task.held_out([*examples, *examples])
    rows = np.arange(len(once))
    assert len(twice) == len(once)
    np.testing.assert_array_equal(once.data.batch(rows)[1], twice.data.batch(rows)[1])
    assert twice.repeats is not None
    assert "20 repeats" in twice.sentence


def test_a_task_without_texts_judges_all_examples() -> None:
    task = TASKS["mnist-mlp"]
    examples = list(task.generate(1, 1))[:5]
    held_out = task.held_out([*examples, *examples])
    assert (len(held_out), held_out.repeats, held_out.sentence) == (10, None, "")


def test_repeats_too_short_to_judge_are_only_counted() -> None:
    task = TASKS["analogies"]
    (example, *_) = task.generate(1, 1)
    short = replace(example, text="word")
    held_out = task.held_out([example, short, short])
    assert held_out.repeats is None
    assert "1 repeat and" in held_out.sentence


def test_the_plan_says_what_is_judged_apart(tmp_path: Path) -> None:
    lines = [f"{'spam' if number % 2 else 'ham'}\tmail number{number}" for number in range(200)]
    (tmp_path / "box.tsv").write_text("\n".join([*lines, *lines]) + "\n")
    plan = make_plan(SPAM, tmp_path / "box.tsv", 2, None, 0, tmp_path)
    distinct = len(set((tmp_path / "test.tsv").read_text().splitlines()))
    assert f"{2 * distinct} kept for the test: {distinct} distinct texts, each judged once; {distinct} repeats" in (
        plan.sentence
    )


RESULT = RoundResult(1, 3, 0.98, 0.1, 100.0, 1.0, 2.0, 0.5, 0.25, 0.8, 0.2, true_positives=480, false_positives=10)
RESULT = replace(RESULT, false_negatives=10, true_negatives=500)


def test_a_result_says_what_was_judged_apart_and_what_it_would_decide() -> None:
    """980 of 1,000 right; with 50 wrong ones more it would be 980 of 1,050, which is 93.33 %."""
    assert RESULT.answers == Confusion(480, 10, 10, 500)
    assert judged_apart(RESULT) == ""
    few = replace(RESULT, repeats=10, repeats_correct=9)
    assert judged_apart(few) == "judged apart: 10 repeats, 90.00% right"
    assert judged_apart(replace(RESULT, wordless=50)) == (
        "judged apart: 50 texts without a word, 0.00% right. Counted like the rest they would decide more than half a "
        "point: the accuracy would be 93.33% instead of 98.00%"
    )
