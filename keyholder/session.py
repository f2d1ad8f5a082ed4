"""One key holder's side of one run, without a connection: handed each task, it asks what follows from it.

`answer` gives a dialogue for each task: it yields calls, and is handed their replies and refusals (core.wire.calls).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import structlog

from core.errors import Reason, Refused, RunFailedError, StorageError
from core.protocol import AttemptId, digest
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Call, Dialogue, Upload
from core.wire.messages import attempt_id, description_from_bytes, signed_key_to_wire
from keyholder.holder import KeyHolder, Release
from keyholder.orders import list_order, named, release_order

log = structlog.get_logger()


class HolderSession:
    """Takes one key holder through one run; `ending` is the aggregator's closing message, once it has ended."""

    def __init__(self, holder: KeyHolder) -> None:
        self.holder = holder
        self.ending: str | None = None
        self._instance = secrets.token_bytes(16)

    def subscription(self) -> Ask:
        """Return the call that opens the stream of tasks; the same one after a lost connection."""
        return Ask("Attend", pb.AttendRequest(instance=self._instance))

    def answer(self, task: pb.HolderTask) -> Dialogue[None]:
        """Do what a task asks, or decline it with the reason of what does not hold.

        Raises RunFailedError if the run failed; StorageError if the disk is full: the same task can then be answered
        again, with the same result, or declined with `decline_for_storage`.
        """
        match task.WhichOneof("task"):
            case "need_key":
                yield from self._offer_keys(task.need_key)
            case "close_list":
                yield from self._answer(task.close_list, lambda id: self._sign_list(id, task.close_list))
            case "open_sum":
                yield from self._answer(task.open_sum.list, lambda id: self._open(id, task.open_sum))
            case "endorse":
                yield from self._answer(task.endorse.order.list, lambda id: self._endorse(id, task.endorse))
            case "run_ended":
                self._end(task.run_ended)

    def decline_for_storage(self, task: pb.HolderTask) -> Dialogue[None]:
        """Decline a task that the disk has no room for."""
        about = {"close_list": task.close_list, "open_sum": task.open_sum.list, "endorse": task.endorse.order.list}
        if (kind := task.WhichOneof("task")) in about:
            id = description_from_bytes(about[kind].round.description).id
            yield from self._decline(id, Refused(Reason.STORAGE, "the key holder cannot use its disk"))

    def _end(self, ended: pb.RunEnded) -> None:
        self.holder.destroy_old_shares()
        if not ended.completed:
            raise RunFailedError(f"the run ended: {ended.sentence}")
        self.ending = ended.sentence

    def _answer(self, about: pb.CloseList, answer: Callable[[AttemptId], Dialogue[None]]) -> Dialogue[None]:
        try:
            id = description_from_bytes(about.round.description).id
        except Refused as refusal:
            log.warning("a task that names no attempt", reason=refusal.reason.value, why=str(refusal))
            return
        try:
            yield from answer(id)
        except Refused as refusal:
            yield from self._decline(id, refusal)

    def _decline(self, id: AttemptId, refusal: Refused) -> Dialogue[None]:
        log.warning("declined", round=id.round, attempt=id.attempt, reason=refusal.reason.value, why=str(refusal))
        decline = pb.Decline(**named(id), reason=refusal.reason.value, sentence=str(refusal))
        yield from _told(Ask("DeclineTask", decline))

    # -------------------------------------------------------------------------------- the tasks

    def _offer_keys(self, task: pb.NeedKey) -> Dialogue[None]:
        id = attempt_id(task.run, task.round, task.attempt)
        try:
            keys = self.holder.unused_keys(task.scheme, task.bits, task.above)
        except (Refused, StorageError) as error:  # while no key is there, the aggregator asks again
            reason = error.reason if isinstance(error, Refused) else Reason.STORAGE
            log.warning("no key offered", reason=reason.value, why=str(error))
            return
        yield from _told(Ask("OfferKeys", pb.KeyOffer(**named(id), keys=map(signed_key_to_wire, keys))))
        log.debug("keys offered", round=id.round, attempt=id.attempt, keys=len(keys))

    def _sign_list(self, id: AttemptId, task: pb.CloseList) -> Dialogue[None]:
        signature = self.holder.sign_list(list_order(task))
        yield from _told(Ask("SignList", pb.ListSignature(**named(id), signature=signature)))
        log.info("list signed", round=id.round, attempt=id.attempt, clients=len(task.commitments))

    def _open(self, id: AttemptId, task: pb.OpenSum) -> Dialogue[None]:
        release = yield from self.holder.open_sum(release_order(task))
        log.info("share lent", round=id.round, attempt=id.attempt, contributors=len(task.contributors))
        if release.exposure:
            log.warning("exposure", round=id.round, sentence=release.exposure)
        yield from _told(Upload("Release", _release_header(id, release), release.partial))

    def _endorse(self, id: AttemptId, task: pb.Endorse) -> Dialogue[None]:
        signature = yield from self.holder.endorse(release_order(task.order), task.model_digest)
        yield from _told(Ask("EndorseModel", pb.ModelEndorsement(**named(id), signature=signature)))
        log.info("model endorsed", round=id.round)


def _told(answer: Call) -> Dialogue[Any]:
    """Give the aggregator an answer; a refused answer is only logged."""
    try:
        yield answer
    except Refused as refusal:
        log.warning("answer refused", reason=refusal.reason.value, why=str(refusal))


def _release_header(id: AttemptId, release: Release) -> pb.ReleaseRequest:
    header = pb.ReleaseHeader(
        **named(id),
        length=len(release.partial),
        sha256=digest(release.partial),
        seconds=release.seconds,
        exposure=release.exposure,
    )
    return pb.ReleaseRequest(header=header)
