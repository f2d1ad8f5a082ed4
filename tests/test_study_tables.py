"""Tables of studies on terminals of any width: no line is longer, and no number is cut."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from experiments import studies
from experiments.study import Row, tables_of

pytestmark = pytest.mark.slow

PUBLISHED = Path("docs/experiments")


def published(name: str) -> list[Row]:
    """The rows of a study as its page has them."""
    page = (PUBLISHED / name / "page.md").read_text(encoding="utf-8")
    page = re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", page)  # a cell's text, without its link
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    names = [line.strip() for line in lines[0]]
    return [dict(zip(names, (cell.strip() for cell in line), strict=False)) for line in lines[2:]]


def shown(name: str, width: int) -> str:
    out = io.StringIO()
    terminal = Console(file=out, width=width)
    for table in tables_of(studies.get_study(name), published(name), terminal):
        terminal.print(table, highlight=False)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 60, 132])
@pytest.mark.parametrize("name", [name for name in studies.NAMES if (PUBLISHED / name / "page.md").exists()])
def test_every_number_of_every_study_is_shown_whole(name: str, width: int) -> None:
    said = shown(name, width)
    assert max(map(len, said.splitlines())) <= width
    words = set(said.split())
    for row in published(name):
        for cell in row.values():
            for number in re.findall(r"(?<!\S)[-±]?\d\S*", str(cell)):
                assert number in words, f"{number} of {row} is cut at {width} columns"
