"""Malformed bytes at everything that reads bytes of others: a named refusal or a sentence, never anything else."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from core.answers import statement_of
from core.errors import GrokfedError
from core.identity.certificates import check_issued
from core.identity.party import CARD, ROSTER, read_card
from core.identity.roster import read_roster
from core.secagg.factory import adder_for
from core.secagg.key_share import KeyShare
from core.secagg.opening import OpenedSum, check_answer, combine, verify_opened
from core.wire import federation_pb2 as pb
from core.wire import holder_messages as h
from core.wire import messages as m
from core.wire.calls import converse
from core.wire.streams import model_from_bytes, model_of, read_chunks
from faults.mutation import mutated, mutated_bytes
from faults.world import World
from keyholder.ledger import Ledger
from keyholder.orders import list_order, release_order
from server import notices


@dataclass(frozen=True)
class Reader:
    """Something that reads: its name, good input, and how to read it."""

    name: str
    good: bytes | Message
    read: Callable[[Any], object]

    def try_one(self, rng: random.Random) -> str | None:
        """Read one malformed input; what happened, if it was none of what may happen."""
        wrong = mutated_bytes(self.good, rng) if isinstance(self.good, bytes) else mutated(self.good, rng)
        if wrong is None:
            return None
        try:
            self.read(wrong)
        except GrokfedError:
            return None
        except Exception as error:  # what is looked for here
            return f"{self.name} raised {error!r} for {wrong!r:.300}"
        return None


def readers(world: World) -> list[Reader]:
    """Return all readers, with good input from a run that is just about to open its first sum (Releasing)."""
    attempt = world.aggregator.run.attempt
    assert attempt is not None
    order, closed = notices.open_sum(attempt, ()), notices.list_closed(attempt.closed_list()).list_closed
    return [*_of_messages(world, order, closed), *_of_numbers(world, attempt), *_of_files(world)]


def _of_messages(world: World, order: pb.OpenSum, closed: pb.ListClosed) -> list[Reader]:
    round_, commitment = order.list.round, order.list.commitments[0]
    description = m.description_from_bytes(round_.description)
    submission = next(iter(world.given.values()))[-1]
    holder = next(iter(world.holders.values())).session.holder
    first, second, *_ = (party.session for party in world.holders.values())
    start = second.agreement.start.body
    vouch = first.holder.vouch_for(second.agreement.start)[1].body
    commit = pb.CommitRequest(commitment=commitment, train_seconds=1.0, encrypt_seconds=1.0)
    return [
        Reader("description", round_.description, m.description_from_bytes),
        Reader("certificate", description.signed_certificate.body, m.certificate_from_bytes),
        Reader("commitment", commitment.commitment, m.commitment_from_bytes),
        Reader("signed round", round_, m.round_from_wire),
        Reader("signed commitment", commitment, m.signed_commitment_from_wire),
        Reader("signed key", m.signed_key_to_wire(description.signed_certificate), m.signed_key_from_wire),
        Reader("key", m.key_to_wire(description.key), m.key_from_wire),
        Reader("encoding", m.encoding_to_wire(description.encoding), m.encoding_from_wire),
        Reader("closed list", closed, h.list_from_wire),
        Reader("header", m.submission_header_to_wire(submission.header), m.submission_header_from_wire),
        Reader("timings", commit, m.timings_from_wire),
        Reader("list order", order.list, lambda raw: holder.sign_list(list_order(raw))),
        Reader("release order", order, lambda raw: converse(holder.sign_request(release_order(raw)), _nothing)),
        Reader("start", start, h.start_from_bytes),
        Reader("vouch", vouch, h.vouch_from_bytes),
        Reader("signatures", closed, lambda raw: h.holder_signatures_from_wire(raw.signatures)),
        Reader("chunk", pb.Chunk(header=pb.PayloadHeader(length=3, sha256=bytes(32))), lambda c: read_chunks([c], 99)),
        Reader("model chunk", pb.Chunk(header=pb.PayloadHeader(length=8, dtype="<f8", shape=[1])), _read_model),
    ]


def _of_numbers(world: World, attempt: Any) -> list[Reader]:
    key, count = attempt.description.key, attempt.count
    total, submission = attempt._adder.payload(), next(iter(world.given.values()))[-1]
    certificate = attempt.description.certificate
    shares = [party.session.holder.shares.open(certificate) for party in world.holders.values()]
    partials = {share.holder: share.partial(total) for share in shares}
    opened = combine(key, 2, 3, total, partials).to_bytes(key)
    adder = adder_for(key, count)
    statement = statement_of(attempt.description, shares[0].holder, bytes(32), total)
    return [
        Reader("ciphertexts", submission.payload, adder.check),
        Reader("key share", shares[0].to_bytes(), KeyShare.from_bytes),
        Reader("answer", shares[0].answer(statement), lambda raw: check_answer(statement, raw)),
        Reader(
            "opened sum", opened, lambda raw: verify_opened(key, 2, 3, total, OpenedSum.from_bytes(key, count, raw))
        ),
        Reader("decoded sum", opened, lambda raw: attempt.cohort(OpenedSum.from_bytes(key, count, raw))),
        Reader("model", bytes(8 * world.values), lambda raw: model_from_bytes(raw, world.values)),
    ]


def _of_files(world: World) -> list[Reader]:
    identity = world.registered["keyholder-1"]
    holder = world.holders["keyholder-1"].session.holder
    certificate = holder.shares.dealt()[-1].certificate
    share = world.folder / "keyholder-1" / "shares" / f"{certificate.serial:08d}.share"
    good = share.read_bytes()
    card = world.folder / "card"
    card.mkdir(exist_ok=True)
    now = datetime.now(UTC)

    def read_share(raw: bytes) -> None:
        share.write_bytes(raw)
        try:
            holder.shares._seen.clear()
            holder.shares.open(certificate)
        finally:
            share.write_bytes(good)

    def read_a_card(raw: bytes) -> None:
        (card / CARD).write_bytes(raw)
        read_card(card)

    return [
        _of_a_ledger(world),
        Reader("roster", (identity.folder / ROSTER).read_bytes(), lambda raw: read_roster(raw, identity.registrar)),
        Reader("party card", (identity.folder / CARD).read_bytes(), read_a_card),
        Reader(
            "certificate file", identity.certificate_pem, lambda raw: check_issued(raw, identity.authority_pem, now)
        ),
        Reader("share file", good, read_share),
    ]


def _of_a_ledger(world: World) -> Reader:
    ledger, broken = world.holders["keyholder-1"].session.holder.ledger, world.folder / "broken"
    ledger._database.first("PRAGMA wal_checkpoint(TRUNCATE)")  # all of it is in the one file now

    def read_ledger(raw: bytes) -> None:
        shutil.rmtree(broken, ignore_errors=True)
        broken.mkdir()
        (broken / "keyholder.sqlite").write_bytes(raw)
        opened = Ledger(broken)
        try:
            opened.latest_cohorts(50)
            opened.used_keys()
            opened.released_request(world.run_id, 1)
        finally:
            opened.close()

    return Reader("ledger file", world.ledger_of("keyholder-1").read_bytes(), read_ledger)


def _read_model(chunk: pb.Chunk) -> object:
    return model_of(*read_chunks([chunk, pb.Chunk(data=bytes(8))], limit=8), 1)


def _nothing(*_: object) -> tuple[pb.PayloadHeader, bytes]:
    return pb.PayloadHeader(), b""
