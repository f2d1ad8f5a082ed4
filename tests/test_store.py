"""What the aggregator may not forget, and what it may not count twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.errors import Reason, Refused, StorageError
from core.protocol import AttemptId, Contribution, RoundResult, SubmissionHeader, digest
from server.store import Store

RUN = "0123456789abcdef"
ID = AttemptId(RUN, 1, 1)
RESULT = RoundResult(1, 2, 0.9, 0.1, 100.0, 1.0, 2.0, 0.5, 0.25, 0.8, 0.2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    store.begin_run(RUN, {"task": "spam"}, np.arange(3.0))
    store.open_attempt(ID, b"description", frozenset({"a", "b"}))
    yield store
    store.close()


def header(client: str, payload: bytes, id: AttemptId = ID) -> SubmissionHeader:
    return SubmissionHeader(id, client, digest(b"description"), len(payload), digest(payload), 1.0, 2.0)


def add(store: Store, client: str, payload: bytes, id: AttemptId = ID) -> bool:
    return store.add_submission(header(client, payload, id), payload, bytes_up=len(payload))


def test_an_update_is_stored_once_however_often_it_comes(store: Store) -> None:
    assert add(store, "a", b"one")
    assert not add(store, "a", b"one")
    assert store.contributions(ID) == [Contribution("a", digest(b"one"))]
    assert store.payload(ID, "a") == b"one"


def test_a_second_different_update_of_one_client_is_refused(store: Store) -> None:
    add(store, "a", b"one")
    with pytest.raises(Refused) as caught:
        add(store, "a", b"two")
    assert caught.value.reason is Reason.DUPLICATE
    assert store.payload(ID, "a") == b"one"


def test_after_closing_nothing_is_taken_but_old_receipts_still_hold(store: Store) -> None:
    add(store, "a", b"one")
    store.close_attempt(ID)
    with pytest.raises(Refused) as caught:
        add(store, "b", b"two")
    assert caught.value.reason is Reason.ROUND_NOT_OPEN
    assert not add(store, "a", b"one")


def test_an_update_for_an_attempt_that_was_never_opened_is_refused(store: Store) -> None:
    with pytest.raises(Refused, match="attempt 2 is not open"):
        add(store, "a", b"one", AttemptId(RUN, 1, 2))


def test_what_is_acknowledged_is_there_after_the_process_is_gone(tmp_path: Path, store: Store) -> None:
    add(store, "a", b"one")
    store._lock.close()  # as the operating system does when a process is killed; nothing is flushed or closed
    again = Store(tmp_path)
    assert again.contributions(ID) == [Contribution("a", digest(b"one"))]
    last = again.last_attempt(RUN)
    assert last is not None
    assert (last.id, last.state, last.expected) == (ID, "collecting", frozenset({"a", "b"}))
    again.close()


def test_completing_stores_model_and_history_and_forgets_ciphertexts(store: Store) -> None:
    add(store, "a", b"one")
    store.close_attempt(ID)
    store.complete_attempt(ID, np.array([1.0, 2.0, 4.0]), RESULT)
    assert store.history(RUN) == [RESULT]
    assert store.model(RUN)[0] == 1
    assert store.model(RUN)[1].tolist() == [1.0, 2.0, 4.0]
    assert store.model(RUN, 0)[1].tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(Refused):
        store.payload(ID, "a")
    assert store.contributions(ID) == [Contribution("a", digest(b"one"))]


def test_a_round_is_completed_at_most_once(store: Store) -> None:
    second = AttemptId(RUN, 1, 2)
    store.complete_attempt(ID, np.zeros(3), RESULT)
    store.open_attempt(second, b"description", frozenset())
    with pytest.raises(StorageError):
        store.complete_attempt(second, np.ones(3), RESULT)
    assert store.model(RUN)[1].tolist() == [0.0, 0.0, 0.0]


def test_numbers_are_given_once_and_kept(store: Store) -> None:
    assert store.enrol(RUN, "a", 0, largest=3) == 1
    assert store.enrol(RUN, "c", 3, largest=3) == 3
    assert store.enrol(RUN, "b", 0, largest=3) == 2
    assert store.enrol(RUN, "c", 0, largest=3) == 3
    assert store.is_enrolled(RUN, "a")
    assert not store.is_enrolled(RUN, "z")


@pytest.mark.parametrize(
    ("client", "number", "reason"),
    [("b", 1, Reason.NUMBER_TAKEN), ("a", 2, Reason.NUMBER_TAKEN), ("b", 9, Reason.FEDERATION_FULL)],
)
def test_numbers_of_others_are_refused(store: Store, client: str, number: int, reason: Reason) -> None:
    store.enrol(RUN, "a", 1, largest=2)
    with pytest.raises(Refused) as caught:
        store.enrol(RUN, client, number, largest=2)
    assert caught.value.reason is reason


def test_a_full_federation_takes_no_more(store: Store) -> None:
    store.enrol(RUN, "a", 0, largest=1)
    with pytest.raises(Refused, match="full"):
        store.enrol(RUN, "b", 0, largest=1)


def test_only_an_unfinished_run_is_gone_on_with(store: Store) -> None:
    unfinished = store.unfinished_run()
    assert unfinished is not None
    assert (unfinished.run, unfinished.settings) == (RUN, {"task": "spam"})
    store.end_run(RUN, completed=True, sentence="done")
    assert store.unfinished_run() is None


def test_a_second_aggregator_on_the_same_folder_is_kept_out(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StorageError, match="in use by another aggregator"):
        Store(tmp_path)


def test_a_full_disk_is_one_sentence_and_nothing_is_half_done(store: Store) -> None:
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="cannot be used: database or disk is full"):
        add(store, "a", b"x" * 100_000)
    assert store.contributions(ID) == []
    store._db.execute("PRAGMA max_page_count = 100000")
    assert add(store, "a", b"x" * 100_000)


def test_a_damaged_model_is_noticed(tmp_path: Path, store: Store) -> None:
    other = sqlite3.connect(tmp_path / "aggregator.sqlite")
    other.execute("UPDATE models SET vector = zeroblob(24)")
    other.commit()
    other.close()
    with pytest.raises(StorageError, match="damaged"):
        store.model(RUN)


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "aggregator.sqlite").write_text("this is not a database, and long enough to be sure of it" * 20)
    with pytest.raises(StorageError, match="not a file of this program"):
        Store(tmp_path)


def test_a_state_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StorageError, match="state folder"):
        Store(tmp_path / "state")


def test_an_arriving_update_is_kept_beside_the_database_in_a_file_without_a_name(store: Store) -> None:
    before = set(store.path.parent.iterdir())
    with store.spool() as file:
        file.write(b"update")
        assert set(store.path.parent.iterdir()) == before
        assert file.fileno() >= 0
        assert Path(f"/proc/self/fd/{file.fileno()}").readlink().parent == store.path.parent
