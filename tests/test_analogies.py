"""The sections of the analogy questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from book.data.analogies import read_analogies
from core.errors import DataError

pytestmark = pytest.mark.slow


def test_sections_hold_their_questions(tmp_path: Path) -> None:
    (tmp_path / "it.txt").write_text(": capitals\nAthens Greece Oslo Norway\n: verbs\ngo went see saw\n")
    capitals, verbs = read_analogies(tmp_path / "it.txt")
    assert capitals.questions == (("athens", "greece", "oslo", "norway"),)
    assert (verbs.name, verbs.questions[0][3]) == ("verbs", "saw")
    assert read_analogies(tmp_path / "it.txt", fold_case=False)[0].questions[0][0] == "Athens"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a b c d\n", "line 1 .* expected a section"), (": x\na b c\n", "line 2 .* expected four words")],
)
def test_other_lines_are_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "it.txt").write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_analogies(tmp_path / "it.txt")
