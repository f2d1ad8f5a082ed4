"""What the aggregator saw: one client's update as it lies in its database, the opened sum, and the words in both.

The aggregator deletes the updates of a round when the round is over. So they are shown while they are there, and one of
each round is kept in this process. An update of a plain run on made-up mail can be computed again afterwards: its
SHA-256 must then be the one that its client had committed to.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from core.data.generated import generate_mailbox
from core.data.text import distinct_words
from core.errors import GrokfedError
from core.federated import client_rng, client_update, encode_update
from core.protocol import RoundDescription
from core.round_sums import ciphertexts_of, cohort_of, sums_of
from core.secagg.encoding import CohortSum
from core.secagg.factory import encryptor_for
from core.secagg.opening import OpenedSum
from core.secagg.scheme import PLAIN, split_payload
from core.tasks import TASKS
from core.tasks.spam import VOCABULARY
from core.wire.messages import description_from_bytes
from core.wire.streams import model_from_bytes
from dashboard.records import RunRecord
from experiments.attacks.words import PublicWords, moved, public_words, words_of
from results.record import RoundRecord

SHOWN_BYTES = 512
MOST_WORDS = 60
MOST_KEPT = 500
PUBLIC_OWNERS, FIRST_PUBLIC_OWNER, PUBLIC_MAILS = 20, 10_001, 150
SUBMISSIONS = "SELECT client, payload, sha256, bytes_up FROM submissions WHERE run = ? AND round = ? ORDER BY client"


@dataclass(frozen=True)
class Seen:
    """One client's update.

    Attributes:
        payload: its bytes; empty if they are gone and cannot be computed again.
        source: where the bytes are from.
    """

    client: str
    payload: bytes
    sha256: bytes
    source: str


class Keeper:
    """Keeps an update of each round that was seen while it was there. May be asked from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], Seen] = OrderedDict()

    def look(self, record: RunRecord, round_number: int) -> None:
        """Keep an update of this round, if the database has one now."""
        run = record.stored().run
        with self._lock:
            if (run, round_number) in self._kept:
                return
        for client, payload, digest, _ in record.query(SUBMISSIONS, run, round_number):
            if payload is not None:
                kept = "kept by this page while it was in the database"
                self.keep(run, round_number, Seen(str(client), bytes(payload), bytes(digest), kept))
                return

    def keep(self, run: str, round_number: int, seen: Seen) -> None:
        """Keep an update, and forget the oldest if there are too many."""
        with self._lock:
            self._kept[run, round_number] = seen
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)

    def kept(self, run: str, round_number: int) -> Seen | None:
        """Return the update that was kept of a round."""
        with self._lock:
            return self._kept.get((run, round_number))


def saw(record: RunRecord, keeper: Keeper, round_number: int) -> dict[str, Any]:
    """Return what the aggregator saw of one update of a round, and the sum that was opened. Raises DataError."""
    run = record.stored().run
    rows = record.query(SUBMISSIONS, run, round_number)
    described = record.query(
        "SELECT description FROM attempts WHERE run = ? AND round = ? ORDER BY attempt DESC LIMIT 1", run, round_number
    )
    if not rows or not described:
        return {"round": round_number, "available": False, "why": "the aggregator has nothing of this round"}
    description = description_from_bytes(bytes(described[0][0]))
    seen = _seen(record, keeper, description, rows)
    said: dict[str, Any] = {
        "round": round_number,
        "available": True,
        "scheme": description.certificate.key.scheme,
        "key_bits": description.certificate.key.bits,
        "contributors": sum(row[3] is not None for row in rows),
        "client": seen.client,
        "source": seen.source,
        "sha256": seen.sha256.hex(),
        "update": _bytes(seen.payload, int(rows[0][3] or 0)),
        "opened": None,
        "update_words": read_words(description, seen.payload) if seen.payload else None,
        "sum_words": None,
    }
    opened = _opened(record, run, round_number)
    if opened is not None:
        said["opened"] = _bytes(opened.opened, len(opened.opened))
        said["sum_words"] = _words_of_sum(description, opened, int(said["contributors"]))
    return said


