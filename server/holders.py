"""The calls of key holders on a run: start, offer keys, sign the list, open the sum, endorse the model, or decline."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from core.errors import Reason, Refused, StorageError
from core.federated import task_identity
from core.identity import signing
from core.identity.members import Member
from core.protocol import AttemptId, HolderSignature, Signed
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import list_statement, model_statement, request_statement, vouch_from_bytes
from core.wire.streams import updates_at_once
from core.wire.task_messages import identity_from_wire
from server import notices, states
from server.attempt import Attempt
from server.audience import Outbox
from server.concurrency import shielded_from_cancellation
from server.refused_clients import ABOUT_CLIENTS
from server.run import ActiveRun, Step
from server.signatures import Signatures

log = structlog.get_logger()


class Holders:
    """The key holders' side of one run. An answer that is late or repeated changes nothing."""

    def __init__(self, run: ActiveRun) -> None:
        self._run = run

    def require_same_task(self, caller: Member, request: pb.AttendRequest) -> None:
        """Refuse a key holder that could sign no list of a run of an own task: it has not that file.

        Raises Refused(WRONG_TASK or MALFORMED).
        """
        task = self._run.context.task
        if task.source is None:
            return
        if request.task != task.name:
            started = f"with {request.task[:80]!r}" if request.task else "without one"
            raise Refused(
                Reason.WRONG_TASK,
                f"this run trains the own task {task.name!r}, and {caller.name!r} was started {started}; give it the "
                "--task FILE:NAME of the other parties",
            )
        theirs = identity_from_wire(request.task_identity)
        different = task_identity(task).difference(theirs, f"the {task.name!r} of {caller.name!r}", "this run's")
        if different:
            raise Refused(Reason.WRONG_TASK, f"{different}; give all parties the same file")

    @shielded_from_cancellation
    async def attend(self, caller: Member, outbox: Outbox[pb.HolderTask], start: Signed) -> None:
        """Seat a key holder's stream, and ask the others to vouch for it, and it for them, where that is needed.

        Raise Refused(NAME_TAKEN, BAD_SIGNATURE or WRONG_FEDERATION).
        """
        said = self._run.context.verifier.verify_start(start)
        if said.holder != caller.name:
            raise Refused(Reason.BAD_SIGNATURE, f"{caller.name!r} brings the start of {said.holder!r}")
        async with self._run.step() as step:
            audience = self._run.audience
            audience.seat_holder(caller.name, outbox, start)
            for other in audience.holders.keys() - {caller.name}:
                if audience.must_vouch(caller.name, other):
                    outbox.push(notices.vouch(audience.starts[other]))
                if audience.must_vouch(other, caller.name):
                    audience.holders[other].push(notices.vouch(start))
            log.info("key holder connected", holder=caller.name)
            await step.apply(states.HolderStarts(caller.name))

    @shielded_from_cancellation
    async def vouched(self, caller: Member, about: str, vouch: Signed) -> None:
        """Tell a key holder that starts what another one knows of it; only that holder can judge it.

        Raise Refused(MALFORMED).
        """
        async with self._run.step():
            life, audience = vouch_from_bytes(vouch.body).life, self._run.audience
            if caller.name in audience.holders and about in audience.holders:
                audience.note_vouch(caller.name, about, life)
            if about in self._run.state.starting and about in audience.holders:
                audience.holders[about].push(notices.vouched(caller.name, vouch))

    @shielded_from_cancellation
    async def serve(self, caller: Member, least_difference: int) -> None:
        """Note that enough others have vouched for a key holder: from now on it is asked."""
        async with self._run.step() as step:
            if caller.name in self._run.audience.holders:
                log.info("key holder serves", holder=caller.name)
                self._run.audience.note_served(caller.name)
                await step.apply(states.HolderCame(caller.name, least_difference))

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
    async def list_signed(self, caller: Member, id: AttemptId, signature: HolderSignature) -> None:
        """Take a holder's signature under the closed list. Raise Refused(BAD_SIGNATURE)."""
        async with self._run.step() as step:
            attempt = self._run.attempt_in(states.Closing, id)
            if attempt is None:
                return
            closed = await step.work(attempt.closed_list)
            statement = list_statement(attempt.digest, closed.commitment_digests)
            self._check_signature(caller, signing.LIST, statement, signature)
            if await self._taken(step, attempt.list_signatures, id, signature):
                await step.apply(states.ListSigned(id.round, id.attempt, caller.name))

    async def _taken(self, step: Step, signatures: Signatures, id: AttemptId, signature: HolderSignature) -> bool:
        """Keep a signature, and have those renewed that do not go with it; return whether it is kept."""
        for holder in signatures.take(signature, self._run.audience.lives):
            log.info("signature outdated", holder=holder, round=id.round, attempt=id.attempt)
            await step.apply(states.SignatureOutdated(id.round, id.attempt, holder))
        return signature.holder in signatures

    def _check_signature(self, caller: Member, domain: str, statement: bytes, signature: HolderSignature) -> None:
        if not self._run.context.verifier.signers(domain, statement, [signature]):
            raise Refused(Reason.BAD_SIGNATURE, f"the signature of {caller.name!r} does not fit what is to be signed")

    # -------------------------------------------------------------------------------- the sum

    async def updates(self, id: AttemptId, clients: Sequence[str]) -> list[bytes]:
        """Return stored updates, for a key holder to check and add. Raise Refused(ROUND_NOT_OPEN or WRONG_LENGTH)."""
        attempt = self._run.attempt
        if attempt is None or attempt.id != id:
            raise Refused(Reason.ROUND_NOT_OPEN, f"there are no updates of {id} (any more)")
        if len(clients) > (most := updates_at_once(attempt.longest_update)):
            raise Refused(Reason.WRONG_LENGTH, f"{len(clients)} updates are asked for; at most {most} at once")
        return await self._run.with_store(lambda store: [store.payload(id, client) for client in clients])

    def answer_bytes(self, id: AttemptId) -> int | None:
        """Return the length of a share of the opening with its proof; None if this sum is not being opened."""
        attempt = self._run.attempt_in(states.Releasing, id)
        return None if attempt is None else attempt.answer_bytes

    @shielded_from_cancellation
    async def request_signed(
        self, caller: Member, id: AttemptId, signature: HolderSignature, seconds: float, exposure: str
    ) -> None:
        """Take a holder's signature under the request to open the sum. Raise Refused(BAD_SIGNATURE)."""
        async with self._run.step() as step:
            attempt = self._run.attempt_in(states.Releasing, id)
            if attempt is None:
                return
            request = await step.work(attempt.request_digest)
            statement = request_statement(self._run.context.identity.federation, id, request)
            self._check_signature(caller, signing.REQUEST, statement, signature)
            attempt.exposure = attempt.exposure or exposure
            attempt.open_seconds = max(attempt.open_seconds, seconds)
            if await self._taken(step, attempt.request_signatures, id, signature):
                await step.apply(states.RequestSigned(id.round, id.attempt, caller.name))

    @shielded_from_cancellation
    async def release(self, caller: Member, id: AttemptId, answer: bytes) -> None:
        """Take a holder's share of the opening and its proof; with enough of them the sum is opened."""
        async with self._run.step() as step:
            attempt = self._run.attempt_in(states.Releasing, id)
            if attempt is None:
                return
            partial = await self._checked_partial(step, attempt, caller, answer)
            if await self._take_partial(step, attempt, caller.number, partial):
                await step.apply(states.SumOpened(id.round, id.attempt))

    async def _checked_partial(self, step: Step, attempt: Attempt, caller: Member, answer: bytes) -> bytes:
        """Refuse a share that is not proven to be right; a holder that sends one has declined, and is named."""
        id = attempt.id
        try:
            return await step.work(attempt.checked_partial, caller.number, answer)
        except Refused as refusal:
            reason = refusal.reason.value
            log.error("wrong share", holder=caller.name, round=id.round, attempt=id.attempt, reason=reason)
            await step.apply(states.TaskDeclined(id.round, id.attempt, caller.name, str(refusal)))
            raise

    async def _take_partial(self, step: Step, attempt: Attempt, holder: int, partial: bytes) -> bool:
        """Return whether this share opened the sum; report to the rules why it could not be opened."""
        id, rules = attempt.id, self._run.context.settings.rules
        try:
            return await step.work(attempt.take_partial, holder, partial, rules.threshold, rules.holders)
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
    async def endorsed(self, caller: Member, id: AttemptId, signature: HolderSignature) -> None:
        """Take a holder's signature under the next model. Raise Refused(BAD_SIGNATURE)."""
        async with self._run.step() as step:
            attempt = self._run.attempt_in(states.Endorsing, id)
            if attempt is None:
                return
            model, context = await step.work(attempt.next_model), self._run.context
            statement = model_statement(context.identity.federation, context.id, id.round, model.endorsed)
            self._check_signature(caller, signing.MODEL, statement, signature)
            attempt.endorsements.keep(signature)
            await step.apply(states.ModelEndorsed(id.round, id.attempt, caller.name))

    # -------------------------------------------------------------------------------- declining

    @shielded_from_cancellation
    async def decline(self, caller: Member, id: AttemptId, refusal: Refused) -> None:
        """Note that a key holder declined its task, and because of which clients on the list, if it says so."""
        self._check_run(id)
        reason, message = refusal.reason, str(refusal)
        async with self._run.step() as step:
            log.warning("declined", holder=caller.name, round=id.round, reason=reason.value, message=message)
            self._run.count_refusal(reason)
            if refusal.reason in ABOUT_CLIENTS and isinstance(step.phase, states.Closing):
                listed = step.phase.listed.intersection(refusal.clients)
                self._run.refused_clients.name(caller.name, sorted(listed), refusal)
            await step.apply(states.TaskDeclined(id.round, id.attempt, caller.name, message))

    def _check_run(self, id: AttemptId) -> None:
        if id.run != self._run.context.id:
            raise Refused(Reason.ROUND_NOT_OPEN, f"the run here is {self._run.context.id}, not {id.run}")
