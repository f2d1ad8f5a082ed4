"""What the aggregator may not forget, and what it may not count twice."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from refusals import refused_with

from core.errors import Reason, StorageError
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
from server.records import Costs, StoredSubmission
from server.store import Store

RUN = "0123456789abcdef"
ID = AttemptId(RUN, 1, 1)
SECOND = AttemptId(RUN, 1, 2)
RESULT = RoundResult(1, 2, 0.9, 0.1, 100.0, 1.0, 2.0, 0.5, 0.25, 0.8, 0.2, 3.5, "two differ")
DESCRIPTION = Signed(b"description", b"d" * 64)
LEDGER = LedgerState(Head(7, bytes(32)), b"l" * 16, (("h9", b"m" * 16),))
LIST = (HolderSignature("h1", b"1" * 64, LEDGER), HolderSignature("h2", b"2" * 64, LEDGER))
MODEL = (HolderSignature("h1", b"3" * 64, LEDGER), HolderSignature("h3", b"4" * 64, LEDGER))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    store.begin_run(RUN, {"task": "spam"}, np.arange(3.0))
    store.open_attempt(ID, 7, DESCRIPTION, frozenset({"a", "b"}))
    yield store
    store.close()


def commitment(client: str, payload: bytes, id: AttemptId = ID) -> tuple[Commitment, Signed]:
    made = Commitment(id, client, b"n" * 16, digest(b"description"), digest(payload), Head(1, bytes(32)))
    return made, Signed(f"{client} commits to ".encode() + payload, b"s" * 64)


def commit(store: Store, client: str, payload: bytes, id: AttemptId = ID, seconds: float = 1.0) -> bool:
    return store.add_commitment(*commitment(client, payload, id), Timings(seconds, 2 * seconds))


def upload(store: Store, client: str, payload: bytes, id: AttemptId = ID) -> bool:
    return store.add_payload(SubmissionHeader(id, len(payload), digest(payload)), client, payload, len(payload))


# ------------------------------------------------------------------------------------------------ commitments


def test_a_commitment_is_stored_once_however_often_it_comes(store: Store) -> None:
    assert commit(store, "a", b"one")
    assert not commit(store, "a", b"one")
    signed = commitment("a", b"one")[1]
    assert store.submissions(ID) == [StoredSubmission("a", signed, digest(b"one"), uploaded=False)]
    assert store.commitment_of(ID, "a") == signed
    assert store.commitment_of(ID, "b") is None


def test_a_second_different_commitment_of_one_client_is_refused(store: Store) -> None:
    commit(store, "a", b"one")
    with refused_with(Reason.DUPLICATE):
        commit(store, "a", b"two")
    assert store.submissions(ID)[0].digest == digest(b"one")


@pytest.mark.parametrize("state", ["closing", "uploading", "releasing", "endorsing", "abandoned"])
def test_after_closing_no_commitment_is_taken_but_old_receipts_still_hold(store: Store, state: str) -> None:
    commit(store, "a", b"one")
    store.set_state(ID, state)
    with refused_with(Reason.ROUND_NOT_OPEN):
        commit(store, "b", b"two")
    assert not commit(store, "a", b"one")


def test_a_commitment_for_an_attempt_that_was_never_opened_is_refused(store: Store) -> None:
    with refused_with(Reason.ROUND_NOT_OPEN):
        commit(store, "a", b"one", SECOND)


def test_the_list_is_in_the_order_of_names(store: Store) -> None:
    for client in ("client-2", "client-10", "client-1"):
        commit(store, client, client.encode())
    assert [part.client for part in store.submissions(ID)] == ["client-1", "client-10", "client-2"]


# ------------------------------------------------------------------------------------------------ updates


@pytest.fixture
def listed(store: Store) -> Store:
    """a and b have committed, and may upload."""
    commit(store, "a", b"one")
    commit(store, "b", b"three", seconds=3.0)
    store.announce_list(ID, LIST)
    return store


def test_an_update_is_stored_once_however_often_it_comes(listed: Store) -> None:
    assert upload(listed, "a", b"one")
    assert not upload(listed, "a", b"one")
    assert listed.payload(ID, "a") == b"one"
    assert [(part.client, part.uploaded) for part in listed.submissions(ID)] == [("a", True), ("b", False)]


@pytest.mark.parametrize(
    ("client", "payload", "refused"),
    [("a", b"two", Reason.WRONG_DIGEST), ("a", b"three", Reason.WRONG_DIGEST), ("c", b"one", Reason.NOT_COMMITTED)],
)
def test_nothing_is_taken_but_what_this_client_committed_to(
    listed: Store, client: str, payload: bytes, refused: Reason
) -> None:
    with refused_with(refused):
        upload(listed, client, payload)
    with refused_with(Reason.ROUND_NOT_OPEN):
        listed.payload(ID, client)


@pytest.mark.parametrize("state", ["committing", "closing", "releasing", "endorsing", "abandoned"])
def test_updates_are_taken_while_they_are_waited_for_only_but_old_receipts_still_hold(
    listed: Store, state: str
) -> None:
    upload(listed, "a", b"one")
    listed.set_state(ID, state)
    with refused_with(Reason.ROUND_NOT_OPEN):
        upload(listed, "b", b"three")
    assert not upload(listed, "a", b"one")
    assert listed.has_payload(ID, "a", digest(b"one"))
    assert not listed.has_payload(ID, "b", digest(b"three"))


def test_costs_are_means_over_those_whose_updates_came(listed: Store) -> None:
    upload(listed, "a", b"one")
    assert listed.costs(ID) == Costs(3.0, 1.0, 2.0)
    upload(listed, "b", b"three")
    assert listed.costs(ID) == Costs(4.0, 2.0, 4.0)


# ------------------------------------------------------------------------------------------------ attempts


def test_what_is_acknowledged_is_there_after_the_process_is_gone(tmp_path: Path, listed: Store) -> None:
    upload(listed, "a", b"one")
    listed._database._lock.close()  # as the operating system does when a process is killed; nothing is closed
    again = Store(tmp_path)
    last = again.last_attempt(RUN)
    assert last is not None
    assert (last.id, last.state, last.expected, last.description) == (
        ID, "uploading", frozenset({"a", "b"}), DESCRIPTION,
    )  # fmt: skip
    assert (last.list_signatures, last.opened) == (LIST, None)
    assert again.payload(ID, "a") == b"one"
    again.close()


def test_the_last_attempt_is_the_highest_of_the_highest_round(store: Store) -> None:
    store.open_attempt(AttemptId(RUN, 2, 1), 8, DESCRIPTION, frozenset())
    store.open_attempt(SECOND, 9, DESCRIPTION, frozenset())
    assert store.last_attempt(RUN).id == AttemptId(RUN, 2, 1)  # type: ignore[union-attr]
    assert store.last_attempt("f" * 16) is None


def test_an_attempt_is_opened_once(store: Store) -> None:
    with pytest.raises(StorageError, match="UNIQUE"):
        store.open_attempt(ID, 8, DESCRIPTION, frozenset())


def test_a_key_serves_one_attempt_of_whatever_run(store: Store) -> None:
    store.end_run(RUN, completed=False, message="over")
    store.begin_run("f" * 16, {}, np.zeros(3))
    with pytest.raises(StorageError, match="UNIQUE"):
        store.open_attempt(AttemptId("f" * 16, 1, 1), 7, DESCRIPTION, frozenset())
    store.open_attempt(AttemptId("f" * 16, 1, 1), 8, DESCRIPTION, frozenset())
    assert store.used_keys() == {7, 8}


def test_who_else_is_expected_is_remembered(store: Store) -> None:
    store.widen_attempt(ID, frozenset({"a", "b", "c"}))
    assert store.last_attempt(RUN).expected == {"a", "b", "c"}  # type: ignore[union-attr]


def test_an_opened_sum_is_kept_until_its_model_is_endorsed_and_no_longer(listed: Store) -> None:
    listed.keep_opened(ID, b"sum", LIST)
    last = listed.last_attempt(RUN)
    assert last is not None
    assert (last.state, last.opened) == ("endorsing", b"sum")
    listed.complete_attempt(ID, np.zeros(3), MODEL, RESULT)
    last = listed.last_attempt(RUN)
    assert last is not None
    assert (last.state, last.opened) == ("completed", None)


def test_a_completed_round_leaves_model_endorsements_and_history_and_no_ciphertexts(listed: Store) -> None:
    upload(listed, "a", b"one")
    listed.complete_attempt(ID, np.array([1.0, 2.0, 4.0]), MODEL, RESULT)
    assert listed.history(RUN) == [RESULT]
    assert listed.model(RUN)[0] == 1
    assert listed.model(RUN)[1].tolist() == [1.0, 2.0, 4.0]
    assert listed.model(RUN, 0)[1].tolist() == [0.0, 1.0, 2.0]
    assert listed.endorsements(RUN, 1) == MODEL
    assert listed.endorsements(RUN, 0) == listed.endorsements(RUN, 5) == ()
    with refused_with(Reason.ROUND_NOT_OPEN):
        listed.payload(ID, "a")
    assert [(part.client, part.uploaded) for part in listed.submissions(ID)] == [("a", True), ("b", False)]
    assert not upload(listed, "a", b"one"), "the receipt still holds"


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_round_whose_loss_is_not_finite_is_completed_too(listed: Store, loss: float) -> None:
    listed.complete_attempt(ID, np.zeros(3), MODEL, replace(RESULT, loss=loss))
    (result,) = listed.history(RUN)
    assert result == replace(RESULT, loss=float("inf")), "SQLite has no NaN"


def test_an_abandoned_attempt_keeps_no_ciphertexts(listed: Store) -> None:
    upload(listed, "a", b"one")
    listed.abandon_attempt(ID, "too few")
    with refused_with(Reason.ROUND_NOT_OPEN):
        listed.payload(ID, "a")
    assert listed.last_attempt(RUN).state == "abandoned"  # type: ignore[union-attr]


def test_a_round_is_completed_at_most_once(listed: Store) -> None:
    listed.complete_attempt(ID, np.zeros(3), MODEL, RESULT)
    listed.open_attempt(SECOND, 8, DESCRIPTION, frozenset())
    with pytest.raises(StorageError):
        listed.complete_attempt(SECOND, np.ones(3), MODEL, RESULT)
    assert listed.model(RUN)[1].tolist() == [0.0, 0.0, 0.0]
    assert listed.history(RUN) == [RESULT]


def test_a_round_is_completed_whole_or_not_at_all(listed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is written before the history's row; if that fails, the model is not there either."""
    listed.keep_opened(ID, b"sum", LIST)
    with pytest.raises(StorageError):
        listed.complete_attempt(ID, np.ones(3), MODEL, replace(RESULT, accuracy=None))  # type: ignore[arg-type]
    assert listed.model(RUN)[0] == 0
    last = listed.last_attempt(RUN)
    assert last is not None
    assert (last.state, last.opened) == ("endorsing", b"sum")


