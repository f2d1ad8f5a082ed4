"""The product's in-process federation, on a copied federation with small keys and little mail.

async def test_a_round_is_completed(start: Start) -> None:
    federation = await start(scheme="paillier")     # everyone is connected
    await federation.play_until(states.Uploading)
    await federation.restart_aggregator()
    await federation.finish()                       # and the model is the one computed in clear
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from recomputation import SPAM, next_spam_model
from templates import Shape, copy_federation

from client.participant import Submission
from core.checks import Verifier
from core.errors import Reason, Refused
from core.identity import signing
from core.identity.party import PartyIdentity, load_identity
from core.identity.roster import Roster
from core.protocol import AttemptId, Head, HolderStart, RoundDescription, Signed, digest
from core.robust import Robust
from core.round_sums import groups_of
from core.server_rules import FEDAVG, ServerRule
from core.training import Dataset
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Call, Upload
from core.wire.holder_messages import start_to_bytes, start_to_wire
from core.wire.messages import description_from_bytes
from core.wire.streams import model_from_bytes
from registrar.federation import revoke
from registrar.folder import load_registrar
from server import states
from server.rules import RoundRules
from server.settings import RunSettings
from server.store import Store
from simulation.in_process import InProcessFederation, Options
from simulation.network import Network
from simulation.party import Party

BITS = 256
RULES = RoundRules(holders=3, threshold=2, rounds=1, min_cohort=2, max_cohort=8, target=3)
KEYS = 6


@cache
def mailbox(seed: int, number: int) -> Dataset:
    """Twenty mails of one client, generated once, for speed."""
    return SPAM.prepare(SPAM.generate(seed, number)[:20])


OPTIONS = Options(load=mailbox, record=True)


class SpamFederation(InProcessFederation):
    """A federation that learns the spam task, with what tests ask about it.

    Attributes:
        altered: changes the calls of a party on their way, by its name.
        bounded: whether clients prove their ranges; without it, as most tests are, they are faster.
    """

    def __init__(
        self,
        folder: Path,
        rules: RoundRules = RULES,
        *,
        scheme: str = "plain",
        clients: int = 3,
        options: Options = OPTIONS,
        network: Network | None = None,
        bounded: bool = False,
        rule: ServerRule = FEDAVG,
        robust: Robust | None = None,
    ) -> None:
        shape = Shape(clients, rules.holders, rules.threshold, scheme, BITS, KEYS)
        self.members = folder / "federation"
        if not self.members.exists():  # else it is a second run by the same parties
            copy_federation(shape, self.members)
        names = [member.name for member in load_registrar(self.members).roster.members]
        identities = {name: load_identity(self.members / name) for name in names}
        settings = RunSettings(
            SPAM.name, scheme, BITS, 0, rules,
            insecure_demo_keys=True, insecure_unbounded=not bounded, server_rule=rule, local=options.local,
            robust=robust,
        )  # fmt: skip
        super().__init__(folder, identities, settings, SPAM, options, network)
        self.altered: dict[str, Callable[[Call], Call]] = {}

    async def deliver(self, party: Party[Any], call: Call) -> Any:
        return await super().deliver(party, self.altered.get(party.name, lambda same: same)(call))

    async def gather(self, *names: str) -> None:
        """Let these (all, if none is named) connect, one after another, the key holders first."""
        for party in [self.party(name) for name in names] or [*self.holders.values(), *self.clients.values()]:
            while not (party.connected or party.over):
                await self.step([party])

    async def call(self, name: str, call: Call) -> Any:
        """Make a call in a party's name that its program does not make."""
        return await self.deliver(self.party(name), call)

    def revoke(self, name: str) -> None:
        """Revoke a member in everyone's roster."""
        revoke(self.members, name)

    # -------------------------------------------------------------------------------- what there is

    @property
    def store(self) -> Store:
        return self.aggregator.store

    @property
    def roster(self) -> Roster:
        return self.identities["server"].roster.current()

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.roster, self.identities["server"].registrar)

    def id(self, attempt: int = 1, round_number: int = 1) -> AttemptId:
        return AttemptId(self.run.context.id, round_number, attempt)

    def named(self, attempt: int = 1) -> dict[str, Any]:
        """The fields by which messages name an attempt at round 1."""
        return {"run": self.run.context.id, "round": 1, "attempt": attempt}

    def signed_round(self) -> Signed:
        """The signed description of the last attempt that was opened."""
        last = self.store.last_attempt(self.run.context.id)
        assert last is not None
        return last.description

    def signed_list(self, attempt: int = 1, round_number: int = 1) -> tuple[RoundDescription, bytes, list[bytes]]:
        """An attempt's description, its digest, and the digests of the commitments on its list."""
        id, query = (
            self.id(attempt, round_number),
            "SELECT description FROM attempts WHERE run=? AND round=? AND attempt=?",
        )
        ((raw,),) = self.store._database.all(query, *id.key)
        digests = [digest(each.commitment.body) for each in self.store.submissions(id)]
        return description_from_bytes(raw), digest(raw), digests

    def submission(self, name: str) -> Submission:
        """What a client has prepared in this round."""
        last = self.clients[name].session.participant.last
        assert last is not None
        return last

    async def another_submission(self, name: str) -> Submission:
        """What a second process of a client would prepare in this round."""
        participant, signed = self.new_client(self.identities[name]).participant, self.signed_round()
        participant.enrolled(self.run.context.id)
        description = participant.verify(signed)
        _, raw, _ = await self.run.model(description.id.round - 1)
        return participant.answer(description, signed, model_from_bytes(raw, participant.values))

    def pushed_to(self, name: str, kind: str) -> list[Any]:
        """The messages of one kind that the aggregator has pushed to a party and that were delivered."""
        pushed = [each.content for each in self.messages if each.receiver == name]
        notices = [each for each in pushed if isinstance(each, pb.Notice | pb.HolderTask)]
        return [getattr(each, kind) for each in notices if _kind(each) == kind]

    @property
    def refusals(self) -> list[tuple[str, Reason]]:
        """Who was refused a call, and why."""
        contents = [(each.receiver, each.content) for each in self.messages]
        return [(name, content.reason) for name, content in contents if isinstance(content, Refused)]

    # -------------------------------------------------------------------------------- what came of it

    async def finish(self) -> None:
        """Play to the end, and require that the rounds are completed with the right models."""
        await self.play()
        assert self.phase == states.Finished(), self.phase
        for number in range(1, self.settings.rules.rounds + 1):
            self.require_right_model(number)

    def require_right_model(self, number: int) -> None:
        """Require that a round's model is, bit for bit, the one computed in clear from what its contributors sent."""
        run = self.run.context.id
        query = "SELECT attempt FROM attempts WHERE run = ? AND round = ? AND state = 'completed'"
        ((attempt,),) = self.store._database.all(query, run, number)
        sent = [each.client for each in self.store.submissions(self.id(attempt, number)) if each.uploaded]
        before, after = (self.store.model(run, each)[1] for each in (number - 1, number))
        groups = groups_of(*self.signed_list(attempt, number), sent)
        numbers = [[self.identities[name].number for name in group] for group in groups]
        expected = next_spam_model(before, number, numbers, load=mailbox, grouping=self.settings.grouping)
        assert np.array_equal(after, expected)
        assert self.run.results[number - 1].contributors == len(sent)


