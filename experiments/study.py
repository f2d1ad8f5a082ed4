"""A study of leakage or privacy: a question, an adversary, and a way to get rows of numbers."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from book.run import Run
from core.commands import as_typed
from core.errors import StorageError

Value = str | int | float


class Linked(str):
    """A text of a table that links to the page of another study, where that was run too."""

    __slots__ = ("study",)
    study: str

    def __new__(cls, text: str, study: str) -> Linked:
        """Return the text with the name of that study."""
        made = super().__new__(cls, text)
        made.study = study
        return made


WRAPPED = 24
"""Characters in a line of a text that is wrapped."""
Row = Mapping[str, Value]
"""One line of a study's table, by the names of its columns."""


@dataclass(frozen=True)
class Study:
    """One question, and how it is answered.

    Attributes:
        name: as it is typed; words joined by dashes.
        title: one line for the list.
        question: what a reader wants to know, as a question.
        adversary: who attacks, and exactly what it sees.
        method: what is done, in a few sentences, with its source.
        limits: what the numbers do not say.
        run: yields the rows as they come out, and saves pictures by run.save.
        conclude: says in a few sentences what the rows show, for this run's numbers.
        unexpected: returns the rows that are not as the threat model says, where it says something. With any, the
            command ends with 1.
    """

    name: str
    title: str
    question: str
    adversary: str
    method: str
    limits: str
    run: Callable[[Run], Iterator[Row]]
    conclude: Callable[[Sequence[Row]], str]
    unexpected: Callable[[Sequence[Row]], Sequence[Row]] = lambda _rows: ()


def written(value: Value) -> str:
    """Write a value: four significant digits where there is a fraction."""
    return format(value, ".4g") if isinstance(value, float) else str(value)


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Return all columns that any row has, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def tables_of(study: Study, rows: Sequence[Row], terminal: Console) -> list[Table]:
    """Lay the rows out for people, in lines that fit the terminal.

    Columns that do not fit side by side come in a further table, in which the first column is repeated.
    """
    first, *others = columns_of(rows) or [""]
    whole = _table(study.title, [first, *others], rows)
    if _natural_width(whole, terminal) <= terminal.width:
        return [whole]
    parts = [[first]]
    for name in others:
        wider = _table("", [*parts[-1], name], rows, narrow=True)
        if len(parts[-1]) > 1 and _natural_width(wider, terminal) > terminal.width:
            parts.append([first, name])
        else:
            parts[-1].append(name)
    return [_table(study.title if part is parts[0] else "", part, rows, narrow=True) for part in parts]


def _natural_width(table: Table, terminal: Console) -> int:
    return terminal.measure(table, options=terminal.options.update(max_width=100_000)).maximum


def _table(title: str, columns: Sequence[str], rows: Sequence[Row], *, narrow: bool = False) -> Table:
    made = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, collapse_padding=True)
    for name in columns:
        text = any(isinstance(row.get(name, 0), str) for row in rows)
        width = _width(name, rows) if narrow else None
        made.add_column(name, justify="left" if text else "right", width=width, overflow="fold")
    for row in rows:
        made.add_row(*(written(row.get(name, "")) for name in columns))
    return made


def _width(name: str, rows: Sequence[Row]) -> int:
    """Characters that a column needs: for its longest number or word, and for a longer text room to be wrapped in."""
    cells = [written(row.get(name, "")) for row in rows]
    longest_word = max((len(word) for text in (name, *cells) for word in text.split()), default=1)
    return max(longest_word, min(WRAPPED, max(map(len, cells), default=1)))


def write_files(study: Study, rows: Sequence[Row], run: Run) -> None:
    """Write table.csv and page.md into the run's folder. Same seed and data, same bytes. Raises StorageError."""
    try:
        run.out.mkdir(parents=True, exist_ok=True)
        with (run.out / "table.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns_of(rows), lineterminator="\n", restval="")
            writer.writeheader()
            writer.writerows({name: written(value) for name, value in row.items()} for row in rows)
        (run.out / "page.md").write_text(page(study, rows, run), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"the results cannot be written to {run.out}: {error}") from error


def page(study: Study, rows: Sequence[Row], run: Run) -> str:
    """Return the study as a short Markdown page."""
    columns = columns_of(rows)
    lines = [
        f"# {study.title}",
        f"    {command(study, run)}",
        f"**Question.** {study.question}",
        f"**Adversary.** {study.adversary}",
        f"**Method.** {study.method}",
        f"**Result.** {study.conclude(rows)}",
        *(f"![{path.stem}]({path.name})" for path in pictures(run.out)),
        "\n".join([
            f"| {' | '.join(columns)} |",
            f"|{' --- |' * len(columns)}",
            *(f"| {' | '.join(_linked(row.get(name, ''), run.out) for name in columns)} |" for row in rows),
        ]),
        f"**Limits.** {study.limits}",
    ]  # fmt: skip
    return as_typed("\n\n".join(lines) + "\n")


def _linked(value: Value, folder: Path) -> str:
    """Write a value as Markdown, as a link if the other study's page lies beside this study's folder."""
    if isinstance(value, Linked) and (folder.parent / value.study / "page.md").exists():
        return f"[{value}](../{value.study}/page.md)"
    return written(value)


def command(study: Study, run: Run) -> str:
    """Return the command that makes these numbers again."""
    quick = " --quick" if run.quick else ""
    data = " --data DATA" if run.data is not None else ""
    return f"python -m experiments {study.name}{quick}{data} --seed {run.seed}"


def pictures(folder: Path) -> list[Path]:
    """Return the pictures of a run, sorted by name."""
    return sorted(folder.glob("*.png"))
