"""What the parties tell each other, as plain data: the domain twins of the messages in proto/federation.proto."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from core.errors import Reason, Refused
from core.secagg.encoding import Encoding
from core.secagg.scheme import PublicKey

CLIENT_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def digest(payload: bytes) -> bytes:
    """SHA-256, the digest of everything in this protocol."""
    return hashlib.sha256(payload).digest()


def check_client_name(name: str) -> None:
    """Raise Refused(MALFORMED) unless the name is 1 to 64 letters, digits, dots, dashes or underscores."""
    if not CLIENT_NAME.fullmatch(name):
        raise Refused(
            Reason.MALFORMED,
            f"the client's name is {name[:80]!r}; expected 1 to 64 letters, digits, dots, dashes or underscores",
        )


@dataclass(frozen=True)
class AttemptId:
    """One attempt at one round of one run. Every attempt has a key of its own."""

    run: str
    round: int
    attempt: int

    def __str__(self) -> str:
        return f"round {self.round}" if self.attempt == 1 else f"round {self.round}, attempt {self.attempt}"


@dataclass(frozen=True)
class RoundDescription:
    """Everything a client must know and check before it trains and encrypts."""

    id: AttemptId
    task: str
    model_digest: bytes
    key: PublicKey
    encoding: Encoding
    min_cohort: int
    deadline_seconds: float


@dataclass(frozen=True)
class Contribution:
    """One client's part in a closed round: who, and the digest of exactly what it sent."""

    client: str
    digest: bytes


@dataclass(frozen=True)
class SubmissionHeader:
    """What precedes an update's ciphertexts."""

    id: AttemptId
    client: str
    description_digest: bytes
    length: int
    digest: bytes
    train_seconds: float
    encrypt_seconds: float


@dataclass(frozen=True)
class RoundResult:
    """One row of the history: a completed round."""

    round: int
    contributors: int
    accuracy: float
    loss: float
    bytes_up_per_client: float
    train_seconds: float
    encrypt_seconds: float
    add_seconds: float
    decrypt_seconds: float
    cohort_accuracy: float
    cohort_loss: float
