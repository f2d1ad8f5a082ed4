"""The status of an aggregator's runs, read from its database; the aggregator may be running."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from core.database import explained
from core.errors import StorageError
from core.wording import counted
from server.records import FILE, SCHEMA_VERSION

ATTEMPTS = """
SELECT a.round, a.attempt, a.state, a.key_serial, json_array_length(a.expected), count(s.client), count(s.bytes_up),
       h.accuracy, h.epsilon, coalesce(h.exposure, ''), a.sentence
FROM attempts a
LEFT JOIN submissions s ON (s.run, s.round, s.attempt) = (a.run, a.round, a.attempt)
LEFT JOIN history h ON (h.run, h.round) = (a.run, a.round) AND a.state = 'completed'
WHERE a.run = ? GROUP BY a.round, a.attempt ORDER BY a.round, a.attempt
"""


def show_status(folder: Path, console: Console) -> None:
    """Print every run: its attempts, contributions by client, and refusals. Raise StorageError."""
    with _reading(folder) as db:
        for row in db.execute("SELECT run, settings, status, sentence FROM runs ORDER BY rowid").fetchall():
            _show_run(db, console, *row)


def write_evidence(folder: Path, into: Path) -> Iterator[tuple[Path, str]]:
    """Write the evidence of each false update to a file of its own; yield the file, and what was found to be wrong.

    The files hold the client's ciphertexts, so only their owner may read them. Raise StorageError.
    """
    with _reading(folder) as db:
        found = db.execute("SELECT run, client, sentence, message FROM evidence ORDER BY run, client").fetchall()
    for run, client, message, raw in found:
        path = into / f"{run}-{client}.evidence"
        with explained(path):
            into.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(raw)
        yield path, message


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the database for reading; the aggregator may be running. Raise StorageError."""
    path = folder / FILE
    if not path.exists():
        raise StorageError(f"{folder} has no database of an aggregator")
    with explained(path), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise StorageError(f"{path} has layout {version}; this program knows {SCHEMA_VERSION}")
        yield db


def _show_run(db: sqlite3.Connection, console: Console, run: str, settings: str, status: str, message: str) -> None:
    known = json.loads(settings)
    console.print(
        f"run {run}: {known['task']}, {counted(known['rules']['rounds'], 'round')}, {status}. {message}",
        highlight=False,
    )
    console.print(_attempts(db.execute(ATTEMPTS, (run,)).fetchall(), private=known["privacy"] is not None))
    rows = db.execute(
        "SELECT c.client, count(s.commitment), count(s.bytes_up) FROM clients c LEFT JOIN submissions s "
        "ON (s.run, s.client) = (c.run, c.client) WHERE c.run = ? GROUP BY c.client ORDER BY c.client",
        (run,),
    ).fetchall()
    console.print(_counts("clients", ("client", "committed", "uploaded"), rows))
    refused = db.execute("SELECT reason, count FROM refusals WHERE run = ? ORDER BY reason", (run,)).fetchall()
    if refused:
        console.print(_counts("refused", ("reason", "times"), refused))


def _attempts(rows: list[tuple[Any, ...]], *, private: bool) -> Table:
    counted = ("round", "attempt", "state", "key", "expected", "committed", "uploaded")
    table = _table("rounds", (*counted, "accuracy", *["ε"] * private, "remark"))
    for *numbers, accuracy, epsilon, exposure, message in rows:
        shown = ["", ""] if accuracy is None else [f"{accuracy:.2%}", f"{epsilon:.2f}"]
        table.add_row(*map(str, numbers), *shown[: 1 + private], exposure or message)
    return table


def _counts(title: str, headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    table = _table(title, headings)
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("state", "remark", "client", "reason") else "right")
    return table
