"""The one judge of all scenarios: reads the parties' databases and reports what does not hold.

It shares no code with what it judges: SQL, arithmetic and slots are done again here, from the files. What it knows is
how clients behave: number i adds MARK to weight i - 1 (simulation/slot_task.py).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulation.slot_task import MARK

FloatArray = npt.NDArray[np.float64]
DISCARDED = "-discarded-"
"""In the name of a folder: what a key holder had before a copy was put in its place."""
Attempt = tuple[int, int]
"""Round and attempt."""


@dataclass(frozen=True)
class Noted:
    """A receipt that a client was given: its `what` ("commit" or "submit") is on the aggregator's disk."""

    client: str
    round: int
    attempt: int
    what: str
    sha256: bytes


@dataclass(frozen=True)
class Evidence:
    """What there is to judge one run by.

    Attributes:
        server: the aggregator's database.
        ledgers: the key holders' databases.
        numbers: of the clients, by name.
        threshold: key holders that open a sum.
        min_cohort: the fewest contributors of a sum.
        receipts: all that clients were given.
        opened: slots of each sum as it was opened, without counters and leading slots, where it was watched.
        leaves_out: whether clients are left out of a sum, so that it differs enough from earlier ones; their updates are
            forgotten before it is opened, and only their commitments must be there.
        false: the SHA-256 of each update that is malformed or whose proof is false: none may be in a sum that is opened.
    """

    server: Path
    ledgers: Sequence[Path]
    numbers: Mapping[str, int]
    threshold: int
    min_cohort: int
    receipts: Iterable[Noted] = ()
    opened: Mapping[Attempt, Sequence[float]] | None = None
    leaves_out: bool = False
    false: frozenset[bytes] = frozenset()


def violations(evidence: Evidence) -> list[str]:
    """Return every promise that was broken, a sentence each; none if all is well. Judges the newest run."""
    with closing(sqlite3.connect(f"file:{evidence.server}?mode=ro", uri=True)) as db:
        run, status, settings = db.execute("SELECT run, status, settings FROM runs ORDER BY rowid DESC").fetchone()
        uploads = _uploads(db, run)
        completed = dict(
            db.execute("SELECT round, attempt FROM attempts WHERE run = ? AND state = 'completed'", (run,)).fetchall()
        )
        # A ledger that was restored, and what it replaced, may hold the same release.
        releases = list(dict.fromkeys(release for path in evidence.ledgers for release in _releases(path, run)))
        found = [
            *_lost(db, run, evidence.receipts, evidence.leaves_out),
            *_wrong_models(db, run, evidence, uploads, completed),
            *_wrong_releases(releases, evidence.threshold, uploads, completed),
            *_wrong_endorsements(db, run, evidence.ledgers),
            *_wrong_slots(evidence, uploads),
            *_false_updates(db, run, evidence, releases, uploads),
        ]
        rounds = json.loads(settings)["rules"]["rounds"]
        if status == "completed" and sorted(completed) != list(range(1, rounds + 1)):
            found.append(f"the run is completed, but of {rounds} rounds only {sorted(completed)} are")
    return found


def mean_of(model: FloatArray, numbers: Iterable[int]) -> FloatArray:
    """Return the model that must follow from `model`, shape (slots,), if exactly these clients contributed."""
    marks, contributors = np.zeros(len(model)), list(numbers)
    for number in contributors:
        marks[number - 1] += MARK
    return model + marks / len(contributors)


def _uploads(db: sqlite3.Connection, run: str) -> dict[Attempt, set[str]]:
    """Whose ciphertexts were taken in, by attempt."""
    found: dict[Attempt, set[str]] = defaultdict(set)
    query = "SELECT round, attempt, client FROM submissions WHERE run = ? AND bytes_up IS NOT NULL"
    for round_number, attempt, client in db.execute(query, (run,)):
        found[round_number, attempt].add(client)
    return found


def _lost(db: sqlite3.Connection, run: str, receipts: Iterable[Noted], leaves_out: bool) -> list[str]:
    rows = db.execute(
        "SELECT round, attempt, client, sha256, bytes_up IS NOT NULL FROM submissions WHERE run = ?", (run,)
    ).fetchall()
    kept = {(row[2], row[0], row[1]): (row[3], row[4]) for row in rows}
    found = []
    for note in receipts:
        sha256, uploaded = kept.get((note.client, note.round, note.attempt), (b"", 0))
        if sha256 != note.sha256 or (note.what == "submit" and not uploaded and not leaves_out):
            found.append(f"lost: a receipt for {note.what} of {note.client} in round {note.round}.{note.attempt}")
    return found


def _wrong_models(
    db: sqlite3.Connection, run: str, evidence: Evidence, uploads: Mapping[Attempt, set[str]], completed: dict[int, int]
) -> list[str]:
    rows = db.execute("SELECT round, vector FROM models WHERE run = ? ORDER BY round", (run,)).fetchall()
    models = {round_number: np.frombuffer(vector, "<f8") for round_number, vector in rows}
    history = dict(db.execute("SELECT round, contributors FROM history WHERE run = ?", (run,)).fetchall())
    found = []
    if set(models) != {0, *completed} or set(history) != set(completed):
        found.append(f"rounds {sorted(completed)} are completed, models {sorted(models)}, history {sorted(history)}")
    for round_number, attempt in completed.items():
        names = uploads[round_number, attempt]
        if history.get(round_number) != len(names) or len(names) < evidence.min_cohort:
            found.append(f"round {round_number}: {history.get(round_number)} contributors counted, {len(names)} listed")
        expected = mean_of(models[round_number - 1], (evidence.numbers[name] for name in names))
        if expected.tobytes() != models[round_number].tobytes():
            found.append(f"round {round_number}: the model is not that of {sorted(names)}")
    return found


