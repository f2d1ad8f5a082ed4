"""The key holder's side of the wire: attend, answer each task, until the run ends."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import structlog

from core.errors import GrokfedError, Refused, RunFailedError
from core.protocol import AttemptId, digest
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import CALL_SECONDS, STREAM_SECONDS, TRANSFER_SECONDS, Line
from core.wire.messages import attempt_id, contribution_from_wire, description_from_bytes, key_to_wire
from core.wire.streams import pieces, read_chunks
from keyholder.holder import KeyHolder, Release, ReleaseOrder

log = structlog.get_logger()


class HolderConnection:
    """Serves one aggregator with one key holder."""

    def __init__(self, line: Line, holder: KeyHolder) -> None:
        self._line = line
        self._holder = holder
        self._stub = rpc.KeyHoldingStub(line.channel)
        self._instance = secrets.token_bytes(16)

    def serve(self) -> str:
        """Answer every task until the run has ended; gives the aggregator's closing sentence.

        Raises RunFailedError if the run failed, ConnectionLostError if the aggregator stays away.
        """
        attend = pb.AttendRequest(instance=self._instance)
        for task in self._line.follow(lambda: self._stub.Attend(attend, timeout=STREAM_SECONDS)):
            match task.WhichOneof("task"):
                case "make_key":
                    self._offer_key(task.make_key)
                case "open_sum":
                    self._open_sum(task.open_sum)
                case "run_ended":
                    if not task.run_ended.completed:
                        raise RunFailedError(f"the run ended: {task.run_ended.sentence}")
                    return task.run_ended.sentence
        raise GrokfedError(f"the aggregator at {self._line.address} closed the connection before the run ended")

    def _offer_key(self, task: pb.MakeKey) -> None:
        id = attempt_id(task.run, task.round, task.attempt)
        key = self._holder.key_for(id, task.scheme, task.bits)
        offer = pb.KeyOffer(run=id.run, round=id.round, attempt=id.attempt, key=key_to_wire(key))
        self._line.call(lambda: self._stub.OfferKey(offer, timeout=CALL_SECONDS))
        log.info("key offered", round=id.round, attempt=id.attempt, scheme=key.scheme, bits=key.bits)

    def _open_sum(self, task: pb.OpenSum) -> None:
        order = _order(task)
        id = order.description.id
        try:
            release = self._holder.open_sum(order, self._fetch)
        except Refused as refusal:
            log.warning("declined", round=id.round, attempt=id.attempt, reason=refusal.reason.value, why=str(refusal))
            self._decline(id, refusal)
        else:
            log.info("opened", round=id.round, attempt=id.attempt, contributors=len(order.contributions))
            self._deliver(id, release)

    def _fetch(self, id: AttemptId, client: str, length: int) -> bytes:
        request = pb.SubmissionRequest(run=id.run, round=id.round, attempt=id.attempt, client=client)

        def fetch() -> bytes:
            chunks = self._stub.FetchSubmission(request, timeout=TRANSFER_SECONDS)
            return read_chunks(chunks, limit=length)[1]

        return self._line.call(fetch)

    def _deliver(self, id: AttemptId, release: Release) -> None:
        def requests() -> Iterator[pb.ReleaseRequest]:
            header = pb.ReleaseHeader(
                run=id.run,
                round=id.round,
                attempt=id.attempt,
                length=len(release.payload),
                sha256=digest(release.payload),
                decrypt_seconds=release.seconds,
            )
            yield pb.ReleaseRequest(header=header)
            for piece in pieces(release.payload):
                yield pb.ReleaseRequest(data=piece)

        try:
            self._line.call(lambda: self._stub.Release(requests(), timeout=TRANSFER_SECONDS))
        except Refused as refusal:
            # The aggregator starts the round again; what went wrong is in its log too.
            log.warning("sum not taken", round=id.round, reason=refusal.reason.value, why=str(refusal))

    def _decline(self, id: AttemptId, refusal: Refused) -> None:
        decline = pb.Decline(
            run=id.run, round=id.round, attempt=id.attempt, reason=refusal.reason.value, sentence=str(refusal)
        )
        self._line.call(lambda: self._stub.DeclineRelease(decline, timeout=CALL_SECONDS))


def _order(task: pb.OpenSum) -> ReleaseOrder:
    return ReleaseOrder(
        description=description_from_bytes(task.description),
        contributions=tuple(contribution_from_wire(contribution) for contribution in task.contributions),
        sum_digest=task.sum_digest,
        request_digest=digest(task.SerializeToString(deterministic=True)),
    )
