"""What a key holder may not forget: written before it answers, never changed afterwards, and once only."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from refusals import refused_with

from core.errors import Reason, Refused, StorageError
from core.protocol import AttemptId, digest
from keyholder.ledger import Answer, Ledger

RUN = "0123456789abcdef"
ID = AttemptId(RUN, 1, 1)
SECOND = AttemptId(RUN, 1, 2)
NEXT = AttemptId(RUN, 2, 1)
REQUEST = digest(b"request")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path)
    yield ledger
    ledger.close()


def model_of(id: AttemptId) -> bytes:
    """The digest of the model that a round starts from."""
    return digest(f"{id.run} {id.round}".encode())


def release(
    ledger: Ledger, id: AttemptId = ID, serial: int = 7, request: bytes = REQUEST, clients: str = "abc"
) -> None:
    ledger.record_release(id, serial, request, Answer(b"partial of " + request, "exposed"), list(clients), model_of(id))


# ------------------------------------------------------------------------------------------------ lists


def test_a_signed_list_is_remembered(ledger: Ledger) -> None:
    assert ledger.signed_list(ID) is None
    entry = ledger.record_list(ID, 7, b"statement")
    assert ledger.signed_list(ID) == (b"statement", entry)
    assert ledger.signed_list(SECOND) is None


def test_an_attempt_has_one_list_and_a_key_one_attempt(ledger: Ledger) -> None:
    ledger.record_list(ID, 7, b"statement")
    with refused_with(Reason.KEY_USED):
        ledger.record_list(ID, 8, b"another")
    with refused_with(Reason.KEY_USED):
        ledger.record_list(SECOND, 7, b"statement")
    with refused_with(Reason.KEY_USED):
        ledger.record_list(AttemptId("f" * 16, 1, 1), 7, b"s")
    ledger.record_list(SECOND, 8, b"statement")
    assert [kind for _, kind, _ in ledger.entries()] == ["list", "list"], "what was refused left no entry"


# ------------------------------------------------------------------------------------------------ releases


def test_an_answer_is_given_again_to_the_same_request_and_to_no_other(ledger: Ledger) -> None:
    assert ledger.earlier_answer(ID, REQUEST) is None
    release(ledger)
    assert ledger.earlier_answer(ID, REQUEST) == Answer(b"partial of " + REQUEST, "exposed")
    with refused_with(Reason.ALREADY_RELEASED):
        ledger.earlier_answer(ID, digest(b"other"))
    assert ledger.released_request(RUN, 1) == REQUEST
    assert ledger.released_request(RUN, 2) is None


def test_another_attempt_at_a_released_round_is_another_request(ledger: Ledger) -> None:
    release(ledger)
    with refused_with(Reason.ALREADY_RELEASED):
        ledger.earlier_answer(SECOND, digest(b"other"))


def test_a_round_is_released_once_and_a_key_lent_once(ledger: Ledger) -> None:
    release(ledger)
    for id, serial in ((ID, 7), (ID, 8), (SECOND, 8), (NEXT, 7)):
        with refused_with(Reason.ALREADY_RELEASED):
            release(ledger, id, serial, digest(b"other"))
    release(ledger, NEXT, 8)
    assert ledger.earlier_answer(ID, REQUEST) is not None, "the first answer stays as it was"


def test_answers_of_the_last_two_releases_are_kept(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        release(ledger, AttemptId(RUN, number, 1), serial=number, request=digest(b"%d" % number))
    assert ledger.earlier_answer(AttemptId(RUN, 3, 1), digest(b"3")) is not None
    assert ledger.earlier_answer(AttemptId(RUN, 2, 1), digest(b"2")) is not None
    with pytest.raises(Refused, match="round 1 was opened before, and the answer is no longer kept"):
        ledger.earlier_answer(ID, digest(b"1"))


def test_keys_are_used_by_a_list_and_spent_by_a_release(ledger: Ledger) -> None:
    ledger.record_list(ID, 7, b"statement")
    assert (ledger.used_keys(), ledger.spent_keys()) == ({7}, set())
    release(ledger, serial=7)
    release(ledger, NEXT, serial=9)
    assert (ledger.used_keys(), ledger.spent_keys()) == ({7, 9}, {7, 9})


def test_the_latest_cohorts_come_first(ledger: Ledger) -> None:
    release(ledger, clients="abc")
    release(ledger, NEXT, 8, clients="ab")
    assert ledger.latest_cohorts(1) == [(RUN, 2, frozenset("ab"))]
    assert ledger.latest_cohorts(9) == [(RUN, 2, frozenset("ab")), (RUN, 1, frozenset("abc"))]


# ------------------------------------------------------------------------------------------------ models


def test_one_model_of_a_round_is_endorsed(ledger: Ledger) -> None:
    assert ledger.endorsed_model(RUN, 1) is None
    entry = ledger.record_model(ID, digest(b"model"))
    assert ledger.endorsed_model(RUN, 1) == (digest(b"model"), entry)
    with refused_with(Reason.WRONG_MODEL):
        ledger.record_model(SECOND, digest(b"another"))
    entry = ledger.record_model(NEXT, digest(b"another"))
    assert ledger.endorsed_model(RUN, 2) == (digest(b"another"), entry)


# ------------------------------------------------------------------------------------------------ the chain


def filled(folder: Path) -> Path:
    ledger = Ledger(folder)
    ledger.record_list(ID, 7, b"statement")
    release(ledger)
    ledger.record_model(ID, digest(b"model"))
    ledger.close()
    return folder / "keyholder.sqlite"


def test_everything_is_there_again_after_a_restart_and_goes_on(tmp_path: Path) -> None:
    filled(tmp_path)
    again = Ledger(tmp_path)
    assert [(number, kind) for number, kind, _ in again.entries()] == [(1, "list"), (2, "release"), (3, "model")]
    assert again.earlier_answer(ID, REQUEST) is not None
    release(again, NEXT, 8)
    again.close()
    Ledger(tmp_path).close()


def test_entries_say_what_was_decided_and_hold_no_secret(tmp_path: Path) -> None:
    filled(tmp_path)
    ledger = Ledger(tmp_path)
    contents = [json.loads(content) for _, _, content in ledger.entries()]
    attempt = {"run": RUN, "round": 1, "attempt": 1}
    assert contents == [
        attempt | {"key": 7, "statement": digest(b"statement").hex()},
        attempt | {"key": 7, "request": REQUEST.hex(), "contributors": ["a", "b", "c"], "model": model_of(ID).hex()},
        attempt | {"model": digest(b"model").hex()},
    ]
    ledger.close()


def test_what_was_written_survives_the_process(tmp_path: Path, ledger: Ledger) -> None:
    release(ledger)
    ledger._database._lock.close()  # as the operating system does when a process is killed; nothing is closed
    again = Ledger(tmp_path)
    assert again.earlier_answer(ID, REQUEST) is not None
    again.close()


@pytest.mark.parametrize(
    ("change", "entry"),
    [
        ("UPDATE entries SET content = replace(content, '\"round\": 1', '\"round\": 2') WHERE number = 2", 2),
        ("UPDATE entries SET kind = 'model' WHERE number = 1", 1),
        ("UPDATE entries SET previous = zeroblob(32) WHERE number = 2", 2),
        ("UPDATE entries SET hash = zeroblob(32) WHERE number = 3", 3),
        ("DELETE FROM entries WHERE number = 1", 2),
        ("DELETE FROM entries WHERE number = 2", 3),
        ("UPDATE entries SET number = 9 WHERE number = 3", 9),
    ],
)
def test_a_ledger_that_was_changed_opens_nothing(tmp_path: Path, change: str, entry: int) -> None:
    path = filled(tmp_path)
    with sqlite3.connect(path) as db:
        assert db.execute(change).rowcount == 1
    db.close()
    with pytest.raises(StorageError, match=f"entry {entry} of .*keyholder.sqlite does not follow from the one before"):
        Ledger(tmp_path)
    with pytest.raises(StorageError, match="does not follow"):
        Ledger(tmp_path)  # and did not keep the file locked


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM releases",
        "DELETE FROM lists",
        "DELETE FROM models",
        "UPDATE releases SET request_sha256 = zeroblob(32)",
        'UPDATE releases SET contributors = \'["a", "b"]\'',
        "UPDATE releases SET key_serial = 8",
        "UPDATE lists SET statement = x'00'",
        "UPDATE models SET sha256 = zeroblob(32)",
        "UPDATE releases SET round = 2",
        "UPDATE releases SET model = zeroblob(32)",
        "INSERT INTO releases SELECT run, 2, attempt, 8, request_sha256, answer, contributors, exposure, x'00', entry "
        "FROM releases",
    ],
)
def test_a_table_that_does_not_say_what_the_entries_say_opens_nothing(tmp_path: Path, change: str) -> None:
    """Without the row of a release, the same sum could be opened a second time."""
    path = filled(tmp_path)
    with sqlite3.connect(path) as db:
        assert db.execute(change).rowcount == 1
    db.close()
    with pytest.raises(StorageError, match="keyholder.sqlite does not hold what its entries say"):
        Ledger(tmp_path)


def test_a_full_disk_leaves_nothing_half_written_and_the_chain_whole(tmp_path: Path, ledger: Ledger) -> None:
    release(ledger)
    db = ledger._database._db
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    large = Answer(bytes(100_000), "")
    with pytest.raises(StorageError, match="disk is full"):
        ledger.record_release(NEXT, 8, REQUEST, large, ["a"], model_of(NEXT))
    assert ledger.earlier_answer(NEXT, REQUEST) is None
    db.execute("PRAGMA max_page_count = 100000")
    ledger.record_release(NEXT, 8, REQUEST, large, ["a"], model_of(NEXT))
    ledger.close()
    again = Ledger(tmp_path)
    assert [number for number, _, _ in again.entries()] == [1, 2]
    again.close()


def test_a_second_key_holder_on_the_same_folder_is_kept_out(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(StorageError, match="in use by another key holder"):
        Ledger(tmp_path)
