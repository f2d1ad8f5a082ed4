"""What should not happen to honest parties, as far as they themselves and their messages show it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from client.session import WITHOUT_US, ClientSession
from core.errors import GrokfedError, Reason, Refused, RunFailedError
from core.identity.party import PartyIdentity
from core.protocol import AttemptId, digest
from core.wire import federation_pb2 as pb
from core.wire.calls import Conversation
from faults.lying import NAMED
from results.evidence import judge
from server.rules import RoundRules
from simulation.direct import DirectAggregator
from simulation.party import Party


class Trial(Protocol):
    """What is looked at: a federation at its end, and what its messages were (faults/world.py)."""

    identities: Mapping[str, PartyIdentity]
    clients: dict[str, Party[ClientSession]]
    aggregator: DirectAggregator
    rules: RoundRules
    lies: dict[str, str]

    @property
    def answers(self) -> Mapping[tuple[str, str, AttemptId], set[bytes]]:
        """Every answer of a holder, by its name, the call and the attempt."""

    @property
    def parties(self) -> Sequence[Party[Any]]:
        """All clients and key holders."""

    @property
    def run_id(self) -> str:
        """The name of the run."""


def surprises(world: Trial) -> list[str]:
    """Return everything that is wrong at the end of a trial, a sentence each."""
    return [*_errors(world), *_uploads_blindly(world), *_changed_answers(world), *_framed(world)]


def _errors(world: Trial) -> Iterator[str]:
    for party in world.parties:
        expected = {*WITHOUT_US, Reason.STALE_LEDGER, *(NAMED if party.name in world.lies else ())}
        refused = isinstance(party.error, Refused) and party.error.reason in expected
        if isinstance(party.error, GrokfedError) and not refused and not isinstance(party.error, RunFailedError):
            yield f"{party.name} ended: {party.error!r}"


def _uploads_blindly(world: Trial) -> Iterator[str]:
    """Show each client a list with its commitment that no key holder has signed: it must not upload."""
    for client in world.clients.values():
        submission = client.session.participant.last
        if submission is None:
            continue
        id, listed = submission.header.id, digest(submission.commitment.body)
        unsigned = pb.ListClosed(
            round=id.round, attempt=id.attempt, description_digest=submission.description_digest,
            commitments=world.rules.min_cohort * listed,
        )  # fmt: skip
        answer: object
        try:
            answer = Conversation(client.session.answer(pb.Notice(list_closed=unsigned))).asking
        except Refused as refusal:
            if refusal.reason is Reason.LIST_SIGNATURES:
                continue
            answer = refusal
        yield f"{client.name} is shown a list of {id} that no key holder signed, and answers {answer}"


def _changed_answers(world: Trial) -> list[str]:
    return [
        f"{holder} gave {len(given)} different answers to {what} of {id}"
        for (holder, what, id), given in world.answers.items()
        if len(given) > 1
    ]


def _framed(world: Trial) -> Iterator[str]:
    """Judge what the aggregator keeps against clients, as anybody can."""
    for name, (_, raw) in world.aggregator.store.evidence(world.run_id).items():
        try:
            verdict = judge(raw, world.identities["server"].registrar)
        except GrokfedError as error:
            yield f"the evidence against {name} shows nothing: {error}"
            continue
        if name not in world.lies or verdict.client != name or verdict.reason not in NAMED:
            yield f"{name} is said to have sent a false update: {verdict}"
