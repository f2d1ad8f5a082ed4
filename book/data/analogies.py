"""Word analogies (Mikolov et al., 2013): Athens is to Greece as Baghdad is to Iraq.

The file questions-words.txt has sections, each opened by a line `: name`, and a question of four words a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.data.files import read_text
from core.errors import DataError

Analogy = tuple[str, str, str, str]


@dataclass(frozen=True)
class Section:
    """Questions of one kind: the first word is to the second as the third is to the fourth."""

    name: str
    questions: tuple[Analogy, ...]


def read_analogies(path: Path | str, *, fold_case: bool = True) -> list[Section]:
    """Read the sections of questions-words.txt.

    Args:
        fold_case: whether to write all words in lower case, as most vocabularies have them.

    Raises:
        DataError: the file cannot be read, or a line is neither a section nor four words.
    """
    sections: list[tuple[str, list[Analogy]]] = []
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), start=1):
        if line.startswith(":"):
            sections.append((line[1:].strip(), []))
            continue
        words = (line.lower() if fold_case else line).split()
        if len(words) != 4 or not sections:
            expected = "four words" if sections else "a section, such as ': capitals'"
            raise DataError(f"line {number} of {path} is {line[:60]!r}; expected {expected}")
        sections[-1][1].append((words[0], words[1], words[2], words[3]))
    return [Section(name, tuple(questions)) for name, questions in sections]
