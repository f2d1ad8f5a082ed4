"""bAbI stories, read and made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data.babi import flat_lines, read_stories, words_of, write_stories
from core.data.made_up_text import generated_stories
from core.errors import DataError

REAL = Path(__file__).parents[2] / "shared" / "data" / "qa1_single-supporting-fact_train.txt"
TEXT = "1 Mary moved to the hall.\n2 Where is Mary? \thall\t1\n1 John went home.\n"


def test_stories_begin_with_line_1(tmp_path: Path) -> None:
    (tmp_path / "it.txt").write_text(TEXT)
    first, second = read_stories(tmp_path / "it.txt")
    question = first.questions[0]
    assert (question.text, question.answer, question.support) == ("Where is Mary?", "hall", (1,))
    assert [statement.text for statement in first.before(question)] == ["Mary moved to the hall."]
    assert not second.questions
    assert write_stories([first, second]) == TEXT


def test_the_flat_view_keeps_answers_in_one_token(tmp_path: Path) -> None:
    (tmp_path / "it.txt").write_text(TEXT)
    assert flat_lines(tmp_path / "it.txt", 2)[1] == ["where", "is", "mary?", "\thall\t1"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Mary moved.\n", "line 1 .* expected a number"),
        ("1 A went.\n3 B went.\n", "line 2 .* has the number 3; expected 2"),
        ("2 A went.\n", "line 1 .* has the number 2; expected 1"),
        ("1 Where is A? \thall\n", "expected question, tab, answer"),
        ("\n", "is empty"),
    ],
)
def test_lines_that_are_no_story_are_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "it.txt").write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_stories(tmp_path / "it.txt")


def test_words_have_no_signs() -> None:
    assert words_of("Where is Mary?") == ["where", "is", "mary"]


@pytest.mark.skipif(not REAL.exists(), reason="the real file is not here")
def test_the_published_file_has_the_figures_of_the_book() -> None:
    lines = flat_lines(REAL)
    assert len({word for line in lines for word in line}) == 82
    assert {len(line) for line in lines} == {4, 5, 6}
    stories = read_stories(REAL)
    assert (len(stories), sum(len(story.questions) for story in stories)) == (200, 1000)


def test_made_up_answers_are_where_the_person_last_went() -> None:
    for story in generated_stories(20, 3):
        assert (len(story.statements), len(story.questions)) == (10, 5)
        for question in story.questions:
            who = question.text.removeprefix("Where is ").removesuffix("?")
            last = [line for line in story.before(question) if line.text.startswith(who)][-1]
            assert last.text.endswith(f"the {question.answer}.")
            assert question.support == (last.number,)
