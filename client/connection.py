"""A data owner's side of the wire: join, answer every round, until the run ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import structlog

from client.participant import Participant, Submission
from core.checks import Verifier
from core.errors import GrokfedError, Reason, Refused, RunFailedError
from core.protocol import digest
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import CALL_SECONDS, STREAM_SECONDS, TRANSFER_SECONDS, Line
from core.wire.messages import list_from_wire, round_from_wire, signed_commitment_to_wire, submission_header_to_wire
from core.wire.streams import Model, model_bytes, pieces, read_model

log = structlog.get_logger()
FloatArray = npt.NDArray[np.float64]


def fetch_model(line: Line, values: int, round_number: int | None = None) -> Model:
    """The global model after a round (without one, the newest), its vector of shape (values,)."""
    stub = rpc.FederationStub(line.channel)
    request = pb.ModelRequest(round=round_number)
    return line.call(lambda: read_model(stub.FetchModel(request, timeout=TRANSFER_SECONDS), values))


def fetch_endorsed_model(line: Line, values: int, verifier: Verifier) -> Model:
    """The newest global model, if enough key holders have signed it.

    Raises Refused(MODEL_LINEAGE), or Refused(NO_MODEL) while no round is completed: the model has learned nothing then.
    """
    model = fetch_model(line, values)
    if model.round < 1:
        sentence = f"the federation at {line.address} has not completed a round yet; its model knows nothing"
        raise Refused(Reason.NO_MODEL, sentence)
    verifier.verify_endorsements(model.run, model.round, digest(model_bytes(model.vector)), model.endorsements)
    return model


class ClientConnection:
    """Takes one participant through one run."""

    def __init__(self, line: Line, participant: Participant, values: int) -> None:
        self._line = line
        self._participant = participant
        self._values = values
        self._stub = rpc.FederationStub(line.channel)
        self._uploaded = 0
        self._run = ""
        self._request = pb.JoinRequest(
            task=participant.task.name,
            task_digest=participant.task_digest,
            instance=secrets.token_bytes(16),
        )

    def take_part(self, keep: Callable[[FloatArray], None] | None = None) -> str:
        """Answer every round until the run has ended; gives the aggregator's closing sentence.

        `keep` is given the last global model, shape (values,). It is fetched before hanging up, because the aggregator
        may be gone as soon as everyone has left.

        Raises RunFailedError if the run failed, ConnectionLostError if the aggregator stays away, Refused or
        SettingsError if this client and the run do not fit together, or the aggregator does not keep to the protocol.
        """
        for notice in self._line.follow(lambda: self._stub.Join(self._request, timeout=STREAM_SECONDS)):
            match notice.WhichOneof("notice"):
                case "welcome":
                    self._run = notice.welcome.run
                    self._participant.enrolled(self._run)
                    log.info("joined", name=self._participant.name, rounds=notice.welcome.rounds)
                case "round_opened":
                    self._commit(notice.round_opened)
                case "list_closed":
                    self._upload(notice.list_closed)
                case "round_closed":
                    _log_closed(notice.round_closed)
                case "run_ended":
                    return self._end(notice.run_ended, keep)
        raise GrokfedError(f"the aggregator at {self._line.address} closed the connection before the run ended")

    def _end(self, ended: pb.RunEnded, keep: Callable[[FloatArray], None] | None) -> str:
        if not ended.completed:
            raise RunFailedError(f"the run ended: {ended.sentence}")
        if keep is not None:
            keep(self._last_model())
        if not self._uploaded:
            return "the run was over before this client could take part; its data was not used"
        return ended.sentence

    def _last_model(self) -> FloatArray:
        """The newest model, if it is of the run that was joined, and no older than what this client has trained on.

        Raises Refused(NO_MODEL or MODEL_LINEAGE).
        """
        model, last = fetch_endorsed_model(self._line, self._values, self._participant.verifier), self._participant.last
        trained = 0 if last is None else last.header.id.round
        if model.run != self._run or model.round < trained:
            there, wanted = f"round {model.round} of run {model.run}", f"round {trained} or later of {self._run}"
            raise Refused(Reason.MODEL_LINEAGE, f"the last model is that of {there}; expected {wanted}")
        return model.vector

    def _commit(self, opened: pb.RoundOpened) -> None:
        """Answer a round with a commitment. A process that lost what it committed to lets the round go by."""
        signed = round_from_wire(opened.round)
        last = self._participant.last
        if opened.committed and (last is None or last.description_digest != digest(signed.body)):
            log.warning("this round goes on without us: what was committed to is gone with the process before")
            return
        description = self._participant.verify(signed, self._values)
        model = fetch_model(self._line, self._values, description.id.round - 1)
        self._participant.verify_model(description, model.vector, model.endorsements)
        submission = self._participant.answer(description, signed, model.vector)
        request = pb.CommitRequest(
            commitment=signed_commitment_to_wire(submission.commitment),
            train_seconds=submission.timings.train_seconds,
            encrypt_seconds=submission.timings.encrypt_seconds,
        )
        if self._taken(submission, lambda: self._stub.Commit(request, timeout=CALL_SECONDS)):
            log.info(
                "committed",
                round=description.id.round,
                attempt=description.id.attempt,
                train_s=round(submission.timings.train_seconds, 2),
                encrypt_s=round(submission.timings.encrypt_seconds, 2),
            )

    def _upload(self, message: pb.ListClosed) -> None:
        """Upload what was committed to, now that nobody can copy it in time."""
        closed, submission = list_from_wire(message), self._participant.last
        if submission is None or closed.description_digest != submission.description_digest:
            return  # of a process before this one
        self._participant.verify_list(closed, submission)
        if self._taken(submission, lambda: self._stub.Submit(_requests(submission), timeout=TRANSFER_SECONDS)):
            self._uploaded += 1
            log.info(
                "uploaded",
                round=closed.round,
                attempt=closed.attempt,
                bytes=submission.header.length,
                cohort=len(closed.commitment_digests),
            )

    def _taken(self, submission: Submission, send: Callable[[], object]) -> bool:
        """Whether the aggregator took it; that a round is over, or knows another commitment of ours, ends nothing."""
        try:
            self._line.call(send)
        except Refused as refusal:
            if refusal.reason not in (Reason.ROUND_NOT_OPEN, Reason.DUPLICATE):
                raise
            id = submission.header.id
            log.warning("not taken", round=id.round, attempt=id.attempt, why=str(refusal))
            return False
        return True


def _requests(submission: Submission) -> Iterator[pb.SubmitRequest]:
    yield pb.SubmitRequest(header=submission_header_to_wire(submission.header))
    for piece in pieces(submission.payload):
        yield pb.SubmitRequest(data=piece)


def _log_closed(closed: pb.RoundClosed) -> None:
    if closed.completed:
        log.info("round completed", round=closed.round)
    else:
        log.warning("round abandoned", round=closed.round, attempt=closed.attempt, why=closed.sentence)
