"""One client's side of one run, without a connection: handed what the aggregator pushes, it asks what follows from it.

`answer` gives a dialogue for each notice: it yields calls, and is handed their replies and refusals (core.wire.calls).
"""

from __future__ import annotations

import secrets
from collections.abc import Generator

import numpy as np
import numpy.typing as npt
import structlog

from client.participant import Participant, Submission
from core.checks import Verifier
from core.errors import Reason, Refused, RunFailedError
from core.protocol import AttemptId, RoundDescription, Signed, digest
from core.server_rules import endorsed_digest
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Call, Dialogue, Upload, fetch_model, fetch_start
from core.wire.holder_messages import list_from_wire
from core.wire.membership import RosterExchange
from core.wire.messages import round_from_wire, signed_commitment_to_wire, submission_header_to_wire
from core.wire.streams import Model, model_bytes
from core.wire.task_messages import identity_to_wire

log = structlog.get_logger()
FloatArray = npt.NDArray[np.float64]
WITHOUT_US = (Reason.ROUND_NOT_OPEN, Reason.DUPLICATE)
"""Refusals that end nothing: the round is over, or has another commitment of this client."""


class ClientSession:
    """Takes one participant through one run.

    Args:
        keep_model: fetch the last global model before the run ends, into `model`.
    """

    def __init__(self, participant: Participant, *, keep_model: bool = False) -> None:
        self.participant = participant
        self.model: FloatArray | None = None
        """The last global model, shape (values,), if it was to be kept."""
        self.ending: str | None = None
        """The aggregator's closing message, once the run has ended."""
        self._keep_model = keep_model
        self._instance = secrets.token_bytes(16)
        self._roster = RosterExchange(participant.identity.roster)
        self._run = ""
        self._uploads = 0

    def subscription(self) -> Ask:
        """Return the call that opens the stream of notices; the same one after a lost connection."""
        participant = self.participant
        request = pb.JoinRequest(
            task=participant.task.name,
            task_digest=participant.task_digest,
            instance=self._instance,
            task_identity=identity_to_wire(participant.task_identity),
        )
        return Ask("Join", request)

    def answer(self, notice: pb.Notice) -> Dialogue[None]:
        """Answer one notice.

        Raises RunFailedError if the run failed, Refused or SettingsError if this client and the run do not fit
        together, or the aggregator does not keep to the protocol.
        """
        if notice.roster_version:
            yield from self._roster.answer(notice.roster_version)
        match notice.WhichOneof("notice"):
            case "welcome":
                self._run = notice.welcome.run
                self.participant.enrolled(self._run)
                log.info("joined", name=self.participant.name, rounds=notice.welcome.rounds)
            case "round_opened":
                yield from self._commit(notice.round_opened)
            case "list_closed":
                yield from self._upload(notice.list_closed)
            case "round_closed":
                self._closed(notice.round_closed)
            case "run_ended":
                yield from self._end(notice.run_ended)

    # -------------------------------------------------------------------------------- one round

    def _commit(self, opened: pb.RoundOpened) -> Dialogue[None]:
        """Answer a round with a commitment; skip it if an earlier process of this client has committed."""
        signed = round_from_wire(opened.round)
        if opened.committed and not self._answers(digest(signed.body)):
            log.warning("skipping this round: the commitment was made by an earlier process")
            return
        description = self.participant.verify(signed)
        submission = yield from self._train(description, signed, opened)
        if (yield from self._committed(submission)):
            log.info(
                "committed",
                round=description.id.round,
                attempt=description.id.attempt,
                train_s=round(submission.timings.train_seconds, 2),
                encrypt_s=round(submission.timings.encrypt_seconds, 2),
            )

    def _committed(self, submission: Submission) -> Dialogue[bool]:
        """Commit, and return whether it was accepted; say where the budget is if key holders know a newer one."""
        try:
            return (yield from _accepted(submission, commit_call(submission)))
        except Refused as refusal:
            if refusal.reason is not Reason.STALE_MEMORY:
                raise
            raise Refused(
                Reason.STALE_MEMORY,
                "the key holders have seen a newer budget of this client than the one it has: restore the newest copy "
                f"of {self.participant.memory.budget.folder}, or enrol under another name",
            ) from refusal

    def _train(self, description: RoundDescription, signed: Signed, opened: pb.RoundOpened) -> Dialogue[Submission]:
        values, before = self.participant.values, description.id.round - 1
        start = yield from fetch_start(description.rule, values, before, opened.start)
        self.participant.verify_model(description, start.vector, start.endorsements)
        return self.participant.answer(description, signed, start.vector)

    def _upload(self, message: pb.ListClosed) -> Dialogue[None]:
        """Upload what was committed to, now that it is too late to copy it."""
        closed, submission = list_from_wire(message), self.participant.last
        if submission is None or not self._answers(closed.description_digest):
            return  # of an earlier process
        self.participant.verify_list(closed, submission)
        self.participant.record_contribution(submission)
        if (yield from _accepted(submission, submit_call(submission))):
            self._uploads += 1
            log.info(
                "uploaded",
                round=closed.round,
                attempt=closed.attempt,
                bytes=submission.header.length,
                cohort=len(closed.commitment_digests),
            )

    def _answers(self, description_digest: bytes) -> bool:
        """Return whether the current submission answers this round description."""
        last = self.participant.last
        return last is not None and last.description_digest == description_digest

    def _closed(self, closed: pb.RoundClosed) -> None:
        id = AttemptId(self._run, closed.round, closed.attempt)
        self.participant.memory.controls.closed(id, completed=closed.completed)
        if closed.completed:
            log.info("round completed", round=closed.round)
        else:
            log.warning("round abandoned", round=closed.round, attempt=closed.attempt, why=closed.sentence)

    # -------------------------------------------------------------------------------- the end

    def _end(self, ended: pb.RunEnded) -> Dialogue[None]:
        if not ended.completed:
            raise RunFailedError(f"the run ended: {ended.sentence}")
        if self._keep_model:
            # The aggregator may be gone as soon as everyone has left, so it is asked before.
            self.model = yield from self._last_model()
        unused = "the run was over before this client could train; its data was not used"
        self.ending = ended.sentence if self._uploads else unused

    def _last_model(self) -> Dialogue[FloatArray]:
        """Fetch the newest model, if it is of this run and no older than what this client has trained on.

        Raises Refused(NO_MODEL or MODEL_LINEAGE).
        """
        model = yield from fetch_endorsed_model(self.participant.values, self.participant.verifier)
        last = self.participant.last
        trained = 0 if last is None else last.header.id.round
        if model.run != self._run or model.round < trained:
            found, wanted = f"round {model.round} of run {model.run}", f"round {trained} or later of {self._run}"
            raise Refused(Reason.MODEL_LINEAGE, f"the last model is that of {found}; expected {wanted}")
        return model.vector


