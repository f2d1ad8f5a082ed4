"""Victims without a check: a verifier, a roster and a ledger that let named refusals pass. For controls only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from core.checks import Verifier, VerifierFactory
from core.errors import Reason, Refused
from core.identity.members import Member, Role, Roster
from core.protocol import AttemptId, Head
from keyholder.difference import Contributors
from keyholder.ledger import Answer, Ledger

log = structlog.get_logger()
Reasons = frozenset[Reason]
STRANGER = Member("stranger", Role.CLIENT, 1, signing_key=bytes(32))
"""Stands for a client that is not in the roster; no signature fits its key."""


@contextmanager
def passing(reasons: Reasons) -> Iterator[None]:
    """Let refusals for these reasons pass, and log them; the rest of the block is left out then."""
    try:
        yield
    except Refused as refusal:
        if refusal.reason not in reasons:
            raise
        log.warning("check skipped", check=refusal.reason.value, message=str(refusal))


def verifier_without(reasons: Reasons) -> VerifierFactory:
    """Return what makes a party's verifier: its own, or one that refuses nothing for these reasons."""
    if not reasons:
        return Verifier

    def make(roster: Roster, registrar: bytes) -> Verifier:
        members = LenientRoster(
            roster.federation, roster.version, roster.threshold, roster.members, roster.retired_keys, reasons
        )
        return LenientVerifier(members, registrar, reasons)

    return make


def ledger_without(reasons: Reasons, folder: Path | None) -> Ledger:
    """Open a key holder's ledger (without a folder, one in memory), or one that refuses nothing for these reasons."""
    return LenientLedger(folder, reasons) if reasons else Ledger(folder)


@dataclass(frozen=True)
class LenientVerifier(Verifier):
    """Makes every check, and lets those pass that are named."""

    passes: Reasons = frozenset()

    def require(self, holds: bool, reason: Reason, message: str, clients: tuple[str, ...] = ()) -> None:
        with passing(self.passes):
            super().require(holds, reason, message, clients)


@dataclass(frozen=True)
class LenientRoster(Roster):
    """Takes others for members too: strangers, the revoked, those of another role."""

    passes: Reasons = frozenset()

    def active(self, role: Role, name: str) -> Member:
        with passing(self.passes):
            return super().active(role, name)
        return next((member for member in self.members if member.name == name), STRANGER)


class LenientLedger(Ledger):
    """Forgets what a named check would refuse by, and keeps the first of what can be in a ledger only once."""

    def __init__(self, folder: Path | None, passes: Reasons) -> None:
        self._passes = passes
        self._prepared: dict[AttemptId, tuple[bytes, Answer]] = {}
        super().__init__(folder)

    def signed_list(self, id: AttemptId) -> tuple[bytes, Head] | None:
        return None if Reason.LIST_CHANGED in self._passes else super().signed_list(id)

    def record_list(self, id: AttemptId, key_serial: int, statement: bytes) -> Head:
        if super().signed_list(id) is None:
            with passing(self._passes):
                return super().record_list(id, key_serial, statement)
        return self.head

    def earlier_answer(self, id: AttemptId, request_digest: bytes) -> Answer | None:
        with passing(self._passes):
            return super().earlier_answer(id, request_digest)
        return None

    def record_release(
        self,
        id: AttemptId,
        key_serial: int,
        request_digest: bytes,
        answer: Answer,
        contributors: Contributors,
        model_digest: bytes,
    ) -> Head:
        self._prepared[id] = (request_digest, answer)
        with passing(self._passes):
            return super().record_release(id, key_serial, request_digest, answer, contributors, model_digest)
        return self.head

    def release_entry(self, _run: str, _round_number: int) -> Head:
        return self.head

    def prepared(self, id: AttemptId) -> tuple[bytes, Answer]:
        return self._prepared[id] if id in self._prepared else super().prepared(id)

    def endorsed_model(self, run: str, round_number: int) -> tuple[bytes, Head] | None:
        return None if Reason.WRONG_MODEL in self._passes else super().endorsed_model(run, round_number)

    def record_model(self, id: AttemptId, model_digest: bytes) -> Head:
        with passing(self._passes):
            return super().record_model(id, model_digest)
        return self.head
