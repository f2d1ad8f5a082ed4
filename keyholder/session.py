"""One key holder's side of one run, without a connection: handed each task, it asks what follows from it.

It serves once enough other holders have vouched for its start (keyholder/starting.py); it vouches for others before.

`answer` gives a dialogue for each task: it yields calls, and is handed their replies and refusals (core.wire.calls).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from core.errors import Reason, Refused, RunFailedError, StorageError
from core.federated import identity_in_rounds
from core.protocol import AttemptId, HolderSignature, digest
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Call, Dialogue, Upload
from core.wire.holder_messages import (
    holder_signatures_from_wire,
    ledger_to_wire,
    start_from_wire,
    start_to_wire,
    vouch_from_wire,
)
from core.wire.membership import RosterExchange
from core.wire.messages import attempt_id, description_from_bytes, signed_key_to_wire
from core.wire.task_messages import identity_to_wire
from core.wording import counted
from keyholder.holder import KeyHolder
from keyholder.orders import list_order, named, release_order

log = structlog.get_logger()


class HolderSession:
    """Takes one key holder through one run; `ending` is the aggregator's closing message, once it has ended.

    Args:
        dishonest: how many of the other holders may be dishonest; by default as many as the federation withstands.
    """

    def __init__(self, holder: KeyHolder, dishonest: int | None = None) -> None:
        self.holder = holder
        self.ending: str | None = None
        self.agreement = holder.start(dishonest)
        self._roster = RosterExchange(holder.identity.roster)

    def subscription(self) -> Ask:
        """Return the call that opens the stream of tasks; the same one after a lost connection."""
        request = pb.AttendRequest(start=start_to_wire(self.agreement.start))
        own = self.holder.own_task
        if own is not None and (identity := identity_in_rounds(own)) is not None:
            request.task = own.name
            request.task_identity.CopyFrom(identity_to_wire(identity))
        return Ask("Attend", request)

    def _serve(self) -> Ask:
        """Return the call that says that this holder does all tasks from now on."""
        return Ask("Serve", pb.ServeRequest(least_difference=self.holder.least_difference))

    def answer(self, task: pb.HolderTask) -> Dialogue[None]:
        """Do what a task asks, or decline it with the reason of what does not hold.

        Raises RunFailedError if the run failed; StorageError if the disk is full: the same task can then be answered
        again, with the same result, or declined with `decline_for_storage`.
        """
        if task.roster_version:
            yield from self._roster.answer(task.roster_version)
        match task.WhichOneof("task"):
            case None:
                yield from self._connected()
            case "vouch":
                yield from self._vouch_for(task.vouch)
            case "vouched":
                yield from self._vouched(task.vouched)
            case "need_key":
                yield from self._offer_keys(task.need_key)
            case "close_list":
                yield from self._answer(_listed(task.close_list), lambda id: self._sign_list(id, task.close_list))
            case "open_sum":
                yield from self._answer(_listed(task.open_sum.list), lambda id: self._agree(id, task.open_sum))
            case "lend":
                yield from self._answer(lambda: _named(task.lend), lambda id: self._lend(id, task.lend))
            case "endorse":
                yield from self._answer(_listed(task.endorse.order.list), lambda id: self._endorse(id, task.endorse))
            case "run_ended":
                self._end(task.run_ended)

    def decline_for_storage(self, task: pb.HolderTask) -> Dialogue[None]:
        """Decline a task that the disk has no room for."""
        about = {
            "close_list": _listed(task.close_list),
            "open_sum": _listed(task.open_sum.list),
            "lend": lambda: _named(task.lend),
            "endorse": _listed(task.endorse.order.list),
        }
        if (kind := task.WhichOneof("task")) in about:
            yield from self._decline(about[kind](), Refused(Reason.STORAGE, "the key holder cannot use its disk"))

    # -------------------------------------------------------------------------------- starting

    def _connected(self) -> Dialogue[None]:
        if self.agreement.complete:
            yield from _told(self._serve())
        else:
            missing = counted(self.agreement.missing, "other key holder", "other key holders")
            log.info(f"waiting until {missing} have vouched for this ledger")

    def _vouch_for(self, task: pb.SignedStart) -> Dialogue[None]:
        """Tell another holder what is known of its ledger. Nobody asks twice, so a full disk is not answered "no"."""
        try:
            about, vouch = self.holder.vouch_for(start_from_wire(task))
        except Refused as refusal:
            log.warning("not vouched", reason=refusal.reason.value, why=str(refusal))
            return
        signed = pb.SignedVouch(holder=self.holder.identity.name, vouch=vouch.body, signature=vouch.signature)
        yield from _told(Ask("VouchFor", pb.Vouching(about=about, vouch=signed)))

    def _vouched(self, task: pb.SignedVouch) -> Dialogue[None]:
        """Take what another holder knows of this one. Raises Refused(STALE_LEDGER) if this ledger lacks something."""
        serves = self.agreement.complete
        try:
            self.agreement.take(*vouch_from_wire(task), self.holder.verifier)
        except Refused as refusal:
            if refusal.reason is Reason.STALE_LEDGER:
                raise
            log.warning("vouch refused", reason=refusal.reason.value, why=str(refusal))
        if self.agreement.complete and not serves:
            log.info("serving", vouched=sorted(self.agreement.vouched))
            yield from _told(self._serve())

    def _end(self, ended: pb.RunEnded) -> None:
        self.holder.destroy_old_shares()
        self.holder.forget()
        if not ended.completed:
            raise RunFailedError(f"the run ended: {ended.sentence}")
        self.ending = ended.sentence

    def _answer(self, named: Callable[[], AttemptId], answer: Callable[[AttemptId], Dialogue[None]]) -> Dialogue[None]:
        try:
            id = named()
        except Refused as refusal:
            log.warning("a task that names no attempt", reason=refusal.reason.value, why=str(refusal))
            return
        try:
            self._require_serving()
            yield from answer(id)
        except Refused as refusal:
            yield from self._decline(id, refusal)

    def _require_serving(self) -> None:
        missing = counted(self.agreement.missing, "other key holder has", "other key holders have")
        message = f"this key holder serves when {missing} vouched for its ledger"
        self.holder.verifier.require(self.agreement.complete, Reason.NOT_SERVING, message)

    def _decline(self, id: AttemptId, refusal: Refused) -> Dialogue[None]:
        log.warning("declined", round=id.round, attempt=id.attempt, reason=refusal.reason.value, why=str(refusal))
        about = named(id)
        decline = pb.Decline(**about, reason=refusal.reason.value, sentence=str(refusal), clients=refusal.clients)
        yield from _told(Ask("DeclineTask", decline))

    # -------------------------------------------------------------------------------- the tasks

    def _offer_keys(self, task: pb.NeedKey) -> Dialogue[None]:
        id = attempt_id(task.run, task.round, task.attempt)
        try:
            self._require_serving()
            keys = self.holder.unused_keys(task.scheme, task.bits, task.above)
        except (Refused, StorageError) as error:  # while no key is there, the aggregator asks again
            reason = error.reason if isinstance(error, Refused) else Reason.STORAGE
            log.warning("no key offered", reason=reason.value, why=str(error))
            return
        yield from _told(Ask("OfferKeys", pb.KeyOffer(**named(id), keys=map(signed_key_to_wire, keys))))
        log.debug("keys offered", round=id.round, attempt=id.attempt, keys=len(keys))

    def _sign_list(self, id: AttemptId, task: pb.CloseList) -> Dialogue[None]:
        signature = self.holder.sign_list(list_order(task))
        yield from _told(Ask("SignList", pb.ListSignature(**named(id), **_signed(signature))))
        log.info("list signed", round=id.round, attempt=id.attempt, clients=len(task.commitments))

    def _agree(self, id: AttemptId, task: pb.OpenSum) -> Dialogue[None]:
        agreed = yield from self.holder.sign_request(release_order(task))
        log.info("request signed", round=id.round, attempt=id.attempt, contributors=len(task.contributors))
        if agreed.exposure:
            log.warning("exposure", round=id.round, sentence=agreed.exposure)
        answer = pb.RequestSignature(
            **named(id), **_signed(agreed.signature), seconds=agreed.seconds, exposure=agreed.exposure
        )
        yield from _told(Ask("SignRequest", answer))

    def _lend(self, id: AttemptId, task: pb.Lend) -> Dialogue[None]:
        partial = self.holder.lend(id, holder_signatures_from_wire(task.signatures))
        log.info("share lent", round=id.round, attempt=id.attempt)
        header = pb.ReleaseHeader(**named(id), length=len(partial), sha256=digest(partial))
        yield from _told(Upload("Release", pb.ReleaseRequest(header=header), partial))

    def _endorse(self, id: AttemptId, task: pb.Endorse) -> Dialogue[None]:
        signature = yield from self.holder.endorse(release_order(task.order), task.model_digest, task.opened)
        yield from _told(Ask("EndorseModel", pb.ModelEndorsement(**named(id), **_signed(signature))))
        log.info("model endorsed", round=id.round)
        self.holder.forget()


def _told(answer: Call) -> Dialogue[Any]:
    """Give the aggregator an answer; a refused answer is only logged."""
    try:
        yield answer
    except Refused as refusal:
        log.warning("answer refused", reason=refusal.reason.value, why=str(refusal))


def _signed(signature: HolderSignature) -> dict[str, Any]:
    return {"signature": signature.signature, "ledger": ledger_to_wire(signature.ledger)}


def _listed(about: pb.CloseList) -> Callable[[], AttemptId]:
    return lambda: description_from_bytes(about.round.description).id


def _named(task: pb.Lend) -> AttemptId:
    return attempt_id(task.run, task.round, task.attempt)