def fetch_endorsed_model(values: int, verifier: Verifier) -> Dialogue[Model]:
    """Fetch the newest global model, shape (values,), if enough key holders have signed it.

    Raises Refused(MODEL_LINEAGE), or Refused(NO_MODEL) while no round is completed: the model has learned nothing then.
    """
    model = yield from fetch_model(values)
    if model.round < 1:
        raise Refused(Reason.NO_MODEL, "the federation has not completed a round yet; its model has learned nothing")
    signed = endorsed_digest(digest(model_bytes(model.vector)), model.state_digest)
    verifier.verify_endorsements(model.run, model.round, signed, model.endorsements)
    return model


def commit_call(submission: Submission) -> Ask:
    """Return the call that commits to a submission."""
    request = pb.CommitRequest(
        commitment=signed_commitment_to_wire(submission.commitment),
        train_seconds=submission.timings.train_seconds,
        encrypt_seconds=submission.timings.encrypt_seconds,
    )
    return Ask("Commit", request)


def submit_call(submission: Submission) -> Upload:
    """Return the call that uploads a submission."""
    header = pb.SubmitRequest(header=submission_header_to_wire(submission.header))
    return Upload("Submit", header, submission.payload)


def _accepted(submission: Submission, call: Call) -> Generator[Call, object, bool]:
    """Make a call, and return whether it was accepted; a round that continues without this client is no error."""
    try:
        yield call
    except Refused as refusal:
        if refusal.reason not in WITHOUT_US:
            raise
        id = submission.header.id
        log.warning("not accepted", round=id.round, attempt=id.attempt, why=str(refusal))
        return False
    return True