def test_an_unknown_state_cannot_be_stored(store: Store) -> None:
    with pytest.raises(StorageError, match="CHECK"):
        store.set_state(ID, "dreaming")


# ------------------------------------------------------------------------------------------------ runs


def test_a_client_enrols_once_in_each_run(store: Store) -> None:
    for _ in range(2):
        store.enrol(RUN, "a")
    assert store.is_enrolled(RUN, "a")
    assert not store.is_enrolled(RUN, "b")
    assert not store.is_enrolled("f" * 16, "a")


def test_only_an_unfinished_run_is_gone_on_with(store: Store) -> None:
    unfinished = store.unfinished_run()
    assert unfinished is not None
    assert (unfinished.run, unfinished.settings) == (RUN, {"task": "spam"})
    store.end_run(RUN, completed=True, message="done")
    assert store.unfinished_run() is None
    assert store.has_runs()


def test_a_new_folder_has_no_runs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.has_runs()
    assert store.unfinished_run() is None
    store.close()


def test_a_run_that_ended_keeps_no_ciphertexts(listed: Store) -> None:
    upload(listed, "a", b"one")
    listed.end_run(RUN, completed=False, message="patience")
    with refused_with(Reason.ROUND_NOT_OPEN):
        listed.payload(ID, "a")


def test_refusals_are_counted_by_name(store: Store) -> None:
    store.count_refusals(RUN, Counter({Reason.DUPLICATE: 2, Reason.BAD_CIPHERTEXT: 1}))
    store.count_refusals(RUN, Counter({Reason.DUPLICATE: 3}))
    found = store._database.all("SELECT reason, count FROM refusals ORDER BY reason")
    assert found == [("bad_ciphertext", 1), ("duplicate", 5)]


