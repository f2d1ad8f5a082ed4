"""A key holder's side of the wire: attend, answer each task, until the run ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import structlog
import tenacity

from core.errors import GrokfedError, Reason, Refused, RunFailedError, StorageError
from core.protocol import AttemptId, digest
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import CALL_SECONDS, STREAM_SECONDS, TRANSFER_SECONDS, Line
from core.wire.messages import attempt_id, description_from_bytes, signed_key_to_wire
from core.wire.streams import pieces, read_chunks, read_model
from keyholder.holder import KeyHolder, Release
from keyholder.orders import list_order, release_order

log = structlog.get_logger()
M = TypeVar("M")
DISK_SECONDS = 300.0
"""For how long a task is tried again while the disk is full."""


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
                case "need_key":
                    self._offer_keys(task.need_key)
                case "close_list":
                    self._answer(task.close_list, self._sign_list, task.close_list)
                case "open_sum":
                    self._answer(task.open_sum.list, self._open, task.open_sum)
                case "endorse":
                    self._answer(task.endorse.order.list, self._endorse, task.endorse)
                case "run_ended":
                    self._holder.destroy_old_shares()
                    if not task.run_ended.completed:
                        raise RunFailedError(f"the run ended: {task.run_ended.sentence}")
                    return task.run_ended.sentence
        raise GrokfedError(f"the aggregator at {self._line.address} closed the connection before the run ended")

    def _answer(self, about: pb.CloseList, answer: Callable[[AttemptId, M], None], task: M) -> None:
        """Do what was asked, or decline it with the reason of what does not hold."""
        try:
            id = description_from_bytes(about.round.description).id
        except Refused as refusal:
            log.warning("a task that names no attempt", reason=refusal.reason.value, why=str(refusal))
            return
        try:
            self._until_there_is_room(lambda: answer(id, task))
        except StorageError:
            self._decline(id, Refused(Reason.STORAGE, "the key holder cannot use its disk"))
        except Refused as refusal:
            self._decline(id, refusal)

    @staticmethod
    def _until_there_is_room(act: Callable[[], None]) -> None:
        """Do something again while the disk is full: to decline would be final, and the disk may have room in a moment.

        Asked the same again, a holder answers the same. Raises StorageError when the disk stays full for too long.
        """
        tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StorageError),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=3.0),
            stop=tenacity.stop_after_delay(DISK_SECONDS),
            before_sleep=_say_storage,
            reraise=True,
        )(act)

    def _decline(self, id: AttemptId, refusal: Refused) -> None:
        log.warning("declined", round=id.round, attempt=id.attempt, reason=refusal.reason.value, why=str(refusal))
        decline = pb.Decline(**_named(id), reason=refusal.reason.value, sentence=str(refusal))
        self._tell(lambda: self._stub.DeclineTask(decline, timeout=CALL_SECONDS))

    def _tell(self, send: Callable[[], object]) -> None:
        """Give the aggregator an answer; if it does not take it, that is its own affair, and in its log too."""
        try:
            self._line.call(send)
        except Refused as refusal:
            log.warning("answer not taken", reason=refusal.reason.value, why=str(refusal))

    def _offer_keys(self, task: pb.NeedKey) -> None:
        id = attempt_id(task.run, task.round, task.attempt)
        try:
            keys = self._holder.unused_keys(task.scheme, task.bits, task.above)
            offer = pb.KeyOffer(**_named(id), keys=map(signed_key_to_wire, keys))
            self._tell(lambda: self._stub.OfferKeys(offer, timeout=CALL_SECONDS))
            log.debug("keys offered", round=id.round, attempt=id.attempt, keys=len(keys))
        except Refused as refusal:
            log.warning("no key offered", reason=refusal.reason.value, why=str(refusal))
        except StorageError as error:  # as long as no key is there, it is asked again
            log.warning("no key offered", reason=Reason.STORAGE.value, why=str(error))

    def _sign_list(self, id: AttemptId, task: pb.CloseList) -> None:
        signature = pb.ListSignature(**_named(id), signature=self._holder.sign_list(list_order(task)))
        self._tell(lambda: self._stub.SignList(signature, timeout=CALL_SECONDS))
        log.info("list signed", round=id.round, attempt=id.attempt, clients=len(task.commitments))

    def _open(self, id: AttemptId, task: pb.OpenSum) -> None:
        release = self._holder.open_sum(release_order(task), self._fetch)
        log.info("share lent", round=id.round, attempt=id.attempt, contributors=len(task.contributors))
        if release.exposure:
            log.warning("exposure", round=id.round, sentence=release.exposure)
        self._tell(lambda: self._stub.Release(_release_requests(id, release), timeout=TRANSFER_SECONDS))

    def _endorse(self, id: AttemptId, task: pb.Endorse) -> None:
        order = release_order(task.order)
        signature = self._holder.endorse(order, task.model_digest, self._fetch, self._fetch_opened, self._fetch_model)
        endorsement = pb.ModelEndorsement(**_named(id), signature=signature)
        self._tell(lambda: self._stub.EndorseModel(endorsement, timeout=CALL_SECONDS))
        log.info("model endorsed", round=id.round)

    def _fetch(self, id: AttemptId, client: str, length: int) -> bytes:
        request = pb.SubmissionRequest(**_named(id), client=client)
        return self._line.call(
            lambda: read_chunks(self._stub.FetchSubmission(request, timeout=TRANSFER_SECONDS), limit=length)[1]
        )

    def _fetch_opened(self, id: AttemptId, length: int) -> bytes:
        request = pb.OpenedSumRequest(**_named(id))
        return self._line.call(
            lambda: read_chunks(self._stub.FetchOpenedSum(request, timeout=TRANSFER_SECONDS), limit=length)[1]
        )

    def _fetch_model(self, round_number: int, values: int) -> npt.NDArray[np.float64]:
        stub, request = rpc.FederationStub(self._line.channel), pb.ModelRequest(round=round_number)
        return self._line.call(lambda: read_model(stub.FetchModel(request, timeout=TRANSFER_SECONDS), values)).vector


def _say_storage(state: tenacity.RetryCallState) -> None:
    assert state.outcome is not None
    log.error("storage", sentence=str(state.outcome.exception()), attempts=state.attempt_number)


def _named(id: AttemptId) -> dict[str, Any]:
    return {"run": id.run, "round": id.round, "attempt": id.attempt}


def _release_requests(id: AttemptId, release: Release) -> Iterator[pb.ReleaseRequest]:
    header = pb.ReleaseHeader(
        **_named(id),
        length=len(release.partial),
        sha256=digest(release.partial),
        seconds=release.seconds,
        exposure=release.exposure,
    )
    yield pb.ReleaseRequest(header=header)
    for piece in pieces(release.partial):
        yield pb.ReleaseRequest(data=piece)
