"""Build what the aggregator pushes: plain data in, wire messages out."""

from __future__ import annotations

from collections.abc import Sequence

from core.protocol import AttemptId, Contribution, RoundResult
from core.wire import federation_pb2 as pb
from core.wire.messages import result_to_wire
from server import rounds
from server.rounds import RoundRules
from server.settings import RunSettings


def welcome(run: str, number: int, settings: RunSettings) -> pb.Notice:
    message = pb.Welcome(run=run, number=number, seed=settings.seed, rounds=settings.rules.rounds)
    return pb.Notice(welcome=message)


def round_opened(raw_description: bytes, *, already_submitted: bool) -> pb.Notice:
    message = pb.RoundOpened(description=raw_description, already_submitted=already_submitted)
    return pb.Notice(round_opened=message)


def round_closed(id: AttemptId, *, completed: bool, sentence: str = "") -> pb.Notice:
    message = pb.RoundClosed(round=id.round, attempt=id.attempt, completed=completed, sentence=sentence)
    return pb.Notice(round_closed=message)


def make_key(id: AttemptId, settings: RunSettings) -> pb.HolderTask:
    message = pb.MakeKey(run=id.run, round=id.round, attempt=id.attempt, scheme=settings.scheme, bits=settings.key_bits)
    return pb.HolderTask(make_key=message)


def open_sum(raw_description: bytes, contributions: Sequence[Contribution], sum_digest: bytes) -> pb.HolderTask:
    listed = [pb.Contribution(client=part.client, sha256=part.digest) for part in contributions]
    message = pb.OpenSum(description=raw_description, contributions=listed, sum_digest=sum_digest)
    return pb.HolderTask(open_sum=message)


def progress(state: rounds.Run, rules: RoundRules, results: Sequence[RoundResult]) -> pb.Progress:
    """The state of the run for whoever looks on, with results they have not been told yet."""
    phase = state.phase
    return pb.Progress(
        phase=type(phase).__name__.lower(),
        round=getattr(phase, "round", rules.rounds),
        rounds=rules.rounds,
        attempt=getattr(phase, "attempt", 0),
        present=len(state.present),
        received=len(phase.received) if isinstance(phase, rounds.Collecting) else 0,
        expected=len(phase.expected) if isinstance(phase, rounds.Collecting) else 0,
        results=[result_to_wire(result) for result in results],
        sentence=rounds.waiting_for(state, rules),
    )
