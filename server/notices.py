"""The messages that the aggregator pushes to clients and key holders: plain data in, wire messages out."""

from __future__ import annotations

from collections.abc import Sequence

from core.protocol import AttemptId, ClosedList, HolderSignature, Signed
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import holder_signatures_to_wire, list_to_wire, start_to_wire
from core.wire.messages import round_to_wire, signed_commitment_to_wire
from core.wire.streams import payload_chunks, small_enough
from server.attempt import Attempt
from server.settings import RunSettings


def welcome(run: str, settings: RunSettings, roster_version: int) -> pb.Notice:
    return pb.Notice(welcome=pb.Welcome(run=run, rounds=settings.rules.rounds), roster_version=roster_version)


def round_opened(signed: Signed, *, committed: bool = False, start: Sequence[pb.Chunk] = ()) -> pb.Notice:
    """Announce a round; `start` is what clients train from, if it is short."""
    return pb.Notice(round_opened=pb.RoundOpened(round=round_to_wire(signed), committed=committed, start=start))


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
        signatures=holder_signatures_to_wire(attempt.list_signatures.all()),
        contributors=attempt.contributors(),
        sum_digest=attempt.sum_digest(),
    )


def lend(attempt: Attempt) -> pb.HolderTask:
    """Show who agreed to open the sum; with enough of them, each lends its share."""
    id = attempt.id
    signatures = holder_signatures_to_wire(attempt.request_signatures.all())
    return pb.HolderTask(lend=pb.Lend(run=id.run, round=id.round, attempt=id.attempt, signatures=signatures))


def vouch(start: Signed) -> pb.HolderTask:
    """Ask a key holder what it knows of another one that starts."""
    return pb.HolderTask(vouch=start_to_wire(start))


def vouched(holder: str, vouch: Signed) -> pb.HolderTask:
    """Tell a key holder that starts what another one knows of it."""
    return pb.HolderTask(vouched=pb.SignedVouch(holder=holder, vouch=vouch.body, signature=vouch.signature))


def endorse(order: pb.OpenSum, model_digest: bytes, opened: bytes) -> pb.HolderTask:
    """Ask for a signature under the next model; the opened sum goes along if it is short."""
    chunks = payload_chunks(opened) if small_enough(opened) else ()
    return pb.HolderTask(endorse=pb.Endorse(order=order, model_digest=model_digest, opened=chunks))


def run_ended(*, completed: bool, message: str) -> pb.RunEnded:
    return pb.RunEnded(completed=completed, sentence=message)
