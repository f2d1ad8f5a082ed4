"""A federation in this process with one liar among three clients, and what came of its round."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from client.participant import Participant, Submission
from client.session import ClientSession
from core.errors import Reason, Refused
from core.identity.party import PartyIdentity, load_identity
from core.protected_update import UpdateMaker
from core.protocol import RoundDescription, RoundResult
from core.secagg.scheme import PAILLIER
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Call, Upload
from experiments.cheating_client.forge import Forge
from experiments.cheating_client.lie import By, Row
from experiments.cheating_client.lies import ACCOMPLICE, TARGET
from registrar.folder import load_registrar
from results.evidence import judge
from server import states
from server.rules import RoundRules
from server.settings import RunSettings
from simulation.in_process import InProcessFederation, Options
from simulation.party import Party
from simulation.slot_task import slot_task
from simulation.traffic import Traffic

FEDERATION = "federation"
LIAR = "client-2"
CLIENTS, WEIGHTS, BITS = 3, 60, 256
SHOWN = TARGET + 1
"""The weights of the clients, and the one that liars change."""
RULES = RoundRules(holders=2, threshold=2, min_cohort=2, max_cohort=8, target=CLIENTS)
TASK = slot_task(WEIGHTS)


@dataclass(frozen=True)
class Outcome:
    """What came of one run.

    Attributes:
        refused_by: the role of who first refused something of the liar's; empty if nobody did.
        reason, check: its name, and the check of the proof that it came from.
        named: whether somebody showed that the liar had lied: the aggregator with evidence that anybody can judge, or
            a key holder that names it.
        ending: why the run failed; empty if it finished.
        model: the weights of the clients, of which each adds 1 to its own, and the one that liars change.
        contributors: of the last round.
        answers: how many answers to examples the clients report together.
    """

    refused_by: str
    reason: str
    check: str
    named: bool
    ending: str
    model: tuple[float, ...]
    contributors: int
    answers: int

    @property
    def finished(self) -> bool:
        """Whether all rounds were completed."""
        return not self.ending


class LyingParticipant(Participant):
    """A client that makes its updates in another way."""

    def __init__(self, row: Row, accomplice: Callable[[], Submission], *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._row = row
        self._accomplice = accomplice
        self._earlier: tuple[Submission, ...] = ()

    def update_maker(self, description: RoundDescription, description_digest: bytes) -> UpdateMaker:
        """Return what lies."""
        if self.last is not None:
            self._earlier = (*self._earlier, self.last)
        return Forge(self._row.lie, self._accomplice, self._earlier, description, description_digest, self.name)


class Scene(InProcessFederation):
    """One run with one liar, which moves when no other client can: so it may have seen what they made.

    Args:
        folder: of a federation with round keys, which are used up.
        attempts: at the round, until the run gives up.
    """

    def __init__(self, folder: Path, row: Row, seed: int, attempts: int, bounded: bool = True) -> None:
        self._row = row
        members = load_registrar(folder / FEDERATION).roster.members
        identities = {member.name: load_identity(folder / FEDERATION / member.name) for member in members}
        settings = RunSettings(
            TASK.name, PAILLIER, BITS, seed, replace(RULES, rounds=row.rounds, max_attempts=attempts),
            insecure_demo_keys=True, insecure_unbounded=not bounded, count_cap=row.count_cap,
        )  # fmt: skip
        super().__init__(folder, identities, settings, TASK, Options(record=True, seed=seed))

    def new_client(self, identity: PartyIdentity, made: Callable[..., Participant] = Participant) -> ClientSession:
        """Start a client's program; the liar's makes false updates."""
        lying = partial(LyingParticipant, self._row, self._accomplices)
        return super().new_client(identity, lying if identity.name == LIAR else made)

    def _accomplices(self) -> Submission:
        """Return what the accomplice has made for this round."""
        made = self.clients[ACCOMPLICE].session.participant.last
        assert made is not None
        return made

    async def step(self, parties: Collection[Party[Any]] | None = None) -> bool:
        """Let one of the parties do one thing, the liar only if no other can."""
        among = self.parties if parties is None else parties
        others = [party for party in among if party.name != LIAR]
        return await super().step(others) or await super().step([party for party in among if party.name == LIAR])

    async def deliver(self, party: Party[Any], call: Call) -> Any:
        """Make one call at the aggregator; the liar's upload may be another one than it has signed."""
        if party.name == LIAR and isinstance(call, Upload) and self._row.uploads is not None:
            call = self._row.uploads(call)
        return await super().deliver(party, call)

    async def played(self) -> Outcome:
        """Play the run, and return what came of it."""
        await self.start()
        try:
            await self.play()
            await self.conclude()
            return self._outcome()
        finally:
            await self.close()

    def _outcome(self) -> Outcome:
        refusals = [(by, each) for message in self.messages for by, each in _refusals(message)]
        by, refusal = refusals[0] if refusals else ("", None)
        found = re.search(r"false \((\w+)\)", str(refusal))
        assert self.model is not None
        return Outcome(
            refused_by=by,
            reason="" if refusal is None else refusal.reason.value,
            check=found[1] if found else "",
            named={*self._shown(), *(client for _, each in refusals for client in each.clients)} == {LIAR},
            ending=self.phase.message if isinstance(self.phase, states.Failed) else "",
            model=tuple(float(weight) for weight in self.model[:SHOWN]),
            contributors=self.results[-1].contributors if self.results else 0,
            answers=_answers(self.results[-1]) if self.results else 0,
        )

    def _shown(self) -> list[str]:
        """Return who has lied, by evidence that anybody can judge."""
        evidence = self.aggregator.store.evidence(self.run.context.id)
        return [judge(raw, self.identities["server"].registrar).client for _, raw in evidence.values()]


def _refusals(message: Traffic) -> Iterator[tuple[By, Refused]]:
    """Yield what the aggregator refuses the liar, and what key holders refuse because of it."""
    content = message.content
    if isinstance(content, Refused) and message.receiver == LIAR:
        yield By.AGGREGATOR, content
    if isinstance(content, Ask) and content.method == "DeclineTask":
        said = content.message
        assert isinstance(said, pb.Decline)
        yield By.HOLDER, Refused(Reason(said.reason), said.sentence, tuple(said.clients))


def _answers(result: RoundResult) -> int:
    """Return how many answers all clients together report."""
    right = result.cohort_true_positives + result.cohort_true_negatives
    return right + result.cohort_false_positives + result.cohort_false_negatives
