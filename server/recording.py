"""One completed round, as the run's public record has it."""

from __future__ import annotations

from collections.abc import Sequence

from core.protocol import HolderSignature
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import holder_signatures_to_wire
from results.record import RoundRecord
from server import notices
from server.attempt import Attempt


def record_of(attempt: Attempt, lineage: Sequence[HolderSignature], start: bytes, roster: bytes) -> RoundRecord:
    """Return the record of an attempt whose model is endorsed.

    Args:
        lineage: the signatures under the model that the round started from.
        start: that model, if it is of an earlier run; else empty.
        roster: the registrar's signed list of members; empty if the record has it already.
    """
    assert attempt.opened is not None
    endorsement = pb.PayloadHeader(endorsements=holder_signatures_to_wire(attempt.endorsements.all()))
    return RoundRecord(
        round=attempt.id.round,
        order=notices.open_sum(attempt, lineage).SerializeToString(deterministic=True),
        agreement=notices.lend(attempt).lend.SerializeToString(deterministic=True),
        total=attempt.total(),
        opened=attempt.opened.to_bytes(attempt.description.key),
        endorsement=endorsement.SerializeToString(deterministic=True),
        roster=roster,
        start=start,
    )
