"""A data owner's side of the wire: join, answer every round, until the run ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import structlog

from client.participant import Enrolment, Participant, Submission
from core.errors import GrokfedError, Reason, Refused, RunFailedError
from core.protocol import RoundDescription, digest
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import STREAM_SECONDS, TRANSFER_SECONDS, Line
from core.wire.messages import description_from_bytes, submission_header_to_wire
from core.wire.streams import model_bytes, pieces, read_model

log = structlog.get_logger()
FloatArray = npt.NDArray[np.float64]


def fetch_model(line: Line, values: int, round_number: int | None = None) -> tuple[int, FloatArray]:
    """The global model after a round (without one, the newest) as (round, vector of shape (values,))."""
    stub = rpc.FederationStub(line.channel)
    request = pb.ModelRequest(round=round_number)
    return line.call(lambda: read_model(stub.FetchModel(request, timeout=TRANSFER_SECONDS), values))


class ClientConnection:
    """Takes one participant through one run."""

    def __init__(self, line: Line, participant: Participant, values: int, wanted_number: int = 0) -> None:
        self._line = line
        self._participant = participant
        self._values = values
        self._stub = rpc.FederationStub(line.channel)
        self._submitted = 0
        self._request = pb.JoinRequest(
            client=participant.name,
            task=participant.task.name,
            task_digest=participant.task_digest,
            number=wanted_number,
            instance=secrets.token_bytes(16),
        )

    def take_part(self, keep: Callable[[FloatArray], None] | None = None) -> str:
        """Answer every round until the run has ended; gives the aggregator's closing sentence.

        `keep` is given the last global model, shape (values,). It is fetched before hanging up, because the aggregator
        may be gone as soon as everyone has left.

        Raises RunFailedError if the run failed, ConnectionLostError if the aggregator stays away, Refused or
        SettingsError if this client and the run do not fit together.
        """
        for notice in self._line.follow(lambda: self._stub.Join(self._request, timeout=STREAM_SECONDS)):
            match notice.WhichOneof("notice"):
                case "welcome":
                    self._participant.enrolled(_enrolment(notice.welcome))
                case "round_opened" if not notice.round_opened.already_submitted:
                    self._answer(notice.round_opened.description)
                case "round_closed":
                    _log_closed(notice.round_closed)
                case "run_ended":
                    if not notice.run_ended.completed:
                        raise RunFailedError(f"the run ended: {notice.run_ended.sentence}")
                    if keep is not None:
                        keep(fetch_model(self._line, self._values)[1])
                    if not self._submitted:
                        return "the run was over before this client could take part; its mail was not used"
                    return notice.run_ended.sentence
        raise GrokfedError(f"the aggregator at {self._line.address} closed the connection before the run ended")

    def _answer(self, raw_description: bytes) -> None:
        description = description_from_bytes(raw_description)
        model = self._model_of(description)
        submission = self._participant.answer(description, raw_description, model)
        try:
            self._line.call(lambda: self._stub.Submit(_requests(submission), timeout=TRANSFER_SECONDS))
        except Refused as refusal:
            if refusal.reason is not Reason.ROUND_NOT_OPEN:
                raise
            log.warning("too late", round=description.id.round, attempt=description.id.attempt)
        else:
            self._submitted += 1
            _log_submitted(submission)

    def _model_of(self, description: RoundDescription) -> FloatArray:
        _, model = fetch_model(self._line, self._values, description.id.round - 1)
        if digest(model_bytes(model)) != description.model_digest:
            raise Refused(Reason.WRONG_DIGEST, "the model is not the one that the round's description names")
        return model


def _enrolment(welcome: pb.Welcome) -> Enrolment:
    return Enrolment(welcome.run, welcome.number, welcome.seed, welcome.rounds)


def _requests(submission: Submission) -> Iterator[pb.SubmitRequest]:
    yield pb.SubmitRequest(header=submission_header_to_wire(submission.header))
    for piece in pieces(submission.payload):
        yield pb.SubmitRequest(data=piece)


def _log_submitted(submission: Submission) -> None:
    header = submission.header
    log.info(
        "submitted",
        round=header.id.round,
        attempt=header.id.attempt,
        bytes=header.length,
        train_s=round(header.train_seconds, 2),
        encrypt_s=round(header.encrypt_seconds, 2),
    )


def _log_closed(closed: pb.RoundClosed) -> None:
    if closed.completed:
        log.info("round completed", round=closed.round)
    else:
        log.warning("round abandoned", round=closed.round, attempt=closed.attempt, why=closed.sentence)