Start = Callable[..., Awaitable[SpamFederation]]
"""Starts a federation, with the arguments of SpamFederation; `absent` are the parties that do not come."""


def with_payload(call: Call, change: Callable[[bytes], bytes]) -> Call:
    """Change the payload of a holder's Release, and its header accordingly; other calls stay as they are."""
    if not (isinstance(call, Upload) and isinstance(call.header, pb.ReleaseRequest)):
        return call
    payload, header = change(call.payload), pb.ReleaseRequest()
    header.CopyFrom(call.header)
    header.header.length, header.header.sha256 = len(payload), digest(payload)
    return replace(call, header=header, payload=payload)


MADE_UP = pb.LedgerState(number=1, hash=bytes(32), life=bytes(16))
"""The state of no ledger."""


def calls_of(federation: SpamFederation) -> list[str]:
    """The names of all calls that parties have made, in order."""
    return [each.content.method for each in federation.messages if isinstance(each.content, Call)]


def another_start(identity: PartyIdentity, life: bytes = b"another process!") -> Ask:
    """Return the call by which another process of a key holder would attend."""
    body = start_to_bytes(HolderStart(identity.federation, identity.name, life, Head(1, bytes(32))))
    signed = Signed(body, identity.signing.sign(signing.START, body))
    return Ask("Attend", pb.AttendRequest(start=start_to_wire(signed)))


def decline(id: AttemptId, reason: Reason = Reason.WRONG_SUM, message: str = "not with me") -> Ask:
    """Return the call by which a key holder declines its task."""
    declined = pb.Decline(run=id.run, round=id.round, attempt=id.attempt, reason=reason.value, sentence=message)
    return Ask("DeclineTask", declined)


def _kind(message: pb.Notice | pb.HolderTask) -> str | None:
    return message.WhichOneof("notice" if isinstance(message, pb.Notice) else "task")