@dataclass(frozen=True)
class _Release:
    holder: str
    attempt: Attempt
    key: int
    request: bytes
    contributors: tuple[str, ...]


def _releases(path: Path, run: str) -> list[_Release]:
    query = "SELECT round, attempt, key_serial, request_sha256, contributors FROM releases WHERE run = ?"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        rows = db.execute(query, (run,)).fetchall()
    folder = path.parent.parent if path.parent.name == "state" else path.parent
    holder = folder.name.partition(DISCARDED)[0]
    return [_Release(holder, (row[0], row[1]), row[2], row[3], tuple(json.loads(row[4]))) for row in rows]


def _wrong_releases(
    releases: Sequence[_Release], threshold: int, uploads: Mapping[Attempt, set[str]], completed: dict[int, int]
) -> list[str]:
    found = []
    by_round: dict[int, dict[bytes, set[str]]] = defaultdict(lambda: defaultdict(set))
    of_key: dict[int, set[Attempt]] = defaultdict(set)
    for release in releases:
        if release.holder in by_round[release.attempt[0]][release.request]:
            found.append(f"a holder released round {release.attempt[0]} twice")
        by_round[release.attempt[0]][release.request].add(release.holder)
        of_key[release.key].add(release.attempt)
        names = set(release.contributors)
        if len(names) != len(release.contributors) or not names <= uploads[release.attempt]:
            found.append(f"round {release.attempt}: {sorted(names)} released, {sorted(uploads[release.attempt])} here")
    found += [f"key {key} served the attempts {sorted(served)}" for key, served in of_key.items() if len(served) > 1]
    for round_number, requests in by_round.items():
        opened = [request for request, holders in requests.items() if len(holders) >= threshold]
        if len(opened) > 1:
            found.append(f"round {round_number} was opened for {len(opened)} different requests")
    for round_number, attempt in completed.items():
        cohorts = {frozenset(r.contributors) for r in releases if r.attempt == (round_number, attempt)}
        holders = {r.holder for r in releases if r.attempt == (round_number, attempt)}
        if cohorts != {frozenset(uploads[round_number, attempt])} or len(holders) < threshold:
            found.append(f"round {round_number}: {len(holders)} holders released {list(map(sorted, cohorts))}")
    return found


def _wrong_endorsements(db: sqlite3.Connection, run: str, ledgers: Sequence[Path]) -> list[str]:
    models = dict(db.execute("SELECT round, sha256 FROM models WHERE run = ?", (run,)).fetchall())
    found = []
    for path in ledgers:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
            rows = ledger.execute("SELECT round, sha256 FROM models WHERE run = ?", (run,)).fetchall()
            found += [
                f"round {number}: {path.parent.name} endorsed another model"
                for number, sha256 in rows
                if models.get(number, sha256) != sha256
            ]
            found += _broken_chain(path, ledger)
    return found


def _broken_chain(path: Path, ledger: sqlite3.Connection) -> list[str]:
    (identity,) = ledger.execute("SELECT id FROM identity").fetchone()
    last = hashlib.sha256(identity).digest()
    query = "SELECT number, kind, content, previous, hash FROM entries ORDER BY number"
    for number, kind, content, previous, chained in ledger.execute(query):
        parts: list[Any] = [str(number).encode(), kind.encode(), content.encode(), previous]
        if previous != last or hashlib.sha256(b"\0".join(parts)).digest() != chained:
            return [f"entry {number} of {path.parent.name}'s ledger does not follow from the one before"]
        last = chained
    return []


def _wrong_slots(evidence: Evidence, uploads: Mapping[Attempt, set[str]]) -> list[str]:
    found = []
    for attempt, slots in (evidence.opened or {}).items():
        here = {number for number, slot in enumerate(slots, start=1) if slot == MARK}
        strange = [slot for slot in slots if slot not in (0.0, MARK)]
        expected = {evidence.numbers[name] for name in uploads[attempt]}
        if strange or here != expected:
            found.append(f"round {attempt}: slots {sorted(here)} are 1, {strange} neither; expected {sorted(expected)}")
    return found


def _false_updates(
    db: sqlite3.Connection,
    run: str,
    evidence: Evidence,
    releases: Sequence[_Release],
    uploads: Mapping[Attempt, set[str]],
) -> list[str]:
    """Whoever passed a false update on: no holder may agree to open a sum with it, and none may be open."""
    false: dict[Attempt, set[str]] = defaultdict(set)
    for round_number, attempt, client, sha256 in db.execute(
        "SELECT round, attempt, client, sha256 FROM submissions WHERE run = ?", (run,)
    ):
        if sha256 in evidence.false:
            false[round_number, attempt].add(client)
    found = [
        f"{release.holder} released a sum of {release.attempt} with a false update of {name}"
        for release in releases
        for name in sorted(false[release.attempt] & set(release.contributors))
    ]
    return found + [
        f"a sum of {attempt} was opened with a false update of {name}"
        for attempt in (evidence.opened or {})
        for name in sorted(false[attempt] & uploads[attempt])
    ]
