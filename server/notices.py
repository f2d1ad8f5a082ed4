"""The messages that the aggregator pushes to clients and key holders: plain data in, wire messages out."""

from __future__ import annotations

from collections.abc import Sequence

from core.protocol import AttemptId, ClosedList, HolderSignature, Signed
from core.wire import federation_pb2 as pb
from core.wire.messages import (
    holder_signatures_to_wire,
    list_to_wire,
    round_to_wire,
    signed_commitment_to_wire,
)
from server.attempt import Attempt, signatures_of
from server.settings import RunSettings


def welcome(run: str, settings: RunSettings) -> pb.Notice:
    return pb.Notice(welcome=pb.Welcome(run=run, rounds=settings.rules.rounds))


def round_opened(signed: Signed, *, committed: bool) -> pb.Notice:
    return pb.Notice(round_opened=pb.RoundOpened(round=round_to_wire(signed), committed=committed))


def list_closed(closed: ClosedList) -> pb.Notice:
    return pb.Notice(list_closed=list_to_wire(closed))


def round_closed(id: AttemptId, *, completed: bool, message: str = "") -> pb.Notice:
    closed = pb.RoundClosed(round=id.round, attempt=id.attempt, completed=completed, sentence=message)
    return pb.Notice(round_closed=closed)


def need_key(id: AttemptId, settings: RunSettings, above: int) -> pb.HolderTask:
    """Ask for keys with serial numbers above the highest ever used."""
    task = pb.NeedKey(
        run=id.run,
        round=id.round,
        attempt=id.attempt,
        scheme=settings.scheme,
        bits=settings.key_bits,
        above=above,
    )
    return pb.HolderTask(need_key=task)


def close_list(attempt: Attempt, lineage: Sequence[HolderSignature]) -> pb.CloseList:
    """Build the list to sign; `lineage` are the signatures under the model that the round starts from."""
    return pb.CloseList(
        round=round_to_wire(attempt.signed),
        commitments=[signed_commitment_to_wire(part.commitment) for part in attempt.listed()],
        endorsements=holder_signatures_to_wire(lineage),
    )


def open_sum(attempt: Attempt, lineage: Sequence[HolderSignature]) -> pb.OpenSum:
    return pb.OpenSum(
        list=close_list(attempt, lineage),
        signatures=holder_signatures_to_wire(signatures_of(attempt.list_signatures)),
        contributors=attempt.contributors(),
        sum_digest=attempt.sum_digest(),
    )


def endorse(order: pb.OpenSum, model_digest: bytes) -> pb.HolderTask:
    return pb.HolderTask(endorse=pb.Endorse(order=order, model_digest=model_digest))


def run_ended(*, completed: bool, message: str) -> pb.RunEnded:
    return pb.RunEnded(completed=completed, sentence=message)