def _seen(record: RunRecord, keeper: Keeper, description: RoundDescription, rows: Sequence[tuple[Any, ...]]) -> Seen:
    for client, payload, digest, _ in rows:
        if payload is not None:
            return Seen(str(client), bytes(payload), bytes(digest), "in the aggregator's database now")
    kept = keeper.kept(description.id.run, description.id.round)
    if kept is not None:
        return kept
    client, _, digest, _ = rows[0]
    if description.certificate.key.scheme == PLAIN:
        payload = _computed_again(record, description, str(client), bytes(digest))
        if payload:
            return Seen(
                str(client),
                payload,
                bytes(digest),
                "computed again; its SHA-256 is the one in the aggregator's database",
            )
    return Seen(
        str(client), b"", bytes(digest),
        "deleted by the aggregator when the round was over; keep this page open during a run to see the bytes",
    )  # fmt: skip


def _computed_again(record: RunRecord, description: RoundDescription, client: str, digest: bytes) -> bytes:
    """Return the update that a client with made-up data must have sent, if its digest says so; else nothing."""
    number = client.rpartition("-")[2]
    models = record.query(
        "SELECT vector FROM models WHERE run = ? AND round = ?", description.id.run, description.id.round - 1
    )
    if not number.isdecimal() or not models or description.privacy is not None or description.task not in TASKS:
        return b""
    return _repeated(description, int(number), bytes(models[0][0]), digest)


@lru_cache(maxsize=64)
def _repeated(description: RoundDescription, number: int, model: bytes, digest: bytes) -> bytes:
    task, key = TASKS[description.task], description.certificate.key
    data = task.prepare(task.generate(description.seed, number))
    vector = model_from_bytes(model, description.rule.weights(description.encoding.values))
    update = client_update(task, vector, data, client_rng(description.seed, description.id.round, number))
    encryptor = encryptor_for(key, description.encoding.plaintexts)
    payload = encryptor.encrypt(encode_update(description.encoding, update, None))
    return payload if hashlib.sha256(payload).digest() == digest else b""


def _opened(record: RunRecord, run: str, round_number: int) -> RoundRecord | None:
    rows = record.query("SELECT line FROM record WHERE run = ? AND round = ?", run, round_number)
    return RoundRecord.from_line(rows[0][0], f"the record of round {round_number}") if rows and rows[0][0] else None


def _bytes(raw: bytes, length: int) -> dict[str, Any]:
    return {"length": length, "hex": raw[:SHOWN_BYTES].hex()}


def read_words(description: RoundDescription, payload: bytes) -> dict[str, Any]:
    """Read one update as the study of word leakage does, whatever it is: the words whose weights moved.

    Nothing can be read off an encrypted one: its bytes are no update in clear, and say so.
    """
    encoding = description.encoding
    if description.task != "spam":
        return {"read": False, "why": "words are read off updates of the task spam", "words": [], "count": 0}
    try:
        numbers = split_payload(payload, encoding.plaintexts, len(payload) // encoding.plaintexts)
        return _named(encoding.decode([int(number) for number in numbers], 1), description.seed)
    except (GrokfedError, ValueError, OverflowError) as error:
        return {"read": False, "why": f"read in clear, these bytes are no update: {error}", "words": [], "count": 0}


def _words_of_sum(description: RoundDescription, record: RoundRecord, contributors: int) -> dict[str, Any] | None:
    if description.task != "spam":
        return None
    try:
        opened = OpenedSum.from_bytes(description.certificate.key, ciphertexts_of(description), record.opened)
        return _named(cohort_of(sums_of(description, opened.plaintexts, contributors)), description.seed)
    except (GrokfedError, ValueError) as error:
        return {"read": False, "why": str(error), "words": [], "count": 0}


def _named(received: CohortSum, seed: int) -> dict[str, Any]:
    """Name the words whose weights moved, those that moved furthest first."""
    change = received.delta_sum[:-1]
    numbers, public = moved(change), _public(seed)
    named = words_of(numbers, public)
    order = {public.named[number]: abs(float(change[number])) for number in numbers if number in public.named}
    ranked = sorted(named, key=lambda word: (-order[word], word))
    return {
        "read": True,
        "why": "",
        "count": len(numbers),
        "of": int(np.size(change)),
        "words": [{"word": word, "spam": bool(change[VOCABULARY.index(word)] > 0)} for word in ranked[:MOST_WORDS]],
        "named": len(ranked),
    }


@lru_cache(maxsize=4)
def _public(seed: int) -> PublicWords:
    """Return the words of made-up mail that anyone can have: none of it is a client's."""
    owners = range(FIRST_PUBLIC_OWNER, FIRST_PUBLIC_OWNER + PUBLIC_OWNERS)
    mails = [mail for owner in owners for mail in generate_mailbox(seed, owner, PUBLIC_MAILS)]
    return public_words([distinct_words(mail.text) for mail in mails], VOCABULARY)