def test_a_model_that_is_not_there_is_a_refusal_and_a_damaged_one_is_noticed(tmp_path: Path, store: Store) -> None:
    with refused_with(Reason.NO_MODEL):
        store.model(RUN, 3)
    other = sqlite3.connect(tmp_path / "aggregator.sqlite")
    other.execute("UPDATE models SET vector = zeroblob(24)")
    other.commit()
    other.close()
    with pytest.raises(StorageError, match="the model of round 0 in .* is damaged"):
        store.model(RUN)


def test_a_second_aggregator_on_the_same_folder_is_kept_out(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StorageError, match="in use by another aggregator"):
        Store(tmp_path)


# ------------------------------------------------------------------------------------------------ a full disk

WRITES = {
    "begin_run": lambda store: store.begin_run("f" * 16, {}, np.zeros(100_000)),
    "change_settings": lambda store: store.change_settings(RUN, {"task": "name " * 20_000}),
    "add_commitment": lambda store: commit(store, "a", b"x" * 100_000),
    "add_payload": lambda store: upload(store, "z", b"x" * 100_000),
    "keep_opened": lambda store: store.keep_opened(ID, bytes(100_000), LIST),
    "complete_attempt": lambda store: store.complete_attempt(ID, np.zeros(100_000), MODEL, RESULT),
    "announce_list": lambda store: store.announce_list(ID, LIST * 1000),
    "abandon_attempt": lambda store: store.abandon_attempt(ID, "why " * 25_000),
    "widen_attempt": lambda store: store.widen_attempt(ID, frozenset(map(str, range(20_000)))),
    "enrol": lambda store: store.enrol(RUN, "name " * 20_000),
}


@pytest.mark.parametrize("name", sorted(WRITES))
def test_a_full_disk_is_one_sentence_and_nothing_is_half_done(store: Store, name: str) -> None:
    commit(store, "z", b"x" * 100_000)
    store.set_state(ID, "uploading" if name == "add_payload" else "committing")
    before = everything(store)
    pages = store._database._db.execute("PRAGMA page_count").fetchone()[0]
    store._database._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="cannot be used: database or disk is full"):
        WRITES[name](store)
    assert everything(store) == before
    store._database._db.execute("PRAGMA max_page_count = 100000")
    WRITES[name](store)
    assert everything(store) != before, "with room again, the same call goes through"


def everything(store: Store) -> list[str]:
    return list(store._database._db.iterdump())
