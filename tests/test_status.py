"""`python -m server status`: what a person reads of a running or stopped aggregator, from its database alone."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from core.errors import Reason, StorageError
from core.privacy.mechanism import Privacy
from core.protocol import (
    AttemptId,
    Commitment,
    Head,
    HolderSignature,
    LedgerState,
    RoundResult,
    Signed,
    SubmissionHeader,
    Timings,
    digest,
)
from server.records import FILE
from server.rules import RoundRules
from server.settings import RunSettings
from server.status import show_status
from server.store import Store

RUN = "0123456789abcdef"
SETTINGS = RunSettings(rules=RoundRules(rounds=4))
RESULT = RoundResult(1, 2, 0.9123, 0.1, 100.0, 1.0, 2.0, 0.5, 0.25, 0.8, 0.2, 3.5, epsilon=4.734)
LEDGER = LedgerState(Head(7, bytes(32)), b"l" * 16, (("h9", b"m" * 16),))
SIGNED = (HolderSignature("keyholder-1", b"1" * 64, LEDGER),)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


def two_rounds(store: Store, settings: RunSettings) -> None:
    """The first attempt fails, the second completes round 1 with two of three clients; round 2 is open."""
    store.begin_run(RUN, settings.to_json(), np.zeros(1))
    for client in ("anna", "bert", "carl"):
        store.enrol(RUN, client)
    first, second = AttemptId(RUN, 1, 1), AttemptId(RUN, 1, 2)
    store.open_attempt(first, 7, Signed(b"", b""), frozenset({"anna", "bert", "carl"}))
    commit(store, first, "anna")
    store.abandon_attempt(first, "too few came")
    store.open_attempt(second, 8, Signed(b"", b""), frozenset({"anna", "bert", "carl"}))
    for client in ("anna", "bert", "carl"):
        commit(store, second, client)
    store.announce_list(second, SIGNED)
    for client in ("anna", "bert"):
        store.add_payload(SubmissionHeader(second, 4, digest(client.encode())), client, client.encode(), 4)
    store.complete_attempt(second, np.ones(1), SIGNED, RESULT)
    store.open_attempt(AttemptId(RUN, 2, 1), 9, Signed(b"", b""), frozenset({"anna"}))
    store.count_refusals(RUN, Counter({Reason.DUPLICATE: 3}))


def commit(store: Store, id: AttemptId, client: str) -> None:
    made = Commitment(id, client, bytes(16), bytes(32), digest(client.encode()), Head(1, bytes(32)))
    store.add_commitment(made, Signed(client.encode(), b""), Timings(1.0, 1.0))


def shown(folder: Path) -> list[list[str]]:
    """The words of each line."""
    said = StringIO()
    show_status(folder, Console(file=said, width=120))
    return [line.split() for line in said.getvalue().splitlines() if line.strip()]


def test_rounds_contributors_and_refusals_are_shown_while_the_aggregator_runs(store: Store, tmp_path: Path) -> None:
    two_rounds(store, SETTINGS)
    lines = shown(tmp_path)
    assert lines[0][:6] == ["run", f"{RUN}:", "spam,", "4", "rounds,", "running."]
    assert ["1", "1", "abandoned", "7", "3", "1", "0", "too", "few", "came"] in lines
    assert ["1", "2", "completed", "8", "3", "3", "2", "91.23%"] in lines
    assert ["2", "1", "committing", "9", "1", "0", "0"] in lines
    assert ["anna", "2", "1"] in lines  # committed twice, uploaded once
    assert ["carl", "1", "0"] in lines
    assert ["duplicate", "3"] in lines


def test_of_a_stopped_aggregator_the_ending_is_shown(store: Store, tmp_path: Path) -> None:
    two_rounds(store, SETTINGS)
    store.end_run(RUN, completed=False, message="no client came")
    store.close()
    assert " ".join(shown(tmp_path)[0]).endswith("4 rounds, failed. no client came")


def test_epsilon_is_shown_where_there_is_privacy_only(store: Store, tmp_path: Path) -> None:
    two_rounds(store, replace(SETTINGS, privacy=Privacy(clip_norm=1.0, noise_multiplier=1.0, delta=1e-5)))
    assert ["1", "2", "completed", "8", "3", "3", "2", "91.23%", "4.73"] in shown(tmp_path)


def test_exposures_are_remarked_on(store: Store, tmp_path: Path) -> None:
    store.begin_run(RUN, SETTINGS.to_json(), np.zeros(1))
    id = AttemptId(RUN, 1, 1)
    store.open_attempt(id, 7, Signed(b"", b""), frozenset())
    store.complete_attempt(id, np.ones(1), SIGNED, replace(RESULT, exposure="one client differs"))
    assert shown(tmp_path)[4][-3:] == ["one", "client", "differs"]


def test_a_folder_without_a_database_and_one_of_another_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="has no database of an aggregator"):
        show_status(tmp_path, Console())
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="has layout 99; this program knows"):
        show_status(tmp_path, Console())
