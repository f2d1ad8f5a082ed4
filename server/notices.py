"""Build what the aggregator pushes: plain data in, wire messages out."""

from __future__ import annotations

from collections.abc import Sequence

from core.protocol import AttemptId, ClosedList, HolderSignature, RoundResult, Signed
from core.wire import federation_pb2 as pb
from core.wire.messages import (
    holder_signatures_to_wire,
    list_to_wire,
    result_to_wire,
    round_to_wire,
    signed_commitment_to_wire,
)
from server import rounds, states
from server.attempt import Attempt, signatures_of
from server.rules import RoundRules
from server.settings import RunSettings


def welcome(run: str, settings: RunSettings) -> pb.Notice:
    return pb.Notice(welcome=pb.Welcome(run=run, rounds=settings.rules.rounds))


def round_opened(signed: Signed, *, committed: bool) -> pb.Notice:
    return pb.Notice(round_opened=pb.RoundOpened(round=round_to_wire(signed), committed=committed))


def list_closed(closed: ClosedList) -> pb.Notice:
    return pb.Notice(list_closed=list_to_wire(closed))


def round_closed(id: AttemptId, *, completed: bool, sentence: str = "") -> pb.Notice:
    message = pb.RoundClosed(round=id.round, attempt=id.attempt, completed=completed, sentence=sentence)
    return pb.Notice(round_closed=message)


def need_key(id: AttemptId, settings: RunSettings, above: int) -> pb.HolderTask:
    """Ask for keys with serial numbers above the highest that was ever used."""
    message = pb.NeedKey(
        run=id.run,
        round=id.round,
        attempt=id.attempt,
        scheme=settings.scheme,
        bits=settings.key_bits,
        above=above,
    )
    return pb.HolderTask(need_key=message)


def close_list(attempt: Attempt, lineage: Sequence[HolderSignature]) -> pb.CloseList:
    """The list to sign; `lineage` are the signatures under the model that the round starts from."""
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


def progress(state: states.Run, rules: RoundRules, results: Sequence[RoundResult]) -> pb.Progress:
    """The state of the run for whoever looks on, with results they have not been told yet."""
    phase = state.phase
    received, expected = _counts(phase)
    return pb.Progress(
        phase=type(phase).__name__.lower(),
        round=getattr(phase, "round", rules.rounds),
        rounds=rules.rounds,
        attempt=getattr(phase, "attempt", 0),
        present=len(state.present),
        holders=len(state.holders),
        received=received,
        expected=expected,
        results=[result_to_wire(result) for result in results],
        sentence=rounds.waiting_for(state, rules),
    )


def _counts(phase: states.Phase) -> tuple[int, int]:
    match phase:
        case states.Committing(expected=expected, committed=committed):
            return len(committed), len(expected)
        case states.Uploading(listed=listed, received=received):
            return len(received), len(listed)
    return 0, 0
