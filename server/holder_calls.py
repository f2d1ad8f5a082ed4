"""What key holders tell the run: which keys they have, what they signed, opened, endorsed, or turned down."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import structlog

from core.clock import today
from core.errors import Reason, Refused, StorageError
from core.identity import signing
from core.identity.members import Member
from core.protocol import AttemptId, Signed, digest
from core.secagg.opening import check_partial
from core.wire import federation_pb2 as pb
from core.wire.messages import list_statement, model_statement
from core.wire.streams import model_bytes
from server import metrics, states
from server.audience import Outbox
from server.coordinator import Coordinator, undisturbed

log = structlog.get_logger()


class HolderCalls:
    """The key holders' side of one run."""

    def __init__(self, run: Coordinator) -> None:
        self._run = run

    @undisturbed
    async def attend(self, caller: Member, outbox: Outbox[pb.HolderTask]) -> None:
        async with self._run.lock:
            self._run.audience.seat_holder(caller.name, outbox)
            log.info("key holder came", holder=caller.name)
            await self._run.apply(states.HolderCame(caller.name))

    @undisturbed
    async def unattend(self, holder: str, outbox: Outbox[pb.HolderTask]) -> bool:
        """A key holder's stream ended; False if another has taken its place (or it never had one)."""
        async with self._run.lock:
            left = await self._run.audience.unseat_holder(holder, outbox)
            if left:
                log.info("key holder left", holder=holder)
                await self._run.apply(states.HolderLeft(holder))
            return left

    @undisturbed
    async def offer_keys(self, caller: Member, id: AttemptId, keys: Sequence[Signed]) -> None:
        """Take note of the keys a holder has unused shares of, and choose one that enough of them have."""
        self._check_run(id)
        async with self._run.lock:
            phase = self._run.state.phase
            waiting = isinstance(phase, states.Waiting) and not phase.key_ready
            if not waiting or not self._run.is_current(id):
                return
            self._run.offers.take(caller.name, keys)
            settings, trust = self._run.settings, self._run.trust
            needed, kind = settings.rules.threshold, (settings.scheme, settings.key_bits)
            chosen = await self._run.work(self._run.offers.choose, needed, *kind, trust, today())
            if chosen is None:
                self._run.offers.turn_page(self._run.state.holders, needed)
                return
            self._run.key = chosen
            await self._run.apply(states.KeyChosen(id.round, id.attempt))

    @undisturbed
    async def list_signed(self, caller: Member, id: AttemptId, signature: bytes) -> None:
        """Take a holder's signature under the closed list."""
        async with self._run.lock:
            if not self._run.is_current(id) or not isinstance(self._run.phase, states.Closing):
                return
            attempt = self._run.current_attempt()
            digests = (await self._run.work(attempt.closed_list)).commitment_digests
            self._check_signature(caller, signing.LIST, list_statement(attempt.digest, digests), signature)
            attempt.list_signatures[caller.name] = signature
            await self._run.apply(states.ListSigned(id.round, id.attempt, caller.name))

    async def payload(self, id: AttemptId, client: str) -> bytes:
        """One stored update, for a key holder to check and add by itself."""
        return await self._run.work(self._run.store.payload, id, client)

    def partial_bytes(self, id: AttemptId) -> int | None:
        """The length that a share of the opening has; None if this sum is not (any more) being opened."""
        if not self._run.is_current(id) or not isinstance(self._run.phase, states.Releasing):
            return None
        return self._run.current_attempt().partial_bytes

    @undisturbed
    async def release(self, caller: Member, id: AttemptId, partial: bytes, seconds: float, exposure: str) -> None:
        """Take a holder's share of the opening; with enough of them the sum is opened."""
        async with self._run.lock:
            if self.partial_bytes(id) is None:
                return  # a repeated answer, or one more than was needed
            attempt, rules = self._run.current_attempt(), self._run.settings.rules
            try:
                await self._run.work(check_partial, attempt.description.key, attempt.count, caller.number, partial)
            except Refused as refusal:
                await self._run.apply(states.TaskDeclined(id.round, id.attempt, caller.name, str(refusal)))
                raise
            attempt.exposure = attempt.exposure or exposure
            take = functools.partial(attempt.take_partial, caller.number, partial, seconds)
            try:
                opened = await self._run.work(take, rules.threshold, rules.holders)
            except Refused as refusal:
                await self._unopened(id, refusal)
                raise
            except StorageError as error:
                self._run.halt(error)
                raise
            if opened:
                await self._run.apply(states.SumOpened(id.round, id.attempt))

    async def _unopened(self, id: AttemptId, refusal: Refused) -> None:
        log.warning("not opened", round=id.round, attempt=id.attempt, reason=refusal.reason.value, why=str(refusal))
        if refusal.reason is Reason.WRONG_SHARE:
            await self._run.apply(states.SharesUnfit(id.round, id.attempt))
        else:
            await self._run.apply(states.SumRejected(id.round, id.attempt, str(refusal)))

    async def opened_sum(self, id: AttemptId) -> bytes:
        """The combined sum of the attempt that is being endorsed."""
        attempt = self._run.attempt
        if attempt is None or attempt.id != id or attempt.opened is None:
            raise Refused(Reason.ROUND_NOT_OPEN, f"there is no opened sum of {id} to check")
        return attempt.opened.to_bytes(attempt.description.key)

    @undisturbed
    async def endorsed(self, caller: Member, id: AttemptId, signature: bytes) -> None:
        """Take a holder's signature under the next model."""
        async with self._run.lock:
            if not self._run.is_current(id) or not isinstance(self._run.phase, states.Endorsing):
                return
            attempt = self._run.current_attempt()
            model_digest = digest(model_bytes(await self._run.next_model()))
            statement = model_statement(self._run.identity.federation, self._run.run, id.round, model_digest)
            self._check_signature(caller, signing.MODEL, statement, signature)
            attempt.endorsements[caller.name] = signature
            await self._run.apply(states.ModelEndorsed(id.round, id.attempt, caller.name))

    @undisturbed
    async def decline(self, caller: Member, id: AttemptId, reason: Reason, sentence: str) -> None:
        """A key holder turned down what it was asked."""
        self._check_run(id)
        async with self._run.lock:
            log.warning("declined", holder=caller.name, round=id.round, reason=reason.value, sentence=sentence)
            self._run.refusals[reason] += 1
            metrics.REFUSALS.labels(reason.value).inc()
            await self._run.apply(states.TaskDeclined(id.round, id.attempt, caller.name, sentence))

    def _check_run(self, id: AttemptId) -> None:
        if id.run != self._run.run:
            raise Refused(Reason.ROUND_NOT_OPEN, f"the run here is {self._run.run}, not {id.run}")

    def _check_signature(self, caller: Member, domain: str, statement: bytes, signature: bytes) -> None:
        if not signing.verify(caller.signing_key, domain, statement, signature):
            raise Refused(Reason.BAD_SIGNATURE, f"the signature of {caller.name!r} does not fit what is to be signed")
