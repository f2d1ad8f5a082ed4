"""Judge again what shows that a client lied: its signature is under the bytes, so nothing else has to be believed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from core.checks import Verifier
from core.commands import command_of
from core.errors import DataError, Reason, Refused
from core.identity.roster import read_roster
from core.protected_update import check_update, split_update
from core.protocol import AttemptId, digest
from core.secagg.factory import adder_for
from core.wire import federation_pb2 as pb
from core.wire.messages import round_from_wire, signed_commitment_from_wire
from core.wording import counted
from results.checking import Trust, trusted


@dataclass(frozen=True)
class Verdict:
    """What evidence shows: who signed a false update, in which attempt, and what is wrong with it."""

    client: str
    attempt: AttemptId
    reason: Reason
    message: str


@dataclass(frozen=True)
class Judged:
    """A verdict, and whom it rests on."""

    verdict: Verdict
    trust: Trust

    @property
    def sentences(self) -> tuple[str, str]:
        """What the evidence shows, and under which key, for people."""
        verdict, trust = self.verdict, self.trust
        return (
            f"{verdict.client} signed a false update in {verdict.attempt} ({verdict.reason.value}): {verdict.message}",
            f"the registrar's key is {trust.key.hex()}, {trust.source}",
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        verdict, id = self.verdict, self.verdict.attempt
        return {
            "holds": True,
            "client": verdict.client,
            "run": id.run,
            "round": id.round,
            "attempt": id.attempt,
            "reason": verdict.reason.value,
            "registrar": self.trust.key.hex(),
            "message": self.sentences[0],
        }


def judge(raw: bytes, registrar: bytes) -> Verdict:
    """Return what the evidence shows, by the registrar's public key alone.

    Raises DataError if it shows nothing: it is no evidence, a signature does not hold, or the update is a right one.
    """
    message = _read(raw)
    try:
        verifier = Verifier(read_roster(message.roster, registrar), registrar)
        signed = round_from_wire(message.round)
        description = verifier.verify_round(signed)
        about = description, digest(signed.body)
        commitment = verifier.verify_commitment(signed_commitment_from_wire(message.commitment), *about)
    except Refused as refusal:
        raise DataError(f"the evidence shows nothing: {refusal}") from refusal
    if digest(message.update) != commitment.digest:
        raise DataError(f"the evidence shows nothing: {commitment.client!r} has signed another update")
    try:
        update = split_update(description, message.update)
        check_update(adder_for(description.key, description.encoding.plaintexts), description, commitment, update)
    except Refused as refusal:
        return Verdict(commitment.client, description.id, refusal.reason, str(refusal))
    raise DataError(f"the evidence shows nothing: the update of {commitment.client!r} is right")


def _read(raw: bytes) -> pb.Evidence:
    """Return the message. Raises DataError for other bytes, some of which can be read as a message without parts."""
    message = pb.Evidence()
    with suppress(DecodeError):
        message.ParseFromString(raw)
        if all((message.HasField("round"), message.HasField("commitment"), message.update, message.roster)):
            return message
    raise DataError(
        f"this file of {counted(len(raw), 'byte')} is no evidence of a false update; expected one that "
        f"{command_of('server')} evidence has written"
    )


def judge_file(path: Path, registrar: str) -> Judged:
    """Return what a file of evidence shows, and whom that rests on. Raises DataError or SettingsError."""
    trust = trusted(path.parent, registrar)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"the evidence {path} cannot be read: {error.strerror}") from error
    return Judged(judge(raw, trust.key), trust)
