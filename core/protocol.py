"""What the parties tell each other, as plain data: the domain twins of the messages in proto/federation.proto."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from core.confusion import Confusion
from core.errors import Reason, Refused
from core.limits import PARTY_NAME
from core.privacy.mechanism import Mechanism, Privacy, mechanism_for
from core.secagg.encoding import Encoding
from core.secagg.scheme import PublicKey


def digest(payload: bytes) -> bytes:
    """Return SHA-256, the digest of everything in this protocol."""
    return hashlib.sha256(payload).digest()


def check_client_name(name: str) -> None:
    """Raise Refused(MALFORMED) unless this can be a party's name."""
    if not PARTY_NAME.fullmatch(name):
        raise Refused(
            Reason.MALFORMED,
            f"the client's name is {name[:80]!r}; expected 1 to 64 letters, digits, dots, dashes or underscores, "
            "the first a letter or digit",
        )


@dataclass(frozen=True)
class AttemptId:
    """One attempt at one round of one run. Every attempt has a key of its own."""

    run: str
    round: int
    attempt: int

    @property
    def key(self) -> tuple[str, int, int]:
        """Run, round and attempt, by which a database finds it."""
        return self.run, self.round, self.attempt

    def __str__(self) -> str:
        return f"round {self.round}" if self.attempt == 1 else f"round {self.round}, attempt {self.attempt}"


@dataclass(frozen=True)
class Signed:
    """The exact bytes that travel, and an Ed25519 signature over them."""

    body: bytes
    signature: bytes


@dataclass(frozen=True)
class HolderSignature:
    """A key holder's signature under something that several of them sign."""

    holder: str
    signature: bytes


MOST_OFFERED = 16
"""Keys that a key holder offers at a time."""
LARGEST_SERIAL = (1 << 32) - 1
"""The largest serial number of a round key; the first is 1."""


@dataclass(frozen=True)
class KeyCertificate:
    """A round key as its dealer vouches for it; each key serves one attempt.

    Attributes:
        threshold, holders: the shares it was dealt in, t of n.
        expires_day: days since 1970-01-01; not used after that day.
    """

    federation: str
    serial: int
    key: PublicKey
    threshold: int
    holders: int
    expires_day: int


@dataclass(frozen=True)
class RoundDescription:
    """Everything a client must know and check before it trains and encrypts."""

    federation: str
    id: AttemptId
    task: str
    seed: int
    model_digest: bytes
    certificate: KeyCertificate
    signed_certificate: Signed
    encoding: Encoding
    min_cohort: int
    deadline_seconds: float
    privacy: Privacy | None = None

    @property
    def mechanism(self) -> Mechanism | None:
        """What a client does to its update before it encrypts it; None for nothing. Raises SettingsError."""
        if self.privacy is None:
            return None
        return mechanism_for(self.privacy, self.min_cohort, self.encoding.value_bits)

    @property
    def key(self) -> PublicKey:
        """The public key that the attempt's updates are encrypted with."""
        return self.certificate.key


@dataclass(frozen=True)
class Commitment:
    """What a client binds itself to before anybody can see it: the digest of its ciphertexts."""

    id: AttemptId
    client: str
    submission: bytes
    description_digest: bytes
    digest: bytes


@dataclass(frozen=True)
class ClosedList:
    """The digests of all commitments of an attempt, signed by key holders who have checked every one of them."""

    round: int
    attempt: int
    description_digest: bytes
    commitment_digests: tuple[bytes, ...]
    signatures: tuple[HolderSignature, ...]


@dataclass(frozen=True)
class Timings:
    """Seconds a client says it took."""

    train_seconds: float
    encrypt_seconds: float


@dataclass(frozen=True)
class SubmissionHeader:
    """What precedes an update's ciphertexts."""

    id: AttemptId
    length: int
    digest: bytes


@dataclass(frozen=True)
class RoundResult:
    """One row of the history: a completed round.

    Attributes:
        epsilon, epsilon_models: spent so far, against parties that see who takes part, and against those that see
            models only; 0 without privacy.
        chosen, chosen_from: clients that the attempt was opened for, and those that they were chosen from.
        true_positives, false_positives, false_negatives, true_negatives: what the accuracy is made of. A task without
            a yes/no question has negatives only.
        cohort_...: the same of the model the round started from, on the contributors' own data.
        repeats, wordless: examples judged apart from the accuracy: further copies of a text, and texts without a word.
        repeats_correct, wordless_correct: those of them that were judged right.
    """

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
    seconds: float = 0.0
    exposure: str = ""
    epsilon: float = 0.0
    epsilon_models: float = 0.0
    chosen: int = 0
    chosen_from: int = 0
    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0
    cohort_true_positives: int = 0
    cohort_false_positives: int = 0
    cohort_false_negatives: int = 0
    cohort_true_negatives: int = 0
    repeats: int = 0
    repeats_correct: int = 0
    wordless: int = 0
    wordless_correct: int = 0

    @property
    def answers(self) -> Confusion:
        """What the accuracy is made of."""
        return Confusion(self.true_positives, self.false_positives, self.false_negatives, self.true_negatives)

    @property
    def asks_yes_or_no(self) -> bool:
        """Whether there is a class to be found, such as spam, so that precision and false alarms mean something."""
        return self.answers.positives > 0

    @property
    def accuracy_of_all(self) -> float:
        """The accuracy if every copy of a text, and every text without a word, counted like any other example."""
        examples = self.answers.examples + self.repeats + self.wordless
        return (self.answers.correct + self.repeats_correct + self.wordless_correct) / examples if examples else 0.0
