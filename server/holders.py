"""The calls of key holders on a run: offer keys, sign the list, open the sum, endorse the model, or decline."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from core.errors import Reason, Refused, StorageError
from core.identity import signing
from core.identity.members import Member
from core.protocol import AttemptId, Signed
from core.secagg.opening import check_partial
from core.wire import federation_pb2 as pb
from core.wire.messages import list_statement, model_statement
from server import states
from server.attempt import Attempt
from server.audience import Outbox
from server.concurrency import shielded_from_cancellation
from server.run import ActiveRun, Step

log = structlog.get_logger()


class Holders:
    """The key holders' side of one run. An answer that is late or repeated changes nothing."""

    def __init__(self, run: ActiveRun) -> None:
        self._run = run

    @shielded_from_cancellation
    async def attend(self, caller: Member, outbox: Outbox[pb.HolderTask]) -> None:
        """Seat a key holder's stream. Raise Refused(NAME_TAKEN)."""
        async with self._run.step() as step:
            self._run.audience.seat_holder(caller.name, outbox)
            log.info("key holder connected", holder=caller.name)
            await step.apply(states.HolderCame(caller.name))

    @shielded_from_cancellation
    async def leave(self, holder: str, outbox: Outbox[pb.HolderTask]) -> bool:
        """Forget a stream that ended; return False if it was never seated, or another has taken its place."""
        async with self._run.step() as step:
            left = await self._run.audience.unseat_holder(holder, outbox)
            if left:
                log.info("key holder disconnected", holder=holder)
                await step.apply(states.HolderLeft(holder))
            return left

    # -------------------------------------------------------------------------------- keys and lists

    @shielded_from_cancellation
    async def offer_keys(self, caller: Member, id: AttemptId, keys: Sequence[Signed]) -> None:
        """Note the keys a holder has unused shares of, and choose one that enough holders have in common."""
        self._check_run(id)
        async with self._run.step() as step:
            phase = step.phase
            if not self._run.is_in(states.Waiting, id) or (isinstance(phase, states.Waiting) and phase.key_ready):
                return
            if await step.take_offer(caller.name, keys):
                await step.apply(states.KeyChosen(id.round, id.attempt))

    @shielded_from_cancellation
    async def list_signed(self, caller: Member, id: AttemptId, signature: bytes) -> None:
        """Take a holder's signature under the closed list. Raise Refused(BAD_SIGNATURE)."""
        async with self._run.step() as step:
            attempt = self._run.attempt_in(states.Closing, id)
            if attempt is None:
                return
            closed = await step.work(attempt.closed_list)
            statement = list_statement(attempt.digest, closed.commitment_digests)
            _check_signature(caller, signing.LIST, statement, signature)
            attempt.list_signatures[caller.name] = signature
            await step.apply(states.ListSigned(id.round, id.attempt, caller.name))

    # -------------------------------------------------------------------------------- the sum

    async def payload(self, id: AttemptId, client: str) -> bytes:
        """Return one stored update, for a key holder to check and add. Raise Refused(ROUND_NOT_OPEN)."""
        return await self._run.with_store(lambda store: store.payload(id, client))

    def partial_bytes(self, id: AttemptId) -> int | None:
        """Return the length of a share of the opening; None if this sum is not being opened (any more)."""
        attempt = self._run.attempt_in(states.Releasing, id)
        return None if attempt is None else attempt.partial_bytes

    @shielded_from_cancellation
    async def release(self, caller: Member, id: AttemptId, partial: bytes, seconds: float, exposure: str) -> None:
        """Take a holder's share of the opening; with enough of them the sum is opened."""
        async with self._run.step() as step:
            attempt = self._run.attempt_in(states.Releasing, id)
            if attempt is None:
                return
            await self._check_partial(step, attempt, caller, partial)
            attempt.exposure = attempt.exposure or exposure
            if await self._take_partial(step, attempt, caller.number, partial, seconds):
                await step.apply(states.SumOpened(id.round, id.attempt))

    async def _check_partial(self, step: Step, attempt: Attempt, caller: Member, partial: bytes) -> None:
        """Refuse a share that cannot be right; a holder that sends one has declined."""
        id = attempt.id
        try:
            await step.work(check_partial, attempt.description.key, attempt.count, caller.number, partial)
        except Refused as refusal:
            await step.apply(states.TaskDeclined(id.round, id.attempt, caller.name, str(refusal)))
            raise

    async def _take_partial(self, step: Step, attempt: Attempt, holder: int, partial: bytes, seconds: float) -> bool:
        """Return whether this share opened the sum; report to the rules why it could not be opened."""
        id, rules = attempt.id, self._run.context.settings.rules
        try:
            return await step.work(attempt.take_partial, holder, partial, seconds, rules.threshold, rules.holders)
        except Refused as refusal:
            log.warning("not opened", round=id.round, attempt=id.attempt, reason=refusal.reason.value, why=str(refusal))
            if refusal.reason is Reason.WRONG_SHARE:
                await step.apply(states.SharesUnfit(id.round, id.attempt))
            else:
                await step.apply(states.SumRejected(id.round, id.attempt, str(refusal)))
            raise
        except StorageError as error:
            self._run.halt(error)
            raise

    # -------------------------------------------------------------------------------- the next model

    async def opened_sum(self, id: AttemptId) -> bytes:
        """Return the opened sum of the attempt that is being endorsed. Raise Refused(ROUND_NOT_OPEN)."""
        attempt = self._run.attempt_in(states.Endorsing, id)
        if attempt is None or attempt.opened is None:
            raise Refused(Reason.ROUND_NOT_OPEN, f"there is no opened sum of {id} to check")
        return attempt.opened.to_bytes(attempt.description.key)

    @shielded_from_cancellation
    async def endorsed(self, caller: Member, id: AttemptId, signature: bytes) -> None:
        """Take a holder's signature under the next model. Raise Refused(BAD_SIGNATURE)."""
        async with self._run.step() as step:
            attempt = self._run.attempt_in(states.Endorsing, id)
            if attempt is None:
                return
            model, context = await step.work(attempt.next_model), self._run.context
            statement = model_statement(context.identity.federation, context.id, id.round, model.digest)
            _check_signature(caller, signing.MODEL, statement, signature)
            attempt.endorsements[caller.name] = signature
            await step.apply(states.ModelEndorsed(id.round, id.attempt, caller.name))

    # -------------------------------------------------------------------------------- declining

    @shielded_from_cancellation
    async def decline(self, caller: Member, id: AttemptId, reason: Reason, message: str) -> None:
        """Note that a key holder declined its task."""
        self._check_run(id)
        async with self._run.step() as step:
            log.warning("declined", holder=caller.name, round=id.round, reason=reason.value, message=message)
            self._run.count_refusal(reason)
            await step.apply(states.TaskDeclined(id.round, id.attempt, caller.name, message))

    def _check_run(self, id: AttemptId) -> None:
        if id.run != self._run.context.id:
            raise Refused(Reason.ROUND_NOT_OPEN, f"the run here is {self._run.context.id}, not {id.run}")


def _check_signature(caller: Member, domain: str, statement: bytes, signature: bytes) -> None:
    if not signing.verify(caller.signing_key, domain, statement, signature):
        raise Refused(Reason.BAD_SIGNATURE, f"the signature of {caller.name!r} does not fit what is to be signed")
